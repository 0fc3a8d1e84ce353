/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The driver's side of a virtio-pci device, for tests: finds the structures through the
 * capabilities as a real driver does, sets queues up in guest RAM and works the rings by hand, so
 * that a test can also do it wrong. */
#ifndef TESTS_LIB_VDRIVER_H
#define TESTS_LIB_VDRIVER_H

#include "tests/lib/devtest.h"

#define VD_QUEUES 4
#define VD_BAR    UINT64_C(0xe0000000)
#define VD_MSIX   UINT64_C(0xe0100000)
#define VD_RINGS  0x100000u /* rings of queue n at VD_RINGS + n * VD_RING */
#define VD_RING   0x8000u

#define VD_NEXT     1u
#define VD_WRITE    2u
#define VD_INDIRECT 4u

#define VD_F_INDIRECT  (UINT64_C(1) << 28)
#define VD_F_EVENT_IDX (UINT64_C(1) << 29)
#define VD_F_VERSION_1 (UINT64_C(1) << 32)

enum {
    VD_ACKNOWLEDGE = 1,
    VD_DRIVER = 2,
    VD_DRIVER_OK = 4,
    VD_FEATURES_OK = 8,
    VD_NEEDS_RESET = 64
};

/* Common configuration: offset and width of a field. */
#define VD_FEATURE_SELECT        0x00, 4
#define VD_FEATURE               0x04, 4
#define VD_DRIVER_FEATURE_SELECT 0x08, 4
#define VD_DRIVER_FEATURE        0x0c, 4
#define VD_MSIX_CONFIG           0x10, 2
#define VD_NUM_QUEUES            0x12, 2
#define VD_STATUS                0x14, 1
#define VD_GENERATION            0x15, 1
#define VD_QUEUE_SELECT          0x16, 2
#define VD_QUEUE_SIZE            0x18, 2
#define VD_QUEUE_VECTOR          0x1a, 2
#define VD_QUEUE_ENABLE          0x1c, 2
#define VD_QUEUE_NOTIFY_OFF      0x1e, 2

struct vd_queue {
    uint64_t desc, avail, used;
    uint16_t size, avail_idx, seen;
    uint64_t notify;
};

struct vdriver {
    struct devtest *t;
    unsigned devfn;
    uint64_t common, isr, config, notify; /* addresses; 0: not there */
    uint32_t notify_scale;
    unsigned window; /* capability for access through configuration space */
    struct vd_queue q[VD_QUEUES];
};

struct vd_seg {
    uint64_t addr;
    uint32_t len;
    bool in; /* the device writes it */
};

/* Maps the BARs of the device in the highest used slot. */
void vd_init(struct vdriver *d, struct devtest *t);
uint32_t vd_get(struct vdriver *d, unsigned offset, unsigned size);
void vd_set(struct vdriver *d, unsigned offset, unsigned size, uint32_t v);
uint64_t vd_features(struct vdriver *d);
void vd_reset(struct vdriver *d);
/* Up to FEATURES_OK; false when the device refused the features. VERSION_1 is added. */
bool vd_negotiate(struct vdriver *d, uint64_t features);
void vd_queue_setup(struct vdriver *d, unsigned q, uint16_t size);
/* All of it with queues of 16 entries, to DRIVER_OK. */
void vd_start(struct vdriver *d, uint64_t features, unsigned queues);

void vd_desc(struct vdriver *d, unsigned q, unsigned i, uint64_t addr, uint32_t len, uint16_t flags,
             uint16_t next);
/* Makes a chain available that begins at descriptor head. */
void vd_avail(struct vdriver *d, unsigned q, uint16_t head);
/* Chain of count segments in descriptors head, head + 1, ..., made available. */
void vd_chain(struct vdriver *d, unsigned q, uint16_t head, const struct vd_seg *segs,
              unsigned count);
void vd_kick(struct vdriver *d, unsigned q);
/* Next element of the used ring, if there is one. */
bool vd_used(struct vdriver *d, unsigned q, uint32_t *head, uint32_t *len);
static inline bool vd_broken(struct vdriver *d)
{
    return vd_get(d, VD_STATUS) & VD_NEEDS_RESET;
}

#endif
