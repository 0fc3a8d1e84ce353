/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/vdriver.h"

static void find_structures(struct vdriver *d)
{
    struct devtest *t = d->t;

    d->common = d->isr = d->config = d->notify = 0;
    for (unsigned cap = dt_cfg_read(t, d->devfn, PCI_CAP_POINTER, 1), n = 0; cap && n < 16; n++) {
        if (dt_cfg_read(t, d->devfn, cap, 1) == PCI_CAP_VENDOR) {
            unsigned type = dt_cfg_read(t, d->devfn, cap + 3, 1);
            uint64_t at = VD_BAR + dt_cfg_read(t, d->devfn, cap + 8, 4);

            if (type == 5)
                d->window = cap;
            else
                assert_int_equal(dt_cfg_read(t, d->devfn, cap + 4, 1), 4);
            if (type == 1)
                d->common = at;
            else if (type == 2) {
                d->notify = at;
                d->notify_scale = dt_cfg_read(t, d->devfn, cap + 16, 4);
            } else if (type == 3)
                d->isr = at;
            else if (type == 4)
                d->config = at;
        }
        cap = dt_cfg_read(t, d->devfn, cap + 1, 1);
    }
}

void vd_init(struct vdriver *d, struct devtest *t)
{
    *d = (struct vdriver){.t = t};
    for (unsigned slot = 0; slot < 32; slot++)
        if (pci_bus_dev(t->pci, slot << 3))
            d->devfn = slot << 3;
    dt_cfg_write(t, d->devfn, PCI_BAR0 + 4, (uint32_t)VD_MSIX, 4);
    dt_cfg_write(t, d->devfn, PCI_BAR0 + 16, (uint32_t)VD_BAR, 4);
    dt_cfg_write(t, d->devfn, PCI_BAR0 + 20, 0, 4);
    dt_cfg_write(t, d->devfn, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
    find_structures(d);
    assert_true(d->common && d->isr && d->notify);
}

uint32_t vd_get(struct vdriver *d, unsigned offset, unsigned size)
{
    return (uint32_t)dt_read(d->t, d->common + offset, size);
}

void vd_set(struct vdriver *d, unsigned offset, unsigned size, uint32_t v)
{
    dt_write(d->t, d->common + offset, v, size);
}

uint64_t vd_features(struct vdriver *d)
{
    uint64_t f;

    vd_set(d, VD_FEATURE_SELECT, 1);
    f = (uint64_t)vd_get(d, VD_FEATURE) << 32;
    vd_set(d, VD_FEATURE_SELECT, 0);
    return f | vd_get(d, VD_FEATURE);
}

void vd_reset(struct vdriver *d)
{
    vd_set(d, VD_STATUS, 0);
    assert_int_equal(vd_get(d, VD_STATUS), 0);
}

bool vd_negotiate(struct vdriver *d, uint64_t features)
{
    features |= VD_F_VERSION_1;
    vd_reset(d);
    vd_set(d, VD_STATUS, VD_ACKNOWLEDGE);
    vd_set(d, VD_STATUS, VD_ACKNOWLEDGE | VD_DRIVER);
    vd_set(d, VD_DRIVER_FEATURE_SELECT, 0);
    vd_set(d, VD_DRIVER_FEATURE, (uint32_t)features);
    vd_set(d, VD_DRIVER_FEATURE_SELECT, 1);
    vd_set(d, VD_DRIVER_FEATURE, (uint32_t)(features >> 32));
    vd_set(d, VD_STATUS, VD_ACKNOWLEDGE | VD_DRIVER | VD_FEATURES_OK);
    return vd_get(d, VD_STATUS) & VD_FEATURES_OK;
}

void vd_queue_setup(struct vdriver *d, unsigned n, uint16_t size)
{
    static const uint8_t zeros[VD_RING];
    struct vd_queue *q = &d->q[n];

    *q = (struct vd_queue){.desc = VD_RINGS + n * VD_RING, .size = size};
    q->avail = q->desc + 0x2000;
    q->used = q->desc + 0x4000;
    assert_true(mem_write(d->t->mem, q->desc, zeros, sizeof(zeros)));
    vd_set(d, VD_QUEUE_SELECT, n);
    vd_set(d, VD_QUEUE_SIZE, size);
    for (unsigned i = 0; i < 2; i++) {
        vd_set(d, 0x20 + 4 * i, 4, (uint32_t)(q->desc >> 32 * i));
        vd_set(d, 0x28 + 4 * i, 4, (uint32_t)(q->avail >> 32 * i));
        vd_set(d, 0x30 + 4 * i, 4, (uint32_t)(q->used >> 32 * i));
    }
    q->notify = d->notify + vd_get(d, VD_QUEUE_NOTIFY_OFF) * d->notify_scale;
    vd_set(d, VD_QUEUE_ENABLE, 1);
}

void vd_start(struct vdriver *d, uint64_t features, unsigned queues)
{
    assert_true(vd_negotiate(d, features));
    for (unsigned n = 0; n < queues; n++)
        vd_queue_setup(d, n, 16);
    vd_set(d, VD_STATUS, VD_ACKNOWLEDGE | VD_DRIVER | VD_FEATURES_OK | VD_DRIVER_OK);
    assert_false(vd_broken(d));
}

static void poke(struct vdriver *d, uint64_t gpa, uint64_t v, unsigned size)
{
    uint8_t raw[8];

    st_le(raw, v, size);
    assert_true(mem_write(d->t->mem, gpa, raw, size));
}

static uint64_t peek(struct vdriver *d, uint64_t gpa, unsigned size)
{
    uint8_t raw[8] = {0};

    assert_true(mem_read(d->t->mem, gpa, raw, size));
    return ld_le(raw, size);
}

void vd_desc(struct vdriver *d, unsigned q, unsigned i, uint64_t addr, uint32_t len, uint16_t flags,
             uint16_t next)
{
    uint64_t at = d->q[q].desc + 16 * (uint64_t)i;

    poke(d, at, addr, 8);
    poke(d, at + 8, len, 4);
    poke(d, at + 12, flags, 2);
    poke(d, at + 14, next, 2);
}

void vd_avail(struct vdriver *d, unsigned n, uint16_t head)
{
    struct vd_queue *q = &d->q[n];

    poke(d, q->avail + 4 + 2 * (uint64_t)(q->avail_idx % q->size), head, 2);
    poke(d, q->avail + 2, ++q->avail_idx, 2);
}

void vd_chain(struct vdriver *d, unsigned q, uint16_t head, const struct vd_seg *segs,
              unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        uint16_t flags = (uint16_t)((segs[i].in ? VD_WRITE : 0) | (i + 1 < count ? VD_NEXT : 0));

        vd_desc(d, q, head + i, segs[i].addr, segs[i].len, flags, (uint16_t)(head + i + 1));
    }
    vd_avail(d, q, head);
}

void vd_kick(struct vdriver *d, unsigned q)
{
    dt_write(d->t, d->q[q].notify, q, 2);
}

bool vd_used(struct vdriver *d, unsigned n, uint32_t *head, uint32_t *len)
{
    struct vd_queue *q = &d->q[n];

    if ((uint16_t)peek(d, q->used + 2, 2) == q->seen)
        return false;
    uint64_t at = q->used + 4 + 8 * (uint64_t)(q->seen++ % q->size);
    *head = (uint32_t)peek(d, at, 4);
    *len = (uint32_t)peek(d, at + 4, 4);
    return true;
}
