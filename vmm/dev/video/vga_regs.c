/* SPDX-License-Identifier: GPL-2.0-or-later */
/* VGA registers and the Bochs display interface. Sources: IBM VGA Technical Reference (PS/2 Hardware
 * Interface, video subsystem); Bochs VBE display API as QEMU's standard VGA documents it. */
#include "vmm/dev/video/vga_priv.h"

#define STATUS0_SENSE  BIT(4) /* a colour monitor loads the DAC's comparator */
#define STATUS1_BLANK  BIT(0)
#define STATUS1_VSYNC  BIT(3)
#define LINE_NS        31778  /* 31.469 kHz, all of IBM's modes */
#define LINE_VISIBLE_NS 25422

static const uint8_t seq_mask[SEQ_COUNT] = {0x03, 0x3d, 0x0f, 0x3f, 0x0e};
static const uint8_t gfx_mask[GFX_COUNT] = {0x0f, 0x0f, 0x0f, 0x1f, 0x03, 0x7b, 0x0f, 0x0f, 0xff};
static const uint8_t attr_mask[ATTR_COUNT] = {[0 ... 15] = 0x3f, [ATTR_MODE] = 0xef,
                                              [ATTR_OVERSCAN] = 0xff, [ATTR_PLANES] = 0x3f,
                                              [ATTR_PAN] = 0x0f, [ATTR_SELECT] = 0x0f};

bool vga_dispi_on(const struct vga *v)
{
    return v->s.dispi[DISPI_ENABLE] & DISPI_ENABLED;
}

unsigned vga_vertical_display(const struct vga *v)
{
    const uint8_t *cr = v->s.crtc;

    return (cr[CRTC_V_DISPLAY] | (cr[CRTC_OVERFLOW] & 0x02u) << 7 | (cr[CRTC_OVERFLOW] & 0x40u) << 3) +
           1;
}

unsigned vga_line_compare(const struct vga *v)
{
    const uint8_t *cr = v->s.crtc;

    return cr[CRTC_LINE_COMPARE] | (cr[CRTC_OVERFLOW] & 0x10u) << 4 |
           (cr[CRTC_MAX_SCAN] & 0x40u) << 3;
}

/* The beam's place follows from guest time, so guests that wait for the retrace see a real frame rate. */
static uint8_t status1(const struct vga *v)
{
    const uint8_t *cr = v->s.crtc;
    unsigned visible = vga_vertical_display(v);
    unsigned total = (cr[CRTC_V_TOTAL] | (cr[CRTC_OVERFLOW] & 0x01u) << 8 |
                      (cr[CRTC_OVERFLOW] & 0x20u) << 4) + 2;
    unsigned sync = cr[CRTC_V_SYNC_START] | (cr[CRTC_OVERFLOW] & 0x04u) << 6 |
                    (cr[CRTC_OVERFLOW] & 0x80u) << 2;
    unsigned sync_len = (cr[CRTC_V_SYNC_END] - sync) & 0x0f;

    if (vga_dispi_on(v) || total < 100 || sync >= total) { /* not programmed: 640x480's timing */
        visible = 480;
        total = 525;
        sync = 490;
        sync_len = 2;
    }
    uint64_t in_frame = (uint64_t)clock_now(v->dev.env->clock) % ((uint64_t)total * LINE_NS);
    unsigned line = (unsigned)(in_frame / LINE_NS);
    uint8_t st = 0;
    if (line >= visible || in_frame % LINE_NS >= LINE_VISIBLE_NS)
        st |= STATUS1_BLANK;
    if (line - sync < (sync_len ? sync_len : 16))
        st |= STATUS1_VSYNC;
    return st;
}

static uint8_t crtc_read(const struct vga *v)
{
    if (v->s.crtc_index < CRTC_COUNT)
        return v->s.crtc[v->s.crtc_index];
    if (v->s.crtc_index == 0x22) /* undocumented: the latch of the selected plane */
        return (uint8_t)(v->s.latch >> (v->s.gfx[GFX_READ_MAP] & 3) * 8);
    if (v->s.crtc_index == 0x24) /* undocumented: attribute flip-flop */
        return (uint8_t)(v->s.attr_flipflop << 7);
    return 0;
}

static void crtc_write(struct vga *v, uint8_t value)
{
    uint8_t i = v->s.crtc_index, *cr = v->s.crtc;

    if (i >= CRTC_COUNT)
        return;
    if (i <= CRTC_OVERFLOW && (cr[CRTC_V_SYNC_END] & CRTC_PROTECT)) {
        if (i != CRTC_OVERFLOW) /* its bit of the line compare stays writable */
            return;
        value = (uint8_t)((cr[i] & ~0x10) | (value & 0x10));
    }
    if (cr[i] == value)
        return;
    cr[i] = value;
    if (i < CRTC_CURSOR_START || i == CRTC_START_HIGH || i == CRTC_START_LOW || i > CRTC_CURSOR_LOW)
        v->redraw = true;
}

static void attr_write(struct vga *v, uint8_t value)
{
    struct vga_state *s = &v->s;

    s->attr_flipflop ^= 1;
    if (s->attr_flipflop) {
        if ((s->attr_index ^ value) & ATTR_INDEX_ENABLE)
            v->redraw = true;
        s->attr_index = value & 0x3f;
        return;
    }
    unsigned i = s->attr_index & 0x1f;
    if (i >= ATTR_COUNT || (i < 16 && (s->attr_index & ATTR_INDEX_ENABLE)))
        return;
    s->attr[i] = value & attr_mask[i];
    v->redraw = true;
}

static uint8_t dac_data_read(struct vga *v)
{
    struct vga_state *s = &v->s;
    uint8_t value = s->dac[s->dac_read][s->dac_sub];

    if (++s->dac_sub == 3) {
        s->dac_sub = 0;
        s->dac_read++;
    }
    return value;
}

static void dac_data_write(struct vga *v, uint8_t value)
{
    struct vga_state *s = &v->s;

    if (!(vga_dispi_on(v) && (s->dispi[DISPI_ENABLE] & DISPI_8BIT_DAC)))
        value &= 0x3f;
    s->dac_cache[s->dac_sub] = value;
    if (++s->dac_sub == 3) {
        memcpy(s->dac[s->dac_write], s->dac_cache, 3);
        s->dac_sub = 0;
        s->dac_write++;
        v->redraw = true;
    }
}

/* 3B0h-3BBh answer a monochrome, 3D0h-3DFh a colour set-up. */
static bool port_asleep(const struct vga *v, unsigned port)
{
    if (v->s.misc & MISC_COLOR)
        return port >= 0x3b0 && port <= 0x3bf;
    return port >= 0x3d0 && port <= 0x3df;
}

uint8_t vga_port_read(struct vga *v, unsigned port)
{
    struct vga_state *s = &v->s;

    if (port_asleep(v, port))
        return 0xff;
    switch (port) {
    case 0x3c0: return s->attr_flipflop ? 0 : s->attr_index;
    case 0x3c1: return (s->attr_index & 0x1f) < ATTR_COUNT ? s->attr[s->attr_index & 0x1f] : 0;
    case 0x3c2: return STATUS0_SENSE;
    case 0x3c3: return 1; /* video subsystem enable */
    case 0x3c4: return s->seq_index;
    case 0x3c5: return s->seq_index < SEQ_COUNT ? s->seq[s->seq_index] : 0;
    case 0x3c6: return s->dac_mask;
    case 0x3c7: return s->dac_state;
    case 0x3c8: return s->dac_write;
    case 0x3c9: return dac_data_read(v);
    case 0x3ca: return s->feature;
    case 0x3cc: return s->misc;
    case 0x3ce: return s->gfx_index;
    case 0x3cf: return s->gfx_index < GFX_COUNT ? s->gfx[s->gfx_index] : 0;
    case 0x3b4:
    case 0x3d4: return s->crtc_index;
    case 0x3b5:
    case 0x3d5: return crtc_read(v);
    case 0x3ba:
    case 0x3da: s->attr_flipflop = 0; return status1(v);
    default: return 0xff;
    }
}

void vga_port_write(struct vga *v, unsigned port, uint8_t value)
{
    struct vga_state *s = &v->s;

    if (port_asleep(v, port))
        return;
    switch (port) {
    case 0x3c0: attr_write(v, value); break;
    case 0x3c2:
        s->misc = value & 0xef;
        vga_mem_update(v);
        break;
    case 0x3c4: s->seq_index = value & 7; break;
    case 0x3c5:
        if (s->seq_index < SEQ_COUNT) {
            value &= seq_mask[s->seq_index];
            if (s->seq[s->seq_index] != value && s->seq_index != SEQ_MAP_MASK)
                v->redraw = true;
            s->seq[s->seq_index] = value;
            vga_mem_update(v);
        }
        break;
    case 0x3c6:
        s->dac_mask = value;
        v->redraw = true;
        break;
    case 0x3c7:
        s->dac_read = value;
        s->dac_sub = 0;
        s->dac_state = 3;
        break;
    case 0x3c8:
        s->dac_write = value;
        s->dac_sub = 0;
        s->dac_state = 0;
        break;
    case 0x3c9: dac_data_write(v, value); break;
    case 0x3ce: s->gfx_index = value & 0x0f; break;
    case 0x3cf:
        if (s->gfx_index < GFX_COUNT) {
            value &= gfx_mask[s->gfx_index];
            if (s->gfx[s->gfx_index] != value &&
                (s->gfx_index == GFX_MODE || s->gfx_index == GFX_MISC))
                v->redraw = true;
            s->gfx[s->gfx_index] = value;
            vga_mem_update(v);
        }
        break;
    case 0x3b4:
    case 0x3d4: s->crtc_index = value; break;
    case 0x3b5:
    case 0x3d5: crtc_write(v, value); break;
    case 0x3ba:
    case 0x3da: s->feature = value & 0x18; break;
    default: break;
    }
}

/* ---- Bochs display interface ---- */

static unsigned dispi_bits(const struct vga *v)
{
    unsigned bpp = v->s.dispi[DISPI_BPP];

    return bpp == 15 ? 16 : bpp;
}

/* The written values become a mode that fits: sizes within the surface, lines within display memory. */
static void dispi_fit(struct vga *v)
{
    uint16_t *d = v->s.dispi;
    unsigned bits = dispi_bits(v);

    if (bits != 4 && bits != 8 && bits != 16 && bits != 24 && bits != 32)
        d[DISPI_BPP] = (uint16_t)(bits = 8);
    d[DISPI_XRES] = (uint16_t)MIN(MAX(d[DISPI_XRES] & ~7u, 8u), SURFACE_MAX_WIDTH);
    d[DISPI_YRES] = (uint16_t)MIN(MAX(d[DISPI_YRES], 1u), SURFACE_MAX_HEIGHT);
    d[DISPI_VIRT_WIDTH] = (uint16_t)(MIN(MAX(d[DISPI_VIRT_WIDTH], d[DISPI_XRES]), 16384u) & ~7u);
    uint64_t pitch = (uint64_t)d[DISPI_VIRT_WIDTH] * bits / 8;
    uint64_t lines = VGA_VRAM_SIZE / pitch;
    d[DISPI_YRES] = (uint16_t)MIN(d[DISPI_YRES], lines);
    d[DISPI_VIRT_HEIGHT] = (uint16_t)MIN(lines, UINT16_MAX);
    if (d[DISPI_X_OFFSET] > d[DISPI_VIRT_WIDTH] - d[DISPI_XRES])
        d[DISPI_X_OFFSET] = (uint16_t)(d[DISPI_VIRT_WIDTH] - d[DISPI_XRES]);
    if (d[DISPI_Y_OFFSET] > d[DISPI_VIRT_HEIGHT] - d[DISPI_YRES])
        d[DISPI_Y_OFFSET] = (uint16_t)(d[DISPI_VIRT_HEIGHT] - d[DISPI_YRES]);
    v->redraw = true;
}

static void dispi_enable(struct vga *v, uint16_t value)
{
    struct vga_state *s = &v->s;
    bool was_on = vga_dispi_on(v);

    s->dispi[DISPI_ENABLE] = value;
    s->dispi[DISPI_BANK] = 0;
    if ((value & DISPI_ENABLED) && !was_on) {
        s->dispi[DISPI_VIRT_WIDTH] = 0; /* as wide as the screen */
        s->dispi[DISPI_X_OFFSET] = s->dispi[DISPI_Y_OFFSET] = 0;
        dispi_fit(v);
        if (!(value & DISPI_NOCLEAR))
            memset(v->vram, 0, (size_t)s->dispi[DISPI_YRES] * s->dispi[DISPI_VIRT_WIDTH] *
                                   dispi_bits(v) / 8);
        /* the window is plain memory of graphics now, whatever the VGA was set to before */
        s->gfx[GFX_MISC] = (uint8_t)((s->gfx[GFX_MISC] & ~0x0c) | 0x04 | GFX_MISC_GRAPHICS);
        s->gfx[GFX_MODE] = s->dispi[DISPI_BPP] == 4 ? 0 : GFX_MODE_256;
        s->seq[SEQ_MAP_MASK] = 0x0f;
        s->seq[SEQ_MEMORY] |= SEQ_MEMORY_SEQUENTIAL;
        if (s->dispi[DISPI_BPP] != 4)
            s->seq[SEQ_MEMORY] |= SEQ_MEMORY_CHAIN4;
        s->seq[SEQ_CLOCK] &= (uint8_t)~SEQ_CLOCK_SCREEN_OFF;
    }
    v->redraw = true;
    vga_mem_update(v);
}

uint16_t vga_dispi_read(struct vga *v, unsigned index)
{
    const uint16_t *d = v->s.dispi;

    if (index >= DISPI_COUNT)
        return 0;
    if (d[DISPI_ENABLE] & DISPI_GETCAPS) {
        switch (index) {
        case DISPI_XRES: return SURFACE_MAX_WIDTH;
        case DISPI_YRES: return SURFACE_MAX_HEIGHT;
        case DISPI_BPP: return 32;
        default: break;
        }
    }
    return index == DISPI_MEMORY ? (uint16_t)(VGA_VRAM_SIZE / (64 * KIB)) : d[index];
}

void vga_dispi_write(struct vga *v, unsigned index, uint16_t value)
{
    uint16_t *d = v->s.dispi;

    switch (index) {
    case DISPI_ID:
        if (value >= DISPI_ID_OLDEST && value <= DISPI_ID_NEWEST)
            d[DISPI_ID] = value;
        break;
    case DISPI_XRES:
    case DISPI_YRES:
    case DISPI_BPP:
    case DISPI_VIRT_WIDTH:
    case DISPI_X_OFFSET:
    case DISPI_Y_OFFSET:
        if (d[index] == value)
            break;
        d[index] = value;
        if (vga_dispi_on(v))
            dispi_fit(v);
        break;
    case DISPI_BANK:
        d[DISPI_BANK] = (uint16_t)(value & (VGA_VRAM_SIZE / (64 * KIB) - 1));
        vga_mem_update(v);
        break;
    case DISPI_ENABLE: dispi_enable(v, value); break;
    default: break;
    }
}

/* ---- reset ---- */

void vga_regs_reset(struct vga *v)
{
    memset(&v->s, 0, sizeof(v->s));
    v->s.misc = MISC_COLOR;
    v->s.dac_mask = 0xff;
    v->s.gfx[GFX_BIT_MASK] = 0xff;
    v->s.dispi[DISPI_ID] = DISPI_ID_NEWEST;
    v->s.dispi[DISPI_XRES] = 640;
    v->s.dispi[DISPI_YRES] = 480;
    v->s.dispi[DISPI_BPP] = 8;
    v->s.dispi[DISPI_VIRT_WIDTH] = 640;
    v->redraw = v->font_dirty = true;
}

/* Bits rgbRGB of an EGA colour: the primaries count two thirds, the secondaries one third. */
static void ega_color(unsigned i, uint8_t rgb[3])
{
    for (unsigned c = 0; c < 3; c++)
        rgb[c] = (uint8_t)((i >> (2 - c) & 1) * 0x2a + (i >> (5 - c) & 1) * 0x15);
}

void vga_regs_text_mode(struct vga *v)
{
    static const uint8_t seq[SEQ_COUNT] = {0x03, 0x00, 0x03, 0x00, 0x02};
    static const uint8_t crtc[CRTC_COUNT] = {0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00,
                                             0x4f, 0x0d, 0x0e, 0x00, 0x00, 0x00, 0x00, 0x9c, 0x8e,
                                             0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff};
    static const uint8_t gfx[GFX_COUNT] = {0, 0, 0, 0, 0, 0x10, 0x0e, 0x0f, 0xff};
    static const uint8_t attr[ATTR_COUNT] = {0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x14,
                                             0x07, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d,
                                             0x3e, 0x3f, 0x0c, 0x00, 0x0f, 0x08, 0x00};
    struct vga_state *s = &v->s;

    vga_regs_reset(v);
    s->misc = 0x67;
    memcpy(s->seq, seq, sizeof(seq));
    memcpy(s->crtc, crtc, sizeof(crtc));
    memcpy(s->gfx, gfx, sizeof(gfx));
    memcpy(s->attr, attr, sizeof(attr));
    s->attr_index = ATTR_INDEX_ENABLE;
    for (unsigned i = 0; i < 64; i++)
        ega_color(i, s->dac[i]);
    memset(v->vram, 0, VGA_LEGACY_MASK + 1);
    for (unsigned i = 0; i < 0x4000; i++) { /* all eight pages of 32 KiB */
        v->vram[i * 4] = ' ';
        v->vram[i * 4 + 1] = 0x07;
    }
    for (unsigned i = 0; v->font && i < 256 * 16; i++)
        v->vram[(i / 16 * 32 + i % 16) * 4 + 2] = v->font[i];
    vga_mem_update(v);
}
