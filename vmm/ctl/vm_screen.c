/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The screen over the control socket: cells of text modes, PNG. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "display/screenshot.h"
#include "display/surface.h"
#include "vmm/base/alloc.h"
#include "vmm/base/fd.h"
#include "vmm/base/thread.h"
#include "vmm/ctl/vm_priv.h"

/* ---- text ---- */

static json_t *base64(const uint8_t *p, size_t len)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t n = (len + 2) / 3 * 4;
    char *text = x_alloc(n + 1), *o = text;

    for (size_t i = 0; i < len; i += 3) {
        uint32_t v = (uint32_t)p[i] << 16;

        if (i + 1 < len)
            v |= (uint32_t)p[i + 1] << 8;
        if (i + 2 < len)
            v |= p[i + 2];
        *o++ = digits[v >> 18];
        *o++ = digits[v >> 12 & 63];
        *o++ = i + 1 < len ? digits[v >> 6 & 63] : '=';
        *o++ = i + 2 < len ? digits[v & 63] : '=';
    }
    json_t *v = json_stringn(text, n);
    x_free(text);
    return v;
}

static json_t *cells(struct surface *s, const struct surface_geometry *g)
{
    static uint8_t data[SURFACE_MAX_ROWS * SURFACE_MAX_COLS * 2];
    const struct surface_cell *c = surface_read_cells(s);
    size_t n = 0;

    for (unsigned y = 0; y < g->rows && y < SURFACE_MAX_ROWS; y++)
        for (unsigned x = 0; x < g->cols && x < SURFACE_MAX_COLS; x++) {
            data[n++] = c[y * SURFACE_MAX_COLS + x].ch;
            data[n++] = c[y * SURFACE_MAX_COLS + x].attr;
        }
    return base64(data, n);
}

void vm_cmd_x_text_screen(struct vm_proc *p, struct vm_req *r, const json_t *args)
{
    static const char *const modes[] = {"blank", "text", "graphics"};
    struct surface *s = vm_surface(p->vm);
    json_t *since = json_object_get(args, "since");
    struct surface_geometry g;
    uint64_t frame = surface_frame(s);

    surface_get_geometry(s, &g);
    json_t *v = json_pack("{sssisisIsisisisisb}", "mode", modes[g.mode], "width", (int)g.width, "height",
                          (int)g.height, "frame", (json_int_t)frame, "cols", (int)g.cols, "rows", (int)g.rows,
                          "cursor-col", (int)g.cursor_col, "cursor-row", (int)g.cursor_row, "cursor-visible",
                          g.cursor_visible);
    if (g.mode == SURFACE_TEXT && !(since && json_integer_value(since) == (json_int_t)frame))
        json_object_set_new(v, "cells", cells(s, &g));
    vm_reply(r, v);
}

/* ---- PNG: compressed on a thread of its own, so that no vCPU waits for it ---- */

struct dump {
    struct vm_req *request;
    struct surface *surface; /* a second mapping, read only in effect */
    int fd;
    bool ok;
    struct err e;
};

static void dumped(void *opaque)
{
    struct dump *d = opaque;

    if (d->ok)
        vm_reply(d->request, NULL);
    else
        vm_reply_error(d->request, &d->e);
    surface_free(d->surface);
    close(d->fd);
    x_free(d);
}

static void *dump_main(void *arg)
{
    struct dump *d = arg;

    d->ok = screenshot_png(d->surface, d->fd, &d->e);
    loop_post(d->request->p->loop, dumped, d);
    return NULL;
}

void vm_cmd_screendump(struct vm_proc *p, struct vm_req *r, const json_t *args)
{
    struct err e = ERR_INIT;
    struct dump *d;
    pthread_t thread;

    (void)args; /* the supervisor has turned the name into a descriptor */
    if (r->fd < 0) {
        err_set(&e, ERR_USAGE, "no descriptor was passed");
        vm_reply_error(r, &e);
        return;
    }
    d = X_NEW(struct dump);
    d->request = r;
    d->fd = r->fd;
    r->fd = -1;
    int fd = fcntl(surface_fd(vm_surface(p->vm)), F_DUPFD_CLOEXEC, 3);
    d->surface = fd < 0 ? NULL : surface_open(fd, &d->e);
    if (!d->surface) {
        fd_close(&fd);
        dumped(d);
        return;
    }
    if (thread_start(&thread, "screendump", dump_main, d, &d->e))
        pthread_detach(thread);
    else
        dumped(d);
}
