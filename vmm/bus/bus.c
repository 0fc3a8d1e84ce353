/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ports are looked up in a table with one entry per port, memory in the flat view of mem. An access is
 * cut into pieces that are naturally aligned, lie in one region and are no wider than the device
 * allows, which is what a chipset does for narrow ISA devices. */
#include "vmm/bus/bus.h"

#include <string.h>

#include "vmm/base/alloc.h"
#include "vmm/base/bits.h"
#include "vmm/base/log.h"

#define PORTS           0x10000u
#define GSI_LISTENERS   4
#define PIO_REGIONS_MAX 256

struct pio_region {
    const char *name;
    uint16_t port;
    unsigned len;
    bool enabled;
    const struct pio_ops *ops;
    void *opaque;
};

struct bus {
    struct lock lock;
    struct mem *mem;
    const struct bus_host_ops *host;
    void *host_opaque;
    struct pio_region *regions[PIO_REGIONS_MAX];
    unsigned region_count;
    uint8_t owner[PORTS]; /* index of the region plus one; 0: nobody */
    struct irq_line gsi[GSI_COUNT];
    struct {
        void (*set)(void *opaque, unsigned n, int level);
        void *opaque;
    } gsi_listeners[GSI_LISTENERS];
    unsigned gsi_listener_count;
    uint8_t (*pic_ack)(void *opaque);
    void *pic_opaque;
    void (*ioapic_eoi)(void *opaque, uint8_t vector);
    void *ioapic_opaque;
    bool (*ferr)(void *opaque, bool level);
    void *ferr_opaque;
    struct mem_range last; /* last MMIO lookup, valid for generation last_gen */
    uint64_t last_gen;
    struct bus_stats stats;
};
_Static_assert(PIO_REGIONS_MAX < 257, "owner[] holds one byte");

static void gsi_set(void *opaque, unsigned n, int level)
{
    struct bus *bus = opaque;

    for (unsigned i = 0; i < bus->gsi_listener_count; i++)
        bus->gsi_listeners[i].set(bus->gsi_listeners[i].opaque, n, level);
}

struct bus *bus_new(struct mem *mem)
{
    struct bus *bus = X_NEW(struct bus);

    lock_init(&bus->lock, LOCK_MACHINE);
    bus->mem = mem;
    bus->last_gen = UINT64_MAX;
    for (unsigned n = 0; n < GSI_COUNT; n++)
        bus->gsi[n] = (struct irq_line){.set = gsi_set, .opaque = bus, .n = n};
    return bus;
}

void bus_free(struct bus *bus)
{
    if (!bus)
        return;
    for (unsigned i = 0; i < bus->region_count; i++)
        x_free(bus->regions[i]);
    lock_fini(&bus->lock);
    x_free(bus);
}

void bus_set_host(struct bus *bus, const struct bus_host_ops *ops, void *opaque)
{
    bus->host = ops;
    bus->host_opaque = opaque;
}

struct mem *bus_mem(struct bus *bus)
{
    return bus->mem;
}

void bus_lock(struct bus *bus)
{
    lock_take(&bus->lock);
}

void bus_unlock(struct bus *bus)
{
    lock_drop(&bus->lock);
}

/* ---- ports ---- */

static void rebuild_ports(struct bus *bus)
{
    memset(bus->owner, 0, sizeof(bus->owner));
    for (unsigned i = 0; i < bus->region_count; i++) {
        const struct pio_region *r = bus->regions[i];
        if (r->enabled)
            memset(bus->owner + r->port, (int)i + 1, MIN(r->len, PORTS - r->port));
    }
}

struct pio_region *bus_add_pio(struct bus *bus, const char *name, uint16_t port, unsigned len,
                               const struct pio_ops *ops, void *opaque)
{
    struct pio_region *r = X_NEW(struct pio_region);

    *r = (struct pio_region){.name = name, .port = port, .len = len, .enabled = true, .ops = ops,
                             .opaque = opaque};
    if (bus->region_count == PIO_REGIONS_MAX - 1) { /* the machine makes a few dozen */
        log_error("bus", "no room for ports of \"%s\"", name);
        r->enabled = false;
        return r;
    }
    bus->regions[bus->region_count++] = r;
    rebuild_ports(bus);
    return r;
}

void bus_pio_set(struct bus *bus, struct pio_region *r, uint16_t port, bool enabled)
{
    if (r->enabled == enabled && r->port == port)
        return;
    r->port = port;
    r->enabled = enabled;
    rebuild_ports(bus);
}

/* How many of size bytes at port go to the device in one call; *r is NULL when nobody is there. */
static unsigned pio_piece(struct bus *bus, uint16_t port, unsigned size, struct pio_region **r)
{
    uint8_t owner = bus->owner[port];
    unsigned max = 4;

    *r = owner ? bus->regions[owner - 1] : NULL;
    if (*r && (*r)->ops->max_size)
        max = (*r)->ops->max_size;
    if (size > max)
        size = max;
    if (size == 3) /* only from a split access */
        size = 1;
    /* across a region's end, or the end of the port space: byte by byte */
    return port + size > PORTS || bus->owner[port + size - 1] != owner ? 1 : size;
}

uint64_t bus_pio_read(struct bus *bus, uint16_t port, unsigned size)
{
    uint64_t value = 0;

    bus_lock(bus);
    bus->stats.pio_reads++;
    for (unsigned done = 0, n; done < size; done += n, port = (uint16_t)(port + n)) {
        struct pio_region *r;
        uint64_t v = UINT32_MAX;

        n = pio_piece(bus, port, size - done, &r);
        if (!r)
            bus->stats.unclaimed++;
        else if (r->ops->read)
            v = r->ops->read(r->opaque, (uint16_t)(port - r->port), n);
        value |= (v & mask_bytes(n)) << (done * 8);
    }
    bus_unlock(bus);
    return value;
}

void bus_pio_write(struct bus *bus, uint16_t port, uint64_t value, unsigned size)
{
    bus_lock(bus);
    bus->stats.pio_writes++;
    for (unsigned done = 0, n; done < size; done += n, port = (uint16_t)(port + n)) {
        struct pio_region *r;

        n = pio_piece(bus, port, size - done, &r);
        if (!r)
            bus->stats.unclaimed++;
        else if (r->ops->write)
            r->ops->write(r->opaque, (uint16_t)(port - r->port),
                          (uint32_t)((value >> (done * 8)) & mask_bytes(n)), n);
    }
    bus_unlock(bus);
}

/* ---- memory ---- */

static const struct mem_range *find(struct bus *bus, uint64_t gpa)
{
    uint64_t gen = mem_generation(bus->mem);

    if (gen != bus->last_gen || gpa - bus->last.gpa >= bus->last.size) {
        mem_find(bus->mem, gpa, &bus->last);
        bus->last_gen = gen;
    }
    return &bus->last;
}

/* Largest naturally aligned piece of at most max bytes at gpa. */
static unsigned mmio_piece(uint64_t gpa, unsigned size, unsigned max)
{
    unsigned n = max ? max : 8;

    while (n > size || (gpa & (n - 1)))
        n /= 2;
    return n;
}

/* Register of the device's narrowest width around an access of n bytes. */
struct window {
    uint64_t offset;
    unsigned size, shift;
};

static struct window window(const struct mmio_ops *ops, uint64_t offset, unsigned n)
{
    struct window w = {.offset = offset, .size = n};

    if (ops->min_size > n) {
        w.size = ops->min_size;
        w.offset = offset & ~(uint64_t)(w.size - 1);
        w.shift = (unsigned)(offset - w.offset) * 8;
    }
    return w;
}

static uint64_t read_piece(struct bus *bus, const struct mem_range *r, uint64_t gpa, unsigned n)
{
    uint64_t offset = gpa - r->gpa;

    if (r->host)
        return ld_le(r->host + offset, n);
    if (r->kind != MEM_MMIO) {
        bus->stats.unclaimed++;
        return UINT64_MAX;
    }
    if (!r->ops->read)
        return UINT64_MAX;
    struct window w = window(r->ops, r->offset + offset, n);
    return r->ops->read(r->opaque, w.offset, w.size) >> w.shift;
}

static void write_piece(struct bus *bus, const struct mem_range *r, uint64_t gpa, uint64_t v,
                        unsigned n)
{
    uint64_t offset = gpa - r->gpa;

    if (r->kind == MEM_RAM) {
        uint64_t index = r->page_index + offset / PAGE_SIZE;
        st_le(r->host + offset, v, n);
        if (mem_page_flags(bus->mem)[index])
            mem_page_written(bus->mem, index, (unsigned)(gpa % PAGE_SIZE), n);
        return;
    }
    if (r->kind == MEM_NONE)
        bus->stats.unclaimed++;
    if (!r->ops || !r->ops->write)
        return;
    struct window w = window(r->ops, r->offset + offset, n);
    if (w.size > n) {
        uint64_t mask = mask_bytes(n) << w.shift;
        uint64_t old = r->ops->read ? r->ops->read(r->opaque, w.offset, w.size) : 0;
        v = (old & ~mask) | (v << w.shift & mask);
    }
    r->ops->write(r->opaque, w.offset, v, w.size);
}

uint64_t bus_mmio_read(struct bus *bus, uint64_t gpa, unsigned size)
{
    uint64_t value = 0;

    bus_lock(bus);
    bus->stats.mmio_reads++;
    for (unsigned done = 0, n; done < size; done += n, gpa += n) {
        const struct mem_range r = *find(bus, gpa);

        n = mmio_piece(gpa, size - done, r.ops ? r.ops->max_size : 0);
        value |= (read_piece(bus, &r, gpa, n) & mask_bytes(n)) << (done * 8);
    }
    bus_unlock(bus);
    return value;
}

void bus_mmio_write(struct bus *bus, uint64_t gpa, uint64_t value, unsigned size)
{
    bus_lock(bus);
    bus->stats.mmio_writes++;
    for (unsigned done = 0, n; done < size; done += n, gpa += n) {
        const struct mem_range r = *find(bus, gpa); /* a write may change the map */

        n = mmio_piece(gpa, size - done, r.ops ? r.ops->max_size : 0);
        write_piece(bus, &r, gpa, (value >> (done * 8)) & mask_bytes(n), n);
    }
    bus_unlock(bus);
}

/* ---- interrupts ---- */

const struct irq_line *bus_gsi(struct bus *bus, unsigned n)
{
    return n < GSI_COUNT ? &bus->gsi[n] : NULL;
}

void bus_connect_gsi(struct bus *bus, void (*set)(void *opaque, unsigned n, int level), void *opaque)
{
    if (bus->gsi_listener_count == GSI_LISTENERS)
        return;
    bus->gsi_listeners[bus->gsi_listener_count].set = set;
    bus->gsi_listeners[bus->gsi_listener_count++].opaque = opaque;
}

void bus_connect_pic(struct bus *bus, uint8_t (*ack)(void *opaque), void *opaque)
{
    bus->pic_ack = ack;
    bus->pic_opaque = opaque;
}

void bus_connect_ioapic(struct bus *bus, void (*eoi)(void *opaque, uint8_t vector), void *opaque)
{
    bus->ioapic_eoi = eoi;
    bus->ioapic_opaque = opaque;
}

void bus_connect_ferr(struct bus *bus, bool (*ferr)(void *opaque, bool level), void *opaque)
{
    bus->ferr = ferr;
    bus->ferr_opaque = opaque;
}

bool bus_ferr(struct bus *bus, bool level)
{
    bus_lock(bus);
    bool ignne = !bus->ferr || bus->ferr(bus->ferr_opaque, level);
    bus_unlock(bus);
    return ignne;
}

uint8_t bus_pic_ack(struct bus *bus)
{
    bus_lock(bus);
    /* vector 0xff: what floats on the data bus when nobody answers INTA */
    uint8_t vector = bus->pic_ack ? bus->pic_ack(bus->pic_opaque) : 0xff;
    bus_unlock(bus);
    return vector;
}

void bus_ioapic_eoi(struct bus *bus, uint8_t vector)
{
    bus_lock(bus);
    if (bus->ioapic_eoi)
        bus->ioapic_eoi(bus->ioapic_opaque, vector);
    bus_unlock(bus);
}

void bus_extint(struct bus *bus, int level)
{
    if (bus->host && bus->host->extint)
        bus->host->extint(bus->host_opaque, level);
}

void bus_msi(struct bus *bus, uint64_t address, uint32_t data)
{
    if (bus->host && bus->host->msi)
        bus->host->msi(bus->host_opaque, address, data);
}

void bus_ioapic_route(struct bus *bus, unsigned pin, uint64_t address, uint32_t data, bool masked)
{
    if (bus->host && bus->host->ioapic_route)
        bus->host->ioapic_route(bus->host_opaque, pin, address, data, masked);
}

void bus_request(struct bus *bus, enum machine_request req, int value)
{
    if (bus->host && bus->host->request)
        bus->host->request(bus->host_opaque, req, value);
}

bool bus_add_doorbell(struct bus *bus, bool pio, uint64_t address, unsigned size, int fd)
{
    return bus->host && bus->host->ioeventfd &&
           bus->host->ioeventfd(bus->host_opaque, pio, address, size, fd, true);
}

void bus_del_doorbell(struct bus *bus, bool pio, uint64_t address, unsigned size, int fd)
{
    if (bus->host && bus->host->ioeventfd)
        bus->host->ioeventfd(bus->host_opaque, pio, address, size, fd, false);
}

bool bus_set_irqfd(struct bus *bus, int fd, uint64_t address, uint32_t data)
{
    return bus->host && bus->host->irqfd &&
           bus->host->irqfd(bus->host_opaque, fd, address, data, true);
}

void bus_clear_irqfd(struct bus *bus, int fd)
{
    if (bus->host && bus->host->irqfd)
        bus->host->irqfd(bus->host_opaque, fd, 0, 0, false);
}

void bus_get_stats(struct bus *bus, struct bus_stats *out)
{
    *out = bus->stats;
}
