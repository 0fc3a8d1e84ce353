/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ncurses behind ui.h. The screen is restored on every way out: ui_stop, exit(), fatal signals. */
#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#define NCURSES_WIDECHAR 1
#include <curses.h>

#include "tui/ui/text.h"
#include "tui/ui/ui.h"
#include "vmm/base/bits.h"
#include "vmm/base/buf.h"

/* <term.h> would define hundreds of lower-case macros */
extern char *tigetstr(NCURSES_CONST char *name);

static struct {
    bool started, ascii, suspended;
    int colors;
    int cursor_y, cursor_x;
    bool cursor_visible;
    struct {
        attr_t attr;
        int pair;
    } roles[ROLE_COUNT];
    struct termios tty; /* as it was */
    char leave[256];    /* bytes that undo our modes, for signal handlers */
    size_t leave_len;
    const char *paste_on, *paste_off; /* bracketed paste, where the terminal has it */
    struct buf pasted;
    SCREEN *screen;
} ui;

/* ---- roles ---- */

static const struct {
    short fg, bg;
    attr_t attr;      /* with colours */
    attr_t mono_attr; /* without */
} looks[ROLE_COUNT] = {
    [ROLE_TEXT] = {-1, -1, 0, 0},
    [ROLE_DIM] = {-1, -1, A_DIM, 0},
    [ROLE_TITLE] = {COLOR_BLACK, COLOR_CYAN, 0, A_REVERSE},
    [ROLE_HEAD] = {COLOR_CYAN, -1, 0, A_BOLD},
    [ROLE_BORDER] = {COLOR_CYAN, -1, 0, 0},
    [ROLE_SELECTED] = {-1, -1, A_REVERSE, A_REVERSE},
    [ROLE_KEY] = {COLOR_YELLOW, -1, A_BOLD, A_BOLD},
    [ROLE_GOOD] = {COLOR_GREEN, -1, 0, A_BOLD},
    [ROLE_WARN] = {COLOR_YELLOW, -1, 0, 0},
    [ROLE_BAD] = {COLOR_RED, -1, A_BOLD, A_BOLD},
    [ROLE_DANGER] = {COLOR_WHITE, COLOR_RED, A_BOLD, A_REVERSE | A_BOLD},
    [ROLE_FIELD] = {-1, -1, A_UNDERLINE, A_UNDERLINE},
    [ROLE_FOCUS] = {-1, -1, A_REVERSE, A_REVERSE},
    [ROLE_STATUS] = {COLOR_BLACK, COLOR_YELLOW, 0, A_REVERSE},
};

static void set_roles(enum ui_color color)
{
    const char *no_color = getenv("NO_COLOR");
    bool off = color == UI_COLOR_NEVER || (color == UI_COLOR_AUTO && no_color && *no_color);

    ui.colors = 0;
    if (!off && has_colors()) {
        start_color();
        ui.colors = COLORS >= 256 ? 256 : COLORS >= 16 ? 16 : COLORS >= 8 ? 8 : 0;
        use_default_colors();
    }
    for (unsigned i = 0; i < ROLE_COUNT; i++) {
        ui.roles[i].attr = ui.colors ? looks[i].attr : looks[i].mono_attr;
        ui.roles[i].pair = 0;
        if (ui.colors && (looks[i].fg >= 0 || looks[i].bg >= 0))
            ui.roles[i].pair = alloc_pair(looks[i].fg, looks[i].bg);
    }
}

/* ---- start and restore ---- */

/* Codes that ncurses does not use itself. */
#define CODE_PASTE_BEGIN (KEY_MAX - 2)
#define CODE_PASTE_END   (KEY_MAX - 1)
#define PASTE_MAX        (64 * 1024)

static void send(const char *s)
{
    if (s && write(STDOUT_FILENO, s, strlen(s)) < 0) {
        /* the terminal is gone; reading from it will say so */
    }
}

static const char *capability(const char *name)
{
    const char *s = tigetstr(name);

    return s == (const char *)-1 ? NULL : s;
}

/* With it a pasted text is told from typed keys, and cannot run commands of the list. */
static void start_paste(void)
{
    const char *begin = capability("PS"), *end = capability("PE");

    ui.paste_on = capability("BE");
    ui.paste_off = capability("BD");
    if (!ui.paste_on || !ui.paste_off || !begin || !end) {
        ui.paste_on = ui.paste_off = NULL;
        return;
    }
    define_key(begin, CODE_PASTE_BEGIN);
    define_key(end, CODE_PASTE_END);
    send(ui.paste_on);
}

static void add_leave(const char *cap)
{
    const char *s = capability(cap);

    if (!s || ui.leave_len + strlen(s) >= sizeof(ui.leave))
        return;
    memcpy(ui.leave + ui.leave_len, s, strlen(s));
    ui.leave_len += strlen(s);
}

/* Async-signal-safe. */
static void restore_raw(void)
{
    if (ui.leave_len && write(STDOUT_FILENO, ui.leave, ui.leave_len) < 0) {
        /* nothing is left to do about a terminal that is gone */
    }
    tcsetattr(STDIN_FILENO, TCSANOW, &ui.tty);
}

static void on_fatal(int sig)
{
    if (ui.started && !ui.suspended)
        restore_raw();
    signal(sig, SIG_DFL);
    raise(sig);
}

static void at_exit(void)
{
    ui_stop();
}

bool ui_start(enum ui_color color, enum ui_charset charset, struct err *e)
{
    static const int fatal[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGQUIT};
    static bool registered;

    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)) {
        err_set(e, ERR_USAGE, "cannot open the terminal UI: not a terminal");
        return err_hint(e, "use 'vmdeck ls' and the other commands; see 'vmdeck help'");
    }
    setlocale(LC_ALL, "");
    ui.ascii = charset == UI_CHARSET_ASCII ||
               (charset == UI_CHARSET_AUTO && strcmp(nl_langinfo(CODESET), "UTF-8"));
    tcgetattr(STDIN_FILENO, &ui.tty);
    ui.screen = newterm(NULL, stdout, stdin);
    if (!ui.screen) {
        const char *term = getenv("TERM");

        err_set(e, ERR_UNSUPPORTED, "cannot open the terminal UI: unknown terminal type \"%s\"",
                term ? term : "");
        return err_hint(e, "set TERM, for example TERM=xterm-256color");
    }
    if (!capability("cup")) {
        const char *term = getenv("TERM");

        endwin();
        delscreen(ui.screen);
        err_set(e, ERR_UNSUPPORTED,
                "cannot open the terminal UI: the terminal type \"%s\" cannot move the cursor",
                term ? term : "");
        return err_hint(e, "use 'vmdeck ls' and the other commands; see 'vmdeck help'");
    }
    ui.started = true;
    raw();
    noecho();
    nonl();
    keypad(stdscr, TRUE);
    nodelay(stdscr, TRUE);
    set_escdelay(25);
    intrflush(stdscr, FALSE);
    set_roles(color);
    ui.leave_len = 0;
    add_leave("sgr0");
    add_leave("cnorm");
    add_leave("rmkx");
    add_leave("BD");
    add_leave("rmcup");
    start_paste();
    for (unsigned i = 0; i < ARRAY_LEN(fatal); i++)
        signal(fatal[i], on_fatal);
    if (!registered)
        registered = atexit(at_exit) == 0;
    return true;
}

void ui_stop(void)
{
    if (!ui.started)
        return;
    ui.started = false;
    if (!ui.suspended) {
        send(ui.paste_off);
        endwin();
    }
    buf_free(&ui.pasted);
    delscreen(ui.screen);
    ui.screen = NULL;
}

void ui_suspend(void)
{
    def_prog_mode();
    send(ui.paste_off);
    endwin();
    ui.suspended = true;
}

void ui_resume(void)
{
    ui.suspended = false;
    reset_prog_mode();
    send(ui.paste_on);
    ui_resize();
    ui_redraw();
}

void ui_resize(void)
{
    struct winsize ws;

    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) == 0 && ws.ws_row && ws.ws_col &&
        (ws.ws_row != LINES || ws.ws_col != COLS))
        resizeterm(ws.ws_row, ws.ws_col);
}

int ui_rows(void)
{
    return LINES;
}

int ui_cols(void)
{
    return COLS;
}

bool ui_ascii(void)
{
    return ui.ascii;
}

int ui_colors(void)
{
    return ui.colors;
}

/* ---- keys ---- */

static const struct {
    int curses, key;
    const char *name;
} keys[] = {
    {KEY_UP, UI_KEY_UP, "Up"},           {KEY_DOWN, UI_KEY_DOWN, "Down"},
    {KEY_LEFT, UI_KEY_LEFT, "Left"},     {KEY_RIGHT, UI_KEY_RIGHT, "Right"},
    {KEY_HOME, UI_KEY_HOME, "Home"},     {KEY_END, UI_KEY_END, "End"},
    {KEY_PPAGE, UI_KEY_PGUP, "PgUp"},    {KEY_NPAGE, UI_KEY_PGDN, "PgDn"},
    {KEY_IC, UI_KEY_INSERT, "Ins"},      {KEY_DC, UI_KEY_DELETE, "Del"},
    {KEY_BTAB, UI_KEY_BACKTAB, "S-Tab"}, {KEY_BACKSPACE, UI_KEY_BACKSPACE, "Backspace"},
    {KEY_ENTER, UI_KEY_ENTER, "Enter"},
};

/* Collects up to the end mark. Line ends come as carriage returns; a paste without an end is cut by
 * time. */
static int read_paste(void)
{
    wint_t c;
    int type;

    buf_clear(&ui.pasted);
    timeout(500);
    while ((type = get_wch(&c)) != ERR) {
        if (type == KEY_CODE_YES && c == CODE_PASTE_END)
            break;
        if (type == OK && c != 0 && ui.pasted.len < PASTE_MAX)
            text_encode((uint32_t)c, &ui.pasted);
    }
    nodelay(stdscr, TRUE);
    return UI_KEY_PASTE;
}

const char *ui_pasted(void)
{
    return buf_str(&ui.pasted);
}

int ui_read_key(void)
{
    wint_t c;

    for (;;) {
        int type = get_wch(&c);

        if (type == ERR)
            return UI_KEY_NONE;
        if (type == KEY_CODE_YES) {
            if (c == KEY_RESIZE)
                continue;
            if (c == CODE_PASTE_BEGIN)
                return read_paste();
            if (c > (wint_t)KEY_F0 && c <= (wint_t)KEY_F(12))
                return UI_KEY_F((int)c - KEY_F0);
            for (unsigned i = 0; i < ARRAY_LEN(keys); i++)
                if (c == (wint_t)keys[i].curses)
                    return keys[i].key;
            continue;
        }
        return c == 127 ? UI_KEY_BACKSPACE : c == '\n' ? UI_KEY_ENTER : (int)c;
    }
}

void ui_flush_keys(void)
{
    flushinp();
    while (ui_read_key() != UI_KEY_NONE)
        ;
}

void ui_key_name(int key, char out[16])
{
    for (unsigned i = 0; i < ARRAY_LEN(keys); i++) {
        if (keys[i].key == key) {
            str_copy(out, 16, keys[i].name);
            return;
        }
    }
    if (key > UI_KEY_F0 && key <= UI_KEY_LAST)
        snprintf(out, 16, "F%d", key - UI_KEY_F0);
    else if (key == UI_KEY_ESC)
        str_copy(out, 16, "Esc");
    else if (key == UI_KEY_TAB)
        str_copy(out, 16, "Tab");
    else if (key == ' ')
        str_copy(out, 16, "Space");
    else if (key < 32)
        snprintf(out, 16, "^%c", key + 64);
    else
        snprintf(out, 16, "%c", key < 127 ? key : '?');
}

/* ---- drawing ---- */

void ui_begin(void)
{
    erase();
    ui.cursor_visible = false;
    ui.cursor_y = LINES - 1;
    ui.cursor_x = 0;
}

void ui_end(void)
{
    curs_set(ui.cursor_visible ? 1 : 0);
    if (ui.cursor_y >= 0 && ui.cursor_y < LINES && ui.cursor_x >= 0 && ui.cursor_x < COLS)
        move(ui.cursor_y, ui.cursor_x);
    refresh();
}

void ui_redraw(void)
{
    clearok(curscr, TRUE);
}

void ui_cursor(int y, int x, bool visible)
{
    ui.cursor_y = y;
    ui.cursor_x = x;
    ui.cursor_visible = visible;
}

static void put(int y, int x, const wchar_t *text, attr_t attr, int pair)
{
    cchar_t cell;

    setcchar(&cell, text, attr, 0, &pair);
    mvadd_wch(y, x, &cell);
}

int ui_textn(int y, int x, int w, enum role role, const char *s, size_t len)
{
    const char *end = s + len;
    int used = 0;

    if (y < 0 || y >= LINES || x < 0)
        return 0;
    w = MIN(w, COLS - x);
    while (s < end) {
        wchar_t text[4] = {0};
        uint32_t c = text_next(&s, end, ui.ascii);
        int cols = text_columns(c), marks = 0;

        if (cols == 0) /* a mark without a base */
            continue;
        if (used + cols > w)
            break;
        text[0] = c == TEXT_BAD ? L'?' : (wchar_t)c;
        while (s < end && !ui.ascii) {
            const char *next = s;
            uint32_t mark = text_next(&next, end, false);

            if (text_columns(mark) != 0)
                break;
            if (marks < 2)
                text[++marks] = (wchar_t)mark;
            s = next;
        }
        put(y, x + used, text, ui.roles[role].attr, ui.roles[role].pair);
        used += cols;
    }
    return used;
}

int ui_text(int y, int x, int w, enum role role, const char *s)
{
    return ui_textn(y, x, w, role, s, strlen(s));
}

int ui_textf(int y, int x, int w, enum role role, const char *fmt, ...)
{
    char s[1024];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(s, sizeof(s), fmt, ap);
    va_end(ap);
    return ui_text(y, x, w, role, s);
}

void ui_fill(struct rect r, enum role role)
{
    for (int y = MAX(r.y, 0); y < MIN(r.y + r.h, LINES); y++)
        for (int x = MAX(r.x, 0); x < MIN(r.x + r.w, COLS); x++)
            put(y, x, L" ", ui.roles[role].attr, ui.roles[role].pair);
}

void ui_pad(int y, int x, int w, enum role role, const char *s)
{
    int used;

    if (w <= 0)
        return;
    if (text_width(s, ui.ascii) > w) {
        used = ui_textn(y, x, w - 1, role, s, text_fit(s, w - 1, ui.ascii));
        used += ui_text(y, x + used, 1, role, "…");
    } else {
        used = ui_text(y, x, w, role, s);
    }
    ui_fill((struct rect){y, x + used, 1, w - used}, role);
}

void ui_hline(int y, int x, int w, enum role role)
{
    for (int i = 0; i < w; i++)
        ui_text(y, x + i, 1, role, "─");
}

void ui_frame(struct rect r, enum role role, const char *title)
{
    ui_fill(r, ROLE_TEXT);
    ui_hline(r.y, r.x + 1, r.w - 2, role);
    ui_hline(r.y + r.h - 1, r.x + 1, r.w - 2, role);
    for (int y = r.y + 1; y < r.y + r.h - 1; y++) {
        ui_text(y, r.x, 1, role, "│");
        ui_text(y, r.x + r.w - 1, 1, role, "│");
    }
    ui_text(r.y, r.x, 1, role, "┌");
    ui_text(r.y, r.x + r.w - 1, 1, role, "┐");
    ui_text(r.y + r.h - 1, r.x, 1, role, "└");
    ui_text(r.y + r.h - 1, r.x + r.w - 1, 1, role, "┘");
    if (title) {
        int used = ui_text(r.y, r.x + 2, 1, role, " ");

        used += ui_text(r.y, r.x + 2 + used, r.w - 6, ROLE_HEAD, title);
        ui_text(r.y, r.x + 2 + used, 1, role, " ");
    }
}

/* Bright colours where the terminal has 8: bold stands for a bright foreground. */
static int fit_color(int color, attr_t *attr, bool foreground)
{
    if (color < 0)
        return -1;
    if (ui.colors >= 256 || color < 8)
        return color;
    if (color >= 16)
        return 7;
    if (ui.colors >= 16)
        return color;
    if (foreground)
        *attr |= A_BOLD;
    return color - 8;
}

void ui_cell(int y, int x, uint32_t c, int fg, int bg, unsigned flags)
{
    wchar_t text[2] = {0};
    attr_t attr = 0;
    int pair = 0;

    if (y < 0 || y >= LINES || x < 0 || x >= COLS)
        return;
    if (ui.ascii)
        c = (uint32_t)text_fold(c);
    text[0] = c == 0 ? L' ' : text_unsafe(c) || c == TEXT_BAD ? L'?' : (wchar_t)c;
    attr |= flags & UI_CELL_BOLD ? A_BOLD : 0;
    attr |= flags & UI_CELL_REVERSE ? A_REVERSE : 0;
    attr |= flags & UI_CELL_UNDERLINE ? A_UNDERLINE : 0;
    if (ui.colors) {
        fg = fit_color(fg, &attr, true);
        bg = fit_color(bg, &attr, false);
        if (fg >= 0 || bg >= 0)
            pair = MAX(alloc_pair(fg, bg), 0);
    } else {
        if (fg >= 8 && fg < 16)
            attr |= A_BOLD;
        /* a coloured background carries selections and dialogs */
        if (bg > 0)
            attr ^= A_REVERSE;
    }
    put(y, x, text, attr, pair);
}
