/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tui/ui/action.h"

#include <stdio.h>
#include <string.h>

#include "tui/ui/app.h"
#include "tui/ui/list.h"
#include "tui/ui/pager.h"
#include "tui/ui/text.h"
#include "vmm/base/alloc.h"
#include "vmm/base/bits.h"

bool action_possible(const struct action *a, int state)
{
    return !a->states || (state >= 0 && (a->states & BIT(state)));
}

static void invoke(const struct action *a, int state, const char *subject, void *owner)
{
    if (action_possible(a, state))
        a->run(owner);
    else if (state < 0)
        app_toast(ROLE_WARN, "no VM is selected");
    else
        app_toast(ROLE_WARN, "%s %s", subject, a->why ? a->why : "is in another state");
}

bool action_key(const struct action_table *t, int key, int state, const char *subject, void *owner)
{
    for (unsigned i = 0; i < t->count; i++) {
        const struct action *a = &t->actions[i];

        if (key != a->key && (!a->alt_key || key != a->alt_key))
            continue;
        invoke(a, state, subject, owner);
        return true;
    }
    return false;
}

void action_footer(const struct action_table *t, int y, int state)
{
    int x = 1, w = ui_cols() - 1;

    for (unsigned i = 0; i < t->count; i++) {
        const struct action *a = &t->actions[i];
        char key[16];

        if (!(a->flags & ACTION_FOOTER) || !action_possible(a, state))
            continue;
        ui_key_name(a->key, key);
        if (x + text_width(key, ui_ascii()) + 1 + text_width(a->label, ui_ascii()) > w)
            break;
        x += ui_text(y, x, w - x, ROLE_KEY, key) + 1;
        x += ui_text(y, x, w - x, ROLE_TEXT, a->label) + 2;
    }
}

/* ---- menu ---- */

struct menu {
    const struct action_table *table;
    int (*state_of)(const char *subject);
    char subject[80];
    void *owner;
    struct ui_list list;
    unsigned order[64]; /* possible ones first */
};

static bool menu_open(struct view *v, void *arg)
{
    struct menu *m = view_priv(v);
    unsigned n = 0;

    *m = *(struct menu *)arg;
    for (int possible = 1; possible >= 0; possible--)
        for (unsigned i = 0; i < m->table->count && n < ARRAY_LEN(m->order); i++)
            if (!(m->table->actions[i].flags & ACTION_NO_MENU) &&
                action_possible(&m->table->actions[i], m->state_of(m->subject)) == possible)
                m->order[n++] = i;
    m->list.count = (int)n;
    return true;
}

static void menu_draw(struct view *v)
{
    struct menu *m = view_priv(v);
    int w = MIN(ui_cols() - 4, 68), h = MIN(m->list.count + 2, ui_rows() - 2);
    struct rect r = {(ui_rows() - h) / 2, (ui_cols() - w) / 2, h, w};
    int state = m->state_of(m->subject);

    ui_frame(r, ROLE_BORDER, m->subject[0] ? m->subject : m->table->title);
    ui_list_layout(&m->list, m->list.count, h - 2);
    for (int i = 0; i < m->list.page && m->list.top + i < m->list.count; i++) {
        int n = m->list.top + i, y = r.y + 1 + i;
        const struct action *a = &m->table->actions[m->order[n]];
        bool selected = n == m->list.selected, possible = action_possible(a, state);
        enum role role = selected ? ROLE_SELECTED : possible ? ROLE_TEXT : ROLE_DIM;
        char key[16];

        ui_key_name(a->key, key);
        ui_fill((struct rect){y, r.x + 1, 1, w - 2}, role);
        ui_text(y, r.x + 2, 6, selected ? role : possible ? ROLE_KEY : ROLE_DIM, key);
        ui_pad(y, r.x + 8, w - 10, role, a->help);
        if (selected)
            ui_cursor(y, r.x + 2, false);
    }
}

static bool menu_key(struct view *v, int key)
{
    struct menu *m = view_priv(v), copy = *m;
    const struct action *a = &m->table->actions[m->order[m->list.selected]];

    if (key == UI_KEY_ESC) {
        view_pop(v);
        return true;
    }
    if (key == UI_KEY_ENTER) {
        view_pop(v);
        invoke(a, copy.state_of(copy.subject), copy.subject, copy.owner);
        return true;
    }
    for (unsigned i = 0; i < m->table->count; i++) {
        if (key != m->table->actions[i].key || (m->table->actions[i].flags & ACTION_NO_MENU))
            continue;
        view_pop(v);
        invoke(&copy.table->actions[i], copy.state_of(copy.subject), copy.subject, copy.owner);
        return true;
    }
    if (!ui_list_key(&m->list, key) && (key == 'q' || key == 'x'))
        view_pop(v);
    return true;
}

static const struct view_ops menu_ops = {
    .name = "menu",
    .size = sizeof(struct menu),
    .modal = true,
    .open = menu_open,
    .draw = menu_draw,
    .key = menu_key,
};

void action_menu(const struct action_table *t, int (*state_of)(const char *subject),
                 const char *subject, void *owner)
{
    struct menu m = {.table = t, .state_of = state_of, .owner = owner};

    str_copy(m.subject, sizeof(m.subject), subject ? subject : "");
    view_push(&menu_ops, &m);
}

/* ---- help ---- */

static const char general[] =
    "Everywhere\n"
    "  Up Down j k      move          PgUp PgDn ^U ^D  page\n"
    "  Home End g G     first, last   /                search in text\n"
    "  Esc q            back          ^C               quit (VMs keep running)\n"
    "  ^L               redraw        ^Z               suspend vmdeck\n\n"
    "Capital letters ask before they do something that cannot be undone;\n"
    "Enter alone never confirms it.\n";

void action_help(const struct action_table *const tables[], unsigned count)
{
    struct buf text = BUF_INIT;

    for (unsigned t = 0; t < count; t++) {
        buf_printf(&text, "%s\n", tables[t]->title);
        for (unsigned i = 0; i < tables[t]->count; i++) {
            const struct action *a = &tables[t]->actions[i];
            char key[16], alt[16] = "";

            ui_key_name(a->key, key);
            if (a->alt_key)
                ui_key_name(a->alt_key, alt);
            buf_printf(&text, "  %-6s%-7s %s\n", key, alt, a->help);
        }
        buf_puts(&text, "\n");
    }
    buf_puts(&text, general);
    pager_open("Help", buf_str(&text), NULL, NULL);
    buf_free(&text);
}
