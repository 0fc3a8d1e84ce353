/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The PCI transport (VIRTIO 1.1 4.1): one memory BAR with the common, interrupt status, device and
 * notification structures, one for MSI-X. Firmware that cannot reach the BAR uses the window in configuration
 * space instead. */
#include <string.h>

#include "vmm/dev/virtio/virtio.h"

#define VENDOR_VIRTIO 0x1af4
#define DEVICE_BASE   0x1040

#define BAR_MSIX   1
#define BAR_VIRTIO 4

#define AREA_SIZE    0x1000u
#define AREA_COMMON  0x0000u
#define AREA_ISR     0x1000u
#define AREA_DEVICE  0x2000u
#define AREA_NOTIFY  0x3000u
#define BAR_SIZE     0x4000u
#define NOTIFY_SCALE 4u

#define CAP_VENDOR 0x09
#define CAP_COMMON 1
#define CAP_NOTIFY 2
#define CAP_ISR    3
#define CAP_DEVICE 4
#define CAP_PCI_CFG 5

/* struct virtio_pci_cap; behind it a notification structure has its multiplier, PCI_CFG its data. */
#define CAP_LEN    2
#define CAP_TYPE   3
#define CAP_BAR    4
#define CAP_OFFSET 8
#define CAP_LENGTH 12
#define CAP_EXTRA  16

#define STATUS_ACKNOWLEDGE 1u
#define STATUS_DRIVER      2u
#define STATUS_DRIVER_OK   4u
#define STATUS_FEATURES_OK 8u
#define STATUS_NEEDS_RESET 64u
#define STATUS_FAILED      128u

#define NO_VECTOR 0xffff

enum common {
    C_DEVICE_FEATURE_SELECT = 0x00,
    C_DEVICE_FEATURE = 0x04,
    C_DRIVER_FEATURE_SELECT = 0x08,
    C_DRIVER_FEATURE = 0x0c,
    C_MSIX_CONFIG = 0x10,
    C_NUM_QUEUES = 0x12,
    C_STATUS = 0x14,
    C_GENERATION = 0x15,
    C_QUEUE_SELECT = 0x16,
    C_QUEUE_SIZE = 0x18,
    C_QUEUE_VECTOR = 0x1a,
    C_QUEUE_ENABLE = 0x1c,
    C_QUEUE_NOTIFY_OFF = 0x1e,
    C_QUEUE_DESC = 0x20,
    C_QUEUE_DRIVER = 0x28,
    C_QUEUE_DEVICE = 0x30,
};

static uint64_t offered(const struct virtio *v)
{
    return v->cls->features | VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX;
}

bool virtio_running(const struct virtio *v)
{
    return (v->s.status & STATUS_DRIVER_OK) && !v->s.broken;
}

bool virtio_has_feature(const struct virtio *v, uint64_t feature)
{
    return v->s.driver_features & feature;
}

void virtio_interrupt(struct virtio *v, uint16_t vector, uint8_t isr_bit)
{
    if (pci_msix_enabled(v->pci)) {
        if (vector <= v->cls->queues)
            pci_msix_notify(v->pci, vector);
        return;
    }
    v->s.isr |= isr_bit;
    pci_intx(v->pci, 1);
}

void virtio_config_changed(struct virtio *v)
{
    v->s.generation++;
    if (v->s.status & STATUS_DRIVER_OK)
        virtio_interrupt(v, v->s.config_vector, 2);
}

void virtio_break(struct virtio *v, const char *why)
{
    if (v->s.broken)
        return;
    log_guest(v->dev->id, "%s: the driver must reset the device", why);
    v->s.broken = true;
    v->s.status |= STATUS_NEEDS_RESET;
    virtio_config_changed(v);
}

/* Doorbells are with the accelerator while they can mean something. */
static void place_doorbells(void *opaque)
{
    struct virtio *v = opaque;
    uint64_t bar = pci_bar_address(v->pci, BAR_VIRTIO);
    bool on = bar != UINT64_MAX && (v->s.status & STATUS_DRIVER_OK);

    virtio_doorbells_set(v, on ? bar + AREA_NOTIFY : UINT64_MAX, NOTIFY_SCALE);
}

/* The driver's reset: PCI configuration stays. */
static void driver_reset(struct virtio *v)
{
    bool was = virtio_running(v);

    v->cls->reset(v);
    timer_cancel(&v->later);
    memset(&v->s, 0, sizeof(v->s));
    place_doorbells(v);
    virtio_doorbells_drain(v);
    v->s.config_vector = NO_VECTOR;
    for (unsigned i = 0; i < VIRTIO_QUEUES_MAX; i++) {
        v->s.q[i].size = VIRTIO_QUEUE_SIZE;
        v->s.q[i].vector = NO_VECTOR;
    }
    pci_intx(v->pci, 0);
    if (was && v->cls->ready)
        v->cls->ready(v, false);
}

void virtio_reset(struct virtio *v)
{
    uint8_t *window = pci_config(v->pci) + v->cfg_cap;

    driver_reset(v);
    window[CAP_BAR] = 0;
    memset(window + CAP_OFFSET, 0, CAP_EXTRA + 4 - CAP_OFFSET);
    pci_reset(v->pci);
}

void virtio_queue_kick(struct virtio *v, unsigned q)
{
    if (q < v->cls->queues && virtio_running(v) && v->s.q[q].enabled)
        v->cls->notify(v, q);
}

static void kick_again(void *opaque)
{
    struct virtio *v = opaque;
    uint8_t queues = v->s.kick_later;

    v->s.kick_later = 0;
    for (unsigned q = 0; q < v->cls->queues; q++)
        if (queues & BIT(q))
            virtio_queue_kick(v, q);
}

void virtio_kick_later(struct virtio *v, unsigned q)
{
    v->s.kick_later |= (uint8_t)BIT(q);
    timer_arm(&v->later, clock_now(v->dev->env->clock));
}

/* ---- common configuration ---- */

static struct virtio_queue_state *selected(struct virtio *v)
{
    return v->s.queue_select < v->cls->queues ? &v->s.q[v->s.queue_select] : NULL;
}

static uint64_t common_field(struct virtio *v, unsigned field)
{
    const struct virtio_state *s = &v->s;
    const struct virtio_queue_state *q = selected(v);

    switch (field) {
    case C_DEVICE_FEATURE_SELECT: return s->feature_select;
    case C_DEVICE_FEATURE:
        return s->feature_select < 2 ? (uint32_t)(offered(v) >> (32 * s->feature_select)) : 0;
    case C_DRIVER_FEATURE_SELECT: return s->driver_feature_select;
    case C_DRIVER_FEATURE:
        return s->driver_feature_select < 2
                   ? (uint32_t)(s->driver_features >> (32 * s->driver_feature_select))
                   : 0;
    case C_MSIX_CONFIG: return s->config_vector;
    case C_NUM_QUEUES: return v->cls->queues;
    case C_STATUS: return s->status;
    case C_GENERATION: return s->generation;
    case C_QUEUE_SELECT: return s->queue_select;
    case C_QUEUE_SIZE: return q ? q->size : 0;
    case C_QUEUE_VECTOR: return q ? q->vector : NO_VECTOR;
    case C_QUEUE_ENABLE: return q ? q->enabled : 0;
    case C_QUEUE_NOTIFY_OFF: return q ? s->queue_select : 0;
    case C_QUEUE_DESC: return q ? q->desc : 0;
    case C_QUEUE_DRIVER: return q ? q->avail : 0;
    case C_QUEUE_DEVICE: return q ? q->used : 0;
    default: return 0;
    }
}

/* Fields in order; a field reaches to the next one. */
static const uint8_t field_start[] = {C_DEVICE_FEATURE_SELECT,
                                      C_DEVICE_FEATURE,
                                      C_DRIVER_FEATURE_SELECT,
                                      C_DRIVER_FEATURE,
                                      C_MSIX_CONFIG,
                                      C_NUM_QUEUES,
                                      C_STATUS,
                                      C_GENERATION,
                                      C_QUEUE_SELECT,
                                      C_QUEUE_SIZE,
                                      C_QUEUE_VECTOR,
                                      C_QUEUE_ENABLE,
                                      C_QUEUE_NOTIFY_OFF,
                                      C_QUEUE_DESC,
                                      C_QUEUE_DRIVER,
                                      C_QUEUE_DEVICE,
                                      0x38};

static bool find_field(unsigned offset, unsigned *start, unsigned *width)
{
    for (unsigned i = 0; i + 1 < ARRAY_LEN(field_start); i++)
        if (offset >= field_start[i] && offset < field_start[i + 1]) {
            *start = field_start[i];
            *width = field_start[i + 1] - field_start[i];
            return true;
        }
    return false;
}

static uint64_t common_read(struct virtio *v, unsigned offset)
{
    unsigned start, width;

    if (!find_field(offset, &start, &width))
        return 0;
    return common_field(v, start) >> (8 * (offset - start));
}

static bool ring_fits(const struct virtio *v, const struct virtio_queue_state *q)
{
    struct mem *m = v->dev->env->mem;

    return !(q->desc & 15) && !(q->avail & 1) && !(q->used & 3) &&
           mem_host(m, q->desc, 16 * (uint64_t)q->size) &&
           mem_host(m, q->avail, 6 + 2 * (uint64_t)q->size) &&
           mem_host(m, q->used, 6 + 8 * (uint64_t)q->size);
}

static void set_status(struct virtio *v, uint8_t status)
{
    struct virtio_state *s = &v->s;
    bool was = virtio_running(v);

    if (status == 0) {
        driver_reset(v);
        return;
    }
    status |= s->status & STATUS_NEEDS_RESET;
    if ((status & STATUS_FEATURES_OK) && !(s->status & STATUS_FEATURES_OK) &&
        ((s->driver_features & ~offered(v)) || !(s->driver_features & VIRTIO_F_VERSION_1)))
        status &= (uint8_t)~STATUS_FEATURES_OK; /* the driver reads that it may not have these */
    if (!(status & STATUS_FEATURES_OK))
        status &= (uint8_t)~STATUS_DRIVER_OK;
    s->status = status;
    place_doorbells(v);
    if (v->cls->ready && virtio_running(v) != was)
        v->cls->ready(v, !was);
}

static void common_write(struct virtio *v, unsigned offset, uint32_t value, unsigned size)
{
    struct virtio_state *s = &v->s;
    struct virtio_queue_state *q = selected(v);
    unsigned start, width, shift;

    if (!find_field(offset, &start, &width))
        return;
    shift = 8 * (offset - start);
    switch (start) {
    case C_DEVICE_FEATURE_SELECT: s->feature_select = value; return;
    case C_DRIVER_FEATURE_SELECT: s->driver_feature_select = value; return;
    case C_DRIVER_FEATURE:
        if (s->driver_feature_select < 2 && !(s->status & STATUS_FEATURES_OK)) {
            unsigned at = 32 * s->driver_feature_select;
            s->driver_features =
                (s->driver_features & ~((uint64_t)UINT32_MAX << at)) | (uint64_t)value << at;
        }
        return;
    case C_MSIX_CONFIG:
        s->config_vector = value <= v->cls->queues ? (uint16_t)value : NO_VECTOR;
        return;
    case C_STATUS: set_status(v, (uint8_t)value); return;
    case C_QUEUE_SELECT: s->queue_select = (uint16_t)value; return;
    default: break;
    }
    if (!q)
        return;
    uint64_t mask = mask_bytes(size) << shift;
    uint64_t bits = (uint64_t)value << shift & mask;
    switch (start) {
    case C_QUEUE_VECTOR: q->vector = value <= v->cls->queues ? (uint16_t)value : NO_VECTOR; break;
    case C_QUEUE_ENABLE:
        if (value == 1 && !q->enabled) {
            if (ring_fits(v, q))
                q->enabled = true;
            else
                virtio_break(v, "ring outside of memory or misaligned");
        }
        break;
    default:
        if (q->enabled)
            break; /* a live ring does not move */
        if (start == C_QUEUE_SIZE && value && value <= VIRTIO_QUEUE_SIZE && !(value & (value - 1)))
            q->size = (uint16_t)value;
        else if (start == C_QUEUE_DESC)
            q->desc = (q->desc & ~mask) | bits;
        else if (start == C_QUEUE_DRIVER)
            q->avail = (q->avail & ~mask) | bits;
        else if (start == C_QUEUE_DEVICE)
            q->used = (q->used & ~mask) | bits;
        break;
    }
}

/* ---- the BAR ---- */

static uint64_t bar_read(void *opaque, uint64_t offset, unsigned size)
{
    struct virtio *v = opaque;
    unsigned at = (unsigned)offset % AREA_SIZE;
    uint64_t value = 0;

    switch ((unsigned)offset & ~(AREA_SIZE - 1)) {
    case AREA_COMMON: value = common_read(v, at); break;
    case AREA_ISR:
        if (at == 0) {
            value = v->s.isr;
            v->s.isr = 0;
            pci_intx(v->pci, 0);
        }
        break;
    case AREA_DEVICE:
        if (v->cls->config_read && range_within(at, size, 0, v->cls->config_size))
            value = v->cls->config_read(v, at, size);
        break;
    default: break;
    }
    return value & mask_bytes(size);
}

static void bar_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct virtio *v = opaque;
    unsigned at = (unsigned)offset % AREA_SIZE;

    switch ((unsigned)offset & ~(AREA_SIZE - 1)) {
    case AREA_COMMON: common_write(v, at, (uint32_t)value, size); break;
    case AREA_DEVICE:
        if (v->cls->config_write && range_within(at, size, 0, v->cls->config_size))
            v->cls->config_write(v, at, (uint32_t)value, size);
        break;
    case AREA_NOTIFY: virtio_queue_kick(v, at / NOTIFY_SCALE); break;
    default: break;
    }
}

static const struct mmio_ops bar_ops = {
    .read = bar_read, .write = bar_write, .min_size = 1, .max_size = 4};

/* ---- the window in configuration space (4.1.4.9) ---- */

/* An access to configuration space touches the window's data: what the driver made it show, or NULL. Only whole,
 * aligned accesses to the structures are carried out; of any other the data is what was written last. */
static uint8_t *window_data(struct virtio *v, unsigned offset, unsigned size, uint32_t *at, uint32_t *len)
{
    uint8_t *cap = pci_config(v->pci) + v->cfg_cap;
    unsigned data = v->cfg_cap + CAP_EXTRA;

    if (offset >= data + 4 || offset + size <= data || cap[CAP_BAR] != BAR_VIRTIO)
        return NULL;
    *at = ld_le32(cap + CAP_OFFSET);
    *len = ld_le32(cap + CAP_LENGTH);
    if ((*len != 1 && *len != 2 && *len != 4) || *at % *len || *at >= BAR_SIZE)
        return NULL;
    return cap + CAP_EXTRA;
}

static void config_reading(void *opaque, unsigned offset, unsigned size)
{
    uint32_t at, len;
    uint8_t *data = window_data(opaque, offset, size, &at, &len);

    if (data)
        st_le(data, bar_read(opaque, at, len), len);
}

static void config_written(void *opaque, unsigned offset, unsigned size)
{
    uint32_t at, len;
    const uint8_t *data = window_data(opaque, offset, size, &at, &len);

    if (data)
        bar_write(opaque, at, ld_le(data, len), len);
}

/* ---- life ---- */

static unsigned add_cap(struct virtio *v, uint8_t type, uint32_t offset, uint32_t length)
{
    unsigned len = type == CAP_NOTIFY || type == CAP_PCI_CFG ? CAP_EXTRA + 4 : CAP_EXTRA;
    unsigned at = pci_add_cap(v->pci, CAP_VENDOR, len);
    uint8_t *cap = pci_config(v->pci) + at;

    cap[CAP_LEN] = (uint8_t)len;
    cap[CAP_TYPE] = type;
    cap[CAP_BAR] = type == CAP_PCI_CFG ? 0 : BAR_VIRTIO;
    st_le32(cap + CAP_OFFSET, offset);
    st_le32(cap + CAP_LENGTH, length);
    if (type == CAP_NOTIFY)
        st_le32(cap + CAP_EXTRA, NOTIFY_SCALE);
    return at;
}

static void add_window(struct virtio *v)
{
    v->cfg_cap = add_cap(v, CAP_PCI_CFG, 0, 0);
    uint8_t *mask = pci_write_mask(v->pci) + v->cfg_cap;
    mask[CAP_BAR] = 0xff;
    memset(mask + CAP_OFFSET, 0xff, CAP_EXTRA + 4 - CAP_OFFSET);
}

static const struct pci_dev_ops pci_ops = {.config_reading = config_reading,
                                           .config_written = config_written,
                                           .bars_moved = place_doorbells};

bool virtio_init(struct virtio *v, struct dev *dev, const struct virtio_class *cls, struct err *e)
{
    struct pci_ids ids = {.vendor = VENDOR_VIRTIO,
                          .device = (uint16_t)(DEVICE_BASE + cls->id),
                          .subvendor = VENDOR_VIRTIO,
                          .subdevice = cls->subsystem ? cls->subsystem : cls->id,
                          .class_code = cls->class_code,
                          .subclass = cls->subclass,
                          .revision = 1,
                          .interrupt_pin = 1};

    v->cls = cls;
    v->dev = dev;
    timer_init(&v->later, dev->env->clock, kick_again, v);
    v->pci = pci_add(dev->env->pci, -1, dev->id, &ids, &pci_ops, v, e);
    if (!v->pci || !virtio_doorbells_init(v, e))
        return false;
    pci_add_msix(v->pci, BAR_MSIX, cls->queues + 1);
    pci_bar_mem(v->pci, BAR_VIRTIO, BAR_SIZE, true, false, &bar_ops);
    add_cap(v, CAP_COMMON, AREA_COMMON, 0x38);
    add_cap(v, CAP_ISR, AREA_ISR, 1);
    if (cls->config_size)
        add_cap(v, CAP_DEVICE, AREA_DEVICE, cls->config_size);
    add_cap(v, CAP_NOTIFY, AREA_NOTIFY, VIRTIO_QUEUES_MAX * NOTIFY_SCALE);
    add_window(v);
    return true;
}

void virtio_fini(struct virtio *v)
{
    if (!v->pci)
        return;
    timer_cancel(&v->later);
    pci_remove(v->pci); /* takes the doorbells back */
    virtio_doorbells_fini(v);
    v->pci = NULL;
}
