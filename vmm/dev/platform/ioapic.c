/* SPDX-License-Identifier: GPL-2.0-or-later */
/* I/O APIC with 24 inputs. Source: Intel 82093AA data sheet (290566) and, for the EOI register, the
 * ICH I/O APIC (version 20h). Lines carry "asserted", so the polarity bit changes nothing here. */
#include "vmm/dev/dev.h"

#define PINS          GSI_COUNT
#define REGION_SIZE   0x1000u
#define REG_SELECT    0x00
#define REG_WINDOW    0x10
#define REG_EOI       0x40
#define IDX_ID        0x00
#define IDX_VERSION   0x01
#define IDX_ARB       0x02
#define IDX_REDIR     0x10
#define VERSION       (0x20u | (PINS - 1) << 16)

#define REDIR_PENDING    BIT64(12) /* read only */
#define REDIR_REMOTE_IRR BIT64(14) /* read only */
#define REDIR_LEVEL      BIT64(15)
#define REDIR_MASKED     BIT64(16)
#define REDIR_WRITABLE   (UINT64_C(0xff0000000001ffff) & ~(REDIR_PENDING | REDIR_REMOTE_IRR))

#define MSI_BASE UINT64_C(0xfee00000)

struct ioapic_state {
    uint64_t redir[PINS];
    uint32_t lines;
    uint8_t select, id;
    uint8_t pad[2];
};

struct ioapic {
    struct dev dev;
    uint64_t base;
    struct ioapic_state s;
};

/* The message an entry stands for (SDM vol. 3A, 11.11). */
static void message(uint64_t entry, uint64_t *address, uint32_t *data)
{
    uint64_t dest = entry >> 56, logical = entry >> 11 & 1;
    uint32_t vector_and_mode = entry & 0x7ff, level = entry >> 15 & 1;

    *address = MSI_BASE | dest << 12 | logical << 2;
    *data = vector_and_mode | 1u << 14 | level << 15;
}

static void deliver(struct ioapic *io, unsigned pin)
{
    uint64_t address;
    uint32_t data;

    message(io->s.redir[pin], &address, &data);
    bus_msi(io->dev.env->bus, address, data);
}

/* Sends a level interrupt that is due. */
static void service_level(struct ioapic *io, unsigned pin)
{
    uint64_t *entry = &io->s.redir[pin];

    if (!(io->s.lines & BIT(pin)) || (*entry & (REDIR_MASKED | REDIR_REMOTE_IRR)) ||
        !(*entry & REDIR_LEVEL))
        return;
    *entry |= REDIR_REMOTE_IRR;
    deliver(io, pin);
}

static void on_gsi(void *opaque, unsigned n, int level)
{
    struct ioapic *io = opaque;

    if (n == 2)
        return;      /* the PIC's cascade is not wired to us */
    if (n == 0)
        n = 2;       /* the timer is: MADT interrupt source override */
    bool was = io->s.lines & BIT(n);
    io->s.lines = level ? io->s.lines | BIT(n) : io->s.lines & ~BIT(n);
    if (io->s.redir[n] & REDIR_LEVEL)
        service_level(io, n);
    else if (level && !was && !(io->s.redir[n] & REDIR_MASKED)) /* masked edges are lost */
        deliver(io, n);
}

static void on_eoi(void *opaque, uint8_t vector)
{
    struct ioapic *io = opaque;

    for (unsigned pin = 0; pin < PINS; pin++) {
        uint64_t *entry = &io->s.redir[pin];
        if (!(*entry & REDIR_REMOTE_IRR) || (uint8_t)*entry != vector)
            continue;
        *entry &= ~REDIR_REMOTE_IRR;
        service_level(io, pin);
    }
}

static void announce(struct ioapic *io, unsigned pin)
{
    uint64_t address;
    uint32_t data;

    message(io->s.redir[pin], &address, &data);
    bus_ioapic_route(io->dev.env->bus, pin, address, data, io->s.redir[pin] & REDIR_MASKED);
}

static void redir_write(struct ioapic *io, unsigned pin, unsigned high, uint32_t value)
{
    uint64_t *entry = &io->s.redir[pin], old = *entry;
    uint64_t mask = (high ? UINT64_C(0xffffffff00000000) : UINT32_MAX) & REDIR_WRITABLE;
    uint64_t wide = high ? (uint64_t)value << 32 : value;

    *entry = (old & ~mask) | (wide & mask);
    if (!(*entry & REDIR_LEVEL)) /* Linux clears Remote IRR of old chips by a turn as edge */
        *entry &= ~REDIR_REMOTE_IRR;
    if ((*entry ^ old) & REDIR_WRITABLE)
        announce(io, pin);
    service_level(io, pin);
}

static uint32_t indexed_read(const struct ioapic *io, unsigned index)
{
    switch (index) {
    case IDX_ID:
    case IDX_ARB: return (uint32_t)io->s.id << 24;
    case IDX_VERSION: return VERSION;
    default: break;
    }
    unsigned n = index - IDX_REDIR;
    if (index < IDX_REDIR || n >= PINS * 2)
        return UINT32_MAX;
    return (uint32_t)(io->s.redir[n / 2] >> (n & 1) * 32);
}

static void indexed_write(struct ioapic *io, unsigned index, uint32_t value)
{
    if (index == IDX_ID)
        io->s.id = value >> 24 & 0xf;
    else if (index >= IDX_REDIR && index - IDX_REDIR < PINS * 2)
        redir_write(io, (index - IDX_REDIR) / 2, index & 1, value);
}

static uint64_t ioapic_read(void *opaque, uint64_t offset, unsigned size)
{
    const struct ioapic *io = opaque;

    (void)size;
    switch (offset & 0xff) {
    case REG_SELECT: return io->s.select;
    case REG_WINDOW: return indexed_read(io, io->s.select);
    default: return 0;
    }
}

static void ioapic_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct ioapic *io = opaque;

    (void)size;
    switch (offset & 0xff) {
    case REG_SELECT: io->s.select = (uint8_t)value; break;
    case REG_WINDOW: indexed_write(io, io->s.select, (uint32_t)value); break;
    case REG_EOI: on_eoi(io, (uint8_t)value); break;
    default: break;
    }
}

static const struct mmio_ops ioapic_ops = {.read = ioapic_read, .write = ioapic_write,
                                           .max_size = 4};

static bool ioapic_realize(struct dev *d, struct err *e)
{
    struct ioapic *io = container_of(d, struct ioapic, dev);

    (void)e;
    mem_add_mmio(d->env->mem, "ioapic", io->base, REGION_SIZE, MEM_PRIO_DEVICE, &ioapic_ops, io);
    bus_connect_gsi(d->env->bus, on_gsi, io);
    bus_connect_ioapic(d->env->bus, on_eoi, io);
    return true;
}

static void ioapic_reset(struct dev *d)
{
    struct ioapic *io = container_of(d, struct ioapic, dev);
    uint32_t lines = io->s.lines;

    io->s = (struct ioapic_state){.lines = lines};
    for (unsigned pin = 0; pin < PINS; pin++) {
        io->s.redir[pin] = REDIR_MASKED;
        announce(io, pin);
    }
}

static const struct dev_prop ioapic_props[] = {
    DEV_PROP("base", PROP_U64, struct ioapic, base, 0xfec00000, "guest physical address"),
    {0},
};

const struct dev_class ioapic_class = {
    .name = "ioapic",
    .summary = "I/O APIC with 24 inputs",
    .size = sizeof(struct ioapic),
    .props = ioapic_props,
    .realize = ioapic_realize,
    .reset = ioapic_reset,
};
