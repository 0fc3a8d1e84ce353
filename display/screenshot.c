/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See screenshot.h. The PNG is 8-bit RGB without ancillary chunks, so equal screens give equal files. */
#include "display/screenshot.h"

#include <errno.h>
#include <png.h>
#include <string.h>

#include "display/text.h"
#include "vmm/base/alloc.h"
#include "vmm/base/bits.h"
#include "vmm/base/fd.h"

struct sink {
    int fd;
    int errnum; /* of the write that failed */
    char why[128]; /* libpng's own complaint */
};

static void png_put(png_structp png, png_bytep data, png_size_t len)
{
    struct sink *sink = png_get_io_ptr(png);

    if (!fd_write_all(sink->fd, data, len)) {
        sink->errnum = errno;
        png_error(png, "write failed");
    }
}

static void png_flush_nothing(png_structp png)
{
    (void)png;
}

static void png_fail(png_structp png, png_const_charp msg)
{
    struct sink *sink = png_get_error_ptr(png);

    str_copy(sink->why, sizeof(sink->why), msg);
    png_longjmp(png, 1);
}

static void png_note(png_structp png, png_const_charp msg)
{
    (void)png;
    (void)msg;
}

/* Everything that setjmp could clobber is a parameter. */
static bool encode(png_structp png, png_infop info, const uint32_t *pixels,
                   const struct surface_geometry *g, uint8_t *row)
{
    if (setjmp(png_jmpbuf(png)))
        return false;
    png_set_IHDR(png, info, g->width, g->height, 8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_set_compression_level(png, 6);
    png_write_info(png, info);
    for (unsigned y = 0; y < g->height; y++) {
        const uint32_t *src = pixels + (size_t)y * SURFACE_MAX_WIDTH;
        for (unsigned x = 0; x < g->width; x++) {
            uint32_t v = src[x];
            row[x * 3] = (uint8_t)(v >> 16);
            row[x * 3 + 1] = (uint8_t)(v >> 8);
            row[x * 3 + 2] = (uint8_t)v;
        }
        png_write_row(png, row);
    }
    png_write_end(png, info);
    return true;
}

bool screenshot_png(struct surface *s, int fd, struct err *e)
{
    struct surface_geometry g;
    struct sink sink = {.fd = fd};

    surface_get_geometry(s, &g);
    if (g.mode == SURFACE_BLANK || !g.width || !g.height)
        return err_set(e, ERR_STATE, "cannot take a screenshot: the screen is blank");
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &sink, png_fail, png_note);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    if (!info) {
        png_destroy_write_struct(&png, NULL);
        return err_set(e, ERR_NOMEM, "cannot take a screenshot: libpng does not start");
    }
    png_set_write_fn(png, &sink, png_put, png_flush_nothing);
    uint8_t *row = x_alloc((size_t)g.width * 3);
    bool ok = encode(png, info, surface_read_pixels(s), &g, row);
    x_free(row);
    png_destroy_write_struct(&png, &info);
    if (ok)
        return true;
    if (sink.errnum)
        return err_errno(e, sink.errnum, "cannot write the screenshot");
    return err_set(e, ERR_FAILED, "cannot write the screenshot: %s", sink.why);
}

bool screenshot_text(struct surface *s, struct buf *out, struct err *e)
{
    struct surface_geometry g;

    surface_get_geometry(s, &g);
    if (g.mode == SURFACE_BLANK)
        return err_set(e, ERR_STATE, "cannot read the screen as text: the screen is blank");
    if (g.mode != SURFACE_TEXT) {
        err_set(e, ERR_STATE, "cannot read the screen as text: the guest is in a graphics mode");
        return err_hint(e, "take a PNG instead (without --text)");
    }
    const struct surface_cell *cells = surface_read_cells(s);
    for (unsigned y = 0; y < g.rows; y++) {
        char line[SURFACE_MAX_COLS * 4];
        size_t len = 0, keep = 0;
        for (unsigned x = 0; x < g.cols; x++) {
            uint16_t cp = text_cp437(cells[y * SURFACE_MAX_COLS + x].ch);
            len += text_utf8(cp, line + len);
            if (cp != ' ')
                keep = len;
        }
        buf_add(out, line, keep);
        buf_puts(out, "\n");
    }
    return true;
}
