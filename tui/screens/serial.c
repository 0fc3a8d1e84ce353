/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tui/screens/serial.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <vterm.h>

#include "tui/client/client.h"
#include "tui/ui/app.h"
#include "tui/ui/text.h"
#include "vmm/base/alloc.h"
#include "vmm/base/bits.h"
#include "vmm/base/fd.h"

#define SCROLLBACK  5000
#define QUEUE_MAX   (64 * 1024)  /* bytes to the guest that wait for it */
#define READ_BUDGET (256 * 1024) /* bytes from the guest between two frames */

struct cell {
    uint32_t ch;
    int16_t fg, bg;
    uint16_t flags;
};

struct line {
    int cols;
    struct cell cells[];
};

/* Connecting blocks, so a job does it. It outlives the pane; the pane is found by serial number. */
struct connect_job {
    unsigned id;
    char name[64];
    unsigned port;
    int fd;
    struct err e;
};

struct serial {
    struct serial *next;
    unsigned id;
    char name[64], status[200];
    unsigned port;
    int rows, cols;
    VTerm *vt;
    VTermScreen *screen;
    VTermPos cursor;
    bool cursor_visible, connecting;
    int fd;
    struct loop_fd *watch;
    struct buf out;
    struct line *lines[SCROLLBACK]; /* ring */
    unsigned line_count, line_next;
    int scrolled; /* lines back */
};

static struct serial *all;
static unsigned last_id;

/* ---- libvterm ---- */

static int color_of(VTermScreen *screen, VTermColor *c)
{
    if (VTERM_COLOR_IS_DEFAULT_FG(c) || VTERM_COLOR_IS_DEFAULT_BG(c))
        return UI_DEFAULT_COLOR;
    if (VTERM_COLOR_IS_INDEXED(c))
        return c->indexed.idx;
    vterm_screen_convert_color_to_rgb(screen, c);
    /* the 6x6x6 cube of 256-colour terminals */
    return 16 + 36 * (c->rgb.red * 5 / 255) + 6 * (c->rgb.green * 5 / 255) + c->rgb.blue * 5 / 255;
}

static struct cell cell_of(VTermScreen *screen, const VTermScreenCell *vc)
{
    VTermScreenCell c = *vc;
    struct cell out = {.ch = c.chars[0]};

    out.fg = (int16_t)color_of(screen, &c.fg);
    out.bg = (int16_t)color_of(screen, &c.bg);
    out.flags =
        (uint16_t)((c.attrs.bold ? UI_CELL_BOLD : 0) | (c.attrs.reverse ? UI_CELL_REVERSE : 0) |
                   (c.attrs.underline ? UI_CELL_UNDERLINE : 0));
    return out;
}

static int on_damage(VTermRect r, void *user)
{
    (void)r;
    (void)user;
    app_dirty();
    return 1;
}

static int on_cursor(VTermPos pos, VTermPos old, int visible, void *user)
{
    struct serial *s = user;

    (void)old;
    s->cursor = pos;
    s->cursor_visible = visible;
    app_dirty();
    return 1;
}

static int on_push_line(int cols, const VTermScreenCell *cells, void *user)
{
    struct serial *s = user;
    struct line *l = x_alloc(sizeof(*l) + (size_t)cols * sizeof(struct cell));

    l->cols = cols;
    for (int i = 0; i < cols; i++)
        l->cells[i] = cell_of(s->screen, &cells[i]);
    while (l->cols > 0 && (l->cells[l->cols - 1].ch == 0 || l->cells[l->cols - 1].ch == ' ') &&
           l->cells[l->cols - 1].bg < 0)
        l->cols--;
    x_free(s->lines[s->line_next]);
    s->lines[s->line_next] = l;
    s->line_next = (s->line_next + 1) % SCROLLBACK;
    s->line_count = MIN(s->line_count + 1, (unsigned)SCROLLBACK);
    if (s->scrolled > 0)
        s->scrolled = MIN(s->scrolled + 1, (int)s->line_count);
    return 1;
}

static const VTermScreenCallbacks callbacks = {
    .damage = on_damage,
    .movecursor = on_cursor,
    .sb_pushline = on_push_line,
};

static void flush_out(struct serial *s)
{
    while (s->fd >= 0 && s->out.len) {
        ssize_t n = write(s->fd, s->out.data, s->out.len);

        if (n <= 0)
            break;
        buf_consume(&s->out, (size_t)n);
    }
    if (s->watch)
        loop_watch_set(s->watch, LOOP_READ | (s->out.len ? LOOP_WRITE : 0));
}

static void on_output(const char *bytes, size_t len, void *user)
{
    struct serial *s = user;

    if (s->fd < 0)
        return;
    if (s->out.len + len > QUEUE_MAX)
        app_toast(ROLE_WARN, "the guest does not read its serial port: some input was dropped");
    else
        buf_add(&s->out, bytes, len);
    flush_out(s);
}

/* ---- connection ---- */

static void disconnect(struct serial *s, const char *why)
{
    if (s->watch)
        loop_unwatch(s->watch);
    s->watch = NULL;
    fd_close(&s->fd);
    buf_clear(&s->out);
    str_copy(s->status, sizeof(s->status), why);
    app_dirty();
}

static void ready(void *opaque, unsigned events)
{
    struct serial *s = opaque;
    size_t budget = READ_BUDGET;
    char buf[16384];

    if (events & LOOP_WRITE)
        flush_out(s);
    while (budget && (events & (LOOP_READ | LOOP_HUP))) {
        ssize_t n = read(s->fd, buf, MIN(sizeof(buf), budget));

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            break;
        if (n <= 0) {
            disconnect(s, "the port was closed");
            return;
        }
        vterm_input_write(s->vt, buf, (size_t)n);
        budget -= (size_t)n;
    }
    vterm_screen_flush_damage(s->screen);
}

static void connect_work(void *arg)
{
    struct connect_job *j = arg;

    j->fd = client_serial(j->name, j->port, &j->e);
}

static void connect_done(void *arg)
{
    struct connect_job *j = arg;
    struct serial *s = all;

    while (s && s->id != j->id)
        s = s->next;
    if (!s) {
        fd_close(&j->fd);
    } else {
        s->connecting = false;
        if (j->fd < 0) {
            str_copy(s->status, sizeof(s->status), j->e.msg);
        } else {
            s->fd = j->fd;
            fd_set_nonblock(s->fd, true);
            /* what was said is replayed by the port */
            vterm_screen_reset(s->screen, 1);
            s->watch = loop_watch(app_loop(), s->fd, LOOP_READ, ready, s);
            str_copy(s->status, sizeof(s->status), "connected");
        }
    }
    x_free(j);
}

void serial_tick(struct serial *s)
{
    if (s->fd >= 0 || s->connecting)
        return;
    struct connect_job *j = X_NEW(struct connect_job);

    j->id = s->id;
    j->port = s->port;
    j->fd = -1;
    str_copy(j->name, sizeof(j->name), s->name);
    s->connecting = true;
    job_run(connect_work, connect_done, j);
}

const char *serial_status(const struct serial *s)
{
    return s->status;
}

/* ---- life ---- */

struct serial *serial_new(const char *name, unsigned port, int rows, int cols)
{
    struct serial *s = X_NEW(struct serial);

    s->id = ++last_id;
    str_copy(s->name, sizeof(s->name), name);
    str_copy(s->status, sizeof(s->status), "connecting");
    s->port = port;
    s->fd = -1;
    s->rows = MAX(rows, 1);
    s->cols = MAX(cols, 1);
    s->vt = vterm_new(s->rows, s->cols);
    vterm_set_utf8(s->vt, 1);
    vterm_output_set_callback(s->vt, on_output, s);
    s->screen = vterm_obtain_screen(s->vt);
    vterm_screen_set_callbacks(s->screen, &callbacks, s);
    vterm_screen_set_damage_merge(s->screen, VTERM_DAMAGE_SCROLL);
    vterm_screen_enable_altscreen(s->screen, 1);
    vterm_screen_reset(s->screen, 1);
    s->cursor_visible = true;
    s->next = all;
    all = s;
    serial_tick(s);
    return s;
}

void serial_free(struct serial *s)
{
    struct serial **p = &all;

    if (!s)
        return;
    while (*p != s)
        p = &(*p)->next;
    *p = s->next;
    disconnect(s, "");
    vterm_free(s->vt);
    buf_free(&s->out);
    for (unsigned i = 0; i < SCROLLBACK; i++)
        x_free(s->lines[i]);
    x_free(s);
}

void serial_resize(struct serial *s, int rows, int cols)
{
    rows = MAX(rows, 1);
    cols = MAX(cols, 1);
    if (rows == s->rows && cols == s->cols)
        return;
    s->rows = rows;
    s->cols = cols;
    vterm_set_size(s->vt, rows, cols);
    vterm_screen_flush_damage(s->screen);
}

/* ---- drawing and keys ---- */

static void draw_past_line(const struct serial *s, unsigned back, int y, struct rect r)
{
    const struct line *l = s->lines[(s->line_next + SCROLLBACK - back) % SCROLLBACK];

    for (int x = 0; x < MIN(l->cols, r.w); x++)
        ui_cell(y, r.x + x, l->cells[x].ch, l->cells[x].fg, l->cells[x].bg, l->cells[x].flags);
}

static void draw_line(const struct serial *s, int row, int y, struct rect r)
{
    for (int x = 0; x < MIN(s->cols, r.w);) {
        VTermScreenCell vc;
        VTermPos pos = {row, x};

        if (!vterm_screen_get_cell(s->screen, pos, &vc))
            break;
        struct cell c = cell_of(s->screen, &vc);
        if (c.ch != 0 || c.bg >= 0 || c.flags)
            ui_cell(y, r.x + x, c.ch, c.fg, c.bg, c.flags);
        x += MAX(vc.width, 1);
    }
}

void serial_draw(struct serial *s, struct rect r, bool focused)
{
    for (int i = 0; i < r.h; i++) {
        int row = i - s->scrolled;

        if (row < 0 && (unsigned)-row <= s->line_count)
            draw_past_line(s, (unsigned)-row, r.y + i, r);
        else if (row >= 0 && row < s->rows)
            draw_line(s, row, r.y + i, r);
    }
    if (focused && s->scrolled == 0 && s->cursor.row < r.h && s->cursor.col < r.w)
        ui_cursor(r.y + s->cursor.row, r.x + s->cursor.col, s->cursor_visible);
}

void serial_key(struct serial *s, int key)
{
    static const struct {
        int key;
        VTermKey vkey;
    } map[] = {
        {UI_KEY_UP, VTERM_KEY_UP},
        {UI_KEY_DOWN, VTERM_KEY_DOWN},
        {UI_KEY_LEFT, VTERM_KEY_LEFT},
        {UI_KEY_RIGHT, VTERM_KEY_RIGHT},
        {UI_KEY_HOME, VTERM_KEY_HOME},
        {UI_KEY_END, VTERM_KEY_END},
        {UI_KEY_PGUP, VTERM_KEY_PAGEUP},
        {UI_KEY_PGDN, VTERM_KEY_PAGEDOWN},
        {UI_KEY_INSERT, VTERM_KEY_INS},
        {UI_KEY_DELETE, VTERM_KEY_DEL},
        {UI_KEY_ENTER, VTERM_KEY_ENTER},
        {UI_KEY_TAB, VTERM_KEY_TAB},
        {UI_KEY_BACKSPACE, VTERM_KEY_BACKSPACE},
    };

    s->scrolled = 0;
    if (key == UI_KEY_BACKTAB) {
        vterm_keyboard_key(s->vt, VTERM_KEY_TAB, VTERM_MOD_SHIFT);
        return;
    }
    if (key > UI_KEY_F0 && key <= UI_KEY_LAST) {
        vterm_keyboard_key(s->vt, (VTermKey)VTERM_KEY_FUNCTION(key - UI_KEY_F0), VTERM_MOD_NONE);
        return;
    }
    for (unsigned i = 0; i < ARRAY_LEN(map); i++) {
        if (map[i].key == key) {
            vterm_keyboard_key(s->vt, map[i].vkey, VTERM_MOD_NONE);
            return;
        }
    }
    if (key >= 0 && key < 32) {
        char c = (char)key;

        on_output(&c, 1, s);
    } else if (key <= 0x10ffff) {
        vterm_keyboard_unichar(s->vt, (uint32_t)key, VTERM_MOD_NONE);
    }
}

void serial_type(struct serial *s, const char *text)
{
    s->scrolled = 0;
    on_output(text, strlen(text), s);
}

void serial_scroll(struct serial *s, int lines)
{
    s->scrolled = MAX(MIN(s->scrolled + lines, (int)s->line_count), 0);
}
