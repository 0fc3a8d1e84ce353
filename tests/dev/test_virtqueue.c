/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The ring library and the PCI transport under drivers that do it right and drivers that do not.
 * The device is virtio-rng, which answers every chain at once. */
#include "tests/lib/vdriver.h"

#define BUF 0x200000u

struct fixture {
    struct devtest t;
    struct dev *dev;
    struct vdriver d;
};

static int setup(void **state)
{
    static struct fixture f;

    dt_init(&f.t);
    f.dev = dt_add(&f.t, "virtio-rng");
    vd_init(&f.d, &f.t);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    dev_free(f->dev);
    dt_fini(&f->t);
    return 0;
}

/* A chain of one writable buffer is answered: the device lives. */
static void assert_works(struct vdriver *d)
{
    const struct vd_seg seg = {BUF, 32, true};
    uint32_t head, len;

    vd_chain(d, 0, 3, &seg, 1);
    vd_kick(d, 0);
    assert_true(vd_used(d, 0, &head, &len));
    assert_int_equal(head, 3);
    assert_int_equal(len, 32);
    assert_false(vd_used(d, 0, &head, &len));
}

static void assert_breaks(struct vdriver *d)
{
    uint32_t head, len;

    vd_kick(d, 0);
    assert_true(vd_broken(d));
    assert_false(vd_used(d, 0, &head, &len));
    vd_kick(d, 0); /* and stays quiet */
    assert_false(vd_used(d, 0, &head, &len));
    vd_start(d, VD_F_INDIRECT, 1);
    assert_works(d);
}

/* ---- good drivers ---- */

static void a_chain_is_answered(void **state)
{
    struct fixture *f = *state;

    vd_start(&f->d, 0, 1);
    for (unsigned i = 0; i < 30; i++) /* around the ring, within the rate limit */
        assert_works(&f->d);
}

static void indices_wrap_at_65536(void **state)
{
    struct fixture *f = *state;
    const struct vd_seg seg = {BUF, 1, true};
    uint32_t head, len;

    vd_start(&f->d, VD_F_EVENT_IDX, 1);
    for (unsigned i = 0; i < 70000; i++) {
        vd_chain(&f->d, 0, 0, &seg, 1);
        vd_kick(&f->d, 0);
        if (!vd_used(&f->d, 0, &head, &len)) { /* the rate limit */
            dt_advance(&f->t, NS_PER_S / 10);
            assert_true(vd_used(&f->d, 0, &head, &len));
        }
        assert_int_equal(len, 1);
    }
}

static void indirect_chains(void **state)
{
    struct fixture *f = *state;
    struct vdriver *d = &f->d;
    uint32_t head, len;
    uint8_t table[32] = {0};

    vd_start(d, VD_F_INDIRECT, 1);
    st_le64(table, BUF);
    st_le32(table + 8, 10);
    st_le16(table + 12, VD_NEXT | VD_WRITE);
    st_le16(table + 14, 1);
    st_le64(table + 16, BUF + 100);
    st_le32(table + 24, 20);
    st_le16(table + 28, VD_WRITE);
    assert_true(mem_write(f->t.mem, BUF + 0x1000, table, sizeof(table)));
    vd_desc(d, 0, 5, BUF + 0x1000, 32, VD_INDIRECT, 0);
    vd_avail(d, 0, 5);
    vd_kick(d, 0);
    assert_true(vd_used(d, 0, &head, &len));
    assert_int_equal(head, 5);
    assert_int_equal(len, 30);
}

static void without_the_feature_an_indirect_descriptor_breaks(void **state)
{
    struct fixture *f = *state;

    vd_start(&f->d, 0, 1);
    vd_desc(&f->d, 0, 0, BUF, 32, VD_INDIRECT, 0);
    vd_avail(&f->d, 0, 0);
    assert_breaks(&f->d);
}

static void interrupts_follow_the_flags(void **state)
{
    struct fixture *f = *state;
    uint8_t quiet[2] = {1, 0};

    vd_start(&f->d, 0, 1);
    assert_works(&f->d);
    assert_int_equal(dt_read(&f->t, f->d.isr, 1), 1);
    assert_int_equal(dt_read(&f->t, f->d.isr, 1), 0);
    assert_true(mem_write(f->t.mem, f->d.q[0].avail, quiet, 2));
    assert_works(&f->d);
    assert_int_equal(dt_read(&f->t, f->d.isr, 1), 0);
}

static void event_index_holds_interrupts_back(void **state)
{
    struct fixture *f = *state;
    struct vdriver *d = &f->d;
    uint8_t event[2];

    vd_start(d, VD_F_EVENT_IDX, 1);
    assert_works(d); /* the first always interrupts */
    assert_int_equal(dt_read(&f->t, d->isr, 1), 1);
    st_le16(event, 3); /* used_event: tell me when 4 are used */
    assert_true(mem_write(f->t.mem, d->q[0].avail + 4 + 2 * d->q[0].size, event, 2));
    assert_works(d);
    assert_works(d);
    assert_int_equal(dt_read(&f->t, d->isr, 1), 0);
    assert_works(d);
    assert_int_equal(dt_read(&f->t, d->isr, 1), 1);
    /* avail_event: the device wants to hear of the next one */
    assert_true(mem_read(f->t.mem, d->q[0].used + 4 + 8 * d->q[0].size, event, 2));
    assert_int_equal(ld_le16(event), 4);
}

static void msix_carries_the_queue_vector(void **state)
{
    struct fixture *f = *state;
    struct vdriver *d = &f->d;
    unsigned cap = dt_cfg_read(&f->t, d->devfn, PCI_CAP_POINTER, 1);

    while (cap && dt_cfg_read(&f->t, d->devfn, cap, 1) != PCI_CAP_MSIX)
        cap = dt_cfg_read(&f->t, d->devfn, cap + 1, 1);
    assert_true(cap);
    dt_cfg_write(&f->t, d->devfn, cap + 2, 0x8000, 2);
    for (unsigned v = 0; v < 2; v++) {
        dt_write(&f->t, VD_MSIX + 16 * v, 0xfee00000, 4);
        dt_write(&f->t, VD_MSIX + 16 * v + 8, 0x40 + v, 4);
        dt_write(&f->t, VD_MSIX + 16 * v + 12, 0, 4);
    }
    vd_start(d, 0, 1);
    vd_set(d, VD_QUEUE_SELECT, 0);
    vd_set(d, VD_QUEUE_VECTOR, 1);
    vd_set(d, VD_MSIX_CONFIG, 0);
    assert_int_equal(vd_get(d, VD_QUEUE_VECTOR), 1);
    vd_set(d, VD_QUEUE_VECTOR, 7); /* there is none */
    assert_int_equal(vd_get(d, VD_QUEUE_VECTOR), 0xffff);
    vd_set(d, VD_QUEUE_VECTOR, 1);
    assert_works(d);
    assert_int_equal(f->t.msi_count, 1);
    assert_int_equal(f->t.msi_data, 0x41);
    assert_int_equal(dt_read(&f->t, d->isr, 1), 0);
    vd_desc(d, 0, 0, BUF, 0, VD_WRITE, 0);
    vd_avail(d, 0, 0);
    vd_kick(d, 0);
    assert_true(vd_broken(d));
    assert_int_equal(f->t.msi_data, 0x40); /* the configuration changed */
}

static void features_are_negotiated(void **state)
{
    struct fixture *f = *state;
    struct vdriver *d = &f->d;

    assert_true(vd_features(d) & VD_F_VERSION_1);
    vd_set(d, VD_FEATURE_SELECT, 2);
    assert_int_equal(vd_get(d, VD_FEATURE), 0);
    assert_false(vd_negotiate(d, UINT64_C(1) << 40)); /* not offered */
    vd_set(d, VD_STATUS, VD_ACKNOWLEDGE | VD_DRIVER | VD_DRIVER_OK);
    assert_false(vd_get(d, VD_STATUS) & VD_DRIVER_OK);
    assert_true(vd_negotiate(d, 0));
    vd_set(d, VD_DRIVER_FEATURE_SELECT, 0); /* too late */
    vd_set(d, VD_DRIVER_FEATURE, (uint32_t)VD_F_EVENT_IDX);
    assert_int_equal(vd_get(d, VD_DRIVER_FEATURE), 0);
    assert_int_equal(vd_get(d, VD_NUM_QUEUES), 1);
    vd_set(d, VD_QUEUE_SELECT, 1);
    assert_int_equal(vd_get(d, VD_QUEUE_SIZE), 0);
}

static void a_machine_reset_takes_the_pci_side_along(void **state)
{
    struct fixture *f = *state;

    vd_start(&f->d, 0, 1);
    dev_reset(f->dev);
    assert_int_equal(dt_cfg_read(&f->t, f->d.devfn, PCI_COMMAND, 2), 0);
    assert_int_equal(dt_cfg_read(&f->t, f->d.devfn, PCI_BAR0 + 16, 4) & ~15u, 0);
    vd_init(&f->d, &f->t);
    assert_int_equal(vd_get(&f->d, VD_STATUS), 0);
    vd_start(&f->d, 0, 1);
    assert_works(&f->d);
}

/* ---- bad drivers ---- */

static void head_out_of_range(void **state)
{
    struct fixture *f = *state;

    vd_start(&f->d, 0, 1);
    vd_avail(&f->d, 0, 16);
    assert_breaks(&f->d);
}

static void next_out_of_range(void **state)
{
    struct fixture *f = *state;

    vd_start(&f->d, 0, 1);
    vd_desc(&f->d, 0, 0, BUF, 8, VD_NEXT | VD_WRITE, 0xffff);
    vd_avail(&f->d, 0, 0);
    assert_breaks(&f->d);
}

static void a_loop_ends(void **state)
{
    struct fixture *f = *state;

    vd_start(&f->d, 0, 1);
    vd_desc(&f->d, 0, 0, BUF, 8, VD_NEXT | VD_WRITE, 1);
    vd_desc(&f->d, 0, 1, BUF, 8, VD_NEXT | VD_WRITE, 0);
    vd_avail(&f->d, 0, 0);
    assert_breaks(&f->d);
}

static void readable_behind_writable(void **state)
{
    struct fixture *f = *state;
    const struct vd_seg segs[] = {{BUF, 8, true}, {BUF, 8, false}};

    vd_start(&f->d, 0, 1);
    vd_chain(&f->d, 0, 0, segs, 2);
    assert_breaks(&f->d);
}

static void buffers_outside_of_memory(void **state)
{
    static const struct vd_seg bad[] = {
        {DT_RAM_SIZE, 1, true},
        {DT_RAM_SIZE - 8, 16, true},
        {UINT64_MAX, 1, true},
        {UINT64_MAX - 7, 16, true},
        {VD_BAR, 8, true},
        {0, UINT32_MAX, true},
        {UINT64_C(1) << 40, 64, false},
        {BUF, 0, true},
    };
    struct fixture *f = *state;

    for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
        vd_start(&f->d, 0, 1);
        vd_chain(&f->d, 0, 0, &bad[i], 1);
        assert_breaks(&f->d);
    }
}

static void bad_indirect_tables(void **state)
{
    static const struct {
        uint64_t addr;
        uint32_t len;
        uint16_t flags;
    } bad[] = {
        {BUF, 0, VD_INDIRECT},
        {BUF, 15, VD_INDIRECT},
        {DT_RAM_SIZE - 8, 16, VD_INDIRECT},
        {BUF, 17, VD_INDIRECT},
        {BUF, 16, VD_INDIRECT | VD_NEXT},
        {BUF, 0xfffffff0, VD_INDIRECT},
        {VD_BAR, 16, VD_INDIRECT},
    };
    struct fixture *f = *state;

    for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
        vd_start(&f->d, VD_F_INDIRECT, 1);
        vd_desc(&f->d, 0, 0, bad[i].addr, bad[i].len, bad[i].flags, 0);
        vd_avail(&f->d, 0, 0);
        assert_breaks(&f->d);
    }
}

static void indirect_in_indirect_and_too_long(void **state)
{
    struct fixture *f = *state;
    uint8_t table[16 * 300] = {0};

    for (unsigned i = 0; i < 300; i++) {
        st_le64(table + 16 * i, BUF);
        st_le32(table + 16 * i + 8, 1);
        st_le16(table + 16 * i + 12, i < 299 ? VD_NEXT | VD_WRITE : VD_WRITE);
        st_le16(table + 16 * i + 14, (uint16_t)(i + 1));
    }
    assert_true(mem_write(f->t.mem, BUF + 0x1000, table, sizeof(table)));
    vd_start(&f->d, VD_F_INDIRECT, 1);
    vd_desc(&f->d, 0, 0, BUF + 0x1000, sizeof(table), VD_INDIRECT, 0);
    vd_avail(&f->d, 0, 0);
    assert_breaks(&f->d);
    st_le64(table, BUF + 0x2000);
    st_le32(table + 8, 16);
    st_le16(table + 12, VD_INDIRECT);
    assert_true(mem_write(f->t.mem, BUF + 0x1000, table, 16));
    vd_start(&f->d, VD_F_INDIRECT, 1);
    vd_desc(&f->d, 0, 0, BUF + 0x1000, 16, VD_INDIRECT, 0);
    vd_avail(&f->d, 0, 0);
    assert_breaks(&f->d);
}

static void avail_index_runs_ahead(void **state)
{
    struct fixture *f = *state;

    vd_start(&f->d, 0, 1);
    f->d.q[0].avail_idx = 17;
    vd_avail(&f->d, 0, 0);
    assert_breaks(&f->d);
}

static void rings_outside_of_memory(void **state)
{
    static const uint64_t bad[] = {DT_RAM_SIZE - 4, UINT64_MAX - 15, VD_BAR, 0x100001};
    struct fixture *f = *state;
    struct vdriver *d = &f->d;

    for (unsigned field = 0x20; field <= 0x30; field += 8)
        for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
            assert_true(vd_negotiate(d, 0));
            vd_queue_setup(d, 0, 16); /* enabled: cannot be moved any more */
            vd_set(d, field, 4, 0x300000);
            assert_int_not_equal(vd_get(d, field, 4), 0x300000);
            assert_true(vd_negotiate(d, 0));
            vd_set(d, VD_QUEUE_SELECT, 0);
            vd_set(d, 0x20, 4, VD_RINGS);
            vd_set(d, 0x28, 4, VD_RINGS + 0x2000);
            vd_set(d, 0x30, 4, VD_RINGS + 0x4000);
            vd_set(d, field, 4, (uint32_t)bad[i]);
            vd_set(d, field + 4, 4, (uint32_t)(bad[i] >> 32));
            vd_set(d, VD_QUEUE_ENABLE, 1);
            assert_int_equal(vd_get(d, VD_QUEUE_ENABLE), 0);
            assert_true(vd_broken(d));
        }
    assert_true(vd_negotiate(d, 0));
    vd_set(d, VD_QUEUE_SIZE, 3); /* not a power of two */
    assert_int_equal(vd_get(d, VD_QUEUE_SIZE), 128);
    vd_set(d, VD_QUEUE_SIZE, 32768);
    assert_int_equal(vd_get(d, VD_QUEUE_SIZE), 128);
}

/* ---- virtio-rng itself ---- */

static void randomness_is_limited(void **state)
{
    struct fixture *f = *state;
    const struct vd_seg seg = {BUF, 4096, true};
    uint32_t head, len, total = 0;

    vd_start(&f->d, 0, 1);
    for (unsigned i = 0; i < 16; i++)
        vd_chain(&f->d, 0, (uint16_t)i, &seg, 1);
    vd_kick(&f->d, 0);
    while (vd_used(&f->d, 0, &head, &len))
        total += len;
    assert_in_range(total, 1, 65536 / 64);
    for (unsigned i = 0; i < 16; i++)
        dt_advance(&f->t, NS_PER_S / 64);
    for (unsigned n = 1; vd_used(&f->d, 0, &head, &len); n++)
        total += len;
    assert_in_range(total, 8192, 65536 / 64 * 17);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_chain_is_answered),
        T(indices_wrap_at_65536),
        T(indirect_chains),
        T(without_the_feature_an_indirect_descriptor_breaks),
        T(interrupts_follow_the_flags),
        T(event_index_holds_interrupts_back),
        T(msix_carries_the_queue_vector),
        T(features_are_negotiated),
        T(a_machine_reset_takes_the_pci_side_along),
        T(head_out_of_range),
        T(next_out_of_range),
        T(a_loop_ends),
        T(readable_behind_writable),
        T(buffers_outside_of_memory),
        T(bad_indirect_tables),
        T(indirect_in_indirect_and_too_long),
        T(avail_index_runs_ahead),
        T(rings_outside_of_memory),
        T(randomness_is_limited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
