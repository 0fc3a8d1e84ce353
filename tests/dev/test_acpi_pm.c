/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/devtest.h"

#include "vmm/dev/platform/acpi_pm.h"

#define PM ACPI_PM_BASE

struct fix {
    struct devtest t;
    struct dev *dev;
};

static int setup(void **state)
{
    struct fix *f = test_calloc(1, sizeof(*f));

    dt_init(&f->t);
    f->dev = dt_add(&f->t, "acpi-pm");
    dt_cfg_write(&f->t, ACPI_PM_DEVFN, ACPI_PM_PMBA, PM | 1, 4);
    dt_cfg_write(&f->t, ACPI_PM_DEVFN, ACPI_PM_PMREGMISC, 1, 1);
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

static void test_base(void **state)
{
    struct devtest *t = &((struct fix *)*state)->t;

    assert_int_equal(dt_cfg_read(t, ACPI_PM_DEVFN, 0, 4), 0x71138086);
    assert_int_equal(dt_cfg_read(t, ACPI_PM_DEVFN, 0x58, 4) & BIT(25), BIT(25));
    dt_cfg_write(t, ACPI_PM_DEVFN, ACPI_PM_PMREGMISC, 0, 1);
    assert_int_equal(dt_inw(t, PM + 4), 0xffff);
    dt_cfg_write(t, ACPI_PM_DEVFN, ACPI_PM_PMREGMISC, 1, 1);
    dt_cfg_write(t, ACPI_PM_DEVFN, ACPI_PM_PMBA, 0xb001, 4);
    assert_int_equal(dt_inw(t, 0xb004), 0);
}

static void test_timer(void **state)
{
    struct devtest *t = &((struct fix *)*state)->t;

    uint32_t a = dt_inl(t, PM + 8);
    dt_advance(t, NS_PER_S);
    assert_int_equal((dt_inl(t, PM + 8) - a) & 0xffffff, 3579545);
    assert_int_equal(dt_inb(t, PM + 11), 0);
    /* top bit toggles every 2.34 s */
    dt_outw(t, PM, 0xffff);
    dt_outw(t, PM + 2, 1);
    dt_outb(t, ACPI_SMI_CMD, ACPI_ENABLE);
    assert_int_equal(t->gsi[9], 0);
    dt_advance(t, 2 * NS_PER_S);
    assert_int_equal(t->gsi[9], 1);
    assert_int_equal(dt_inw(t, PM) & 1, 1);
    dt_outw(t, PM, 1);
    assert_int_equal(t->gsi[9], 0);
    dt_advance(t, 5 * NS_PER_S / 2);
    assert_int_equal(t->gsi[9], 1);
}

static void test_power_button(void **state)
{
    struct fix *f = *state;
    struct devtest *t = &f->t;

    dt_outw(t, PM + 2, 0x100);
    acpi_pm_power_button(f->dev);
    assert_int_equal(t->gsi[9], 0); /* ACPI is off */
    dt_outb(t, ACPI_SMI_CMD, ACPI_ENABLE);
    assert_int_equal(dt_inw(t, PM + 4) & 1, 1);
    assert_int_equal(t->gsi[9], 1);
    assert_int_equal(dt_inb(t, PM + 1), 1);
    dt_outb(t, PM + 1, 1); /* write one to clear, by byte */
    assert_int_equal(t->gsi[9], 0);
    dt_outb(t, ACPI_SMI_CMD, ACPI_DISABLE);
    assert_int_equal(dt_inw(t, PM + 4) & 1, 0);
}

static void test_soft_off(void **state)
{
    struct devtest *t = &((struct fix *)*state)->t;

    dt_outw(t, PM + 4, 0x2000 | 3 << 10); /* some other sleep */
    assert_int_equal(t->request_count, 0);
    dt_outw(t, PM + 4, 0x2000 | ACPI_S5_TYPE << 10 | 1);
    assert_int_equal(t->request_count, 1);
    assert_int_equal(t->request, MACHINE_POWEROFF);
}

static void test_gpe(void **state)
{
    struct devtest *t = &((struct fix *)*state)->t;

    dt_outb(t, PM + 0xe, 0x55);
    assert_int_equal(dt_inb(t, PM + 0xe), 0x55);
    dt_outl(t, PM + 0xc, 0xffffffff);
    assert_int_equal(dt_inl(t, PM + 0xc), 0xffff0000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_base, setup, teardown),
        cmocka_unit_test_setup_teardown(test_timer, setup, teardown),
        cmocka_unit_test_setup_teardown(test_power_button, setup, teardown),
        cmocka_unit_test_setup_teardown(test_soft_off, setup, teardown),
        cmocka_unit_test_setup_teardown(test_gpe, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
