/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tui/ui/form.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "tui/ui/app.h"
#include "tui/ui/dialog.h"
#include "tui/ui/input.h"
#include "tui/ui/text.h"
#include "vmm/base/alloc.h"
#include "vmm/base/bits.h"

struct field {
    struct form_field def;
    char *initial;
    struct ui_input input;
    char error[200];
};

struct form {
    char *title, *submit;
    struct field *fields;
    unsigned count;
    unsigned focus; /* field, then count: submit, count + 1: cancel */
    int top;        /* first visible line */
    char busy[64], error[300];
    const struct form_ops *ops;
    void *owner;
};

struct form_args {
    const char *title, *submit;
    const struct form_field *fields;
    unsigned count;
    const struct form_ops *ops;
    void *owner;
};

static bool open_form(struct view *v, void *arg)
{
    struct form *f = view_priv(v);
    const struct form_args *a = arg;

    f->title = x_strdup(a->title);
    f->submit = x_strdup(a->submit);
    f->count = a->count;
    f->fields = x_calloc(a->count, sizeof(*f->fields));
    f->ops = a->ops;
    f->owner = a->owner;
    for (unsigned i = 0; i < a->count; i++) {
        f->fields[i].def = a->fields[i];
        f->fields[i].initial = x_strdup(a->fields[i].value ? a->fields[i].value : "");
        ui_input_set(&f->fields[i].input, f->fields[i].initial);
    }
    while (f->focus < f->count && f->fields[f->focus].def.type == FORM_LABEL)
        f->focus++;
    return true;
}

static void close_form(struct view *v)
{
    struct form *f = view_priv(v);

    for (unsigned i = 0; i < f->count; i++) {
        x_free(f->fields[i].initial);
        ui_input_free(&f->fields[i].input);
    }
    x_free(f->fields);
    x_free(f->title);
    x_free(f->submit);
    if (f->ops->closed)
        f->ops->closed(f->owner);
}

/* ---- drawing ---- */

static int label_width(const struct form *f)
{
    int w = 0;

    for (unsigned i = 0; i < f->count; i++)
        if (f->fields[i].def.type != FORM_LABEL)
            w = MAX(w, text_width(f->fields[i].def.label, ui_ascii()));
    return w;
}

static void draw_field(struct form *f, unsigned i, int y, int label_w)
{
    struct field *field = &f->fields[i];
    bool focused = f->focus == i;
    int x = label_w + 4, w = MIN(ui_cols() - x - 1, 60);

    if (field->def.type == FORM_LABEL) {
        ui_text(y, 1, ui_cols() - 2, ROLE_HEAD, field->def.label);
        return;
    }
    ui_text(y, 2, label_w, focused ? ROLE_KEY : ROLE_TEXT, field->def.label);
    if (field->def.type == FORM_TEXT) {
        ui_input_draw(&field->input, y, x, w, focused ? ROLE_FOCUS : ROLE_FIELD, focused);
    } else {
        char text[80];

        snprintf(text, sizeof(text), focused ? "◂ %.60s ▸" : "  %.60s",
                 buf_str(&field->input.text));
        ui_text(y, x, w, focused ? ROLE_FOCUS : ROLE_TEXT, text);
        if (focused)
            ui_cursor(y, x, false);
    }
}

/* Lines that come before a field: each field has one, and one more for its message. */
static int line_of(const struct form *f, unsigned field)
{
    int line = 0;

    for (unsigned i = 0; i < field && i < f->count; i++)
        line += 1 + (f->fields[i].error[0] != '\0');
    return line + (field >= f->count);
}

static void help_line(void *opaque, int n, const char *s, size_t len)
{
    int y = *(int *)opaque + n;

    if (n < 2)
        ui_textn(y, 1, ui_cols() - 2, ROLE_DIM, s, len);
}

static void draw_bottom(struct form *f)
{
    int last = ui_rows() - 1, y = last - 2, w = ui_cols();
    int x = 1;

    ui_hline(last - 3, 0, w, ROLE_BORDER);
    if (f->busy[0])
        ui_textf(y, 1, w - 2, ROLE_WARN, "%s…", f->busy);
    else if (f->error[0])
        text_wrap(f->error, w - 2, ui_ascii(), help_line, &y);
    else if (f->focus < f->count && f->fields[f->focus].def.help)
        text_wrap(f->fields[f->focus].def.help, w - 2, ui_ascii(), help_line, &y);
    x += ui_text(last, x, w - x, ROLE_KEY, "F10 ");
    x += ui_textf(last, x, w - x, ROLE_TEXT, "%s  ", f->submit);
    x += ui_text(last, x, w - x, ROLE_KEY, "Esc ");
    x += ui_text(last, x, w - x, ROLE_TEXT, "cancel  ");
    x += ui_text(last, x, w - x, ROLE_KEY, "Tab ");
    x += ui_text(last, x, w - x, ROLE_TEXT, "next  ");
    if (f->focus < f->count && f->fields[f->focus].def.type == FORM_CHOICE) {
        x += ui_text(last, x, w - x, ROLE_KEY, ui_ascii() ? "Left Right " : "← → ");
        ui_text(last, x, w - x, ROLE_TEXT, "choose");
    }
}

static void draw(struct view *v)
{
    struct form *f = view_priv(v);
    int page = ui_rows() - 5, label_w = label_width(f), lines = line_of(f, f->count) + 1;
    int focus = line_of(f, f->focus), focus_end = focus;

    if (f->focus < f->count && f->fields[f->focus].error[0])
        focus_end++;
    ui_fill((struct rect){0, 0, 1, ui_cols()}, ROLE_TITLE);
    ui_text(0, 1, ui_cols() - 2, ROLE_TITLE, f->title);
    f->top = MIN(f->top, focus ? focus : 0);
    if (focus_end >= f->top + page)
        f->top = focus_end - page + 1;
    f->top = MAX(MIN(f->top, lines - page), 0);
    for (unsigned i = 0; i < f->count; i++) {
        int y = 1 + line_of(f, i) - f->top;

        if (y >= 1 && y < 1 + page)
            draw_field(f, i, y, label_w);
        if (f->fields[i].error[0] && y + 1 >= 1 && y + 1 < 1 + page)
            ui_textf(y + 1, label_w + 4, ui_cols() - label_w - 5, ROLE_BAD, "✗ %s",
                     f->fields[i].error);
    }
    int y = 1 + line_of(f, f->count) - f->top;
    if (y < 1 + page) {
        int x = 2;

        x += ui_textf(y, x, ui_cols() - x, f->focus == f->count ? ROLE_FOCUS : ROLE_TEXT, "[ %s ]",
                      f->submit);
        ui_text(y, x + 2, ui_cols() - x - 2, f->focus == f->count + 1 ? ROLE_FOCUS : ROLE_TEXT,
                "[ Cancel ]");
        if (f->focus >= f->count)
            ui_cursor(y, f->focus == f->count ? 4 : x + 4, false);
    }
    if (f->top > 0)
        ui_text(1, ui_cols() - 1, 1, ROLE_DIM, "▲");
    if (lines > f->top + page)
        ui_text(page, ui_cols() - 1, 1, ROLE_DIM, "▼");
    draw_bottom(f);
}

/* ---- keys ---- */

static bool check(struct form *f, unsigned i)
{
    struct field *field = &f->fields[i];
    struct err e = ERR_INIT;

    field->error[0] = '\0';
    if (field->def.type == FORM_LABEL || !f->ops->check)
        return true;
    if (f->ops->check(f->owner, i, buf_str(&field->input.text), &e))
        return true;
    str_copy(field->error, sizeof(field->error), e.msg);
    return false;
}

static void submit(struct view *v)
{
    struct form *f = view_priv(v);
    int bad = -1;

    f->error[0] = '\0';
    for (unsigned i = 0; i < f->count; i++)
        if (!check(f, i) && bad < 0)
            bad = (int)i;
    if (bad >= 0)
        f->focus = (unsigned)bad;
    else
        f->ops->submit(f->owner, v);
}

static void discard(void *owner, bool yes)
{
    if (yes)
        view_pop(owner);
}

static void cancel(struct view *v)
{
    struct form *f = view_priv(v);
    bool changed = false;

    for (unsigned i = 0; i < f->count; i++)
        changed |= form_changed(v, i);
    if (!changed) {
        view_pop(v);
        return;
    }
    dialog_open(&(struct dialog){.level = DIALOG_ASK,
                                 .title = "Discard changes?",
                                 .text = "What you typed in this form will be lost.",
                                 .yes = "y Discard",
                                 .done = discard,
                                 .owner = v});
}

static void cycle(struct field *field, int direction)
{
    const char *choices = field->def.choices, *now = buf_str(&field->input.text);
    const char *words[16];
    size_t lens[16];
    int n = 0, at = 0;

    assert(*choices);
    for (const char *p = choices; *p && n < 16; n++) {
        words[n] = p;
        lens[n] = strcspn(p, "|");
        if (strlen(now) == lens[n] && !memcmp(now, p, lens[n]))
            at = n;
        p += lens[n] + (p[lens[n]] == '|');
    }
    at = (at + direction + n) % n;
    char *word = x_strndup(words[at], lens[at]);
    ui_input_set(&field->input, word);
    x_free(word);
}

static void move(struct form *f, int by)
{
    unsigned n = f->count + 2;

    if (f->focus < f->count)
        check(f, f->focus);
    do
        f->focus = (f->focus + n + (unsigned)by) % n;
    while (f->focus < f->count && f->fields[f->focus].def.type == FORM_LABEL);
}

static bool key(struct view *v, int k)
{
    struct form *f = view_priv(v);
    struct field *field = f->focus < f->count ? &f->fields[f->focus] : NULL;
    bool choice = field && field->def.type == FORM_CHOICE;

    if (f->busy[0])
        return true;
    if (k == UI_KEY_ESC) {
        cancel(v);
    } else if (k == UI_KEY_F(10)) {
        submit(v);
    } else if (k == UI_KEY_DOWN || k == UI_KEY_TAB) {
        move(f, 1);
    } else if (k == UI_KEY_UP || k == UI_KEY_BACKTAB) {
        move(f, -1);
    } else if (k == UI_KEY_PGDN || k == UI_KEY_PGUP) {
        for (int i = 0; i < 5; i++)
            move(f, k == UI_KEY_PGDN ? 1 : -1);
    } else if (k == UI_KEY_ENTER) {
        if (f->focus == f->count)
            submit(v);
        else if (f->focus == f->count + 1)
            cancel(v);
        else
            move(f, 1);
    } else if (choice && (k == UI_KEY_RIGHT || k == ' ')) {
        cycle(field, 1);
    } else if (choice && k == UI_KEY_LEFT) {
        cycle(field, -1);
    } else if (field && field->def.type == FORM_TEXT) {
        if (ui_input_key(&field->input, k)) {
            field->error[0] = '\0';
            f->error[0] = '\0';
        }
    } else if (!field && (k == UI_KEY_LEFT || k == UI_KEY_RIGHT)) {
        f->focus = f->focus == f->count ? f->count + 1 : f->count;
    }
    return true;
}

static const struct view_ops form_view = {
    .name = "form",
    .size = sizeof(struct form),
    .open = open_form,
    .draw = draw,
    .key = key,
    .close = close_form,
};

struct view *form_open(const char *title, const char *submit_label, const struct form_field *fields,
                       unsigned count, const struct form_ops *ops, void *owner)
{
    struct form_args a = {title, submit_label, fields, count, ops, owner};

    return view_push(&form_view, &a);
}

const char *form_value(struct view *form, unsigned field)
{
    struct form *f = view_priv(form);

    return buf_str(&f->fields[field].input.text);
}

bool form_changed(struct view *form, unsigned field)
{
    struct form *f = view_priv(form);

    return strcmp(buf_str(&f->fields[field].input.text), f->fields[field].initial) != 0;
}

void form_fail(struct view *form, int field, const char *message)
{
    struct form *f = view_priv(form);

    f->busy[0] = '\0';
    if (field >= 0) {
        str_copy(f->fields[field].error, sizeof(f->fields[field].error), message);
        f->focus = (unsigned)field;
    } else {
        str_copy(f->error, sizeof(f->error), message);
        app_toast(ROLE_BAD, "%s", message);
    }
    app_dirty();
}

void form_busy(struct view *form, const char *what)
{
    struct form *f = view_priv(form);

    str_copy(f->busy, sizeof(f->busy), what);
    app_dirty();
}

void form_close(struct view *form)
{
    view_pop(form);
}
