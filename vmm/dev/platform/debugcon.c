/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Debug console: bytes written to port E9h (Bochs) or 402h (SeaBIOS, OVMF) go to a file; reading gives
 * E9h, by which guests find it. A guest may write without end, so the file has a limit. */
#include <unistd.h>

#include "vmm/dev/dev.h"

#define BATCH     512
#define FLUSH_NS  (20 * NS_PER_MS)
#define LIMIT     (16 * MIB)
#define READBACK  0xe9

struct debugcon {
    struct dev dev;
    uint32_t fd; /* (uint32_t)-1: bytes are dropped */
    struct timer timer;
    uint64_t total;
    unsigned len;
    char batch[BATCH];
};

static void flush(void *opaque)
{
    struct debugcon *c = opaque;

    if (c->len && (int)c->fd >= 0 && write((int)c->fd, c->batch, c->len) < 0)
        log_guest("debugcon", "cannot write, output is lost");
    c->len = 0;
}

static uint32_t debugcon_read(void *opaque, uint16_t offset, unsigned size)
{
    (void)opaque;
    (void)offset;
    (void)size;
    return READBACK;
}

static void debugcon_write(void *opaque, uint16_t offset, uint32_t value, unsigned size)
{
    struct debugcon *c = opaque;

    (void)offset;
    (void)size;
    if ((int)c->fd < 0 || c->total >= LIMIT)
        return;
    c->total++;
    if (c->len == 0)
        timer_arm(&c->timer, clock_now(c->dev.env->clock) + FLUSH_NS);
    c->batch[c->len++] = (char)value;
    if (c->len == BATCH)
        flush(c);
}

static const struct pio_ops debugcon_ops = {
    .read = debugcon_read, .write = debugcon_write, .max_size = 1};

static bool debugcon_realize(struct dev *d, struct err *e)
{
    struct debugcon *c = container_of(d, struct debugcon, dev);

    (void)e;
    timer_init(&c->timer, d->env->clock, flush, c);
    bus_add_pio(d->env->bus, "debugcon", 0xe9, 1, &debugcon_ops, c);
    bus_add_pio(d->env->bus, "debugcon", 0x402, 1, &debugcon_ops, c);
    return true;
}

static void debugcon_unrealize(struct dev *d)
{
    struct debugcon *c = container_of(d, struct debugcon, dev);

    if (c->timer.clock)
        timer_cancel(&c->timer);
    flush(c);
}

static void debugcon_quiesce(struct dev *d)
{
    flush(container_of(d, struct debugcon, dev));
}

static const struct dev_prop debugcon_props[] = {
    DEV_PROP("fd", PROP_U32, struct debugcon, fd, UINT32_MAX, "where the bytes go; not closed"),
    {0},
};

const struct dev_class debugcon_class = {
    .name = "debugcon",
    .summary = "debug console at ports e9h and 402h",
    .size = sizeof(struct debugcon),
    .props = debugcon_props,
    .realize = debugcon_realize,
    .unrealize = debugcon_unrealize,
    .quiesce = debugcon_quiesce,
};
