/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The 128 KiB window onto display memory: addressing (planar, odd/even, chain-4), latches, read and
 * write modes. IBM VGA Technical Reference, graphics controller. */
#include "vmm/dev/video/vga_priv.h"

#define WORDS_MASK ((uint32_t)(VGA_VRAM_SIZE / 4 - 1))

static uint32_t load_word(const struct vga *v, uint32_t word)
{
    return ld_le32(v->vram + (size_t)(word & WORDS_MASK) * 4);
}

/* One bit per plane to one byte per plane. */
static uint32_t spread(unsigned planes)
{
    return (planes & 1 ? 0xffu : 0) | (planes & 2 ? 0xff00u : 0) | (planes & 4 ? 0xff0000u : 0) |
           (planes & 8 ? 0xff000000u : 0);
}

/* Offset from A0000h to address in display memory; false: not decoded in this map. */
static bool map_address(const struct vga *v, uint64_t offset, uint32_t *addr)
{
    if (!(v->s.misc & MISC_RAM))
        return false;
    switch (v->s.gfx[GFX_MISC] >> 2 & 3) {
    case 0: break;
    case 1:
        if (offset >= 0x10000)
            return false;
        if (vga_dispi_on(v))
            offset += (uint64_t)v->s.dispi[DISPI_BANK] << 16;
        break;
    case 2:
        if (offset < 0x10000 || offset >= 0x18000)
            return false;
        offset -= 0x10000;
        break;
    default:
        if (offset < 0x18000)
            return false;
        offset -= 0x18000;
        break;
    }
    *addr = (uint32_t)offset;
    return true;
}

static uint8_t read_byte(struct vga *v, uint32_t addr)
{
    struct vga_state *s = &v->s;
    unsigned plane = s->gfx[GFX_READ_MAP];

    if (s->seq[SEQ_MEMORY] & SEQ_MEMORY_CHAIN4) {
        plane = addr & 3;
        addr >>= 2;
    } else if (s->gfx[GFX_MODE] & GFX_MODE_ODD_EVEN) {
        plane = (plane & 2) | (addr & 1);
        addr >>= 1;
    }
    s->latch = load_word(v, addr);
    if (!(s->gfx[GFX_MODE] & BIT(3)))
        return (uint8_t)(s->latch >> plane * 8);
    /* read mode 1: pixels whose colour matches in all planes that one cares for */
    uint32_t differ = (s->latch ^ spread(s->gfx[GFX_COMPARE])) & spread(s->gfx[GFX_DONT_CARE]);
    differ |= differ >> 16;
    return (uint8_t)~(differ | differ >> 8);
}

static uint32_t alu(const struct vga_state *s, uint32_t value)
{
    switch (s->gfx[GFX_ROTATE] >> 3) {
    case 1: return value & s->latch;
    case 2: return value | s->latch;
    case 3: return value ^ s->latch;
    default: return value;
    }
}

static void write_byte(struct vga *v, uint32_t addr, uint8_t byte)
{
    struct vga_state *s = &v->s;
    unsigned planes = s->seq[SEQ_MAP_MASK], rotate = s->gfx[GFX_ROTATE] & 7;
    uint32_t bits = s->gfx[GFX_BIT_MASK] * 0x01010101u;
    uint8_t rotated = (uint8_t)(byte >> rotate | byte << (8 - rotate));
    uint32_t value;

    if (s->seq[SEQ_MEMORY] & SEQ_MEMORY_CHAIN4) {
        planes &= 1u << (addr & 3);
        addr >>= 2;
    } else if (!(s->seq[SEQ_MEMORY] & SEQ_MEMORY_SEQUENTIAL)) {
        planes &= addr & 1 ? 0x0a : 0x05;
        addr >>= 1;
    }
    switch (s->gfx[GFX_MODE] & 3) {
    case 0: {
        uint32_t set = spread(s->gfx[GFX_ENABLE_SET_RESET]);
        value = alu(s, (rotated * 0x01010101u & ~set) | (spread(s->gfx[GFX_SET_RESET]) & set));
        break;
    }
    case 1:
        value = s->latch;
        bits = UINT32_MAX;
        break;
    case 2: value = alu(s, spread(byte & 0x0f)); break;
    default:
        value = spread(s->gfx[GFX_SET_RESET]);
        bits &= rotated * 0x01010101u;
        break;
    }
    value = (value & bits) | (s->latch & ~bits);
    uint32_t mask = spread(planes), word = addr & WORDS_MASK;
    uint32_t old = load_word(v, word), new = (old & ~mask) | (value & mask);
    if (old == new)
        return;
    st_le32(v->vram + (size_t)word * 4, new);
    vga_mark_dirty(v, word * 4);
    if ((old ^ new) & 0xff0000)
        v->font_dirty = true; /* plane 2 */
}

static uint64_t window_read(void *opaque, uint64_t offset, unsigned size)
{
    struct vga *v = opaque;
    uint64_t value = 0;
    uint32_t addr;

    for (unsigned i = 0; i < size; i++) {
        uint64_t byte = map_address(v, offset + i, &addr) ? read_byte(v, addr) : 0xff;
        value |= byte << i * 8;
    }
    return value;
}

static void window_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct vga *v = opaque;
    uint32_t addr;

    for (unsigned i = 0; i < size; i++)
        if (map_address(v, offset + i, &addr))
            write_byte(v, addr, (uint8_t)(value >> i * 8));
}

const struct mmio_ops vga_window_ops = {.read = window_read, .write = window_write};

void vga_mem_update(struct vga *v)
{
    const struct vga_state *s = &v->s;
    bool bank0 = !vga_dispi_on(v) || s->dispi[DISPI_BANK] == 0;
    /* chain-4 and everything between CPU and memory set to pass */
    bool on = (s->misc & MISC_RAM) && (s->seq[SEQ_MEMORY] & SEQ_MEMORY_CHAIN4) &&
              s->seq[SEQ_MAP_MASK] == 0x0f && !(s->gfx[GFX_MODE] & 0x0b) &&
              !s->gfx[GFX_ENABLE_SET_RESET] && !s->gfx[GFX_ROTATE] && s->gfx[GFX_BIT_MASK] == 0xff &&
              !(s->gfx[GFX_MISC] & 0x08) && bank0;

    if (!v->direct || v->direct_on == on)
        return;
    v->direct_on = on;
    mem_region_set(bus_mem(v->dev.env->bus), v->direct, VGA_WINDOW_BASE, on);
}
