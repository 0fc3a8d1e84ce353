/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/devtest.h"

#include "vmm/dev/platform/rtc.h"

struct fix {
    struct devtest t;
    struct dev *dev;
};

static int setup(void **state)
{
    struct fix *f = test_calloc(1, sizeof(*f));

    dt_init(&f->t);
    f->dev = dt_new(&f->t, "rtc");
    dev_set_u64(f->dev, "start", 951826557); /* 2000-02-29 12:15:57 UTC, a Tuesday */
    dev_set_u64(f->dev, "memory-low", 512 * MIB);
    dev_set_u64(f->dev, "memory-high", 3 * GIB);
    dt_realize(f->dev);
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

static uint8_t get(struct devtest *t, uint8_t reg)
{
    dt_outb(t, 0x70, reg | 0x80); /* with NMIs masked, as firmware does */
    return dt_inb(t, 0x71);
}

static void set(struct devtest *t, uint8_t reg, uint8_t v)
{
    dt_outb(t, 0x70, reg);
    dt_outb(t, 0x71, v);
}

static void test_time(void **state)
{
    struct devtest *t = &((struct fix *)*state)->t;

    assert_int_equal(get(t, 0), 0x57);
    assert_int_equal(get(t, 2), 0x15);
    assert_int_equal(get(t, 4), 0x12);
    assert_int_equal(get(t, 6), 3);
    assert_int_equal(get(t, 7), 0x29);
    assert_int_equal(get(t, 8), 0x02);
    assert_int_equal(get(t, 9), 0x00);
    assert_int_equal(get(t, 0x32), 0x20);
    dt_advance(t, 3 * NS_PER_S + NS_PER_S / 2);
    assert_int_equal(get(t, 0), 0x00);
    assert_int_equal(get(t, 2), 0x16);
    set(t, 0xb, 0x04); /* binary, 12 hours */
    assert_int_equal(get(t, 2), 16);
    assert_int_equal(get(t, 4), 12 | 0x80);
}

static void test_setting(void **state)
{
    struct devtest *t = &((struct fix *)*state)->t;

    set(t, 0xb, 0x82); /* stop */
    set(t, 0x32, 0x20);
    set(t, 9, 0x25);
    set(t, 8, 0x12);
    set(t, 7, 0x31);
    set(t, 4, 0x23);
    set(t, 2, 0x59);
    set(t, 0, 0x58);
    dt_advance(t, 10 * NS_PER_S);
    assert_int_equal(get(t, 0), 0x58); /* frozen */
    set(t, 0xb, 0x02);
    dt_advance(t, 3 * NS_PER_S);
    assert_int_equal(get(t, 0), 0x01);
    assert_int_equal(get(t, 9), 0x26);
    assert_int_equal(get(t, 8), 0x01);
    assert_int_equal(get(t, 7), 0x01);
    assert_int_equal(get(t, 4), 0x00);
    set(t, 2, 0xff); /* nonsense is normalised, not trusted */
    set(t, 8, 0xff);
    get(t, 8);
}

static void test_update_and_uip(void **state)
{
    struct devtest *t = &((struct fix *)*state)->t;

    assert_int_equal(get(t, 0xa) & 0x80, 0);
    dt_advance(t, NS_PER_S - 100 * NS_PER_US);
    assert_int_equal(get(t, 0xa) & 0x80, 0x80);
    dt_advance(t, 200 * NS_PER_US);
    assert_int_equal(get(t, 0xa) & 0x80, 0);
    assert_int_equal(get(t, 0xc), 0x10); /* the flag without the interrupt */
    assert_int_equal(get(t, 0xc), 0);
    assert_int_equal(t->gsi[8], 0);
    set(t, 0xb, 0x12);
    dt_advance(t, NS_PER_S);
    assert_int_equal(t->gsi[8], 1);
    assert_int_equal(get(t, 0xc), 0x90);
    assert_int_equal(t->gsi[8], 0);
}

static void test_periodic(void **state)
{
    struct devtest *t = &((struct fix *)*state)->t;
    unsigned ticks = 0;

    set(t, 0xa, 0x26); /* 1024 Hz */
    set(t, 0xb, 0x42);
    for (unsigned i = 0; i < 2000; i++) {
        dt_advance(t, NS_PER_S / 2000);
        if (t->gsi[8]) {
            ticks++;
            assert_int_equal(get(t, 0xc) & 0xc0, 0xc0);
        }
    }
    assert_in_range(ticks, 1023, 1025);
    set(t, 0xa, 0x20); /* off */
    get(t, 0xc);
    dt_advance(t, NS_PER_S);
    assert_int_equal(t->gsi[8], 0);
}

static void test_alarm(void **state)
{
    struct devtest *t = &((struct fix *)*state)->t;

    set(t, 1, 0x05); /* any hour, any minute, second 5 */
    set(t, 3, 0xc0);
    set(t, 5, 0xff);
    set(t, 0xb, 0x22);
    dt_advance(t, 7 * NS_PER_S + NS_PER_S / 2);
    assert_int_equal(t->gsi[8], 0);
    dt_advance(t, NS_PER_S);
    assert_int_equal(t->gsi[8], 1);
    assert_int_equal(get(t, 0xc) & 0xa0, 0xa0);
    dt_advance(t, 30 * NS_PER_S);
    assert_int_equal(t->gsi[8], 0);
    dt_advance(t, 31 * NS_PER_S);
    assert_int_equal(t->gsi[8], 1);
}

static void test_cmos(void **state)
{
    struct fix *f = *state;
    struct devtest *t = &f->t;

    assert_int_equal(get(t, 0x34) | get(t, 0x35) << 8, (512 - 16) * 16);
    assert_int_equal(get(t, 0x5b) | get(t, 0x5c) << 8 | get(t, 0x5d) << 16, 3 * 1024 * 16);
    rtc_set_cmos(f->dev, 0x3d, 0x23);
    rtc_set_cmos(f->dev, 0x0a, 0xff); /* not a cell */
    assert_int_equal(get(t, 0x3d), 0x23);
    set(t, 0x60, 0xa5);
    dev_reset(f->dev);
    assert_int_equal(get(t, 0x60), 0xa5); /* the battery */
    assert_int_equal(get(t, 0xd), 0x80);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_time, setup, teardown),
        cmocka_unit_test_setup_teardown(test_setting, setup, teardown),
        cmocka_unit_test_setup_teardown(test_update_and_uip, setup, teardown),
        cmocka_unit_test_setup_teardown(test_periodic, setup, teardown),
        cmocka_unit_test_setup_teardown(test_alarm, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cmos, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
