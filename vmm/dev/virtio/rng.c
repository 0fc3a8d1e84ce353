/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-rng (VIRTIO 1.1 5.4) from getrandom(2), at most RATE bytes a second, so that a guest
 * cannot burn the host's time. */
#include <sys/random.h>

#include "vmm/dev/virtio/virtio.h"

#define RATE   65536u
#define CHUNK  1024u
#define PERIOD (NS_PER_S / 64)

struct virtio_rng {
    struct dev dev;
    struct virtio v;
    struct timer refill;
    uint32_t budget; /* bytes left in this period */
    struct virtio_chain chain;
};

static struct virtio_rng *of(struct virtio *v)
{
    return container_of(v, struct virtio_rng, v);
}

static void serve(struct virtio_rng *r)
{
    bool any = false;

    while (r->budget > 0 && virtio_pop(&r->v, 0, &r->chain)) {
        uint8_t bytes[CHUNK];
        size_t n = MIN(MIN(r->chain.in_len, (uint64_t)CHUNK), (uint64_t)r->budget);
        ssize_t got = n ? getrandom(bytes, n, 0) : 0;

        if (got < 0)
            got = 0;
        virtio_write_in(&r->chain, 0, bytes, (size_t)got);
        virtio_push(&r->v, 0, &r->chain, (uint64_t)got);
        r->budget -= (uint32_t)MAX(got, 1);
        any = true;
    }
    if (any)
        virtio_signal(&r->v, 0);
    if (r->budget < RATE / 64 && !timer_armed(&r->refill))
        timer_arm(&r->refill, clock_now(r->dev.env->clock) + PERIOD);
}

static void on_refill(void *opaque)
{
    struct virtio_rng *r = opaque;

    r->budget = RATE / 64;
    serve(r);
}

static void notify(struct virtio *v, unsigned q)
{
    (void)q;
    serve(of(v));
}

static void drop_all(struct virtio *v)
{
    timer_cancel(&of(v)->refill);
    of(v)->budget = RATE / 64;
}

static const struct virtio_class rng_class = {
    .id = 4, .class_code = 0xff, .queues = 1, .notify = notify, .reset = drop_all};

static bool rng_realize(struct dev *d, struct err *e)
{
    struct virtio_rng *r = container_of(d, struct virtio_rng, dev);

    timer_init(&r->refill, d->env->clock, on_refill, r);
    return virtio_init(&r->v, d, &rng_class, e);
}

static void rng_unrealize(struct dev *d)
{
    struct virtio_rng *r = container_of(d, struct virtio_rng, dev);

    timer_cancel(&r->refill);
    virtio_fini(&r->v);
}

static void rng_reset(struct dev *d)
{
    virtio_reset(&container_of(d, struct virtio_rng, dev)->v);
}

const struct dev_class virtio_rng_class = {
    .name = "virtio-rng",
    .summary = "virtio source of randomness",
    .size = sizeof(struct virtio_rng),
    .realize = rng_realize,
    .unrealize = rng_unrealize,
    .reset = rng_reset,
};
