/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The PCI transport of virtio with an accelerator that takes doorbells. The device is virtio-rng, which answers
 * every chain at once. */
#include "tests/lib/vdriver.h"

#define BUF   0x200000u
#define OTHER UINT64_C(0xe0200000) /* a second place for the BAR */

struct fixture {
    struct devtest t;
    struct loop *loop;
    struct dev *dev;
    struct vdriver d;
};

static int setup(void **state)
{
    static struct fixture f;
    struct err e = ERR_INIT;

    dt_init(&f.t);
    f.t.accelerated = true;
    f.loop = f.t.env.loop = loop_new(&e);
    assert_non_null(f.loop);
    f.dev = dt_add(&f.t, "virtio-rng");
    vd_init(&f.d, &f.t);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    dev_free(f->dev);
    assert_int_equal(f->t.bell_count, 0);
    loop_free(f->loop);
    dt_fini(&f->t);
    return 0;
}

static void offer_buffer(struct fixture *f)
{
    const struct vd_seg seg = {BUF, 32, true};

    vd_chain(&f->d, 0, 3, &seg, 1);
}

static bool answered(struct fixture *f)
{
    uint32_t head, len;

    return vd_used(&f->d, 0, &head, &len);
}

static void ring(struct fixture *f)
{
    dt_ring(&f->t, f->d.q[0].notify, 0, 2);
}

/* ---- doorbells ---- */

static void doorbells_are_served_by_the_loop(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(f->t.bell_count, 0);
    vd_start(&f->d, 0, 1);
    assert_int_equal(f->t.bell_count, 1);
    assert_int_equal(f->t.bells[0].address, f->d.q[0].notify);
    offer_buffer(f);
    ring(f);
    assert_false(answered(f)); /* the vCPU goes on */
    loop_step(f->loop, 1000);
    assert_true(answered(f));
    offer_buffer(f);
    vd_kick(&f->d, 0); /* a write that came to the bus */
    assert_true(answered(f));
}

static void doorbells_move_with_the_bar(void **state)
{
    struct fixture *f = *state;

    vd_start(&f->d, 0, 1);
    dt_cfg_write(&f->t, f->d.devfn, PCI_COMMAND, PCI_COMMAND_MASTER, 2);
    assert_int_equal(f->t.bell_count, 0);
    dt_cfg_write(&f->t, f->d.devfn, PCI_BAR0 + 16, (uint32_t)OTHER, 4);
    assert_int_equal(f->t.bell_count, 0);
    dt_cfg_write(&f->t, f->d.devfn, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
    assert_int_equal(f->t.bell_count, 1);
    assert_int_equal(f->t.bells[0].address, OTHER + (f->d.q[0].notify - VD_BAR));
    f->d.q[0].notify = f->t.bells[0].address;
    offer_buffer(f);
    ring(f);
    loop_step(f->loop, 1000);
    assert_true(answered(f));
}

static void a_reset_takes_doorbells_back(void **state)
{
    struct fixture *f = *state;

    vd_start(&f->d, 0, 1);
    offer_buffer(f);
    ring(f);
    vd_reset(&f->d);
    assert_int_equal(f->t.bell_count, 0);
    loop_step(f->loop, 1);
    assert_false(answered(f)); /* what rang before is forgotten */
    vd_start(&f->d, 0, 1);
    offer_buffer(f);
    loop_step(f->loop, 1);
    assert_false(answered(f));
    dev_reset(f->dev); /* power-on */
    assert_int_equal(f->t.bell_count, 0);
    vd_init(&f->d, &f->t);
    vd_start(&f->d, 0, 1);
    assert_int_equal(f->t.bell_count, 1);
}

static void a_doorbell_waits_for_the_end_of_a_pause(void **state)
{
    struct fixture *f = *state;

    vd_start(&f->d, 0, 1);
    offer_buffer(f);
    ring(f);
    clock_pause(f->t.clock);
    loop_step(f->loop, 1000);
    assert_false(answered(f));
    clock_resume(f->t.clock);
    dt_advance(&f->t, 1);
    assert_true(answered(f));
}

static void without_an_accelerator_the_write_is_served(void **state)
{
    struct fixture *f = *state;

    f->t.accelerated = false;
    vd_start(&f->d, 0, 1);
    assert_int_equal(f->t.bell_count, 0);
    offer_buffer(f);
    ring(f);
    assert_true(answered(f));
}

/* ---- access through configuration space ---- */

static void aim(struct fixture *f, unsigned bar, uint32_t offset, uint32_t length)
{
    dt_cfg_write(&f->t, f->d.devfn, f->d.window + 4, bar, 1);
    dt_cfg_write(&f->t, f->d.devfn, f->d.window + 8, offset, 4);
    dt_cfg_write(&f->t, f->d.devfn, f->d.window + 12, length, 4);
}

static uint32_t look(struct fixture *f, uint64_t address, unsigned size)
{
    aim(f, 4, (uint32_t)(address - VD_BAR), size);
    return dt_cfg_read(&f->t, f->d.devfn, f->d.window + 16, size);
}

static void put(struct fixture *f, uint64_t address, uint32_t value, unsigned size)
{
    aim(f, 4, (uint32_t)(address - VD_BAR), size);
    dt_cfg_write(&f->t, f->d.devfn, f->d.window + 16, value, size);
}

static void the_window_reaches_all_structures(void **state)
{
    struct fixture *f = *state;
    uint64_t common = f->d.common;

    assert_int_equal(dt_cfg_read(&f->t, f->d.devfn, f->d.window + 2, 2), 5 << 8 | 20);
    vd_start(&f->d, 0, 1);
    dt_cfg_write(&f->t, f->d.devfn, PCI_COMMAND, PCI_COMMAND_MASTER, 2); /* the BAR need not be mapped */
    assert_int_equal(look(f, common + 0x14, 1), 15);
    assert_int_equal(look(f, common + 0x12, 2), 1);
    put(f, common, 1, 4);
    assert_int_equal(look(f, common, 4), 1);
    assert_int_equal(look(f, common + 4, 4), 1); /* VERSION_1 */
    offer_buffer(f);
    put(f, f->d.notify, 0, 2);
    assert_true(answered(f));
    assert_int_equal(look(f, f->d.isr, 1), 1);
    assert_int_equal(look(f, f->d.isr, 1), 0); /* read clears */
    put(f, common + 0x14, 0, 1);
    assert_int_equal(look(f, common + 0x14, 1), 0);
    dev_reset(f->dev);
    assert_int_equal(dt_cfg_read(&f->t, f->d.devfn, f->d.window + 4, 1), 0);
    for (unsigned i = 8; i < 20; i += 4)
        assert_int_equal(dt_cfg_read(&f->t, f->d.devfn, f->d.window + i, 4), 0);
}

/* Nothing happens, and the data stays what was written. */
static void assert_blind(struct fixture *f, unsigned bar, uint32_t offset, uint32_t length)
{
    aim(f, bar, offset, length);
    dt_cfg_write(&f->t, f->d.devfn, f->d.window + 16, 0x12345600, 4);
    assert_int_equal(dt_cfg_read(&f->t, f->d.devfn, f->d.window + 16, 4), 0x12345600);
    assert_int_equal(vd_get(&f->d, VD_STATUS), 15);
}

static void the_window_shows_nothing_else(void **state)
{
    struct fixture *f = *state;
    uint32_t status = (uint32_t)(f->d.common - VD_BAR) + 0x14;

    vd_start(&f->d, 0, 1);
    assert_blind(f, 4, status, 0);
    assert_blind(f, 4, status, 3);
    assert_blind(f, 4, status, 8);
    assert_blind(f, 4, status, UINT32_MAX);
    assert_blind(f, 4, status - 1, 2); /* not aligned */
    assert_blind(f, 4, status - 2, 4);
    assert_blind(f, 4, 0x4000 + status, 1); /* beyond the BAR */
    assert_blind(f, 4, 0xfffffffc, 4);
    for (unsigned bar = 0; bar < 256; bar++)
        if (bar != 4)
            assert_blind(f, bar, status, 1);
    /* between the structures: zeros, as in the BAR */
    assert_int_equal(look(f, VD_BAR + 0x0ffc, 4), 0);
    put(f, VD_BAR + 0x0ffc, 1, 4);
    put(f, f->d.notify + 0xffc, 0, 4);
    assert_int_equal(vd_get(&f->d, VD_STATUS), 15);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(doorbells_are_served_by_the_loop),
        T(doorbells_move_with_the_bar),
        T(a_reset_takes_doorbells_back),
        T(a_doorbell_waits_for_the_end_of_a_pause),
        T(without_an_accelerator_the_write_is_served),
        T(the_window_reaches_all_structures),
        T(the_window_shows_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
