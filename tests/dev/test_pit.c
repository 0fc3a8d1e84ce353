/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/devtest.h"

#define TICK_NS 838.0953

struct fix {
    struct devtest t;
    struct dev *pit;
};

static int setup(void **state)
{
    struct fix *f = test_calloc(1, sizeof(*f));

    dt_init(&f->t);
    f->pit = dt_add(&f->t, "pit");
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fix *f = *state;

    dev_free(f->pit);
    dt_fini(&f->t);
    test_free(f);
    return 0;
}

static void set_mode(struct devtest *t, unsigned ch, unsigned mode, uint16_t count)
{
    dt_outb(t, 0x43, (uint8_t)(ch << 6 | 0x30 | mode << 1));
    dt_outb(t, (uint16_t)(0x40 + ch), (uint8_t)count);
    dt_outb(t, (uint16_t)(0x40 + ch), (uint8_t)(count >> 8));
}

static void ticks(struct devtest *t, double n)
{
    dt_advance(t, (int64_t)(n * TICK_NS));
}

static uint16_t read_count(struct devtest *t, unsigned ch)
{
    dt_outb(t, 0x43, (uint8_t)(ch << 6));
    uint16_t low = dt_inb(t, (uint16_t)(0x40 + ch));
    return (uint16_t)(low | dt_inb(t, (uint16_t)(0x40 + ch)) << 8);
}

static uint8_t status(struct devtest *t, unsigned ch)
{
    dt_outb(t, 0x43, (uint8_t)(0xe0 | 2u << ch));
    return dt_inb(t, (uint16_t)(0x40 + ch));
}

static void test_mode0(void **state)
{
    struct devtest *t = &((struct fix *)*state)->t;

    set_mode(t, 0, 0, 1000);
    assert_int_equal(t->gsi[0], 0);
    assert_int_equal(status(t, 0), 0x30);
    ticks(t, 100.5);
    assert_int_equal(read_count(t, 0), 900);
    ticks(t, 898);
    assert_int_equal(t->gsi[0], 0);
    ticks(t, 2);
    assert_int_equal(t->gsi[0], 1);
    assert_int_equal(t->gsi_rises[0], 1);
    assert_int_equal(status(t, 0), 0xb0);
    ticks(t, 65536 * 2);
    assert_int_equal(t->gsi_rises[0], 1); /* once */
}

static void test_mode2_rate(void **state)
{
    struct devtest *t = &((struct fix *)*state)->t;
    unsigned before;

    set_mode(t, 0, 2, 11932); /* 100 Hz */
    before = t->gsi_rises[0];
    dt_advance(t, NS_PER_S);
    assert_in_range(t->gsi_rises[0] - before, 99, 101);
    before = t->gsi_rises[0];
    dt_advance(t, 100 * NS_PER_S); /* no drift */
    assert_in_range(t->gsi_rises[0] - before, 9998, 10001);
}

static void test_mode2_new_count_waits(void **state)
{
    struct devtest *t = &((struct fix *)*state)->t;

    set_mode(t, 0, 2, 1000);
    ticks(t, 10.5);
    dt_outb(t, 0x40, 0xf4); /* 500 from the next period on */
    dt_outb(t, 0x40, 0x01);
    assert_int_equal(read_count(t, 0), 990);
    ticks(t, 1000);
    assert_int_equal(read_count(t, 0), 490);
}

static void test_mode3_square(void **state)
{
    struct devtest *t = &((struct fix *)*state)->t;

    dt_outb(t, 0x61, 1);
    set_mode(t, 2, 3, 1000);
    ticks(t, 250.5);
    assert_int_equal(read_count(t, 2), 500);
    assert_true(dt_inb(t, 0x61) & 0x20);
    ticks(t, 300);
    assert_false(dt_inb(t, 0x61) & 0x20);
    ticks(t, 500);
    assert_true(dt_inb(t, 0x61) & 0x20);
}

static void test_channel2_gate(void **state)
{
    struct devtest *t = &((struct fix *)*state)->t;

    /* the way Linux measures the TSC */
    dt_outb(t, 0x61, 1);
    set_mode(t, 2, 0, 5000);
    ticks(t, 2000.5);
    dt_outb(t, 0x61, 0);
    uint16_t frozen = read_count(t, 2);
    assert_int_equal(frozen, 3000);
    ticks(t, 9000);
    assert_int_equal(read_count(t, 2), 3000);
    assert_false(dt_inb(t, 0x61) & 0x20);
    dt_outb(t, 0x61, 1);
    ticks(t, 2998);
    assert_false(dt_inb(t, 0x61) & 0x20);
    ticks(t, 3);
    assert_true(dt_inb(t, 0x61) & 0x20);
}

static void test_one_shot_and_strobe(void **state)
{
    struct devtest *t = &((struct fix *)*state)->t;

    set_mode(t, 2, 1, 100);
    ticks(t, 500);
    assert_true(dt_inb(t, 0x61) & 0x20); /* waits for the gate */
    dt_outb(t, 0x61, 1);
    ticks(t, 50);
    assert_false(dt_inb(t, 0x61) & 0x20);
    dt_outb(t, 0x61, 0); /* falling gate changes nothing */
    ticks(t, 51);
    assert_true(dt_inb(t, 0x61) & 0x20);

    set_mode(t, 0, 4, 100);
    unsigned before = t->gsi_rises[0];
    ticks(t, 200);
    assert_int_equal(t->gsi_rises[0], before + 1);
    ticks(t, 70000);
    assert_int_equal(t->gsi_rises[0], before + 1);

    set_mode(t, 2, 5, 100);
    dt_outb(t, 0x61, 1);
    ticks(t, 100.5);
    assert_false(dt_inb(t, 0x61) & 0x20);
    ticks(t, 1);
    assert_true(dt_inb(t, 0x61) & 0x20);
}

static void test_bcd_latch_access(void **state)
{
    struct devtest *t = &((struct fix *)*state)->t;

    dt_outb(t, 0x43, 0xb1); /* channel 2, both bytes, mode 0, BCD */
    dt_outb(t, 0x61, 1);
    dt_outb(t, 0x42, 0x00);
    dt_outb(t, 0x42, 0x10); /* 1000 */
    ticks(t, 1.5);
    assert_int_equal(read_count(t, 2), 0x0999);

    dt_outb(t, 0x43, 0x14); /* channel 0, low byte only, mode 2 */
    dt_outb(t, 0x40, 100);
    ticks(t, 0.5);
    assert_int_equal(dt_inb(t, 0x40), 100);
    assert_int_equal(dt_inb(t, 0x40), 100);

    set_mode(t, 2, 0, 1000);
    ticks(t, 10.5);
    dt_outb(t, 0x43, 0x80);
    ticks(t, 10);
    dt_outb(t, 0x43, 0x80); /* a second latch is ignored */
    assert_int_equal(dt_inb(t, 0x42), 990 & 0xff);
    assert_int_equal(dt_inb(t, 0x42), 990 >> 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_mode0, setup, teardown),
        cmocka_unit_test_setup_teardown(test_mode2_rate, setup, teardown),
        cmocka_unit_test_setup_teardown(test_mode2_new_count_waits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_mode3_square, setup, teardown),
        cmocka_unit_test_setup_teardown(test_channel2_gate, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_shot_and_strobe, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bcd_latch_access, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
