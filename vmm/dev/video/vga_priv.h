/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The parts of the VGA share this: registers (vga_regs.c), display memory (vga_mem.c), drawing
 * (vga_draw.c, vga_text.c), the PCI device around them (vga.c). Machine lock.
 *
 * Display memory is kept as 32-bit words of the four planes: byte p of word n is offset n of plane p.
 * Chain-4 and the Bochs modes then are plain linear memory. A real VGA puts chain-4 address a at offset
 * a & ~3 of plane a & 3 (and odd/even likewise), so that it looks scattered after a switch to planar
 * addressing; here it looks packed, as in other emulators, which lets the guest have the memory itself. */
#ifndef VMDECK_DEV_VIDEO_VGA_PRIV_H
#define VMDECK_DEV_VIDEO_VGA_PRIV_H

#include "display/surface.h"
#include "vmm/dev/dev.h"

#define VGA_VRAM_SIZE   (16 * MIB) /* a power of two: every address is masked by it */
#define VGA_LEGACY_MASK 0x3ffffu   /* what the VGA proper can address of it */
#define VGA_PAGES       (VGA_VRAM_SIZE / PAGE_SIZE)
#define VGA_FONT_BYTES  8192u /* of plane 2 per font: 32 bytes for each of 256 characters */

/* Register indices, IBM VGA Technical Reference. */
enum { SEQ_RESET, SEQ_CLOCK, SEQ_MAP_MASK, SEQ_FONT, SEQ_MEMORY, SEQ_COUNT };
enum {
    CRTC_H_TOTAL, CRTC_H_DISPLAY, CRTC_V_TOTAL = 6, CRTC_OVERFLOW, CRTC_PRESET_ROW, CRTC_MAX_SCAN,
    CRTC_CURSOR_START, CRTC_CURSOR_END, CRTC_START_HIGH, CRTC_START_LOW, CRTC_CURSOR_HIGH,
    CRTC_CURSOR_LOW, CRTC_V_SYNC_START, CRTC_V_SYNC_END, CRTC_V_DISPLAY, CRTC_OFFSET, CRTC_UNDERLINE,
    CRTC_V_BLANK_START, CRTC_V_BLANK_END, CRTC_MODE, CRTC_LINE_COMPARE, CRTC_COUNT
};
enum {
    GFX_SET_RESET, GFX_ENABLE_SET_RESET, GFX_COMPARE, GFX_ROTATE, GFX_READ_MAP, GFX_MODE, GFX_MISC,
    GFX_DONT_CARE, GFX_BIT_MASK, GFX_COUNT
};
enum { ATTR_MODE = 16, ATTR_OVERSCAN, ATTR_PLANES, ATTR_PAN, ATTR_SELECT, ATTR_COUNT };

#define SEQ_CLOCK_8DOT        BIT(0)
#define SEQ_CLOCK_HALF        BIT(3)
#define SEQ_CLOCK_SCREEN_OFF  BIT(5)
#define SEQ_MEMORY_SEQUENTIAL BIT(2) /* clear: odd/even addressing of writes */
#define SEQ_MEMORY_CHAIN4     BIT(3)
#define CRTC_MODE_A13         BIT(0) /* clear: row scan bit 0 replaces address bit 13 */
#define CRTC_MODE_A14         BIT(1)
#define CRTC_MODE_BYTE        BIT(6)
#define CRTC_CURSOR_OFF       BIT(5)
#define CRTC_SCAN_DOUBLE      BIT(7)
#define CRTC_PROTECT          BIT(7) /* in CRTC_V_SYNC_END: registers 0-7 are read-only */
#define GFX_MODE_ODD_EVEN     BIT(4)
#define GFX_MODE_INTERLEAVE   BIT(5) /* CGA's two bits per pixel */
#define GFX_MODE_256          BIT(6)
#define GFX_MISC_GRAPHICS     BIT(0)
#define ATTR_MODE_LINE_CHARS  BIT(2)
#define ATTR_MODE_BLINK       BIT(3)
#define ATTR_MODE_PAN_TOP     BIT(5) /* the part below the line compare does not pan */
#define ATTR_MODE_P54         BIT(7)
#define ATTR_INDEX_ENABLE     BIT(5) /* the palette is the screen's, not the CPU's */
#define MISC_COLOR            BIT(0)
#define MISC_RAM              BIT(1)

/* Bochs display interface. */
enum {
    DISPI_ID, DISPI_XRES, DISPI_YRES, DISPI_BPP, DISPI_ENABLE, DISPI_BANK, DISPI_VIRT_WIDTH,
    DISPI_VIRT_HEIGHT, DISPI_X_OFFSET, DISPI_Y_OFFSET, DISPI_MEMORY, DISPI_COUNT
};
#define DISPI_ENABLED   BIT(0)
#define DISPI_GETCAPS   BIT(1)
#define DISPI_8BIT_DAC  BIT(5)
#define DISPI_LFB       BIT(6)
#define DISPI_NOCLEAR   BIT(7)
#define DISPI_ID_OLDEST 0xb0c0u
#define DISPI_ID_NEWEST 0xb0c5u

struct vga_state {
    uint8_t misc, feature;
    uint8_t seq_index, crtc_index, gfx_index;
    uint8_t attr_index, attr_flipflop; /* flip-flop: 1 when the next write is data */
    uint8_t dac_state, dac_sub, dac_read, dac_write, dac_mask;
    uint8_t seq[SEQ_COUNT], crtc[CRTC_COUNT], gfx[GFX_COUNT], attr[ATTR_COUNT];
    uint8_t dac[256][3], dac_cache[3];
    uint32_t latch;
    uint16_t dispi_index, dispi[DISPI_COUNT];
};

struct vga_cell { /* a text cell as it was drawn last */
    uint8_t ch, attr;
    uint16_t flags; /* of vga_text.c: blinked away, cursor and its shape */
};

struct vga {
    struct dev dev;
    struct surface *surface;
    const uint8_t *rom;
    uint32_t rom_size;
    bool text_on_reset;

    struct vga_state s;
    uint8_t *vram;
    struct pci_dev *pci;
    struct mem_region *lfb;    /* BAR 0 */
    struct mem_region *window; /* the legacy window as MMIO */
    struct mem_region *direct; /* 64 KiB at A0000h as memory, while that is the same thing */
    uint8_t edid[128];
    const uint8_t *font; /* 8x16 in the ROM image, or NULL */

    struct timer refresh;
    uint64_t dirty[VGA_PAGES / 64]; /* display memory pages to draw again */
    bool redraw;                    /* everything, because registers changed */
    bool font_dirty;
    bool direct_on;
    unsigned text_width, text_height; /* of a character as drawn last */
    struct vga_cell cells[SURFACE_MAX_ROWS][SURFACE_MAX_COLS];
};

/* ---- vga_regs.c ---- */

/* Ports 3B0h-3DFh, also through the MMIO BAR. */
uint8_t vga_port_read(struct vga *v, unsigned port);
void vga_port_write(struct vga *v, unsigned port, uint8_t value);
uint16_t vga_dispi_read(struct vga *v, unsigned index);
void vga_dispi_write(struct vga *v, unsigned index, uint16_t value);
bool vga_dispi_on(const struct vga *v);
/* Power-on values. */
void vga_regs_reset(struct vga *v);
/* 80x25 text with colours and font, as a BIOS leaves mode 3. */
void vga_regs_text_mode(struct vga *v);
unsigned vga_vertical_display(const struct vga *v); /* lines */
unsigned vga_line_compare(const struct vga *v);

/* ---- vga_mem.c ---- */

extern const struct mmio_ops vga_window_ops; /* A0000h-BFFFFh; opaque: the vga */
#define VGA_WINDOW_BASE UINT64_C(0xa0000)
#define VGA_WINDOW_SIZE UINT64_C(0x20000)
#define VGA_DIRECT_SIZE UINT64_C(0x10000)
/* After a register that addressing depends on has changed: is the window plain memory? */
void vga_mem_update(struct vga *v);

static inline void vga_mark_dirty(struct vga *v, uint32_t vram_offset)
{
    uint32_t page = (uint32_t)((vram_offset & (VGA_VRAM_SIZE - 1)) / PAGE_SIZE);

    v->dirty[page / 64] |= BIT64(page % 64);
}

/* ---- vga_draw.c, vga_text.c ---- */

/* Brings the surface up to date and publishes. */
void vga_draw(struct vga *v);
/* Draws changed cells; all when everything. colors: the 16 of the attribute controller. */
void vga_draw_text(struct vga *v, const uint32_t colors[16], bool everything,
                   struct surface_geometry *g);

/* ---- vga_edid.c ---- */

void vga_edid(uint8_t edid[128], unsigned width, unsigned height);

#endif
