/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tui/ui/app.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tui/ui/text.h"
#include "vmm/base/alloc.h"
#include "vmm/base/bits.h"
#include "vmm/base/clock.h"
#include "vmm/base/fd.h"

#define TOAST_NS (8 * NS_PER_S)
#define TICK_NS  NS_PER_S

struct view {
    const struct view_ops *ops;
    struct view *below;
    unsigned id;
    max_align_t priv[];
};

static struct {
    struct loop *loop;
    struct loop_fd *keys, *signals;
    struct view *top;
    struct timer tick;
    unsigned last_id;
    bool dirty, quit;
    int signal_pipe[2];
    char toast[768];
    enum role toast_role;
    int64_t toast_until;
    bool toast_fresh; /* set while handling the present key */
} app = {.signal_pipe = {-1, -1}};

void *view_priv(struct view *v)
{
    return v->priv;
}

unsigned view_id(const struct view *v)
{
    return v->id;
}

struct view *view_find(unsigned id)
{
    struct view *v = app.top;

    while (v && v->id != id)
        v = v->below;
    return v;
}

struct view *view_push(const struct view_ops *ops, void *arg)
{
    struct view *v = x_alloc(sizeof(*v) + ops->size);

    v->ops = ops;
    v->below = app.top;
    v->id = ++app.last_id;
    app.top = v;
    app.dirty = true;
    if (ops->open && !ops->open(v, arg)) {
        app.top = v->below;
        x_free(v);
        return NULL;
    }
    return v;
}

void view_pop(struct view *v)
{
    struct view *top;

    do {
        top = app.top;
        app.top = top->below;
        if (top->ops->close)
            top->ops->close(top);
        bool last = top == v;
        x_free(top);
        if (last)
            break;
    } while (app.top);
    app.dirty = true;
    if (!app.top)
        app.quit = true;
    else if (app.top->ops->shown)
        app.top->ops->shown(app.top);
}

struct loop *app_loop(void)
{
    return app.loop;
}

void app_dirty(void)
{
    app.dirty = true;
}

void app_quit(void)
{
    app.quit = true;
}

void app_toast(enum role role, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(app.toast, sizeof(app.toast), fmt, ap);
    va_end(ap);
    app.toast_role = role;
    app.toast_until = clock_now_ns() + TOAST_NS;
    app.toast_fresh = true;
    app.dirty = true;
}

void app_toast_err(const struct err *e)
{
    if (e->hint[0])
        app_toast(ROLE_BAD, "%s (%s)", e->msg, e->hint);
    else
        app_toast(ROLE_BAD, "%s", e->msg);
}

/* ---- drawing ---- */

static void toast_line(void *opaque, int n, const char *s, size_t len)
{
    int y = *(int *)opaque + n;

    if (n >= 4)
        return;
    ui_fill((struct rect){y, 0, 1, ui_cols()},
            app.toast_role == ROLE_BAD ? ROLE_DANGER : ROLE_STATUS);
    ui_textn(y, 1, ui_cols() - 2, app.toast_role == ROLE_BAD ? ROLE_DANGER : ROLE_STATUS, s, len);
}

static void draw_toast(void)
{
    int lines = text_wrap(app.toast, ui_cols() - 2, ui_ascii(), NULL, NULL);
    int y = ui_rows() - 1 - MIN(lines, 4);

    text_wrap(app.toast, ui_cols() - 2, ui_ascii(), toast_line, &y);
}

static void draw_from(struct view *v)
{
    if (v->ops->modal && v->below)
        draw_from(v->below);
    v->ops->draw(v);
}

static void draw(void)
{
    app.dirty = false;
    ui_begin();
    if (ui_cols() < UI_MIN_COLS || ui_rows() < UI_MIN_ROWS) {
        int y = ui_rows() / 2 - 1;

        ui_text(y, 0, ui_cols(), ROLE_WARN, "vmdeck: too small");
        ui_textf(y + 1, 0, ui_cols(), ROLE_TEXT, "%dx%d, needs %dx%d", ui_cols(), ui_rows(),
                 UI_MIN_COLS, UI_MIN_ROWS);
        ui_text(y + 2, 0, ui_cols(), ROLE_DIM, "VMs keep running");
    } else {
        draw_from(app.top);
        if (app.toast[0])
            draw_toast();
    }
    ui_end();
}

/* ---- keys, signals, time ---- */

static void suspend(void)
{
    ui_suspend();
    raise(SIGSTOP);
    ui_resume();
    app.dirty = true;
}

static void handle_key(int key)
{
    bool had_toast = app.toast[0];

    app.toast_fresh = false;
    app.dirty = true;
    if (ui_cols() < UI_MIN_COLS || ui_rows() < UI_MIN_ROWS) {
        /* what cannot be seen must not be steered */
        if (key == UI_CTRL('c') || key == 'q')
            app.quit = true;
        return;
    }
    if (key == UI_CTRL('c') && !app.top->ops->wants_ctrl_c) {
        app.quit = true;
    } else if (key == UI_CTRL('l') && !app.top->ops->wants_ctrl_c) {
        ui_resize();
        ui_redraw();
    } else if (key == UI_CTRL('z') && !app.top->ops->wants_ctrl_c) {
        suspend();
    } else if (!(app.top->ops->key && app.top->ops->key(app.top, key)) && key == UI_KEY_ESC &&
               had_toast) {
        app.toast[0] = '\0';
    }
    if (had_toast && !app.toast_fresh)
        app.toast[0] = '\0';
}

static void keys_ready(void *opaque, unsigned events)
{
    int key;
    bool any = false;

    (void)opaque;
    while (!app.quit && (key = ui_read_key()) != UI_KEY_NONE) {
        any = true;
        handle_key(key);
    }
    if (!any) {
        /* readable without a key: a piece of an escape sequence, or the terminal is gone */
        struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
        char c;

        if ((events & LOOP_HUP) || (poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLERR))) ||
            (poll(&p, 1, 0) > 0 && read(STDIN_FILENO, &c, 0) < 0 && errno == EIO))
            app.quit = true;
    }
}

static void on_signal(int sig)
{
    int saved = errno;
    char c = (char)sig;

    if (write(app.signal_pipe[1], &c, 1) < 0) {
        /* full: one byte of each kind is enough */
    }
    errno = saved;
}

static void signals_ready(void *opaque, unsigned events)
{
    char buf[64];
    ssize_t n = read(app.signal_pipe[0], buf, sizeof(buf));

    (void)opaque;
    (void)events;
    for (ssize_t i = 0; i < n; i++) {
        if (buf[i] == SIGWINCH) {
            ui_resize();
            app.dirty = true;
        } else {
            app.quit = true;
        }
    }
}

static void tick(void *opaque)
{
    (void)opaque;
    timer_arm(&app.tick, clock_now(loop_clock(app.loop)) + TICK_NS);
    if (app.toast[0] && clock_now_ns() > app.toast_until) {
        app.toast[0] = '\0';
        app.dirty = true;
    }
    for (struct view *v = app.top; v; v = v->below)
        if (v->ops->tick)
            v->ops->tick(v);
}

/* ---- start, run, stop ---- */

bool app_start(enum ui_color color, enum ui_charset charset, struct err *e)
{
    static const int signals[] = {SIGWINCH, SIGTERM, SIGHUP, SIGINT};
    struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART};

    app.loop = loop_new(e);
    if (!app.loop)
        return false;
    if (pipe2(app.signal_pipe, O_CLOEXEC | O_NONBLOCK) < 0) {
        err_errno(e, errno, "cannot make a pipe");
        loop_free(app.loop);
        return false;
    }
    if (!ui_start(color, charset, e)) {
        loop_free(app.loop);
        return false;
    }
    for (unsigned i = 0; i < ARRAY_LEN(signals); i++)
        sigaction(signals[i], &sa, NULL);
    signal(SIGPIPE, SIG_IGN);
    app.keys = loop_watch(app.loop, STDIN_FILENO, LOOP_READ, keys_ready, NULL);
    /* the loop made it non-blocking, which standard output and the shell after us would share */
    fd_set_nonblock(STDIN_FILENO, false);
    app.signals = loop_watch(app.loop, app.signal_pipe[0], LOOP_READ, signals_ready, NULL);
    timer_init(&app.tick, loop_clock(app.loop), tick, NULL);
    tick(NULL);
    return true;
}

void app_run(void)
{
    app.dirty = true;
    while (!app.quit && app.top) {
        if (app.dirty)
            draw();
        loop_step(app.loop, -1);
    }
}

void app_stop(void)
{
    if (app.top) {
        struct view *v = app.top;

        while (v->below)
            v = v->below;
        view_pop(v);
    }
    ui_stop();
    timer_cancel(&app.tick);
    loop_unwatch(app.keys);
    loop_unwatch(app.signals);
    fd_close(&app.signal_pipe[0]);
    fd_close(&app.signal_pipe[1]);
    /* the loop stays: jobs that still run may post to it until the process ends */
}

int app_run_program(const char *const argv[])
{
    int status = -1;

    ui_suspend();
    loop_watch_set(app.keys, 0);
    pid_t pid = fork();

    if (pid == 0) {
        execvp(argv[0], (char *const *)argv);
        _exit(127);
    }
    if (pid > 0)
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
            ;
    loop_watch_set(app.keys, LOOP_READ);
    ui_resume();
    app.dirty = true;
    return pid > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}
