/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PIIX3 ISA bridge: routing of PCI interrupts to ISA IRQs, port 92h and the reset control register.
 * Source: 82371SB data sheet (290550) ch. 2.2, 2.5. */
#include "vmm/dev/dev.h"

#define PIRQ_ROUTE    0x60
#define PIRQ_DISABLED 0x80u
#define PIRQS         4
#define PIRQ_ALLOWED  0xdef8u /* IRQs 3-7, 9-12, 14, 15 */

#define P92_RESET BIT(0)
#define P92_A20   BIT(1)
#define RCR_CPU   BIT(2) /* a rising edge resets */
#define RCR_HARD  BIT(1)

struct piix3 {
    struct dev dev;
    struct pci_dev *pci;
    struct {
        uint8_t pirq_level[PIRQS];
        uint8_t port92, reset_control;
    } s;
    uint16_t driven; /* IRQs held high by us */
};

static void update_irqs(struct piix3 *x)
{
    const uint8_t *route = pci_config(x->pci) + PIRQ_ROUTE;
    uint16_t want = 0;

    for (unsigned i = 0; i < PIRQS; i++)
        if (x->s.pirq_level[i] && !(route[i] & PIRQ_DISABLED))
            want |= (uint16_t)(BIT(route[i] & 15) & PIRQ_ALLOWED);
    uint16_t changed = want ^ x->driven;
    x->driven = want;
    for (unsigned n = 0; n < 16; n++)
        if (changed & BIT(n))
            irq_set(bus_gsi(x->dev.env->bus, n), (want >> n) & 1);
}

static void on_intx(void *opaque, unsigned pirq, int level)
{
    struct piix3 *x = opaque;

    x->s.pirq_level[pirq] = level != 0;
    update_irqs(x);
}

static void config_written(void *opaque, unsigned offset, unsigned size)
{
    if (offset < PIRQ_ROUTE + PIRQS && offset + size > PIRQ_ROUTE)
        update_irqs(opaque);
}

static const struct pci_dev_ops piix3_pci_ops = {.config_written = config_written};

static uint32_t port92_read(void *opaque, uint16_t offset, unsigned size)
{
    (void)offset;
    (void)size;
    return ((struct piix3 *)opaque)->s.port92;
}

/* A20 is always open, as on machines since 2013; the bit is only remembered. */
static void port92_write(void *opaque, uint16_t offset, uint32_t value, unsigned size)
{
    struct piix3 *x = opaque;
    bool reset = value & ~x->s.port92 & P92_RESET;

    (void)offset;
    (void)size;
    x->s.port92 = value & (P92_RESET | P92_A20);
    if (reset)
        bus_request(x->dev.env->bus, MACHINE_RESET, 0);
}

static const struct pio_ops port92_ops = {
    .read = port92_read, .write = port92_write, .max_size = 1};

static uint32_t rcr_read(void *opaque, uint16_t offset, unsigned size)
{
    (void)offset;
    (void)size;
    return ((struct piix3 *)opaque)->s.reset_control;
}

static void rcr_write(void *opaque, uint16_t offset, uint32_t value, unsigned size)
{
    struct piix3 *x = opaque;

    (void)offset;
    (void)size;
    x->s.reset_control = value & RCR_HARD;
    if (value & RCR_CPU)
        bus_request(x->dev.env->bus, MACHINE_RESET, 0);
}

static const struct pio_ops rcr_ops = {.read = rcr_read, .write = rcr_write, .max_size = 1};

/* Diagnostic code and I/O delay ports: claimed, so that they are not counted as unclaimed. */
static uint32_t post_read(void *opaque, uint16_t offset, unsigned size)
{
    (void)opaque;
    (void)offset;
    (void)size;
    return 0xff;
}

static const struct pio_ops post_ops = {.read = post_read, .max_size = 1};

static bool piix3_realize(struct dev *d, struct err *e)
{
    struct piix3 *x = container_of(d, struct piix3, dev);
    struct bus *bus = d->env->bus;
    static const struct pci_ids ids = {.vendor = 0x8086, .device = 0x7000, .subvendor = 0x1af4,
                                       .subdevice = 0x1100, .class_code = 6, .subclass = 1};

    x->pci = pci_add(d->env->pci, 1 << 3, d->id, &ids, &piix3_pci_ops, x, e);
    if (!x->pci)
        return false;
    memset(pci_write_mask(x->pci) + PIRQ_ROUTE, 0x8f, PIRQS);
    pci_bus_set_intx(d->env->pci, on_intx, x);
    bus_add_pio(bus, "port92", 0x92, 1, &port92_ops, x);
    bus_add_pio(bus, "reset-control", 0xcf9, 1, &rcr_ops, x); /* over CONFIG_ADDRESS: bytes only */
    bus_add_pio(bus, "post", 0x80, 1, &post_ops, x);
    bus_add_pio(bus, "post", 0xed, 1, &post_ops, x);
    return true;
}

static void piix3_reset(struct dev *d)
{
    struct piix3 *x = container_of(d, struct piix3, dev);
    uint8_t *config = pci_config(x->pci);

    pci_reset(x->pci);
    config[PCI_COMMAND] = PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
    pci_write_mask(x->pci)[PCI_COMMAND] = 0; /* hardwired */
    memset(config + PIRQ_ROUTE, PIRQ_DISABLED, PIRQS);
    x->s.port92 = P92_A20;
    x->s.reset_control = 0;
    update_irqs(x);
}

static void piix3_unrealize(struct dev *d)
{
    struct piix3 *x = container_of(d, struct piix3, dev);

    if (!x->pci)
        return;
    pci_bus_set_intx(d->env->pci, NULL, NULL);
    pci_remove(x->pci);
}

const struct dev_class piix3_class = {
    .name = "piix3",
    .summary = "PIIX3 ISA bridge",
    .size = sizeof(struct piix3),
    .realize = piix3_realize,
    .unrealize = piix3_unrealize,
    .reset = piix3_reset,
};
