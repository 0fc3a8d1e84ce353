/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/devtest.h"

#include "vmm/dev/platform/hpet.h"

#define BASE HPET_BASE
#define T(n) (BASE + 0x100 + (n) * 0x20)

struct fix {
    struct devtest t;
    struct dev *dev;
};

static int setup(void **state)
{
    struct fix *f = test_calloc(1, sizeof(*f));

    dt_init(&f->t);
    f->dev = dt_add(&f->t, "hpet");
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

static void test_counter(void **state)
{
    struct devtest *t = &((struct fix *)*state)->t;

    assert_int_equal(dt_read(t, BASE, 4), 0x8086a201);
    assert_int_equal(dt_read(t, BASE + 4, 4), 10000000);
    dt_advance(t, 1000);
    assert_int_equal(dt_read(t, BASE + 0xf0, 8), 0);
    dt_write(t, BASE + 0x10, 1, 4);
    dt_advance(t, 1000);
    assert_int_equal(dt_read(t, BASE + 0xf0, 8), 100);
    dt_write(t, BASE + 0x10, 0, 4);
    dt_advance(t, 1000);
    assert_int_equal(dt_read(t, BASE + 0xf0, 8), 100);
    dt_write(t, BASE + 0xf0, 0x1234567890, 8);
    assert_int_equal(dt_read(t, BASE + 0xf4, 4), 0x12);
    assert_int_equal(dt_read(t, BASE + 0xf1, 1), 0x78);
}

static void test_one_shot(void **state)
{
    struct devtest *t = &((struct fix *)*state)->t;

    dt_write(t, T(0), 0x4 | 20 << 9, 4); /* GSI 20, edge */
    dt_write(t, T(0) + 8, 1000, 8);
    dt_write(t, BASE + 0x10, 1, 4);
    dt_advance(t, 9990);
    assert_int_equal(t->gsi_rises[20], 0);
    dt_advance(t, 10);
    assert_int_equal(t->gsi_rises[20], 1);
    dt_advance(t, 10 * NS_PER_S);
    assert_int_equal(t->gsi_rises[20], 1);
}

static void test_periodic_level(void **state)
{
    struct devtest *t = &((struct fix *)*state)->t;

    dt_write(t, T(1), 0x4 | 0x2 | 0x8 | 0x40 | 21 << 9, 4);
    dt_write(t, T(1) + 8, 5000, 8); /* accumulator */
    dt_write(t, T(1) + 8, 10000, 8); /* period: 100 us */
    dt_write(t, BASE + 0x10, 1, 4);
    dt_advance(t, 50 * 1000);
    assert_int_equal(t->gsi[21], 1);
    assert_int_equal(dt_read(t, BASE + 0x20, 4), 2);
    dt_write(t, BASE + 0x20, 2, 4);
    assert_int_equal(t->gsi[21], 0);
    for (unsigned i = 0; i < 100; i++) {
        dt_advance(t, 100 * 1000);
        dt_write(t, BASE + 0x20, 2, 4);
    }
    assert_int_equal(t->gsi_rises[21], 101);
}

/* Without an interrupt the comparator moves on all the same, seen from outside, and interrupts go on in phase. */
static void test_silent_period(void **state)
{
    struct devtest *t = &((struct fix *)*state)->t;
    const unsigned period = 400 * 1000; /* 4 ms */

    for (unsigned narrow = 0; narrow < 2; narrow++) {
        unsigned config = 0x8 | 0x40 | 20 << 9 | narrow << 8;

        dt_write(t, BASE + 0x10, 0, 4);
        dt_write(t, BASE + 0xf0, narrow ? 0xf0000000 : 0, 8);
        dt_write(t, T(0), config, 4);
        dt_write(t, T(0) + 8, (narrow ? 0xf0000000 : 0) + period, 8);
        dt_write(t, T(0) + 8, period, 8);
        dt_write(t, BASE + 0x10, 1, 4);
        t->gsi_rises[20] = 0;
        for (unsigned i = 0; i < 50; i++) {
            dt_advance(t, 7777 * (int64_t)NS_PER_MS / 10);
            uint64_t ahead = dt_read(t, T(0) + 8, 8) - dt_read(t, BASE + 0xf0, 8);
            assert_in_range(narrow ? (uint32_t)ahead : ahead, 1, period);
        }
        assert_int_equal(t->gsi_rises[20], 0);
        dt_write(t, T(0), (config & ~0x40u) | 4, 4);
        dt_advance(t, 40 * NS_PER_MS);
        assert_int_equal(t->gsi_rises[20], 10);
    }
}

static void test_tiny_period_does_not_spin(void **state)
{
    struct devtest *t = &((struct fix *)*state)->t;

    dt_write(t, T(0), 0x4 | 0x8 | 0x40 | 20 << 9, 4);
    dt_write(t, T(0) + 8, 1, 8);
    dt_write(t, T(0) + 8, 1, 8);
    dt_write(t, BASE + 0x10, 1, 4);
    dt_advance(t, NS_PER_MS);
    assert_in_range(t->gsi_rises[20], 10, 60);
}

static void test_32bit_wrap(void **state)
{
    struct devtest *t = &((struct fix *)*state)->t;

    dt_write(t, BASE + 0xf0, 0xfffffff0, 8);
    dt_write(t, T(0), 0x4 | 0x100 | 20 << 9, 4);
    dt_write(t, T(0) + 8, 0x10, 4);
    dt_write(t, BASE + 0x10, 1, 4);
    dt_advance(t, 310);
    assert_int_equal(t->gsi_rises[20], 0);
    dt_advance(t, 10);
    assert_int_equal(t->gsi_rises[20], 1);
}

static void test_fsb(void **state)
{
    struct devtest *t = &((struct fix *)*state)->t;

    dt_write(t, T(2) + 0x10, 0xfee0100000000044, 8);
    dt_write(t, T(2), 0x4004, 4);
    dt_write(t, T(2) + 8, 100, 8);
    dt_write(t, BASE + 0x10, 1, 4);
    dt_advance(t, 1000);
    assert_int_equal(t->msi_count, 1);
    assert_int_equal(t->msi_address, 0xfee01000);
    assert_int_equal(t->msi_data, 0x44);
}

static void test_legacy_replacement(void **state)
{
    struct fix *f = *state;
    struct devtest *t = &f->t;

    irq_set(hpet_pit_line(f->dev), 1);
    assert_int_equal(t->gsi[0], 1);
    dt_write(t, T(0), 0x4, 4);
    dt_write(t, T(0) + 8, 100, 8);
    dt_write(t, BASE + 0x10, 3, 4);
    assert_int_equal(t->gsi[0], 0);
    irq_set(hpet_pit_line(f->dev), 0);
    irq_set(hpet_pit_line(f->dev), 1);
    irq_set(hpet_rtc_line(f->dev), 1);
    assert_int_equal(t->gsi_rises[0], 1);
    assert_int_equal(t->gsi[8], 0);
    dt_advance(t, 1000);
    assert_int_equal(t->gsi_rises[0], 2);
    dt_write(t, BASE + 0x10, 0, 4);
    assert_int_equal(t->gsi[8], 1); /* the RTC has its line back */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_counter, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_shot, setup, teardown),
        cmocka_unit_test_setup_teardown(test_periodic_level, setup, teardown),
        cmocka_unit_test_setup_teardown(test_silent_period, setup, teardown),
        cmocka_unit_test_setup_teardown(test_tiny_period_does_not_spin, setup, teardown),
        cmocka_unit_test_setup_teardown(test_32bit_wrap, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fsb, setup, teardown),
        cmocka_unit_test_setup_teardown(test_legacy_replacement, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
