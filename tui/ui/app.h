/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The frame of the terminal UI: a stack of views over one event loop, messages, and work on other
 * threads.
 *
 * A view is a struct view_ops and private memory. Full views cover the screen; modal ones (menus,
 * dialogs) are drawn over what is below them. Only the top view gets keys. */
#ifndef VMDECK_UI_APP_H
#define VMDECK_UI_APP_H

#include <stdbool.h>
#include <stddef.h>

#include "tui/ui/ui.h"
#include "vmm/base/loop.h"

struct view;

struct view_ops {
    const char *name; /* unique, for tests and logs */
    size_t size;      /* of the private memory, view_priv */
    bool modal;
    bool wants_ctrl_c; /* ^C is a key of this view and does not quit */
    /* arg is what view_push got. False: not opened (a message was shown). */
    bool (*open)(struct view *v, void *arg);
    void (*draw)(struct view *v);
    /* True when the key was used. */
    bool (*key)(struct view *v, int key);
    void (*tick)(struct view *v);  /* once a second */
    void (*shown)(struct view *v); /* became the top view again */
    void (*close)(struct view *v);
};

void *view_priv(struct view *v);
/* NULL when open refused. */
struct view *view_push(const struct view_ops *ops, void *arg);
/* Closes this view and all above it. */
void view_pop(struct view *v);
/* A number that is never used again; view_find gives the view while it is open, else NULL. For
 * jobs. */
unsigned view_id(const struct view *v);
struct view *view_find(unsigned id);

bool app_start(enum ui_color color, enum ui_charset charset, struct err *e);
/* Until app_quit, or until the last view is closed. */
void app_run(void);
void app_stop(void);
void app_quit(void);
struct loop *app_loop(void);
/* Draws again before the next wait. */
void app_dirty(void);
/* A message over the bottom of the screen, for some seconds or until the next key. */
void app_toast(enum role role, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void app_toast_err(const struct err *e);
/* Runs a program in the terminal and waits. Returns its exit status, -1 when it could not run. */
int app_run_program(const char *const argv[]);

/* Runs work on a thread of a small pool, then done on the UI thread. A job is never dropped: done
 * may find that the view that asked for it is gone, so it must not keep pointers to views without
 * checking. */
void job_run(void (*work)(void *arg), void (*done)(void *arg), void *arg);
/* Jobs whose done has not run yet. */
unsigned job_count(void);

#endif
