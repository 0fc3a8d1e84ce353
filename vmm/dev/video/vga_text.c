/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Text modes: cells in planes 0 and 1, fonts in plane 2. A cell is drawn when it differs from what was
 * drawn there before, so no dirty log is needed. Blinking follows guest time, at about half a VGA's rate
 * to be kind to remote viewers. */
#include "vmm/dev/video/vga_priv.h"

#define BLINK_NS (NS_PER_S / 2) /* half period */

#define CELL_CURSOR BIT(0) /* with its scan lines, so that another shape is another cell */
#define CELL_HIDDEN BIT(1) /* blinking, in its dark phase */
#define CELL_TOP_SHIFT 4
#define CELL_END_SHIFT 10

struct text {
    unsigned cols, rows, cell_width, cell_height; /* cell_width before doubling */
    unsigned zoom;
    uint32_t start, pitch; /* cells */
    uint32_t cursor;       /* cell */
    unsigned cursor_top, cursor_end; /* scan lines, half open */
    unsigned underline;
    uint32_t fonts[2];     /* offset in plane 2; [1]: attribute bit 3 set */
};

static void resolve(const struct vga *v, struct text *t)
{
    const uint8_t *cr = v->s.crtc;
    uint8_t clock = v->s.seq[SEQ_CLOCK], font = v->s.seq[SEQ_FONT];
    static const uint16_t font_kib[8] = {0, 16, 32, 48, 8, 24, 40, 56};

    t->cell_width = clock & SEQ_CLOCK_8DOT ? 8 : 9;
    t->zoom = clock & SEQ_CLOCK_HALF ? 2 : 1;
    t->cell_height = (cr[CRTC_MAX_SCAN] & 0x1fu) + 1;
    unsigned lines = vga_vertical_display(v);
    if (cr[CRTC_MAX_SCAN] & CRTC_SCAN_DOUBLE)
        lines /= 2; /* 200-line text is shown undoubled */
    unsigned fit_cols = SURFACE_MAX_WIDTH / (t->cell_width * t->zoom);
    t->cols = MIN(MIN(cr[CRTC_H_DISPLAY] + 1u, (unsigned)SURFACE_MAX_COLS), fit_cols);
    t->rows = MIN(MAX(lines / t->cell_height, 1u), (unsigned)SURFACE_MAX_ROWS);
    t->start = (unsigned)cr[CRTC_START_HIGH] << 8 | cr[CRTC_START_LOW];
    t->pitch = cr[CRTC_OFFSET] * 2u;
    t->cursor = (unsigned)cr[CRTC_CURSOR_HIGH] << 8 | cr[CRTC_CURSOR_LOW];
    t->cursor_top = cr[CRTC_CURSOR_START] & 0x1f;
    t->cursor_end = MIN((cr[CRTC_CURSOR_END] & 0x1fu) + 1, t->cell_height);
    if (cr[CRTC_CURSOR_START] & CRTC_CURSOR_OFF)
        t->cursor_end = 0;
    t->underline = cr[CRTC_UNDERLINE] & 0x1f;
    t->fonts[0] = font_kib[(font & 3) | (font >> 2 & 4)] * 1024u;
    t->fonts[1] = font_kib[(font >> 2 & 3) | (font >> 3 & 4)] * 1024u;
}

static void draw_cell(const struct vga *v, const struct text *t, const uint32_t colors[16],
                      unsigned col, unsigned row, struct vga_cell c)
{
    bool blink = v->s.attr[ATTR_MODE] & ATTR_MODE_BLINK;
    uint32_t fg = colors[c.attr & 0x0f], bg = colors[c.attr >> 4 & (blink ? 7 : 15)];
    uint32_t font = t->fonts[c.attr >> 3 & 1] + c.ch * 32u;
    bool joins = c.ch >= 0xc0 && c.ch <= 0xdf && (v->s.attr[ATTR_MODE] & ATTR_MODE_LINE_CHARS);
    unsigned width = t->cell_width * t->zoom;
    uint32_t *dst = surface_pixels(v->surface) + (size_t)row * t->cell_height * SURFACE_MAX_WIDTH +
                    (size_t)col * width;

    for (unsigned y = 0; y < t->cell_height; y++, dst += SURFACE_MAX_WIDTH) {
        unsigned bits = (unsigned)v->vram[((font + y) * 4 + 2) & VGA_LEGACY_MASK] << 1;
        if (joins)
            bits |= bits >> 1 & 1; /* the ninth column repeats the eighth */
        if ((c.attr & 7) == 1 && y == t->underline)
            bits = 0x1ff;
        if (c.flags & CELL_HIDDEN)
            bits = 0;
        if ((c.flags & CELL_CURSOR) && y >= t->cursor_top && y < t->cursor_end)
            bits = 0x1ff;
        for (unsigned x = 0; x < width; x++)
            dst[x] = bits >> (8 - x / t->zoom) & 1 ? fg : bg;
    }
}

void vga_draw_text(struct vga *v, const uint32_t colors[16], bool everything,
                   struct surface_geometry *g)
{
    struct text t;
    bool blink = v->s.attr[ATTR_MODE] & ATTR_MODE_BLINK;
    bool dark = clock_now(v->dev.env->clock) / BLINK_NS & 1;

    resolve(v, &t);
    unsigned width = t.cell_width * t.zoom, cursor_cell = (t.cursor - t.start) & 0xffff;
    *g = (struct surface_geometry){
        .mode = SURFACE_TEXT, .cols = (uint8_t)t.cols, .rows = (uint8_t)t.rows,
        .width = (uint16_t)(t.cols * width), .height = (uint16_t)(t.rows * t.cell_height),
        .cursor_visible = t.cursor_top < t.cursor_end && t.pitch && cursor_cell / t.pitch < t.rows &&
                          cursor_cell % t.pitch < t.cols,
    };
    if (g->cursor_visible) {
        g->cursor_row = (uint8_t)(cursor_cell / t.pitch);
        g->cursor_col = (uint8_t)(cursor_cell % t.pitch);
    }
    everything |= v->font_dirty || v->text_width != width || v->text_height != t.cell_height;
    v->font_dirty = false;
    v->text_width = width;
    v->text_height = t.cell_height;
    surface_set_geometry(v->surface, g);

    for (unsigned y = 0; y < t.rows; y++) {
        unsigned first = t.cols, last = 0;
        for (unsigned x = 0; x < t.cols; x++) {
            const uint8_t *p = v->vram + ((t.start + y * t.pitch + x) * 4 & VGA_LEGACY_MASK);
            struct vga_cell c = {.ch = p[0], .attr = p[1]}, *old = &v->cells[y][x];
            if (blink && dark && (c.attr & 0x80))
                c.flags |= CELL_HIDDEN;
            if (g->cursor_visible && !dark && x == g->cursor_col && y == g->cursor_row)
                c.flags |= (uint16_t)(CELL_CURSOR | t.cursor_top << CELL_TOP_SHIFT |
                                      t.cursor_end << CELL_END_SHIFT);
            if (!everything && memcmp(&c, old, sizeof(c)) == 0)
                continue;
            *old = c;
            surface_cells(v->surface)[y * SURFACE_MAX_COLS + x] =
                (struct surface_cell){.ch = c.ch, .attr = c.attr};
            draw_cell(v, &t, colors, x, y, c);
            first = MIN(first, x);
            last = x + 1;
        }
        if (last)
            surface_damage(v->surface,
                           (struct surface_rect){(uint16_t)(first * width), (uint16_t)(y * t.cell_height),
                                                 (uint16_t)((last - first) * width),
                                                 (uint16_t)t.cell_height});
    }
}
