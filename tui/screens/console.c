/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The console of a running VM: its text screen and its serial ports. All keys go to the guest but
 * the escape prefix ^], whose meaning stands on the bottom line all the time. */
#include <stdio.h>
#include <string.h>

#include "display/text.h"
#include "tui/screens/deck.h"
#include "tui/screens/link.h"
#include "tui/screens/screens.h"
#include "tui/screens/serial.h"
#include "tui/ui/app.h"
#include "tui/ui/dialog.h"
#include "tui/ui/text.h"
#include "vmm/base/alloc.h"
#include "vmm/base/bits.h"

#define PREFIX UI_CTRL(']')

enum pane { PANE_SCREEN, PANE_COM1, PANE_COM2, PANE_COUNT };

struct console {
    struct view *view;
    char name[64];
    struct link *link;
    struct serial *ports[2];
    bool has_port[2];
    enum pane pane;
    bool prefix, chosen; /* chosen: the user picked the pane */
    bool *ended;         /* set when the VM ends; NULL when another screen is below */
    int top;             /* first visible row of the guest's screen */
    bool follow_cursor;
    struct text_screen screen;
};

static struct rect pane_rect(void)
{
    return (struct rect){0, 0, ui_rows() - 1, ui_cols()};
}

static struct serial *port_of(struct console *c)
{
    unsigned i = c->pane == PANE_COM2;

    if (c->pane == PANE_SCREEN)
        return NULL;
    if (!c->ports[i])
        c->ports[i] = serial_new(c->name, i, pane_rect().h, pane_rect().w);
    return c->ports[i];
}

/* ---- drawing ---- */

/* VGA counts blue as 1, terminals red. */
static int vga_color(unsigned c)
{
    static const int8_t map[8] = {0, 4, 2, 6, 1, 5, 3, 7};

    return map[c & 7] + (c & 8 ? 8 : 0);
}

static void draw_cells(struct console *c, struct rect r)
{
    const struct text_screen *t = &c->screen;
    int rows = (int)MIN(t->rows, 60u), cols = (int)MIN(t->cols, 132u);
    int cursor = (int)t->cursor_row;

    if (c->follow_cursor && t->cursor_visible && cursor < rows) {
        if (cursor < c->top)
            c->top = cursor;
        if (cursor >= c->top + r.h)
            c->top = cursor - r.h + 1;
    }
    c->top = MAX(MIN(c->top, rows - r.h), 0);
    for (int y = 0; y < r.h && c->top + y < rows; y++) {
        for (int x = 0; x < r.w && x < cols; x++) {
            uint16_t cell = t->cells[c->top + y][x];
            uint8_t attr = (uint8_t)(cell >> 8);

            ui_cell(r.y + y, r.x + x, text_cp437((uint8_t)cell), vga_color(attr & 15),
                    vga_color(attr >> 4 & 7), 0);
        }
    }
    if (t->cursor_visible && cursor >= c->top && cursor < c->top + r.h && (int)t->cursor_col < r.w)
        ui_cursor(r.y + cursor - c->top, r.x + (int)t->cursor_col, true);
}

static void card(struct rect r, enum role role, const char *title, const char *const lines[],
                 unsigned n)
{
    int y = MAX(r.y + (r.h - (int)n - 2) / 2, 0);

    ui_text(y, 2, r.w - 4, role, title);
    for (unsigned i = 0; i < n; i++)
        ui_text(y + 2 + (int)i, 2, r.w - 4, ROLE_TEXT, lines[i]);
}

static void draw_graphics(struct console *c, struct rect r)
{
    const struct vm_entry *vm = deck_find(c->name);
    char title[64], viewer[160];
    const char *lines[] = {
        viewer, "^] P saves a picture of it, ^] v tells more, ^] f shows the serial port."};

    snprintf(title, sizeof(title), "The guest shows graphics, %ux%u.", c->screen.width,
             c->screen.height);
    if (vm && vm->vnc)
        snprintf(viewer, sizeof(viewer), "To see them, use a viewer: vncviewer %.120s", vm->vnc);
    else
        str_copy(viewer, sizeof(viewer), "Its VNC server is off (display.vnc.enabled).");
    card(r, ROLE_HEAD, title, lines, ARRAY_LEN(lines));
}

static void draw_screen(struct console *c, struct rect r)
{
    char message[300];
    const char *lines[] = {message};

    if (!link_screen(c->link, &c->screen, message, sizeof(message)))
        card(r, ROLE_HEAD, message[0] ? "No screen:" : "Connecting…", lines, 1);
    else if (c->screen.mode == 1)
        draw_cells(c, r);
    else if (c->screen.mode == 2)
        draw_graphics(c, r);
    else
        card(r, ROLE_DIM, "The guest's screen is blank.", lines, 0);
}

static void pane_title(struct console *c, char *out, size_t size)
{
    const struct text_screen *t = &c->screen;
    struct serial *port = port_of(c);
    const char *status = port ? serial_status(port) : "";

    if (port && strcmp(status, "connected"))
        snprintf(out, size, "COM%d: %.60s", c->pane, status);
    else if (port)
        snprintf(out, size, "COM%d", c->pane);
    else if (t->mode == 1 && (int)t->rows > pane_rect().h)
        snprintf(out, size, "rows %d-%d/%u", c->top + 1, MIN(c->top + pane_rect().h, (int)t->rows),
                 t->rows);
    else
        str_copy(out, size, "screen");
}

static void draw_status(struct console *c)
{
    int y = ui_rows() - 1, w = ui_cols(), x = 1;
    const struct vm_entry *vm = deck_find(c->name);
    char title[96];

    ui_fill((struct rect){y, 0, 1, w}, c->prefix ? ROLE_STATUS : ROLE_TITLE);
    enum role role = c->prefix ? ROLE_STATUS : ROLE_TITLE;

    x += ui_text(y, x, w - x, role, "^] ");
    for (unsigned i = 0; i < console_actions.count; i++) {
        const struct action *a = &console_actions.actions[i];
        char key[16];

        if (!(a->flags & ACTION_FOOTER))
            continue;
        ui_key_name(a->key, key);
        int need = (int)strlen(key) + 1 + text_width(a->label, ui_ascii());
        if (x + need > w)
            break;
        x += ui_textf(y, x, w - x, role, "%s %s", key, a->label) + 2;
    }
    pane_title(c, title, sizeof(title));
    char right[200];
    bool other = vm && vm->state != LIST_RUNNING;

    snprintf(right, sizeof(right), "%.40s%s%s · %s ", c->name, other ? " " : "",
             other ? vm_list_state_name(vm->state) : "", title);
    int len = text_width(right, ui_ascii());
    if (x + len <= w)
        ui_text(y, w - len, len, role, right);
}

static void draw(struct view *v)
{
    struct console *c = *(struct console **)view_priv(v);
    struct rect r = pane_rect();

    for (unsigned i = 0; i < 2; i++)
        if (c->ports[i])
            serial_resize(c->ports[i], r.h, r.w);
    /* always asked, so that the first look can choose the pane */
    if (c->pane == PANE_SCREEN)
        draw_screen(c, r);
    else
        serial_draw(port_of(c), r, view_find(view_id(v)) == v);
    draw_status(c);
}

/* ---- keys to the screen's guest ---- */

static bool named_key(int key, char *out, size_t size)
{
    static const struct {
        int key;
        const char *name;
    } names[] = {
        {UI_KEY_UP, "up"},
        {UI_KEY_DOWN, "down"},
        {UI_KEY_LEFT, "left"},
        {UI_KEY_RIGHT, "right"},
        {UI_KEY_HOME, "home"},
        {UI_KEY_END, "end"},
        {UI_KEY_PGUP, "pgup"},
        {UI_KEY_PGDN, "pgdn"},
        {UI_KEY_INSERT, "insert"},
        {UI_KEY_DELETE, "delete"},
        {UI_KEY_ENTER, "ret"},
        {UI_KEY_TAB, "tab"},
        {UI_KEY_ESC, "esc"},
        {UI_KEY_BACKTAB, "shift-tab"},
        {UI_KEY_BACKSPACE, "backspace"},
        {UI_CTRL(']'), "ctrl-bracket_right"},
        {UI_CTRL('\\'), "ctrl-backslash"},
        {UI_CTRL('@'), "ctrl-spc"},
        {UI_CTRL('_'), "ctrl-minus"},
        {UI_CTRL('^'), "ctrl-6"},
    };

    if (key > UI_KEY_F0 && key <= UI_KEY_LAST) {
        snprintf(out, size, "f%d", key - UI_KEY_F0);
        return true;
    }
    for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
        if (names[i].key == key) {
            str_copy(out, size, names[i].name);
            return true;
        }
    }
    if (key >= 1 && key <= 26) {
        snprintf(out, size, "ctrl-%c", 'a' + key - 1);
        return true;
    }
    return false;
}

static void screen_key(struct console *c, int key)
{
    char name[32];
    struct buf text = BUF_INIT;

    c->follow_cursor = true;
    if (named_key(key, name, sizeof(name))) {
        link_key(c->link, name);
        return;
    }
    if (key < 32 || key > 0x10ffff)
        return;
    text_encode((uint32_t)key, &text);
    if (!link_type(c->link, buf_str(&text)))
        app_toast(ROLE_WARN, "the guest does not take keys: some were dropped");
    buf_free(&text);
}

static void type_text(struct console *c, const char *text)
{
    if (c->pane != PANE_SCREEN)
        serial_type(port_of(c), text);
    else if (!link_type(c->link, text))
        app_toast(ROLE_WARN, "too long: nothing was typed");
}

/* Keeps line ends as Enter keys. */
static void type_pasted(struct console *c)
{
    const char *p = ui_pasted();

    if (c->pane != PANE_SCREEN) {
        serial_type(port_of(c), p);
        return;
    }
    while (*p) {
        size_t len = strcspn(p, "\r\n");
        char *line = x_strndup(p, len);

        if (len)
            type_text(c, line);
        x_free(line);
        p += len;
        if (*p) {
            link_key(c->link, "ret");
            p += p[0] == '\r' && p[1] == '\n' ? 2 : 1;
        }
    }
}

/* ---- actions behind the prefix ---- */

static void run_leave(void *owner)
{
    struct console *c = owner;

    view_pop(c->view);
}

static void run_toggle(void *owner)
{
    struct console *c = owner;

    do
        c->pane = (c->pane + 1) % PANE_COUNT;
    while (c->pane != PANE_SCREEN && !c->has_port[c->pane - PANE_COM1]);
    c->chosen = true;
    link_watch(c->link, c->pane == PANE_SCREEN);
    if (c->pane == PANE_SCREEN && !c->has_port[0] && !c->has_port[1])
        app_toast(ROLE_WARN, "%s has no serial port in mode console", c->name);
}

static void run_ctrl_alt_del(void *owner)
{
    link_key(((struct console *)owner)->link, "ctrl-alt-delete");
}

/* Prompts may outlive the console; they find it by view id. */
static struct console *console_of(void *id)
{
    struct view *v = view_find((unsigned)(uintptr_t)id);

    return v ? *(struct console **)view_priv(v) : NULL;
}

static void pasted(void *owner, const char *text)
{
    struct console *c = console_of(owner);

    if (c && text && *text)
        type_text(c, text);
}

static void run_paste(void *owner)
{
    struct console *c = owner;

    prompt_open("Paste", "Text to type into the guest; Enter sends it, without a line end:", "",
                pasted, (void *)(uintptr_t)view_id(c->view));
}

static void keyed(void *owner, const char *text)
{
    struct console *c = console_of(owner);

    if (c && text && *text)
        link_key(c->link, text);
}

static void run_send_key(void *owner)
{
    struct console *c = owner;

    prompt_open("Send key",
                "Keys joined by '-', for example ctrl-alt-f2, print, alt-tab:", "ctrl-alt-f1",
                keyed, (void *)(uintptr_t)view_id(c->view));
}

static void run_screenshot(void *owner)
{
    deck_do(((struct console *)owner)->name, OP_SCREENSHOT);
}

static void scroll(struct console *c, int by)
{
    if (c->pane != PANE_SCREEN) {
        serial_scroll(port_of(c), by * (pane_rect().h / 2));
    } else {
        c->follow_cursor = false;
        c->top -= by * MAX(pane_rect().h / 2, 1);
    }
}

static void run_up(void *owner)
{
    scroll(owner, 1);
}

static void run_down(void *owner)
{
    scroll(owner, -1);
}

static void run_size(void *owner)
{
    struct console *c = owner;
    char text[48];

    if (c->pane == PANE_SCREEN) {
        app_toast(ROLE_WARN, "the size belongs to the serial console (f)");
        return;
    }
    snprintf(text, sizeof(text), "stty rows %d cols %d\r", pane_rect().h, pane_rect().w);
    serial_type(port_of(c), text);
}

static void run_viewer(void *owner)
{
    screen_viewer_open(((struct console *)owner)->name);
}

static void run_help(void *owner)
{
    static const struct action_table *const tables[] = {&console_actions};

    (void)owner;
    action_help(tables, 1);
}

static void run_literal(void *owner)
{
    struct console *c = owner;

    if (c->pane == PANE_SCREEN)
        screen_key(c, PREFIX);
    else
        serial_key(port_of(c), PREFIX);
}

static const struct action actions[] = {
#define ACTION(n, k, k2, l, h, f)                                                                  \
    {.name = #n, .key = k, .alt_key = k2, .label = l, .help = h, .flags = f, .run = run_##n},
#include "tui/screens/console.def"
#undef ACTION
};
const struct action_table console_actions = {"Console, after ^]", actions, ARRAY_LEN(actions)};

/* ---- the view ---- */

static bool key(struct view *v, int k)
{
    struct console *c = *(struct console **)view_priv(v);

    if (k == UI_KEY_PASTE) {
        type_pasted(c);
    } else if (c->prefix) {
        c->prefix = false;
        if (!action_key(&console_actions, k, 0, c->name, c) && k != UI_KEY_ESC)
            app_toast(ROLE_WARN, "^] and that key mean nothing: ^] ? for help");
    } else if (k == PREFIX) {
        c->prefix = true;
    } else if (c->pane == PANE_SCREEN) {
        screen_key(c, k);
    } else {
        serial_key(port_of(c), k);
    }
    return true;
}

static void tick(struct view *v)
{
    struct console *c = *(struct console **)view_priv(v);

    for (unsigned i = 0; i < 2; i++)
        if (c->ports[i])
            serial_tick(c->ports[i]);
    if (!c->ended)
        return;
    deck_tick(); /* for the bottom line; elsewhere the list does it */
    *c->ended = link_ended(c->link);
    if (*c->ended)
        app_quit();
}

static void close_console(struct view *v)
{
    struct console *c = *(struct console **)view_priv(v);

    link_free(c->link);
    serial_free(c->ports[0]);
    serial_free(c->ports[1]);
    x_free(c);
}

static bool open_console(struct view *v, void *arg)
{
    struct console *c = arg;

    *(struct console **)view_priv(v) = c;
    c->view = v;
    return true;
}

static const struct view_ops console_view = {
    .name = "console",
    .size = sizeof(struct console *),
    .wants_ctrl_c = true,
    .open = open_console,
    .draw = draw,
    .key = key,
    .tick = tick,
    .close = close_console,
};

/* Which ports exist and the keyboard's layout come from vm.yaml, read by a job. */
struct open_job {
    char name[64], layout[24];
    bool has_port[2], *ended;
};

static void open_work(void *arg)
{
    struct open_job *j = arg;
    struct vm_config c;
    struct err e;
    char *dir = client_vm_dir(j->name, &e);

    str_copy(j->layout, sizeof(j->layout), "us");
    if (!dir)
        return;
    if (config_load(dir, j->name, &c, &e)) {
        str_copy(j->layout, sizeof(j->layout), c.keyboard_layout ? c.keyboard_layout : "us");
        for (unsigned i = 0; i < 2; i++)
            j->has_port[i] = c.serial[i].mode == SERIAL_CONSOLE;
    }
    config_fini(&c);
    x_free(dir);
}

static void open_done(void *arg)
{
    struct open_job *j = arg;
    struct console *c = X_NEW(struct console);

    str_copy(c->name, sizeof(c->name), j->name);
    memcpy(c->has_port, j->has_port, sizeof(c->has_port));
    c->ended = j->ended;
    c->follow_cursor = true;
    c->link = link_new(j->name, j->layout);
    x_free(j);
    if (!c->link)
        x_free(c);
    else
        view_push(&console_view, c);
}

void screen_console_open(const char *name)
{
    struct open_job *j = X_NEW(struct open_job);

    str_copy(j->name, sizeof(j->name), name);
    job_run(open_work, open_done, j);
}

void screen_console_only(const char *name, bool *ended)
{
    struct open_job *j = X_NEW(struct open_job);

    str_copy(j->name, sizeof(j->name), name);
    j->ended = ended;
    open_work(j);
    open_done(j);
}
