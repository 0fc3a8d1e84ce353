/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest's screen in a sealed memfd, shared by the vm process (the only writer) and the vnc process
 * (reader): geometry, XRGB8888 pixels, text cells and damage.
 *
 * The reader trusts nothing but its own mapping: geometry is read once, checked against the limits, and
 * used as a copy. Text modes publish cells as well as pixels, so that terminals can show text as text. */
#ifndef VMDECK_DISPLAY_SURFACE_H
#define VMDECK_DISPLAY_SURFACE_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/base/err.h"

#define SURFACE_MAX_WIDTH  2560
#define SURFACE_MAX_HEIGHT 1600
#define SURFACE_MAX_COLS   132
#define SURFACE_MAX_ROWS   60

enum surface_mode { SURFACE_BLANK, SURFACE_TEXT, SURFACE_GRAPHICS };

struct surface_rect {
    uint16_t x, y, w, h;
};

struct surface_cell {
    uint8_t ch;   /* CP437 */
    uint8_t attr; /* VGA attribute: bits 0-3 foreground, 4-6 background, 7 blink or bright */
};

struct surface_geometry {
    enum surface_mode mode;
    uint16_t width, height; /* pixels; stride is SURFACE_MAX_WIDTH * 4 always */
    uint8_t cols, rows;     /* text mode */
    uint8_t cursor_col, cursor_row;
    bool cursor_visible;
};

struct surface;

/* Makes the memfd, blank. */
struct surface *surface_new(struct err *e);
/* Maps an fd from elsewhere, which becomes the surface's unless this fails. Writable when the fd is. */
struct surface *surface_open(int fd, struct err *e);
void surface_free(struct surface *s);
int surface_fd(const struct surface *s);
/* A new descriptor of the same memfd that cannot write, for readers in other processes. */
int surface_reader_fd(const struct surface *s, struct err *e);

/* ---- writer: machine lock ---- */

uint32_t *surface_pixels(struct surface *s); /* row stride SURFACE_MAX_WIDTH pixels */
struct surface_cell *surface_cells(struct surface *s); /* row stride SURFACE_MAX_COLS */
/* A new size or mode damages the whole screen. Clipped to the limits. */
void surface_set_geometry(struct surface *s, const struct surface_geometry *g);
void surface_damage(struct surface *s, struct surface_rect r);
/* Publishes the geometry and the damage collected since the last call by raising the frame number, which
 * readers poll. Without either it does nothing. */
void surface_publish(struct surface *s);

/* The lights of the guest's keyboard, INPUT_LED_*; readers see them without a new frame. */
void surface_set_leds(struct surface *s, uint8_t leds);

/* ---- reader: one thread at a time per struct surface ---- */

void surface_get_geometry(struct surface *s, struct surface_geometry *g);
const uint32_t *surface_read_pixels(struct surface *s);
const struct surface_cell *surface_read_cells(struct surface *s);
uint64_t surface_frame(struct surface *s);
/* False before the guest has set them for the first time. */
bool surface_get_leds(struct surface *s, uint8_t *leds);
/* Damage since frame `since`: fills at most max rectangles and returns their count; the whole screen when
 * the history does not reach back that far. *now is the frame it goes up to. */
unsigned surface_get_damage(struct surface *s, uint64_t since, struct surface_rect *rects, unsigned max,
                            uint64_t *now);

#endif
