/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/devtest.h"

#define BASE 0xfec00000u

struct fix {
    struct devtest t;
    struct dev *dev;
};

static int setup(void **state)
{
    struct fix *f = test_calloc(1, sizeof(*f));

    dt_init(&f->t);
    f->dev = dt_add(&f->t, "ioapic");
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fix *f = *state;

    dev_free(f->dev);
    dt_fini(&f->t);
    test_free(f);
    return 0;
}

static void reg_write(struct devtest *t, unsigned index, uint32_t v)
{
    dt_write(t, BASE, index, 4);
    dt_write(t, BASE + 0x10, v, 4);
}

static uint32_t reg_read(struct devtest *t, unsigned index)
{
    dt_write(t, BASE, index, 4);
    return (uint32_t)dt_read(t, BASE + 0x10, 4);
}

static void entry(struct devtest *t, unsigned pin, uint32_t low, uint32_t high)
{
    reg_write(t, 0x11 + pin * 2, high);
    reg_write(t, 0x10 + pin * 2, low);
}

static void test_registers(void **state)
{
    struct devtest *t = &((struct fix *)*state)->t;

    assert_int_equal(reg_read(t, 1), 0x00170020);
    reg_write(t, 0, 0x0f000000);
    assert_int_equal(reg_read(t, 0), 0x0f000000);
    assert_int_equal(reg_read(t, 0x10), 0x10000); /* masked */
    entry(t, 3, 0xffffffff, 0xffffffff);
    assert_int_equal(reg_read(t, 0x16), 0x1afff); /* read-only bits stay clear */
    assert_int_equal(reg_read(t, 0x17), 0xff000000);
    assert_int_equal(reg_read(t, 0x40), 0xffffffff);
}

static void test_edge(void **state)
{
    struct devtest *t = &((struct fix *)*state)->t;

    irq_pulse(bus_gsi(t->bus, 4));
    assert_int_equal(t->msi_count, 0);
    entry(t, 4, 0x34, 0x02000000);
    assert_int_equal(t->msi_count, 0); /* an edge under the mask is lost */
    assert_int_equal(t->route[4].address, 0xfee02000);
    assert_false(t->route[4].masked);
    irq_pulse(bus_gsi(t->bus, 4));
    assert_int_equal(t->msi_count, 1);
    assert_int_equal(t->msi_address, 0xfee02000);
    assert_int_equal(t->msi_data, 0x4034);
    entry(t, 4, 0x34 | 0x900, 0x03000000); /* logical, lowest priority */
    irq_pulse(bus_gsi(t->bus, 4));
    assert_int_equal(t->msi_address, 0xfee03004);
    assert_int_equal(t->msi_data, 0x4134);
}

static void test_timer_pin(void **state)
{
    struct devtest *t = &((struct fix *)*state)->t;

    entry(t, 2, 0x30, 0);
    irq_pulse(bus_gsi(t->bus, 0));
    assert_int_equal(t->msi_count, 1);
    irq_pulse(bus_gsi(t->bus, 2)); /* the cascade */
    assert_int_equal(t->msi_count, 1);
}

static void test_level_and_eoi(void **state)
{
    struct devtest *t = &((struct fix *)*state)->t;

    irq_set(bus_gsi(t->bus, 11), 1);
    entry(t, 11, 0x8051, 0);
    assert_int_equal(t->msi_count, 1); /* was waiting */
    assert_int_equal(t->msi_data, 0xc051);
    assert_int_equal(reg_read(t, 0x26) & 0x4000, 0x4000);
    irq_set(bus_gsi(t->bus, 11), 1);
    assert_int_equal(t->msi_count, 1); /* remote IRR holds it back */
    bus_ioapic_eoi(t->bus, 0x50);
    assert_int_equal(t->msi_count, 1);
    bus_ioapic_eoi(t->bus, 0x51);
    assert_int_equal(t->msi_count, 2); /* still asserted */
    irq_set(bus_gsi(t->bus, 11), 0);
    dt_write(t, BASE + 0x40, 0x51, 4); /* EOI register */
    assert_int_equal(t->msi_count, 2);
    assert_int_equal(reg_read(t, 0x26) & 0x4000, 0);
}

static void test_old_eoi_by_trigger_mode(void **state)
{
    struct devtest *t = &((struct fix *)*state)->t;

    entry(t, 10, 0x8052, 0);
    irq_set(bus_gsi(t->bus, 10), 1);
    assert_int_equal(t->msi_count, 1);
    reg_write(t, 0x24, 0x10052); /* masked, edge: clears remote IRR */
    reg_write(t, 0x24, 0x8052);
    assert_int_equal(t->msi_count, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_registers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_edge, setup, teardown),
        cmocka_unit_test_setup_teardown(test_timer_pin, setup, teardown),
        cmocka_unit_test_setup_teardown(test_level_and_eoi, setup, teardown),
        cmocka_unit_test_setup_teardown(test_old_eoi_by_trigger_mode, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
