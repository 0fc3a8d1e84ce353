/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See pci.h. Register offsets and bits: PCI Local Bus 3.0 ch. 6.1-6.2, MSI-X ch. 6.8.2. */
#include "vmm/bus/pci.h"

#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/base/alloc.h"
#include "vmm/base/bits.h"
#include "vmm/base/fd.h"
#include "vmm/base/log.h"

#define DEVFNS 256
#define PIRQS  4
#define ROM    PCI_BARS /* index of the expansion ROM among the BARs */

#define STATUS_INTX     BIT(3)
#define STATUS_CAP_LIST BIT(4)
#define BAR_IO_FLAG     1u
#define BAR_64_FLAG     4u
#define BAR_PREFETCH    8u
#define ROM_ENABLE      1u
#define HEADER_MULTIFN  0x80u

#define MSIX_PBA      0x800u
#define MSIX_MAX      (MSIX_PBA / 16)
#define MSIX_ENABLE   BIT(15)
#define MSIX_MASK_ALL BIT(14)
#define MSIX_MASKED   1u
#define MSIX_BAR_SIZE 4096u

struct bar {
    enum pci_bar_kind kind;
    uint64_t size;
    uint64_t address; /* UINT64_MAX while not decoded */
    struct pio_region *pio;
    struct mem_region *mem;
    void *image; /* ROM only: our copy */
};

/* The eventfd of an MSI-X vector. */
struct msix_irqfd {
    int fd;       /* -1: none */
    bool refused; /* the accelerator cannot; until the next reset */
    uint64_t address;
    uint32_t data; /* the message that the accelerator sends for it */
};

struct pci_dev {
    struct pci_bus *pb;
    const char *name;
    unsigned devfn;
    const struct pci_dev_ops *ops;
    void *opaque;
    uint8_t config[PCI_CONFIG_SIZE], wmask[PCI_CONFIG_SIZE];
    struct bar bars[PCI_BARS + 1];
    unsigned cap_end; /* where the next capability goes */
    bool intx;       /* the device's wish */
    bool driven;     /* what the PIRQ sees: wish and not disabled */
    unsigned msix_count;
    uint8_t msix_cap;
    uint32_t *msix_table; /* 4 words per vector */
    uint64_t msix_pending[MSIX_MAX / 64];
    struct msix_irqfd *irqfds; /* by vector */
};

struct pci_bus {
    struct bus *bus;
    struct pci_dev *devs[DEVFNS];
    void (*intx)(void *opaque, unsigned pirq, int level);
    void *intx_opaque;
    unsigned drivers[PIRQS]; /* devices that hold the PIRQ */
};

struct pci_bus *pci_bus_new(struct bus *bus)
{
    struct pci_bus *pb = X_NEW(struct pci_bus);

    pb->bus = bus;
    return pb;
}

void pci_bus_free(struct pci_bus *pb)
{
    if (!pb)
        return;
    for (unsigned i = 0; i < DEVFNS; i++)
        if (pb->devs[i])
            pci_remove(pb->devs[i]);
    x_free(pb);
}

void pci_bus_set_intx(struct pci_bus *pb, void (*set)(void *opaque, unsigned pirq, int level),
                      void *opaque)
{
    pb->intx = set;
    pb->intx_opaque = opaque;
}

struct pci_dev *pci_bus_dev(struct pci_bus *pb, unsigned devfn)
{
    return devfn < DEVFNS ? pb->devs[devfn] : NULL;
}

/* ---- INTx ---- */

unsigned pci_intx_pirq(unsigned devfn, unsigned pin)
{
    return ((devfn >> 3) + pin + PIRQS - 1) % PIRQS;
}

static void update_intx(struct pci_dev *d)
{
    bool drive = d->intx && !(ld_le16(d->config + PCI_COMMAND) & PCI_COMMAND_INTX_OFF);
    uint8_t pin = d->config[PCI_INTERRUPT_PIN];

    if (drive == d->driven || pin < 1 || pin > 4)
        return;
    d->driven = drive;
    unsigned pirq = pci_intx_pirq(d->devfn, pin - 1u);
    unsigned before = d->pb->drivers[pirq];
    d->pb->drivers[pirq] = drive ? before + 1 : before - 1;
    if (!before != !d->pb->drivers[pirq] && d->pb->intx)
        d->pb->intx(d->pb->intx_opaque, pirq, drive);
}

void pci_intx(struct pci_dev *d, int level)
{
    d->intx = level != 0;
    if (d->intx)
        d->config[PCI_STATUS] |= STATUS_INTX;
    else
        d->config[PCI_STATUS] &= (uint8_t)~STATUS_INTX;
    update_intx(d);
}

/* ---- BARs ---- */

static unsigned bar_offset(unsigned bar)
{
    return bar == ROM ? PCI_ROM_ADDRESS : PCI_BAR0 + bar * 4;
}

/* What the registers say, or UINT64_MAX when the BAR is not to be decoded. All ones, as written for
 * sizing, and address 0 decode nothing. */
static uint64_t wanted_address(const struct pci_dev *d, unsigned n)
{
    const struct bar *b = &d->bars[n];
    uint16_t command = ld_le16(d->config + PCI_COMMAND);
    uint64_t raw = ld_le32(d->config + bar_offset(n)), end = UINT32_MAX;

    switch (b->kind) {
    case PCI_BAR_NONE: return UINT64_MAX;
    case PCI_BAR_IO:
        if (!(command & PCI_COMMAND_IO))
            return UINT64_MAX;
        end = 0xffff;
        break;
    case PCI_BAR_MEM64:
        raw |= (uint64_t)ld_le32(d->config + bar_offset(n) + 4) << 32;
        end = BIT64(GPA_BITS) - 1;
        __attribute__((fallthrough));
    case PCI_BAR_MEM:
        if (!(command & PCI_COMMAND_MEMORY) || (n == ROM && !(raw & ROM_ENABLE)))
            return UINT64_MAX;
        break;
    }
    uint64_t address = raw & ~(b->size - 1);
    if (address == 0 || address > end || b->size > end - address)
        return UINT64_MAX;
    return address;
}

static void update_bars(struct pci_dev *d)
{
    struct mem *mem = bus_mem(d->pb->bus);
    bool moved = false;

    mem_begin(mem);
    for (unsigned n = 0; n <= ROM; n++) {
        struct bar *b = &d->bars[n];
        uint64_t address = wanted_address(d, n);

        if (address == b->address || b->kind == PCI_BAR_NONE)
            continue;
        b->address = address;
        moved = true;
        bool on = address != UINT64_MAX;
        if (b->pio)
            bus_pio_set(d->pb->bus, b->pio, on ? (uint16_t)address : 0, on);
        else if (b->mem)
            mem_region_set(mem, b->mem, on ? address : 0, on);
    }
    mem_commit(mem);
    if (moved && d->ops && d->ops->bars_moved)
        d->ops->bars_moved(d->opaque);
}

/* The registers of a BAR: flags fixed, address bits writable. */
static struct bar *declare(struct pci_dev *d, unsigned n, enum pci_bar_kind kind, uint64_t size,
                           uint32_t flags)
{
    struct bar *b = &d->bars[n];
    unsigned off = bar_offset(n);
    uint64_t mask = ~(size - 1);

    *b = (struct bar){.kind = kind, .size = size, .address = UINT64_MAX};
    st_le32(d->config + off, flags);
    st_le32(d->wmask + off, (uint32_t)mask);
    if (kind == PCI_BAR_MEM64)
        st_le32(d->wmask + off + 4, (uint32_t)(mask >> 32));
    return b;
}

void pci_bar_io(struct pci_dev *d, unsigned bar, uint32_t size, const struct pio_ops *ops)
{
    struct bar *b = declare(d, bar, PCI_BAR_IO, size, BAR_IO_FLAG);

    b->pio = bus_add_pio(d->pb->bus, d->name, 0, size, ops, d->opaque);
    bus_pio_set(d->pb->bus, b->pio, 0, false);
}

static uint32_t mem_flags(bool is64, bool prefetchable)
{
    return (is64 ? BAR_64_FLAG : 0) | (prefetchable ? BAR_PREFETCH : 0);
}

void pci_bar_mem(struct pci_dev *d, unsigned bar, uint64_t size, bool is64, bool prefetchable,
                 const struct mmio_ops *ops)
{
    struct mem *mem = bus_mem(d->pb->bus);
    struct bar *b = declare(d, bar, is64 ? PCI_BAR_MEM64 : PCI_BAR_MEM, size,
                            mem_flags(is64, prefetchable));

    mem_begin(mem);
    b->mem = mem_add_mmio(mem, d->name, 0, size, MEM_PRIO_DEVICE, ops, d->opaque);
    mem_region_set(mem, b->mem, 0, false);
    mem_commit(mem);
}

static void map_host(struct pci_dev *d, struct bar *b, void *host, bool readonly)
{
    struct mem *mem = bus_mem(d->pb->bus);

    mem_begin(mem);
    b->mem = mem_add_host(mem, d->name, 0, b->size, MEM_PRIO_DEVICE, host, readonly);
    if (b->mem)
        mem_region_set(mem, b->mem, 0, false);
    else
        log_error("pci", "no room for the memory of \"%s\"", d->name);
    mem_commit(mem);
}

struct mem_region *pci_bar_ram(struct pci_dev *d, unsigned bar, uint64_t size, void *host)
{
    struct bar *b = declare(d, bar, PCI_BAR_MEM, size, mem_flags(false, true));

    map_host(d, b, host, false);
    return b->mem;
}

void pci_bar_rom(struct pci_dev *d, const void *image, uint32_t len)
{
    uint64_t size = PAGE_SIZE;

    while (size < len)
        size *= 2;
    void *copy = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (copy == MAP_FAILED) {
        log_error("pci", "no memory for the ROM of \"%s\"", d->name);
        return;
    }
    memcpy(copy, image, len);
    struct bar *b = declare(d, ROM, PCI_BAR_MEM, size, 0);
    d->wmask[PCI_ROM_ADDRESS] |= ROM_ENABLE;
    b->image = copy;
    map_host(d, b, copy, true);
}

uint64_t pci_bar_address(const struct pci_dev *d, unsigned bar)
{
    return bar <= ROM && d->bars[bar].kind != PCI_BAR_NONE ? d->bars[bar].address : UINT64_MAX;
}

enum pci_bar_kind pci_bar_info(const struct pci_dev *d, unsigned bar, uint64_t *size)
{
    *size = bar <= ROM ? d->bars[bar].size : 0;
    return bar <= ROM ? d->bars[bar].kind : PCI_BAR_NONE;
}

/* ---- life ---- */

static bool slot_free(const struct pci_bus *pb, unsigned slot)
{
    for (unsigned fn = 0; fn < 8; fn++)
        if (pb->devs[slot << 3 | fn])
            return false;
    return true;
}

static int choose_devfn(const struct pci_bus *pb)
{
    for (unsigned slot = 0; slot < 32; slot++)
        if (slot_free(pb, slot))
            return (int)(slot << 3);
    return -1;
}

/* Function 0 says whether the slot has others. */
static void mark_multifunction(struct pci_bus *pb, unsigned slot)
{
    struct pci_dev *first = pb->devs[slot << 3];

    for (unsigned fn = 1; first && fn < 8; fn++)
        if (pb->devs[slot << 3 | fn])
            first->config[PCI_HEADER_TYPE] |= HEADER_MULTIFN;
}

struct pci_dev *pci_add(struct pci_bus *pb, int devfn, const char *name, const struct pci_ids *ids,
                        const struct pci_dev_ops *ops, void *opaque, struct err *e)
{
    if (devfn < 0)
        devfn = choose_devfn(pb);
    if (devfn < 0 || devfn >= DEVFNS || pb->devs[devfn]) {
        err_set(e, ERR_LIMIT, "cannot add PCI device \"%s\": no free slot", name);
        return NULL;
    }
    struct pci_dev *d = X_NEW(struct pci_dev);
    d->pb = pb;
    d->name = name;
    d->devfn = (unsigned)devfn;
    d->ops = ops;
    d->opaque = opaque;
    d->cap_end = 0x40;

    uint8_t *c = d->config, *w = d->wmask;
    st_le16(c + PCI_VENDOR_ID, ids->vendor);
    st_le16(c + PCI_DEVICE_ID, ids->device);
    c[PCI_REVISION] = ids->revision;
    c[PCI_PROG_IF] = ids->prog_if;
    c[PCI_SUBCLASS] = ids->subclass;
    c[PCI_CLASS] = ids->class_code;
    st_le16(c + PCI_SUBSYSTEM_VENDOR, ids->subvendor);
    st_le16(c + PCI_SUBSYSTEM_ID, ids->subdevice);
    c[PCI_INTERRUPT_PIN] = ids->interrupt_pin;
    st_le16(w + PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER |
                                 PCI_COMMAND_PARITY | PCI_COMMAND_SERR | PCI_COMMAND_INTX_OFF);
    w[PCI_CACHE_LINE] = 0xff;
    w[PCI_LATENCY] = 0xff;
    w[PCI_INTERRUPT_LINE] = 0xff;
    for (unsigned i = 0; i <= ROM; i++)
        d->bars[i].address = UINT64_MAX;
    pb->devs[devfn] = d;
    mark_multifunction(pb, d->devfn >> 3);
    return d;
}

void pci_remove(struct pci_dev *d)
{
    pci_reset(d);
    d->pb->devs[d->devfn] = NULL;
    if (d->bars[ROM].image)
        munmap(d->bars[ROM].image, d->bars[ROM].size);
    x_free(d->msix_table);
    x_free(d->irqfds);
    x_free(d);
}

unsigned pci_devfn(const struct pci_dev *d)
{
    return d->devfn;
}

struct bus *pci_system_bus(const struct pci_dev *d)
{
    return d->pb->bus;
}

uint8_t *pci_config(struct pci_dev *d)
{
    return d->config;
}

uint8_t *pci_write_mask(struct pci_dev *d)
{
    return d->wmask;
}

static void msix_reset(struct pci_dev *d)
{
    for (unsigned v = 0; v < d->msix_count; v++) {
        memset(d->msix_table + v * 4, 0, 12);
        d->msix_table[v * 4 + 3] = MSIX_MASKED;
        if (d->irqfds[v].fd >= 0)
            bus_clear_irqfd(d->pb->bus, d->irqfds[v].fd);
        fd_close(&d->irqfds[v].fd);
        d->irqfds[v].refused = false;
    }
    memset(d->msix_pending, 0, sizeof(d->msix_pending));
    if (d->msix_cap)
        d->config[d->msix_cap + 3] &= (uint8_t)~((MSIX_ENABLE | MSIX_MASK_ALL) >> 8);
}

void pci_reset(struct pci_dev *d)
{
    pci_intx(d, 0);
    st_le16(d->config + PCI_COMMAND, 0);
    d->config[PCI_CACHE_LINE] = d->config[PCI_LATENCY] = d->config[PCI_INTERRUPT_LINE] = 0;
    for (unsigned n = 0; n <= ROM; n++) {
        unsigned off = bar_offset(n);
        if (d->bars[n].kind == PCI_BAR_NONE)
            continue;
        for (unsigned i = 0; i < (d->bars[n].kind == PCI_BAR_MEM64 ? 8u : 4u); i++)
            d->config[off + i] &= (uint8_t)~d->wmask[off + i];
    }
    msix_reset(d);
    update_bars(d);
}

/* ---- configuration space ---- */

static void msix_deliver_pending(struct pci_dev *d);

static struct pci_dev *addressed(struct pci_bus *pb, uint32_t address)
{
    if (!(address & BIT(31)) || (address >> 16 & 0xff) != 0)
        return NULL;
    return pb->devs[address >> 8 & 0xff];
}

uint32_t pci_config_read(struct pci_bus *pb, uint32_t address, unsigned offset, unsigned size)
{
    struct pci_dev *d = addressed(pb, address);
    unsigned reg = (address & 0xfc) + (offset & 3);

    if (!d || reg + size > PCI_CONFIG_SIZE)
        return (uint32_t)mask_bytes(size);
    if (d->ops && d->ops->config_reading)
        d->ops->config_reading(d->opaque, reg, size);
    return (uint32_t)ld_le(d->config + reg, size);
}

void pci_config_write(struct pci_bus *pb, uint32_t address, unsigned offset, uint32_t value,
                      unsigned size)
{
    struct pci_dev *d = addressed(pb, address);
    unsigned reg = (address & 0xfc) + (offset & 3);

    if (!d || reg + size > PCI_CONFIG_SIZE)
        return;
    for (unsigned i = 0; i < size; i++) {
        uint8_t w = d->wmask[reg + i], v = (uint8_t)(value >> (i * 8));
        d->config[reg + i] = (uint8_t)((d->config[reg + i] & ~w) | (v & w));
    }
    if (reg < PCI_ROM_ADDRESS + 4) {
        update_bars(d);
        update_intx(d);
    }
    if (d->msix_cap && reg <= d->msix_cap + 3u && reg + size > d->msix_cap)
        msix_deliver_pending(d);
    if (d->ops && d->ops->config_written)
        d->ops->config_written(d->opaque, reg, size);
}

unsigned pci_add_cap(struct pci_dev *d, uint8_t id, unsigned len)
{
    unsigned off = d->cap_end;

    if (off + len > PCI_CONFIG_SIZE) {
        log_error("pci", "no room for a capability of \"%s\"", d->name);
        return 0;
    }
    d->config[off] = id;
    d->config[off + 1] = d->config[PCI_CAP_POINTER];
    d->config[PCI_CAP_POINTER] = (uint8_t)off;
    d->config[PCI_STATUS] |= STATUS_CAP_LIST;
    d->cap_end = ALIGN_UP(off + len, 4u);
    return off;
}

/* ---- MSI-X ---- */

bool pci_msix_enabled(const struct pci_dev *d)
{
    return d->msix_cap && (ld_le16(d->config + d->msix_cap + 2) & MSIX_ENABLE);
}

static bool msix_can_send(const struct pci_dev *d, unsigned v)
{
    uint16_t control = ld_le16(d->config + d->msix_cap + 2);

    return (control & (MSIX_ENABLE | MSIX_MASK_ALL)) == MSIX_ENABLE &&
           !(d->msix_table[v * 4 + 3] & MSIX_MASKED);
}

/* The accelerator learns of a new message when it is sent for the first time: nobody but us writes the eventfd, so
 * that masking and rewriting the entry mean nothing to it. */
static bool send_by_irqfd(struct pci_dev *d, unsigned v, uint64_t address, uint32_t data)
{
    struct msix_irqfd *q = &d->irqfds[v];
    const uint64_t one = 1;

    if (q->refused)
        return false;
    if (q->fd < 0 || q->address != address || q->data != data) {
        if (q->fd < 0)
            q->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (q->fd < 0 || !bus_set_irqfd(d->pb->bus, q->fd, address, data)) {
            fd_close(&q->fd);
            q->refused = true;
            return false;
        }
        q->address = address;
        q->data = data;
    }
    return write(q->fd, &one, sizeof(one)) == sizeof(one);
}

static void msix_send(struct pci_dev *d, unsigned v)
{
    const uint32_t *t = d->msix_table + v * 4;
    uint64_t address = (uint64_t)t[1] << 32 | (t[0] & ~3u);

    d->msix_pending[v / 64] &= ~BIT64(v % 64);
    if ((ld_le16(d->config + PCI_COMMAND) & PCI_COMMAND_MASTER) &&
        !send_by_irqfd(d, v, address, t[2]))
        bus_msi(d->pb->bus, address, t[2]);
}

static void msix_deliver_pending(struct pci_dev *d)
{
    for (unsigned v = 0; v < d->msix_count; v++)
        if ((d->msix_pending[v / 64] & BIT64(v % 64)) && msix_can_send(d, v))
            msix_send(d, v);
}

void pci_msix_notify(struct pci_dev *d, unsigned vector)
{
    if (vector >= d->msix_count || !pci_msix_enabled(d))
        return;
    if (msix_can_send(d, vector))
        msix_send(d, vector);
    else
        d->msix_pending[vector / 64] |= BIT64(vector % 64);
}

static uint64_t msix_read(void *opaque, uint64_t offset, unsigned size)
{
    const struct pci_dev *d = opaque;

    (void)size;
    if (offset < d->msix_count * 16u)
        return d->msix_table[offset / 4];
    if (offset >= MSIX_PBA && offset - MSIX_PBA < sizeof(d->msix_pending))
        return (uint32_t)(d->msix_pending[(offset - MSIX_PBA) / 8] >> (offset & 4) * 8);
    return 0;
}

static void msix_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct pci_dev *d = opaque;

    (void)size;
    if (offset >= d->msix_count * 16u)
        return;
    d->msix_table[offset / 4] = (uint32_t)value;
    if (offset % 16 == 12) {
        d->msix_table[offset / 4] &= MSIX_MASKED;
        msix_deliver_pending(d);
    }
}

static const struct mmio_ops msix_ops = {
    .read = msix_read, .write = msix_write, .min_size = 4, .max_size = 4};

void pci_add_msix(struct pci_dev *d, unsigned bar, unsigned count)
{
    void *opaque = d->opaque;

    count = MIN(count, MSIX_MAX);
    unsigned cap = pci_add_cap(d, PCI_CAP_MSIX, 12);
    if (!cap || !count)
        return;
    d->opaque = d; /* the table's MMIO is ours, not the device's */
    pci_bar_mem(d, bar, MSIX_BAR_SIZE, false, false, &msix_ops);
    d->opaque = opaque;
    d->msix_cap = (uint8_t)cap;
    d->msix_count = count;
    d->msix_table = x_calloc(count, 16);
    d->irqfds = x_calloc(count, sizeof(d->irqfds[0]));
    for (unsigned v = 0; v < count; v++)
        d->irqfds[v].fd = -1;
    st_le16(d->config + cap + 2, (uint16_t)(count - 1));
    st_le32(d->config + cap + 4, bar);
    st_le32(d->config + cap + 8, MSIX_PBA | bar);
    d->wmask[cap + 3] = (MSIX_ENABLE | MSIX_MASK_ALL) >> 8;
    msix_reset(d);
}
