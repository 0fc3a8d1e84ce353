/* SPDX-License-Identifier: GPL-2.0-or-later */
/* VGA with the Bochs display interface as a PCI device, laid out as QEMU's "VGA" so that its guests'
 * drivers (vgabios, bochs-drm, bochsfb) find what they know: BAR 0 display memory, BAR 2 registers
 * (EDID at 0, VGA ports at 400h, dispi at 500h, extended at 600h).
 *
 * For direct boot the device stands in for a BIOS: text_mode_on_reset sets up mode 3. Its 8x16 font is
 * found in the vgabios image at run time. */
#include "vmm/dev/video/vga_priv.h"

#include <errno.h>
#include <sys/mman.h>

#define REFRESH_NS (NS_PER_S / 30)

#define BAR_VRAM 0
#define BAR_REGS 2
#define REGS_SIZE   4096
#define REGS_PORTS  0x400u /* 3C0h-3DFh */
#define REGS_DISPI  0x500u
#define REGS_QEXT   0x600u
#define QEXT_SIZE   8u
#define LITTLE_ENDIAN_FB 0x1e1e1e1eu

#define PREFERRED_WIDTH  1280
#define PREFERRED_HEIGHT 800

/* ---- ports ---- */

static uint32_t ports_read(void *opaque, uint16_t offset, unsigned size)
{
    (void)size;
    return vga_port_read(opaque, 0x3b0u + offset);
}

static void ports_write(void *opaque, uint16_t offset, uint32_t value, unsigned size)
{
    (void)size;
    vga_port_write(opaque, 0x3b0u + offset, (uint8_t)value);
}

static const struct pio_ops vga_ports = {.read = ports_read, .write = ports_write, .max_size = 1};

/* 1CEh is the index, 1CFh (and on some old guests 1D0h) the data, both 16 bits wide. */
static uint32_t dispi_port_read(void *opaque, uint16_t offset, unsigned size)
{
    struct vga *v = opaque;

    (void)size;
    return offset == 0 ? v->s.dispi_index : vga_dispi_read(v, v->s.dispi_index);
}

static void dispi_port_write(void *opaque, uint16_t offset, uint32_t value, unsigned size)
{
    struct vga *v = opaque;

    (void)size;
    if (offset == 0)
        v->s.dispi_index = (uint16_t)value;
    else
        vga_dispi_write(v, v->s.dispi_index, (uint16_t)value);
}

static const struct pio_ops dispi_ports = {.read = dispi_port_read, .write = dispi_port_write,
                                           .max_size = 2};

/* ---- BAR 2 ---- */

static uint64_t regs_read(void *opaque, uint64_t offset, unsigned size)
{
    struct vga *v = opaque;
    uint64_t value = 0;

    if (range_within(offset, size, REGS_DISPI, DISPI_COUNT * 2) && size >= 2)
        return vga_dispi_read(v, (unsigned)(offset - REGS_DISPI) / 2);
    if (offset == REGS_QEXT)
        return QEXT_SIZE;
    if (offset == REGS_QEXT + 4)
        return LITTLE_ENDIAN_FB;
    for (unsigned i = 0; i < size; i++, offset++) {
        uint64_t byte = 0;
        if (offset < sizeof(v->edid))
            byte = v->edid[offset];
        else if (range_within(offset, 1, REGS_PORTS, 0x20))
            byte = vga_port_read(v, (unsigned)(offset - REGS_PORTS) + 0x3c0);
        value |= byte << i * 8;
    }
    return value;
}

static void regs_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct vga *v = opaque;

    if (range_within(offset, size, REGS_DISPI, DISPI_COUNT * 2)) {
        if (size >= 2)
            vga_dispi_write(v, (unsigned)(offset - REGS_DISPI) / 2, (uint16_t)value);
        return;
    }
    for (unsigned i = 0; i < size; i++, offset++)
        if (range_within(offset, 1, REGS_PORTS, 0x20))
            vga_port_write(v, (unsigned)(offset - REGS_PORTS) + 0x3c0, (uint8_t)(value >> i * 8));
}

static const struct mmio_ops regs_ops = {.read = regs_read, .write = regs_write, .max_size = 4};

/* ---- device ---- */

static void refresh(void *opaque)
{
    struct vga *v = opaque;

    vga_draw(v);
    timer_arm(&v->refresh, clock_now(v->dev.env->clock) + REFRESH_NS);
}

/* The 8x16 font begins with an empty glyph and code page 437's smiling face. */
static const uint8_t *find_font(const uint8_t *rom, size_t size)
{
    static const uint8_t start[32] = {[18] = 0x7e, 0x81, 0xa5, 0x81, 0x81, 0xbd, 0x99, 0x81, 0x81,
                                      0x7e};
    const size_t len = 256 * 16;

    for (size_t i = 0; i + len <= size; i++)
        if (memcmp(rom + i, start, sizeof(start)) == 0)
            return rom + i;
    return NULL;
}

static bool vga_realize(struct dev *d, struct err *e)
{
    struct vga *v = container_of(d, struct vga, dev);
    struct bus *bus = d->env->bus;
    struct mem *mem = bus_mem(bus);
    static const struct pci_ids ids = {.vendor = 0x1234, .device = 0x1111, .subvendor = 0x1af4,
                                       .subdevice = 0x1100, .class_code = 3, .revision = 2};

    if (!v->surface)
        return err_set(e, ERR_INTERNAL, "no surface to draw on");
    timer_init(&v->refresh, d->env->clock, refresh, v);
    void *vram = mmap(NULL, VGA_VRAM_SIZE, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (vram == MAP_FAILED)
        return err_errno(e, errno, "cannot allocate display memory");
    v->vram = vram;
    v->pci = pci_add(d->env->pci, -1, d->id, &ids, NULL, v, e);
    if (!v->pci)
        return false;
    v->lfb = pci_bar_ram(v->pci, BAR_VRAM, VGA_VRAM_SIZE, v->vram);
    mem_begin(mem);
    v->window = mem_add_mmio(mem, "vga-window", VGA_WINDOW_BASE, VGA_WINDOW_SIZE, MEM_PRIO_DEVICE,
                             &vga_window_ops, v);
    v->direct = mem_add_host(mem, "vga-direct", VGA_WINDOW_BASE, VGA_DIRECT_SIZE, MEM_PRIO_DEVICE + 1,
                             v->vram, false);
    if (v->direct)
        mem_region_set(mem, v->direct, VGA_WINDOW_BASE, false);
    mem_commit(mem);
    if (!v->lfb || !v->direct)
        return err_set(e, ERR_LIMIT, "no room for display memory");
    pci_bar_mem(v->pci, BAR_REGS, REGS_SIZE, false, false, &regs_ops);
    bus_add_pio(bus, "vga", 0x3b0, 0x30, &vga_ports, v);
    bus_add_pio(bus, "vga-dispi", 0x1ce, 3, &dispi_ports, v);
    if (v->rom && v->rom_size) {
        pci_bar_rom(v->pci, v->rom, v->rom_size);
        v->font = find_font(v->rom, v->rom_size);
        if (!v->font)
            log_warn("vga", "no 8x16 font in the VGA BIOS image");
    }
    vga_edid(v->edid, PREFERRED_WIDTH, PREFERRED_HEIGHT);
    timer_arm(&v->refresh, clock_now(d->env->clock) + REFRESH_NS);
    return true;
}

static void vga_reset(struct dev *d)
{
    struct vga *v = container_of(d, struct vga, dev);

    pci_reset(v->pci);
    if (v->text_on_reset)
        vga_regs_text_mode(v);
    else
        vga_regs_reset(v);
    vga_mem_update(v);
    vga_draw(v);
}

/* The VM pauses: the surface shows its last state. */
static void vga_quiesce(struct dev *d)
{
    vga_draw(container_of(d, struct vga, dev));
}

static void vga_unrealize(struct dev *d)
{
    struct vga *v = container_of(d, struct vga, dev);

    if (v->refresh.clock)
        timer_cancel(&v->refresh);
    if (v->direct)
        mem_region_set(bus_mem(d->env->bus), v->direct, VGA_WINDOW_BASE, false);
    if (v->window)
        mem_region_set(bus_mem(d->env->bus), v->window, VGA_WINDOW_BASE, false);
    if (v->pci)
        pci_remove(v->pci);
    if (v->vram)
        munmap(v->vram, VGA_VRAM_SIZE);
}

static const struct dev_prop vga_props[] = {
    DEV_PROP("surface", PROP_PTR, struct vga, surface, 0, "where the screen is drawn (struct surface)"),
    DEV_PROP("rom", PROP_PTR, struct vga, rom, 0, "VGA BIOS image; must stay while the device lives"),
    DEV_PROP("rom_size", PROP_U32, struct vga, rom_size, 0, "bytes of it"),
    DEV_PROP("text_mode_on_reset", PROP_BOOL, struct vga, text_on_reset, 0,
             "start in 80x25 text, for guests booted without firmware"),
    {0},
};

const struct dev_class vga_class = {
    .name = "vga",
    .summary = "VGA with Bochs display interface",
    .size = sizeof(struct vga),
    .props = vga_props,
    .realize = vga_realize,
    .unrealize = vga_unrealize,
    .reset = vga_reset,
    .quiesce = vga_quiesce,
};
