/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From display memory to the surface: what the CRTC, the attribute controller and the DAC do, one scan
 * line at a time, for lines whose memory has changed. A line is compared with what the surface shows, so
 * damage is what the eye would see, not what the guest wrote again.
 *
 * Left out: border colour, preset row scan, panning of text. */
#include "vmm/dev/video/vga_priv.h"

enum pixel_format { PLANAR, CGA, PACKED8, PACKED15, PACKED16, PACKED24, PACKED32 };

/* A graphics mode, resolved from the registers. */
struct scan {
    enum pixel_format format;
    unsigned width, height; /* of the surface */
    unsigned zoom;          /* surface pixels per pixel, horizontally */
    uint32_t mask;          /* of byte addresses */
    uint32_t start, pitch;  /* bytes of display memory */
    unsigned pan;           /* pixels */
    /* VGA only */
    bool crtc;
    unsigned split;         /* last line before the part that starts at address 0 */
    bool split_pans;
    unsigned row_lines;     /* scan lines per row of addresses, after doubling */
    bool doubled;
    unsigned a13_bit, a14_bit; /* address bits that row scan bits 0 and 1 replace; 0: none */
    uint32_t colors[256];   /* by pixel value */
    uint8_t plane_mask;
};

/* ---- colours ---- */

static uint32_t dac_color(const struct vga *v, unsigned index)
{
    const uint8_t *c = v->s.dac[index & v->s.dac_mask];

    if (vga_dispi_on(v) && (v->s.dispi[DISPI_ENABLE] & DISPI_8BIT_DAC))
        return (uint32_t)c[0] << 16 | (uint32_t)c[1] << 8 | c[2];
    uint32_t rgb = 0;
    for (unsigned i = 0; i < 3; i++)
        rgb = rgb << 8 | (uint32_t)(c[i] << 2 | c[i] >> 4);
    return rgb;
}

/* Four bits through the attribute controller's palette. */
static void attr_colors(const struct vga *v, uint32_t out[16])
{
    const uint8_t *attr = v->s.attr;

    for (unsigned i = 0; i < 16; i++) {
        unsigned index = attr[i];
        if (attr[ATTR_MODE] & ATTR_MODE_P54)
            index = (index & 0x0f) | (attr[ATTR_SELECT] & 3u) << 4;
        index |= (attr[ATTR_SELECT] & 0x0cu) << 4;
        out[i] = dac_color(v, index);
    }
}

/* ---- modes ---- */

static void resolve_dispi(const struct vga *v, struct scan *m)
{
    const uint16_t *d = v->s.dispi;
    unsigned bits = d[DISPI_BPP] == 15 ? 16 : d[DISPI_BPP];

    switch (d[DISPI_BPP]) {
    case 4: m->format = PLANAR; break;
    case 15: m->format = PACKED15; break;
    case 16: m->format = PACKED16; break;
    case 24: m->format = PACKED24; break;
    case 32: m->format = PACKED32; break;
    default: m->format = PACKED8; break;
    }
    m->width = d[DISPI_XRES];
    m->height = d[DISPI_YRES];
    m->zoom = 1;
    m->mask = VGA_VRAM_SIZE - 1;
    m->pitch = d[DISPI_VIRT_WIDTH] * bits / 8;
    m->start = d[DISPI_Y_OFFSET] * m->pitch + d[DISPI_X_OFFSET] * bits / 8;
    if (m->format == PLANAR)
        m->start &= ~3u;
}

static void resolve_crtc(const struct vga *v, struct scan *m)
{
    const uint8_t *cr = v->s.crtc, *gfx = v->s.gfx, *attr = v->s.attr;
    bool half = v->s.seq[SEQ_CLOCK] & SEQ_CLOCK_HALF;
    unsigned chars = cr[CRTC_H_DISPLAY] + 1u;
    unsigned substitute = cr[CRTC_MODE] & CRTC_MODE_BYTE ? 15 : 14;
    unsigned pan = attr[ATTR_PAN] & 7;

    m->crtc = true;
    m->zoom = half ? 2 : 1;
    m->pan = pan;
    if (gfx[GFX_MODE] & GFX_MODE_256) {
        m->format = PACKED8;
        m->zoom *= 2;
        m->pan = pan / 2;
    } else if (gfx[GFX_MODE] & GFX_MODE_INTERLEAVE) {
        m->format = CGA;
    } else {
        m->format = PLANAR;
    }
    m->width = chars * 8 * (half ? 2 : 1);
    m->height = vga_vertical_display(v);
    m->mask = VGA_LEGACY_MASK;
    m->start = ((unsigned)cr[CRTC_START_HIGH] << 8 | cr[CRTC_START_LOW]) + (cr[CRTC_PRESET_ROW] >> 5 & 3u);
    m->start *= 4;
    m->pitch = cr[CRTC_OFFSET] * 2u * 4;
    m->split = vga_line_compare(v);
    m->split_pans = !(attr[ATTR_MODE] & ATTR_MODE_PAN_TOP);
    m->row_lines = (cr[CRTC_MAX_SCAN] & 0x1fu) + 1;
    m->doubled = cr[CRTC_MAX_SCAN] & CRTC_SCAN_DOUBLE;
    m->a13_bit = cr[CRTC_MODE] & CRTC_MODE_A13 ? 0 : substitute;
    m->a14_bit = cr[CRTC_MODE] & CRTC_MODE_A14 ? 0 : substitute + 1;
}

static void resolve(const struct vga *v, struct scan *m)
{
    memset(m, 0, sizeof(*m));
    if (vga_dispi_on(v))
        resolve_dispi(v, m);
    else
        resolve_crtc(v, m);
    m->width = MIN(m->width, (unsigned)SURFACE_MAX_WIDTH);
    m->height = MIN(m->height, (unsigned)SURFACE_MAX_HEIGHT);
    m->plane_mask = v->s.attr[ATTR_PLANES] & 0x0f;
    if (m->format == PACKED8) {
        for (unsigned i = 0; i < 256; i++)
            m->colors[i] = dac_color(v, i);
    } else if (m->format < PACKED8) {
        attr_colors(v, m->colors);
    }
}

/* Where scan line y starts; *pan is its panning. */
static uint32_t line_address(const struct scan *m, unsigned y, unsigned *pan)
{
    uint32_t start = m->start;

    *pan = m->pan;
    if (!m->crtc)
        return start + y * m->pitch;
    if (y > m->split) {
        y -= m->split + 1;
        start = 0;
        if (!m->split_pans)
            *pan = 0;
    }
    if (m->doubled)
        y /= 2;
    unsigned row = y / m->row_lines, scan = y % m->row_lines;
    uint32_t addr = start + row * m->pitch;
    if (m->a13_bit)
        addr = (addr & ~BIT(m->a13_bit)) | (scan & 1) << m->a13_bit;
    if (m->a14_bit)
        addr = (addr & ~BIT(m->a14_bit)) | (scan >> 1 & 1) << m->a14_bit;
    return addr;
}

static unsigned line_bytes(const struct scan *m)
{
    unsigned pixels = m->width / m->zoom;

    switch (m->format) {
    case PLANAR:
    case CGA: return (pixels / 8 + 1) * 4;
    case PACKED8: return pixels + 4;
    case PACKED24: return pixels * 3;
    case PACKED32: return pixels * 4;
    default: return pixels * 2;
    }
}

/* ---- pixels ---- */

static uint32_t word_at(const struct vga *v, const struct scan *m, uint32_t addr)
{
    return ld_le32(v->vram + (addr & m->mask & ~3u));
}

/* Eight pixels of four planes, the leftmost in bit 7. */
static void expand_planar(uint32_t word, const struct scan *m, uint32_t *out)
{
    for (unsigned i = 0; i < 8; i++) {
        uint32_t bits = word >> (7 - i) & 0x01010101u;
        unsigned pixel = (bits | bits >> 7 | bits >> 14 | bits >> 21) & 0x0f;
        out[i] = m->colors[pixel & m->plane_mask];
    }
}

/* Planes 0 and 2 hold the first four pixels, 1 and 3 the next: two bits of each make four. */
static void expand_cga(uint32_t word, const struct scan *m, uint32_t *out)
{
    for (unsigned i = 0; i < 8; i++) {
        uint32_t pair = word >> (i / 4 * 8), shift = 6 - i % 4 * 2;
        unsigned pixel = (pair >> shift & 3) | (pair >> 16 >> shift & 3) << 2;
        out[i] = m->colors[pixel & m->plane_mask];
    }
}

static uint32_t rgb555(unsigned p)
{
    unsigned r = p >> 10 & 31, g = p >> 5 & 31, b = p & 31;

    return (r << 3 | r >> 2) << 16 | (g << 3 | g >> 2) << 8 | (b << 3 | b >> 2);
}

static uint32_t rgb565(unsigned p)
{
    unsigned r = p >> 11, g = p >> 5 & 63, b = p & 31;

    return (r << 3 | r >> 2) << 16 | (g << 2 | g >> 4) << 8 | (b << 3 | b >> 2);
}

/* count pixels; out has room for 16 more. Returns where the first one is. */
static const uint32_t *expand_line(const struct vga *v, const struct scan *m, uint32_t addr,
                                   unsigned pan, unsigned count, uint32_t *out)
{
    const uint8_t *vram = v->vram;

    switch (m->format) {
    case PLANAR:
    case CGA:
        for (unsigned i = 0; i < count + pan; i += 8, addr += 4) {
            uint32_t word = word_at(v, m, addr);
            if (m->format == PLANAR)
                expand_planar(word, m, out + i);
            else
                expand_cga(word, m, out + i);
        }
        return out + pan;
    case PACKED8:
        for (unsigned i = 0; i < count; i++)
            out[i] = m->colors[vram[(addr + pan + i) & m->mask]];
        break;
    case PACKED15:
    case PACKED16:
        for (unsigned i = 0; i < count; i++, addr += 2) {
            unsigned p = ld_le16(vram + (addr & m->mask & ~1u));
            out[i] = m->format == PACKED15 ? rgb555(p) : rgb565(p);
        }
        break;
    case PACKED24:
        for (unsigned i = 0; i < count; i++, addr += 3)
            out[i] = vram[addr & m->mask] | (uint32_t)vram[(addr + 1) & m->mask] << 8 |
                     (uint32_t)vram[(addr + 2) & m->mask] << 16;
        break;
    case PACKED32:
        for (unsigned i = 0; i < count; i++, addr += 4)
            out[i] = word_at(v, m, addr) & 0xffffff;
        break;
    }
    return out;
}

/* ---- frames ---- */

static bool line_dirty(const struct vga *v, const struct scan *m, uint32_t addr, unsigned bytes)
{
    for (uint32_t p = addr / PAGE_SIZE; p <= (addr + bytes - 1) / PAGE_SIZE; p++) {
        uint32_t page = (uint32_t)(p & (m->mask / PAGE_SIZE));
        if (v->dirty[page / 64] & BIT64(page % 64))
            return true;
    }
    return false;
}

/* Damage of neighbouring lines as one rectangle. */
struct damage {
    struct surface *surface;
    unsigned x0, x1, y0, y1; /* half open; x1 0: none */
};

static void damage_flush(struct damage *d)
{
    if (d->x1)
        surface_damage(d->surface, (struct surface_rect){(uint16_t)d->x0, (uint16_t)d->y0,
                                                         (uint16_t)(d->x1 - d->x0),
                                                         (uint16_t)(d->y1 - d->y0)});
    d->x1 = 0;
}

static void damage_add(struct damage *d, unsigned x0, unsigned x1, unsigned y)
{
    enum { GAP = 8 }; /* lines in between that are cheaper to send than another rectangle */

    if (d->x1 && y > d->y1 + GAP)
        damage_flush(d);
    if (!d->x1) {
        *d = (struct damage){.surface = d->surface, .x0 = x0, .x1 = x1, .y0 = y};
    } else {
        d->x0 = MIN(d->x0, x0);
        d->x1 = MAX(d->x1, x1);
    }
    d->y1 = y + 1;
}

/* Copies a line to the surface; damage only where it differs. */
static void put_line(struct damage *d, const uint32_t *line, unsigned width, unsigned y)
{
    uint32_t *dst = surface_pixels(d->surface) + (size_t)y * SURFACE_MAX_WIDTH;
    unsigned x0 = 0, x1 = width;

    if (memcmp(dst, line, width * sizeof(*dst)) == 0)
        return;
    while (dst[x0] == line[x0])
        x0++;
    while (dst[x1 - 1] == line[x1 - 1])
        x1--;
    memcpy(dst + x0, line + x0, (x1 - x0) * sizeof(*dst));
    damage_add(d, x0, x1, y);
}

static void draw_graphics(struct vga *v, const struct scan *m)
{
    uint32_t raw[SURFACE_MAX_WIDTH + 16], zoomed[SURFACE_MAX_WIDTH + 16];
    struct damage d = {.surface = v->surface};
    unsigned bytes = line_bytes(m), count = (m->width + m->zoom - 1) / m->zoom;
    uint32_t last_addr = UINT32_MAX;
    const uint32_t *line = NULL;

    for (unsigned y = 0; y < m->height; y++) {
        unsigned pan;
        uint32_t addr = line_address(m, y, &pan);
        if (!v->redraw && !line_dirty(v, m, addr & m->mask, bytes))
            continue;
        if (addr != last_addr) {
            line = expand_line(v, m, addr, pan, count, raw);
            if (m->zoom > 1) {
                for (unsigned x = 0; x < m->width; x++)
                    zoomed[x] = line[x / m->zoom];
                line = zoomed;
            }
            last_addr = addr;
        }
        put_line(&d, line, m->width, y);
    }
    damage_flush(&d);
}

static void draw_blank(struct vga *v, struct surface_geometry *g)
{
    g->mode = SURFACE_BLANK;
    for (unsigned y = 0; v->redraw && y < g->height; y++)
        memset(surface_pixels(v->surface) + (size_t)y * SURFACE_MAX_WIDTH, 0, g->width * 4u);
}

static void collect_dirty(struct vga *v)
{
    struct mem *mem = bus_mem(v->dev.env->bus);
    uint64_t seen[VGA_PAGES / 64];

    mem_region_dirty(mem, v->lfb, seen);
    for (unsigned i = 0; i < ARRAY_LEN(seen); i++)
        v->dirty[i] |= seen[i];
    if (v->direct_on) {
        mem_region_dirty(mem, v->direct, seen);
        v->dirty[0] |= seen[0] & (BIT64(VGA_DIRECT_SIZE / PAGE_SIZE) - 1);
    }
}

void vga_draw(struct vga *v)
{
    const struct vga_state *s = &v->s;
    bool on = (s->attr_index & ATTR_INDEX_ENABLE) && !(s->seq[SEQ_CLOCK] & SEQ_CLOCK_SCREEN_OFF) &&
              (vga_dispi_on(v) || (s->seq[SEQ_RESET] & 3) == 3);
    struct surface_geometry g;
    uint32_t colors[16];
    struct scan m;

    surface_get_geometry(v->surface, &g);
    enum surface_mode before = g.mode;
    unsigned width = g.width, height = g.height;
    if (!on) {
        draw_blank(v, &g);
        surface_set_geometry(v->surface, &g);
    } else if (!vga_dispi_on(v) && !(s->gfx[GFX_MISC] & GFX_MISC_GRAPHICS)) {
        attr_colors(v, colors);
        vga_draw_text(v, colors, v->redraw || before != SURFACE_TEXT, &g);
    } else {
        collect_dirty(v);
        resolve(v, &m);
        g = (struct surface_geometry){.mode = SURFACE_GRAPHICS, .width = (uint16_t)m.width,
                                      .height = (uint16_t)m.height};
        surface_set_geometry(v->surface, &g);
        v->redraw |= before != SURFACE_GRAPHICS || width != m.width || height != m.height;
        draw_graphics(v, &m);
        memset(v->dirty, 0, sizeof(v->dirty));
    }
    v->redraw = false;
    surface_publish(v->surface);
}
