/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A port whose write ends the VM with exit status (v << 1) | 1, as QEMU's isa-debug-exit: for guests
 * that are tests. */
#include "vmm/dev/dev.h"

struct debug_exit {
    struct dev dev;
    uint32_t port;
};

static uint32_t exit_read(void *opaque, uint16_t offset, unsigned size)
{
    (void)opaque;
    (void)offset;
    (void)size;
    return 0;
}

static void exit_write(void *opaque, uint16_t offset, uint32_t value, unsigned size)
{
    const struct debug_exit *x = opaque;

    (void)offset;
    (void)size;
    bus_request(x->dev.env->bus, MACHINE_DEBUG_EXIT, (int)((value << 1 | 1) & 0xff));
}

static const struct pio_ops exit_ops = {.read = exit_read, .write = exit_write};

static bool debug_exit_realize(struct dev *d, struct err *e)
{
    struct debug_exit *x = container_of(d, struct debug_exit, dev);

    (void)e;
    bus_add_pio(d->env->bus, "debug-exit", (uint16_t)x->port, 4, &exit_ops, x);
    return true;
}

static const struct dev_prop debug_exit_props[] = {
    DEV_PROP("port", PROP_U32, struct debug_exit, port, 0xf4, "first of four ports"),
    {0},
};

const struct dev_class debug_exit_class = {
    .name = "isa-debug-exit",
    .summary = "port that ends the VM with an exit status",
    .size = sizeof(struct debug_exit),
    .props = debug_exit_props,
    .realize = debug_exit_realize,
};
