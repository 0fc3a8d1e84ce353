/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The terminal: drawing by roles, keys, start and restore. Only tui/ui includes curses. UI thread
 * only.
 *
 * Colours are named by what the text means; the tier (none, 8, 16, 256 colours) decides how a role
 * looks. Text is UTF-8 with any drawing characters; in an ASCII terminal text_fold decides how they
 * look. */
#ifndef VMDECK_UI_UI_H
#define VMDECK_UI_UI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/base/err.h"

enum ui_color { UI_COLOR_AUTO, UI_COLOR_ALWAYS, UI_COLOR_NEVER };
enum ui_charset { UI_CHARSET_AUTO, UI_CHARSET_UTF8, UI_CHARSET_ASCII };

enum role {
    ROLE_TEXT,
    ROLE_DIM,
    ROLE_TITLE, /* header line */
    ROLE_HEAD,  /* column heads, labels */
    ROLE_BORDER,
    ROLE_SELECTED, /* cursor row */
    ROLE_KEY,      /* a key in the footer and help */
    ROLE_GOOD,     /* running */
    ROLE_WARN,     /* paused, starting */
    ROLE_BAD,      /* crashed, errors */
    ROLE_DANGER,   /* the button that loses something */
    ROLE_FIELD,    /* input field */
    ROLE_FOCUS,    /* the field or button with the focus */
    ROLE_STATUS,   /* message line */
    ROLE_COUNT
};

struct rect {
    int y, x, h, w;
};

/* Keys are Unicode characters or, from UI_KEY_UP on, these. Control characters keep their code. */
enum ui_key {
    UI_KEY_NONE = -1,
    UI_KEY_ESC = 27,
    UI_KEY_ENTER = '\r',
    UI_KEY_TAB = '\t',
    UI_KEY_BACKSPACE = 8,
    UI_KEY_UP = 0x200000,
    UI_KEY_DOWN,
    UI_KEY_LEFT,
    UI_KEY_RIGHT,
    UI_KEY_HOME,
    UI_KEY_END,
    UI_KEY_PGUP,
    UI_KEY_PGDN,
    UI_KEY_INSERT,
    UI_KEY_DELETE,
    UI_KEY_BACKTAB,
    UI_KEY_F0, /* F1 is UI_KEY_F0 + 1, up to F12 */
    UI_KEY_LAST = UI_KEY_F0 + 12,
    UI_KEY_PASTE, /* the terminal said that text was pasted: ui_pasted */
};
#define UI_CTRL(c)  ((c)&0x1f)
#define UI_KEY_F(n) (UI_KEY_F0 + (n))

#define UI_MIN_COLS 40
#define UI_MIN_ROWS 10

/* Takes over the terminal. It is given back by ui_stop, at exit() and by fatal signals. */
bool ui_start(enum ui_color color, enum ui_charset charset, struct err *e);
void ui_stop(void);
/* Gives the terminal to another program for a while, and takes it back. */
void ui_suspend(void);
void ui_resume(void);
/* After the window size changed: asks the terminal for it. */
void ui_resize(void);
int ui_rows(void);
int ui_cols(void);
bool ui_ascii(void);
/* 0: mono, else 8, 16 or 256 */
int ui_colors(void);

/* The next key without waiting; UI_KEY_NONE when there is none. */
int ui_read_key(void);
/* The text of the last UI_KEY_PASTE, until the next key is read. */
const char *ui_pasted(void);
/* Throws away keys typed so far. */
void ui_flush_keys(void);
/* "^L", "PgUp", "F2", "x" */
void ui_key_name(int key, char out[16]);

void ui_begin(void);  /* clears the frame */
void ui_end(void);    /* sends what differs */
void ui_redraw(void); /* sends everything at the next ui_end */

/* Draws at most w columns of the text, cleaned; returns the columns used. All drawing is clipped to
 * the screen. */
int ui_text(int y, int x, int w, enum role role, const char *s);
int ui_textn(int y, int x, int w, enum role role, const char *s, size_t len);
int ui_textf(int y, int x, int w, enum role role, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
/* As ui_text, then spaces up to w. Too long text ends in an ellipsis. */
void ui_pad(int y, int x, int w, enum role role, const char *s);
void ui_fill(struct rect r, enum role role);
void ui_hline(int y, int x, int w, enum role role);
/* Clears the rectangle and draws a frame with a title (or NULL) around it. */
void ui_frame(struct rect r, enum role role, const char *title);

#define UI_CELL_BOLD      1u
#define UI_CELL_REVERSE   2u
#define UI_CELL_UNDERLINE 4u
#define UI_DEFAULT_COLOR  (-1)
/* One cell of a guest's screen. fg, bg: ANSI colours 0-15 (256-colour terminals: 0-255) or
 * UI_DEFAULT_COLOR. */
void ui_cell(int y, int x, uint32_t c, int fg, int bg, unsigned flags);
/* Where the cursor rests after ui_end; visible or only parked for screen readers. */
void ui_cursor(int y, int x, bool visible);

#endif
