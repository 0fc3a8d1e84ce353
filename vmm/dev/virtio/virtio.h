/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Virtio 1.0 devices over PCI: what a device implements, its virtqueues, and the transport. Source:
 * Virtual I/O Device (VIRTIO) 1.1, ch. 2 (basic facilities), 4.1 (PCI). Legacy drivers are not
 * served. Machine lock.
 *
 * A ring is the guest's: every index and descriptor is read once, checked and used as the copy.
 * Whatever is out of bounds breaks the device: it sets DEVICE_NEEDS_RESET and does nothing until
 * the driver resets it. */
#ifndef VMDECK_DEV_VIRTIO_VIRTIO_H
#define VMDECK_DEV_VIRTIO_VIRTIO_H

#include <sys/uio.h>

#include "vmm/dev/dev.h"

#define VIRTIO_QUEUES_MAX 4
#define VIRTIO_QUEUE_SIZE 128 /* and the longest chain */

#define VIRTIO_F_INDIRECT_DESC (UINT64_C(1) << 28)
#define VIRTIO_F_EVENT_IDX     (UINT64_C(1) << 29)
#define VIRTIO_F_VERSION_1     (UINT64_C(1) << 32)

struct virtio;

struct virtio_class {
    uint16_t id;        /* virtio device type */
    uint16_t subsystem; /* PCI subsystem device id; 0: as id */
    uint8_t class_code, subclass;
    unsigned queues;
    uint64_t features; /* offered besides the ring features */
    unsigned config_size;
    /* Device configuration, offset and size inside config_size. write may be NULL. */
    uint32_t (*config_read)(struct virtio *v, unsigned offset, unsigned size);
    void (*config_write)(struct virtio *v, unsigned offset, uint32_t value, unsigned size);
    /* The driver rang for queue q, which is enabled and the driver is up. */
    void (*notify)(struct virtio *v, unsigned q);
    /* Finish or drop all that is in flight; the rings are still there. */
    void (*reset)(struct virtio *v);
    /* DRIVER_OK was set or taken away; may be NULL. */
    void (*ready)(struct virtio *v, bool on);
};

struct virtio_queue_state {
    uint64_t desc, avail, used;
    uint16_t size, vector;
    uint16_t last_avail, used_idx;
    uint16_t signalled; /* used index at the last interrupt */
    uint8_t enabled, signalled_valid;
};

struct virtio_state {
    uint64_t driver_features;
    uint32_t feature_select, driver_feature_select;
    uint16_t config_vector, queue_select;
    uint8_t status, isr, generation, broken;
    uint8_t kick_later; /* bit per queue */
    struct virtio_queue_state q[VIRTIO_QUEUES_MAX];
};

/* One for each queue. The accelerator signals fd while the notification address is known to it, which needs a
 * mapped BAR and a driver that is up; the loop then serves the queue and the vCPU goes on meanwhile. All other
 * notifications are written into the BAR and served by the vCPU that writes. */
struct virtio_doorbell {
    struct virtio *v;
    int fd; /* eventfd; -1: there is no loop */
    struct loop_fd *watch;
    uint64_t address; /* that is known to the accelerator, or UINT64_MAX */
};

/* Second member of every virtio device's struct, behind struct dev. */
struct virtio {
    const struct virtio_class *cls;
    struct dev *dev;
    struct pci_dev *pci;
    unsigned cfg_cap; /* offset of the capability for access through configuration space */
    struct timer later; /* for virtio_kick_later */
    struct virtio_doorbell bells[VIRTIO_QUEUES_MAX];
    struct virtio_state s;
};

/* One chain taken from the avail ring. out: readable by us; in: writable. Host addresses are valid
 * for the request only. */
struct virtio_chain {
    uint16_t head;
    unsigned out_count, in_count;
    uint64_t out_len, in_len;
    struct iovec iov[VIRTIO_QUEUE_SIZE]; /* first the out, then the in segments */
    uint64_t gpa[VIRTIO_QUEUE_SIZE];
};

/* From realize: puts the device on the PCI bus. */
bool virtio_init(struct virtio *v, struct dev *dev, const struct virtio_class *cls, struct err *e);
void virtio_fini(struct virtio *v);
/* Power-on state, the PCI side included. */
void virtio_reset(struct virtio *v);
/* The driver is up and nothing is broken. */
bool virtio_running(const struct virtio *v);
bool virtio_has_feature(const struct virtio *v, uint64_t feature);
void virtio_break(struct virtio *v, const char *why);
/* The device configuration changed. */
void virtio_config_changed(struct virtio *v);

/* Next chain; false when there is none (or the ring broke). */
bool virtio_pop(struct virtio *v, unsigned q, struct virtio_chain *c);
/* Takes back the last pop. */
void virtio_unpop(struct virtio *v, unsigned q);
/* written: bytes stored into the in segments; marks them dirty, also when the ring is gone. */
void virtio_push(struct virtio *v, unsigned q, const struct virtio_chain *c, uint64_t written);
/* The same in two steps, for what takes several chains that the driver shall see together: fill the
 * used elements 0, 1, ... and show the first `count` of them, or take all back by virtio_unpop and
 * show none. */
void virtio_fill(struct virtio *v, unsigned q, const struct virtio_chain *c, uint64_t written,
                 unsigned index);
void virtio_show(struct virtio *v, unsigned q, unsigned count);
/* Interrupts the driver for what was pushed, if it wants that. */
void virtio_signal(struct virtio *v, unsigned q);

/* Comes back to a queue whose notify has done enough for one call, with others served first. */
void virtio_kick_later(struct virtio *v, unsigned q);

/* Copies between a chain's segments and a buffer; returns bytes copied. */
size_t virtio_read_out(const struct virtio_chain *c, size_t offset, void *dst, size_t len);
size_t virtio_write_in(const struct virtio_chain *c, size_t offset, const void *src, size_t len);

/* doorbell.c. init from realize, with v->cls set; fini also after a failed init. */
bool virtio_doorbells_init(struct virtio *v, struct err *e);
void virtio_doorbells_fini(struct virtio *v);
/* Notification address of queue 0 and the distance between two queues; UINT64_MAX: not mapped. */
void virtio_doorbells_set(struct virtio *v, uint64_t address, unsigned stride);
/* Forgets what has rung. */
void virtio_doorbells_drain(struct virtio *v);

/* For pci.c, queue.c and doorbell.c. */
void virtio_queue_kick(struct virtio *v, unsigned q);
void virtio_interrupt(struct virtio *v, uint16_t vector, uint8_t isr_bit);

#endif
