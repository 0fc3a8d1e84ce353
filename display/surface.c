/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Layout of the memfd: one header page, the cells, then the pixels. Geometry is under a sequence lock;
 * damage is a ring of the last rectangles, each with its frame number. Pixels and cells are not locked:
 * a reader that sees half a frame sees the other half's damage in the next one. */
#include "display/surface.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "display/input.h"
#include "vmm/base/alloc.h"
#include "vmm/base/bits.h"
#include "vmm/base/fd.h"

#define MAGIC        0x666d7376u /* "vsmf" */
#define RING         64u
#define PENDING      16u
#define LEDS_KNOWN   0x100u
#define CELLS_OFFSET 4096u
#define PIXEL_OFFSET 65536u
#define PIXEL_BYTES  ((size_t)SURFACE_MAX_WIDTH * SURFACE_MAX_HEIGHT * 4)
#define TOTAL        (PIXEL_OFFSET + PIXEL_BYTES)

struct shared_geometry {
    uint16_t mode, width, height;
    uint8_t cols, rows, cursor_col, cursor_row, cursor_visible, pad;
};

struct shared {
    uint32_t magic;
    uint32_t seq; /* odd while the geometry is being written */
    struct shared_geometry geometry;
    uint32_t leds; /* with LEDS_KNOWN */
    uint64_t frame; /* release: everything up to it is in place */
    uint64_t full_frame; /* the whole screen changed in this frame */
    uint64_t ring_next;  /* entries ever written */
    struct {
        uint64_t frame;
        struct surface_rect rect;
    } ring[RING];
};

_Static_assert(sizeof(struct shared) <= CELLS_OFFSET, "header page");
_Static_assert(CELLS_OFFSET + SURFACE_MAX_COLS * SURFACE_MAX_ROWS * sizeof(struct surface_cell) <=
                   PIXEL_OFFSET,
               "cells");

struct surface {
    int fd;
    bool writable;
    uint8_t *map;
    struct shared *sh;
    struct shared_geometry last; /* reader: the last consistent copy; writer: what was set */
    /* writer */
    struct surface_rect pending[PENDING];
    unsigned pending_count;
    bool pending_full, pending_geometry;
};

struct surface *surface_open(int fd, struct err *e)
{
    struct stat st;
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0 || fstat(fd, &st) < 0) {
        err_errno(e, errno, "cannot open the display surface");
        return NULL;
    }
    int seals = fcntl(fd, F_GET_SEALS);
    if (st.st_size != (off_t)TOTAL || seals < 0 || !(seals & F_SEAL_SHRINK)) {
        err_set(e, ERR_INVALID, "cannot open the display surface: not a sealed memfd of its size");
        return NULL;
    }
    bool writable = (flags & O_ACCMODE) == O_RDWR;
    void *map = mmap(NULL, TOTAL, PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) {
        err_errno(e, errno, "cannot map the display surface");
        return NULL;
    }
    madvise(map, TOTAL, MADV_DONTDUMP);
    struct surface *s = X_NEW(struct surface);
    s->fd = fd;
    s->writable = writable;
    s->map = map;
    s->sh = map;
    if (s->sh->magic != MAGIC && writable)
        s->sh->magic = MAGIC;
    if (s->sh->magic != MAGIC) {
        err_set(e, ERR_INVALID, "cannot open the display surface: no surface in it");
        s->fd = -1;
        surface_free(s);
        return NULL;
    }
    return s;
}

struct surface *surface_new(struct err *e)
{
    int fd = fd_memfd("surface", TOTAL, e);

    if (fd < 0)
        return NULL;
    struct surface *s = surface_open(fd, e);
    if (!s)
        fd_close(&fd);
    return s;
}

void surface_free(struct surface *s)
{
    if (!s)
        return;
    munmap(s->map, TOTAL);
    fd_close(&s->fd);
    x_free(s);
}

int surface_fd(const struct surface *s)
{
    return s->fd;
}

int surface_reader_fd(const struct surface *s, struct err *e)
{
    char path[40];

    snprintf(path, sizeof(path), "/proc/self/fd/%d", s->fd);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        err_errno(e, errno, "cannot reopen the display surface");
    return fd;
}

/* ---- writer ---- */

uint32_t *surface_pixels(struct surface *s)
{
    return (uint32_t *)(void *)(s->map + PIXEL_OFFSET);
}

struct surface_cell *surface_cells(struct surface *s)
{
    return (struct surface_cell *)(void *)(s->map + CELLS_OFFSET);
}

void surface_set_geometry(struct surface *s, const struct surface_geometry *g)
{
    struct shared_geometry n = {
        .mode = (uint16_t)g->mode,
        .width = (uint16_t)MIN(g->width, SURFACE_MAX_WIDTH),
        .height = (uint16_t)MIN(g->height, SURFACE_MAX_HEIGHT),
        .cols = (uint8_t)MIN(g->cols, SURFACE_MAX_COLS),
        .rows = (uint8_t)MIN(g->rows, SURFACE_MAX_ROWS),
        .cursor_col = g->cursor_col,
        .cursor_row = g->cursor_row,
        .cursor_visible = g->cursor_visible,
    };

    if (memcmp(&n, &s->last, sizeof(n)) == 0)
        return;
    if (n.mode != s->last.mode || n.width != s->last.width || n.height != s->last.height)
        s->pending_full = true;
    s->pending_geometry = true;
    s->last = n;
    uint32_t seq = s->sh->seq & ~1u;
    __atomic_store_n(&s->sh->seq, seq + 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    s->sh->geometry = n;
    __atomic_store_n(&s->sh->seq, seq + 2, __ATOMIC_RELEASE);
}

void surface_set_leds(struct surface *s, uint8_t leds)
{
    __atomic_store_n(&s->sh->leds, leds | LEDS_KNOWN, __ATOMIC_RELAXED);
}

static struct surface_rect rect_union(struct surface_rect a, struct surface_rect b)
{
    unsigned x0 = MIN(a.x, b.x), y0 = MIN(a.y, b.y);
    unsigned x1 = MAX(a.x + a.w, b.x + b.w), y1 = MAX(a.y + a.h, b.y + b.h);

    return (struct surface_rect){(uint16_t)x0, (uint16_t)y0, (uint16_t)(x1 - x0),
                                 (uint16_t)(y1 - y0)};
}

/* False when nothing is left of it. */
static bool rect_clip(struct surface_rect *r, unsigned width, unsigned height)
{
    if (r->x >= width || r->y >= height || !r->w || !r->h)
        return false;
    r->w = (uint16_t)MIN(r->w, width - r->x);
    r->h = (uint16_t)MIN(r->h, height - r->y);
    return true;
}

void surface_damage(struct surface *s, struct surface_rect r)
{
    if (!rect_clip(&r, s->last.width, s->last.height))
        return;
    if (s->pending_count < PENDING)
        s->pending[s->pending_count++] = r;
    else
        s->pending[PENDING - 1] = rect_union(s->pending[PENDING - 1], r);
}

void surface_publish(struct surface *s)
{
    struct shared *sh = s->sh;
    uint64_t frame = sh->frame + 1, next = sh->ring_next;

    if (!s->pending_count && !s->pending_full && !s->pending_geometry)
        return;
    if (s->pending_full)
        __atomic_store_n(&sh->full_frame, frame, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < s->pending_count && !s->pending_full; i++, next++) {
        /* announced before it is overwritten, so that a reader can tell that it copied a moving entry */
        __atomic_store_n(&sh->ring_next, next + 1, __ATOMIC_RELAXED);
        __atomic_thread_fence(__ATOMIC_RELEASE);
        sh->ring[next % RING].frame = frame;
        sh->ring[next % RING].rect = s->pending[i];
    }
    s->pending_count = 0;
    s->pending_full = s->pending_geometry = false;
    __atomic_store_n(&sh->frame, frame, __ATOMIC_RELEASE);
}

/* ---- reader ---- */

void surface_get_geometry(struct surface *s, struct surface_geometry *g)
{
    /* A writer that died in the middle leaves the sequence odd: the last good copy stays. */
    for (int tries = 0; tries < 1000; tries++) {
        uint32_t seq = __atomic_load_n(&s->sh->seq, __ATOMIC_ACQUIRE);
        struct shared_geometry n = s->sh->geometry;
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (!(seq & 1) && seq == __atomic_load_n(&s->sh->seq, __ATOMIC_RELAXED)) {
            s->last = n;
            break;
        }
    }
    const struct shared_geometry *n = &s->last;
    bool sane = n->mode <= SURFACE_GRAPHICS && n->width <= SURFACE_MAX_WIDTH &&
                n->height <= SURFACE_MAX_HEIGHT && n->cols <= SURFACE_MAX_COLS &&
                n->rows <= SURFACE_MAX_ROWS;

    memset(g, 0, sizeof(*g));
    if (!sane)
        return;
    g->mode = (enum surface_mode)n->mode;
    g->width = n->width;
    g->height = n->height;
    g->cols = n->cols;
    g->rows = n->rows;
    g->cursor_col = n->cursor_col;
    g->cursor_row = n->cursor_row;
    g->cursor_visible = n->cursor_visible && n->cursor_col < n->cols && n->cursor_row < n->rows;
}

bool surface_get_leds(struct surface *s, uint8_t *leds)
{
    uint32_t v = __atomic_load_n(&s->sh->leds, __ATOMIC_RELAXED);

    *leds = (uint8_t)(v & INPUT_LEDS);
    return v & LEDS_KNOWN;
}

const uint32_t *surface_read_pixels(struct surface *s)
{
    return surface_pixels(s);
}

const struct surface_cell *surface_read_cells(struct surface *s)
{
    return surface_cells(s);
}

uint64_t surface_frame(struct surface *s)
{
    return __atomic_load_n(&s->sh->frame, __ATOMIC_ACQUIRE);
}

static unsigned whole(const struct surface_geometry *g, struct surface_rect *rects, unsigned max)
{
    if (!max || !g->width || !g->height)
        return 0;
    rects[0] = (struct surface_rect){0, 0, g->width, g->height};
    return 1;
}

unsigned surface_get_damage(struct surface *s, uint64_t since, struct surface_rect *rects, unsigned max,
                            uint64_t *now)
{
    struct shared *sh = s->sh;
    struct surface_geometry g;
    unsigned count = 0;

    *now = surface_frame(s);
    surface_get_geometry(s, &g);
    if (*now == since)
        return 0;
    if (since > *now || __atomic_load_n(&sh->full_frame, __ATOMIC_RELAXED) > since)
        return whole(&g, rects, max);

    uint64_t end = __atomic_load_n(&sh->ring_next, __ATOMIC_ACQUIRE), i = end;
    while (i > 0 && end - i < RING) {
        uint64_t frame = sh->ring[(i - 1) % RING].frame;
        struct surface_rect r = sh->ring[(i - 1) % RING].rect;
        if (frame <= since)
            break;
        i--;
        if (!rect_clip(&r, g.width, g.height))
            continue;
        if (count < max)
            rects[count++] = r;
        else if (max)
            rects[max - 1] = rect_union(rects[max - 1], r);
    }
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    uint64_t end2 = __atomic_load_n(&sh->ring_next, __ATOMIC_RELAXED);
    /* Lost: the history is shorter than what we want, or the writer went round under our hands. */
    if ((i > 0 && end - i == RING) || (end2 != end && end2 - i >= RING))
        return whole(&g, rects, max);
    return count;
}
