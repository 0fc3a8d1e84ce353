/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Virtio devices under a driver that does anything: the input is a program of ring writes, register
 * and configuration accesses, kicks, doorbells, frames from the network and moments for the back ends. The first
 * byte chooses the device, the second the features. One machine serves all inputs, as a device must come out of
 * any of them by a reset. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/block/blk.h"
#include "vmm/dev/dev.h"
#include "vmm/dev/input/hub.h"
#include "vmm/net/netdev.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RAM   (4 * MIB)
#define BAR   UINT64_C(0xe0000000)
#define MSIX  UINT64_C(0xe0100000)
#define RINGS 0x10000u
#define RING                                                                                       \
    0x1000u /* of one queue: descriptors, then avail at 0x400, used at 0x600, indirect table at    \
               0x800 */
#define BUFFERS 0x20000u
#define QUEUE   16
#define QUEUES  2
#define QUEUES_MAX 8 /* of all devices */
#define DISK    (256 * KIB)

static struct {
    struct dev_env env;
    struct blk *blk;
    struct netdev *nd;
    struct input_hub *hub;
    int peer;
    struct dev *devs[5];
    struct {
        uint64_t address;
        int fd;
    } bells[QUEUES_MAX];
} m;

/* ---- the program ---- */

struct input {
    const uint8_t *p, *end;
};

static uint8_t byte(struct input *in)
{
    return in->p < in->end ? *in->p++ : 0;
}

static uint64_t number(struct input *in, unsigned bytes)
{
    uint64_t v = 0;

    for (unsigned i = 0; i < bytes; i++)
        v |= (uint64_t)byte(in) << 8 * i;
    return v;
}

/* Mostly inside of RAM, sometimes at its edges or far away. */
static uint64_t address(struct input *in)
{
    uint8_t how = byte(in);

    switch (how & 15) {
    case 0: return RAM - (how >> 4);
    case 1: return number(in, 8);
    case 2: return BAR + number(in, 2);
    case 3: return RINGS + number(in, 2);
    default: return BUFFERS + number(in, 2) * 16;
    }
}

static uint32_t length(struct input *in)
{
    uint8_t how = byte(in);

    switch (how & 7) {
    case 0: return (uint32_t)number(in, 4);
    case 1: return 1;
    case 2: return 512u * (how >> 3);
    default: return how;
    }
}

/* ---- machine ---- */

static void must(bool ok)
{
    if (!ok)
        abort();
}

/* An accelerator that takes everything: whoever deletes a doorbell must have it. */
static bool ioeventfd(void *opaque, bool pio, uint64_t address, unsigned size, int fd, bool on)
{
    unsigned i = 0;

    (void)opaque;
    (void)size;
    must(!pio && fd > 0);
    while (i < QUEUES_MAX && m.bells[i].fd != (on ? 0 : fd))
        i++;
    must(i < QUEUES_MAX && (on || m.bells[i].address == address));
    m.bells[i].address = address;
    m.bells[i].fd = on ? fd : 0;
    return true;
}

static bool irqfd(void *opaque, int fd, uint64_t address, uint32_t data, bool on)
{
    (void)opaque;
    (void)address;
    (void)data;
    (void)on;
    must(fd > 0);
    return true;
}

static const struct bus_host_ops host_ops = {.ioeventfd = ioeventfd, .irqfd = irqfd};

static void ring_doorbell(unsigned n)
{
    const uint64_t one = 1;

    if (m.bells[n].fd)
        must(write(m.bells[n].fd, &one, sizeof(one)) == sizeof(one));
}

static struct dev *add(unsigned n, const char *cls)
{
    struct err e;

    m.devs[n] = dev_new(&m.env, cls, cls);
    if (n == 1)
        dev_set_ptr(m.devs[n], "blk", m.blk);
    if (n == 2)
        dev_set_ptr(m.devs[n], "netdev", m.nd);
    if (n > 2)
        dev_set_ptr(m.devs[n], "hub", m.hub);
    must(dev_realize(m.devs[n], &e));
    return m.devs[n];
}

static void machine(void)
{
    static const char *const classes[] = {"virtio-rng", "virtio-blk", "virtio-net",
                                          "virtio-keyboard", "virtio-tablet"};
    struct err e;
    int sv[2], fd = memfd_create("disk", MFD_CLOEXEC);

    log_init("fuzz", 2, LOG_ERROR);
    m.env.mem = mem_new(RAM, &e);
    must(m.env.mem && fd >= 0 && ftruncate(fd, DISK) == 0);
    m.env.bus = bus_new(m.env.mem);
    bus_set_host(m.env.bus, &host_ops, NULL);
    m.env.pci = pci_bus_new(m.env.bus);
    m.env.clock = clock_new(NULL, NULL, true);
    m.env.loop = loop_new(&e);
    m.blk = blk_open("raw", fd, false, m.env.loop, &e);
    must(m.blk && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sv) == 0);
    m.nd = netdev_open(sv[0], m.env.loop);
    m.peer = sv[1];
    m.hub = input_hub_new(&m.env, -1);
    for (unsigned i = 0; i < ARRAY_LEN(classes); i++)
        add(i, classes[i]);
}

static void config(unsigned devfn, unsigned reg, uint32_t v)
{
    pci_config_write(m.env.pci, BIT(31) | devfn << 8 | (reg & 0xfc), reg & 3, v, 4);
}

static void set(unsigned offset, uint64_t v, unsigned size)
{
    bus_mmio_write(m.env.bus, BAR + offset, v, size);
}

static void poke(uint64_t gpa, uint64_t v, unsigned size)
{
    uint8_t raw[8];

    st_le(raw, v, size);
    mem_write(m.env.mem, gpa, raw, size);
}

/* A driver that begins well. features: two bits of the ring's, then the network's. */
#define NET          2u /* among the devices */
#define F_CSUM       BIT(0)
#define F_GUEST_CSUM BIT(1)
#define F_MTU        BIT(3)
#define F_MRG_RXBUF  BIT(15)

static void start(unsigned devfn, uint8_t features)
{
    static const uint8_t zeros[QUEUES * RING];

    config(devfn, PCI_BAR0 + 4, (uint32_t)MSIX);
    config(devfn, PCI_BAR0 + 16, (uint32_t)BAR);
    config(devfn, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    mem_write(m.env.mem, RINGS, zeros, sizeof(zeros));
    set(0x14, 3, 1);
    set(0x08, 0, 4);
    uint32_t of_device = devfn >> 3 == NET ? features >> 2 & (F_CSUM | F_GUEST_CSUM | F_MTU) : 0;
    if (devfn >> 3 == NET && (features & 64))
        of_device |= F_MRG_RXBUF;
    set(0x0c, (uint32_t)(features & 3) << 28 | of_device, 4);
    set(0x08, 1, 4);
    set(0x0c, 1, 4);
    set(0x14, 11, 1);
    for (unsigned q = 0; q < QUEUES; q++) {
        set(0x16, q, 2);
        set(0x18, QUEUE, 2);
        set(0x20, RINGS + q * RING, 4);
        set(0x28, RINGS + q * RING + 0x400, 4);
        set(0x30, RINGS + q * RING + 0x600, 4);
        set(0x1c, 1, 2);
    }
    set(0x14, 15, 1);
}

static void config_any(struct input *in, unsigned devfn, unsigned how)
{
    unsigned reg = byte(in), size = how == 1 ? 1 : how == 2 ? 2 : 4;
    uint32_t address = BIT(31) | devfn << 8 | (reg & 0xfc);

    if (how)
        pci_config_write(m.env.pci, address, reg & 3 & ~(size - 1), (uint32_t)number(in, size), size);
    else
        pci_config_read(m.env.pci, address, 0, 4);
}

static void network(struct input *in)
{
    static uint8_t frame[16384];
    size_t len = 14 + number(in, 1) * 64;

    /* IPv4 of that length and protocol TCP, or nearly so */
    frame[12] = 8;
    frame[14] = (uint8_t)(0x40 | (len >> 6) % 16);
    st_le16(frame + 16, (uint16_t)((len - 14) >> 8 | (len - 14) << 8));
    frame[23] = 6;
    (void)!send(m.peer, frame, len, MSG_DONTWAIT);
    while (recv(m.peer, frame, sizeof(frame), MSG_DONTWAIT) > 0) {
    }
}

static void step(struct input *in, unsigned devfn)
{
    static uint16_t avail[QUEUES];
    uint8_t op = byte(in);
    unsigned q = op >> 4 & 1;
    uint64_t ring = RINGS + q * RING;

    switch (op & 15) {
    case 0:
    case 1: /* a descriptor, of the ring or of the indirect table */ {
        uint64_t at = ring + (op & 0x20 ? 0x800 : 0) + 16 * (byte(in) % QUEUE);
        poke(at, address(in), 8);
        poke(at + 8, length(in), 4);
        poke(at + 12, byte(in) & 7, 2);
        poke(at + 14, byte(in) % (QUEUE + 1), 2);
        break;
    }
    case 2: /* one that points to the indirect table */ {
        uint64_t at = ring + 16 * (byte(in) % QUEUE);
        poke(at, ring + 0x800, 8);
        poke(at + 8, 16u * byte(in), 4);
        poke(at + 12, 4, 2);
        break;
    }
    case 3:
    case 4: /* make available and ring */
        poke(ring + 0x404 + 2 * (avail[q] % QUEUE), byte(in) % (QUEUE + 1), 2);
        poke(ring + 0x402, ++avail[q], 2);
        set(0x3000 + 4 * q, q, 2);
        break;
    case 5:
        if (op & 0x80)
            ring_doorbell(op >> 4 & 7);
        else if (op & 0x40) /* of 1, 2 or 4 bytes; BARs and the window among them */
            config_any(in, devfn, op >> 4 & 3);
        else
            avail[q] = (uint16_t)number(in, 2);
        break;
    case 6: poke(RINGS + number(in, 2) % (QUEUES * RING), number(in, 8), 8); break;
    case 7: set(byte(in) % 0x40, number(in, 4), 1u << (op >> 5 & 3)); break;
    case 8: set(0x2000 + byte(in), number(in, 4), 1u << (op >> 5 & 3)); break;
    case 9: bus_mmio_read(m.env.bus, BAR + number(in, 2) % 0x4000, 1u << (op >> 5 & 3)); break;
    case 10: bus_mmio_write(m.env.bus, MSIX + number(in, 2) % 0x1000, number(in, 4), 4); break;
    case 11: poke(BUFFERS + number(in, 2), number(in, 8), 8); break;
    case 12: network(in); break;
    case 13: {
        struct input_event ev = {.type = byte(in) & 3, .code = byte(in), .value = byte(in)};
        ev.x = ev.y = (uint16_t)(ev.value * 100);
        input_hub_event(m.hub, &ev);
        break;
    }
    case 14: clock_advance(m.env.clock, NS_PER_MS * byte(in)); break;
    default: loop_step(m.env.loop, 0); break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, data + size};

    if (!m.env.mem)
        machine();
    if (size < 2)
        return 0;
    unsigned n = byte(&in) % ARRAY_LEN(m.devs);
    struct dev *d = m.devs[n];
    /* slots are given in order */
    start(n << 3, byte(&in));
    for (unsigned steps = 0; in.p < in.end && steps < 4096; steps++)
        step(&in, n << 3);
    dev_reset(d); /* waits for the disk */
    input_hub_event(m.hub, &(struct input_event){.type = INPUT_RELEASE_ALL});
    return 0;
}
