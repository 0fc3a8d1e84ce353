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

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(doorbells_are_served_by_the_loop),
        T(doorbells_move_with_the_bar),
        T(a_reset_takes_doorbells_back),
        T(a_doorbell_waits_for_the_end_of_a_pause),
        T(without_an_accelerator_the_write_is_served),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
