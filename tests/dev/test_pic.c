/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/devtest.h"

struct fix {
    struct devtest t;
    struct dev *pic;
};

static int setup(void **state)
{
    struct fix *f = test_calloc(1, sizeof(*f));

    dt_init(&f->t);
    f->pic = dt_add(&f->t, "pic");
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fix *f = *state;

    dev_free(f->pic);
    dt_fini(&f->t);
    test_free(f);
    return 0;
}

static void program(struct devtest *t, uint8_t icw1, uint8_t icw4)
{
    dt_outb(t, 0x20, icw1);
    dt_outb(t, 0x21, 0x08);
    dt_outb(t, 0x21, 0x04);
    dt_outb(t, 0x21, icw4);
    dt_outb(t, 0xa0, icw1);
    dt_outb(t, 0xa1, 0x70);
    dt_outb(t, 0xa1, 0x02);
    dt_outb(t, 0xa1, icw4 & ~0x10);
}

static void raise_irq(struct devtest *t, unsigned n)
{
    irq_set(bus_gsi(t->bus, n), 1);
}

static void lower_irq(struct devtest *t, unsigned n)
{
    irq_set(bus_gsi(t->bus, n), 0);
}

static void test_edge_and_eoi(void **state)
{
    struct devtest *t = &((struct fix *)*state)->t;

    program(t, 0x11, 0x01);
    assert_int_equal(t->extint, 0);
    raise_irq(t, 1);
    assert_int_equal(t->extint, 1);
    lower_irq(t, 1); /* the edge is latched */
    assert_int_equal(bus_pic_ack(t->bus), 0x09);
    assert_int_equal(t->extint, 0);
    dt_outb(t, 0x20, 0x0b);
    assert_int_equal(dt_inb(t, 0x20), 0x02);
    raise_irq(t, 3); /* lower priority waits */
    assert_int_equal(t->extint, 0);
    raise_irq(t, 0); /* higher one does not */
    assert_int_equal(t->extint, 1);
    assert_int_equal(bus_pic_ack(t->bus), 0x08);
    dt_outb(t, 0x20, 0x20);
    assert_int_equal(t->extint, 0);
    dt_outb(t, 0x20, 0x61); /* specific EOI of 1 */
    assert_int_equal(bus_pic_ack(t->bus), 0x0b);
}

static void test_slave(void **state)
{
    struct devtest *t = &((struct fix *)*state)->t;

    program(t, 0x11, 0x01);
    raise_irq(t, 8);
    assert_int_equal(t->extint, 1);
    assert_int_equal(bus_pic_ack(t->bus), 0x70);
    raise_irq(t, 14);
    assert_int_equal(t->extint, 0);
    dt_outb(t, 0xa0, 0x20);
    assert_int_equal(t->extint, 0); /* the master still serves its input 2 */
    dt_outb(t, 0x20, 0x20);
    assert_int_equal(t->extint, 1);
    assert_int_equal(bus_pic_ack(t->bus), 0x76);
}

static void test_mask_and_spurious(void **state)
{
    struct devtest *t = &((struct fix *)*state)->t;

    program(t, 0x11, 0x01);
    dt_outb(t, 0x21, 0xff);
    assert_int_equal(dt_inb(t, 0x21), 0xff);
    raise_irq(t, 4);
    assert_int_equal(t->extint, 0);
    dt_outb(t, 0x21, 0x00);
    assert_int_equal(t->extint, 1);
    dt_outb(t, 0x21, 0xff);
    assert_int_equal(bus_pic_ack(t->bus), 0x0f); /* too late: spurious 7 */
    dt_outb(t, 0x20, 0x0b);
    assert_int_equal(dt_inb(t, 0x20), 0);
}

static void test_level(void **state)
{
    struct devtest *t = &((struct fix *)*state)->t;

    program(t, 0x11, 0x01);
    dt_outb(t, 0x4d0, 0xff);
    dt_outb(t, 0x4d1, 0xff);
    assert_int_equal(dt_inw(t, 0x4d0), 0xdef8);
    raise_irq(t, 11);
    assert_int_equal(bus_pic_ack(t->bus), 0x73);
    dt_outb(t, 0xa0, 0x20);
    dt_outb(t, 0x20, 0x20);
    assert_int_equal(t->extint, 1); /* still asserted */
    lower_irq(t, 11);
    assert_int_equal(t->extint, 0);
}

static void test_auto_eoi_rotation(void **state)
{
    struct devtest *t = &((struct fix *)*state)->t;

    program(t, 0x11, 0x03);
    dt_outb(t, 0x20, 0x80); /* rotate in automatic EOI mode */
    raise_irq(t, 0);
    assert_int_equal(bus_pic_ack(t->bus), 0x08);
    lower_irq(t, 0);
    dt_outb(t, 0x20, 0x0b);
    assert_int_equal(dt_inb(t, 0x20), 0);
    raise_irq(t, 0); /* lowest now */
    raise_irq(t, 7);
    assert_int_equal(bus_pic_ack(t->bus), 0x0f);
    assert_int_equal(bus_pic_ack(t->bus), 0x08);
}

static void test_set_priority_and_rotate_on_eoi(void **state)
{
    struct devtest *t = &((struct fix *)*state)->t;

    program(t, 0x11, 0x01);
    dt_outb(t, 0x20, 0xc3); /* 3 is lowest, so 4 highest */
    raise_irq(t, 1);
    raise_irq(t, 4);
    assert_int_equal(bus_pic_ack(t->bus), 0x0c);
    dt_outb(t, 0x20, 0xa0); /* rotate on non-specific EOI */
    assert_int_equal(bus_pic_ack(t->bus), 0x09);
    dt_outb(t, 0x20, 0x20);
    raise_irq(t, 5);
    lower_irq(t, 4);
    raise_irq(t, 4);
    assert_int_equal(bus_pic_ack(t->bus), 0x0d);
}

static void test_special_mask_and_poll(void **state)
{
    struct devtest *t = &((struct fix *)*state)->t;

    program(t, 0x11, 0x01);
    raise_irq(t, 1);
    assert_int_equal(bus_pic_ack(t->bus), 0x09);
    raise_irq(t, 5);
    assert_int_equal(t->extint, 0);
    dt_outb(t, 0x20, 0x68); /* special mask mode */
    dt_outb(t, 0x21, 0x02);
    assert_int_equal(t->extint, 1);
    dt_outb(t, 0x20, 0x0c); /* poll */
    assert_int_equal(dt_inb(t, 0x20), 0x85);
    dt_outb(t, 0x20, 0x0c);
    assert_int_equal(dt_inb(t, 0x20), 0);
}

static void test_special_fully_nested(void **state)
{
    struct devtest *t = &((struct fix *)*state)->t;

    program(t, 0x11, 0x11);
    raise_irq(t, 12);
    assert_int_equal(bus_pic_ack(t->bus), 0x74);
    raise_irq(t, 9); /* higher on the slave: interrupts although input 2 is in service */
    assert_int_equal(t->extint, 1);
    assert_int_equal(bus_pic_ack(t->bus), 0x71);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_edge_and_eoi, setup, teardown),
        cmocka_unit_test_setup_teardown(test_slave, setup, teardown),
        cmocka_unit_test_setup_teardown(test_mask_and_spurious, setup, teardown),
        cmocka_unit_test_setup_teardown(test_level, setup, teardown),
        cmocka_unit_test_setup_teardown(test_auto_eoi_rotation, setup, teardown),
        cmocka_unit_test_setup_teardown(test_set_priority_and_rotate_on_eoi, setup, teardown),
        cmocka_unit_test_setup_teardown(test_special_mask_and_poll, setup, teardown),
        cmocka_unit_test_setup_teardown(test_special_fully_nested, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
