/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Queue notifications through eventfds (KVM's ioeventfd). The eventfds and their watches are made once, on the
 * loop's thread; what moves with the BAR, on the thread of the vCPU that writes it, is only the address given to
 * the accelerator. */
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "vmm/base/fd.h"
#include "vmm/dev/virtio/virtio.h"

static void drain(const struct virtio_doorbell *b)
{
    uint64_t n;

    /* non-blocking; EAGAIN when it has not rung */
    if (read(b->fd, &n, sizeof(n)) < 0 && errno != EAGAIN)
        log_guest(b->v->dev->id, "doorbell: %s", strerror(errno));
}

static void on_ring(void *opaque, unsigned events)
{
    struct virtio_doorbell *b = opaque;
    struct virtio *v = b->v;
    unsigned q = (unsigned)(b - v->bells);

    (void)events;
    drain(b);
    if (clock_paused(v->dev->env->clock)) /* rung just before the vCPUs stopped: no request starts now */
        virtio_kick_later(v, q);
    else
        virtio_queue_kick(v, q);
}

bool virtio_doorbells_init(struct virtio *v, struct err *e)
{
    struct loop *loop = v->dev->env->loop;

    for (unsigned q = 0; q < VIRTIO_QUEUES_MAX; q++)
        v->bells[q] = (struct virtio_doorbell){.v = v, .fd = -1, .address = UINT64_MAX};
    for (unsigned q = 0; loop && q < v->cls->queues; q++) {
        struct virtio_doorbell *b = &v->bells[q];

        b->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (b->fd < 0 || !(b->watch = loop_watch(loop, b->fd, LOOP_READ, on_ring, b)))
            return err_errno(e, errno, "cannot create a doorbell");
    }
    return true;
}

void virtio_doorbells_fini(struct virtio *v)
{
    for (unsigned q = 0; q < v->cls->queues; q++) {
        if (v->bells[q].watch)
            loop_unwatch(v->bells[q].watch);
        v->bells[q].watch = NULL;
        fd_close(&v->bells[q].fd);
    }
}

void virtio_doorbells_set(struct virtio *v, uint64_t address, unsigned stride)
{
    struct bus *bus = v->dev->env->bus;

    for (unsigned q = 0; q < v->cls->queues; q++) {
        struct virtio_doorbell *b = &v->bells[q];
        uint64_t want = address == UINT64_MAX ? UINT64_MAX : address + (uint64_t)q * stride;

        if (b->fd < 0 || b->address == want)
            continue;
        if (b->address != UINT64_MAX)
            bus_del_doorbell(bus, false, b->address, 0, b->fd);
        b->address = UINT64_MAX;
        if (want != UINT64_MAX && bus_add_doorbell(bus, false, want, 0, b->fd))
            b->address = want;
    }
}

void virtio_doorbells_drain(struct virtio *v)
{
    for (unsigned q = 0; q < v->cls->queues; q++)
        if (v->bells[q].fd >= 0)
            drain(&v->bells[q]);
}
