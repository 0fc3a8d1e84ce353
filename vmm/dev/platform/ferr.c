/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Errors of the x87 unit as the PC/AT reports them to software that leaves CR0.NE clear: FERR# sets a latch that
 * drives IRQ 13; a write to port F0h clears the latch and, while FERR# lasts, asserts IGNNE#, so that the handler may
 * use the unit. Source: Intel SDM vol. 1 D.2; PIIX3 data sheet (290550), coprocessor error register. Port F1h, the
 * reset of the 80287, does nothing since the 80486. */
#include <string.h>

#include "vmm/dev/dev.h"

#define FERR_PORT 0xf0
#define FERR_IRQ  13

struct ferr {
    struct dev dev;
    struct {
        uint8_t ferr; /* the input */
        uint8_t ignne;
    } s;
};

static bool ferr_changed(void *opaque, bool level)
{
    struct ferr *f = opaque;

    if (level && !f->s.ferr)
        irq_set(bus_gsi(f->dev.env->bus, FERR_IRQ), 1);
    f->s.ferr = level;
    f->s.ignne &= level;
    return f->s.ignne;
}

static uint32_t ferr_read(void *opaque, uint16_t offset, unsigned size)
{
    (void)opaque;
    (void)offset;
    (void)size;
    return 0xff;
}

static void ferr_write(void *opaque, uint16_t offset, uint32_t value, unsigned size)
{
    struct ferr *f = opaque;

    (void)value;
    (void)size;
    if (offset)
        return;
    irq_set(bus_gsi(f->dev.env->bus, FERR_IRQ), 0);
    f->s.ignne = f->s.ferr;
}

static const struct pio_ops ferr_ops = {.read = ferr_read, .write = ferr_write, .max_size = 1};

static bool ferr_realize(struct dev *d, struct err *e)
{
    struct ferr *f = container_of(d, struct ferr, dev);

    (void)e;
    bus_add_pio(d->env->bus, "ferr", FERR_PORT, 2, &ferr_ops, f);
    bus_connect_ferr(d->env->bus, ferr_changed, f);
    return true;
}

static void ferr_reset(struct dev *d)
{
    struct ferr *f = container_of(d, struct ferr, dev);

    memset(&f->s, 0, sizeof(f->s));
    irq_set(bus_gsi(d->env->bus, FERR_IRQ), 0);
}

const struct dev_class ferr_class = {
    .name = "ferr",
    .summary = "x87 errors on IRQ 13",
    .size = sizeof(struct ferr),
    .realize = ferr_realize,
    .reset = ferr_reset,
};
