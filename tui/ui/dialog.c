/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tui/ui/dialog.h"

#include <stdio.h>
#include <string.h>

#include "tui/ui/app.h"
#include "tui/ui/input.h"
#include "tui/ui/text.h"
#include "vmm/base/alloc.h"
#include "vmm/base/bits.h"

struct dialog_view {
    struct dialog d;
    char *title, *text, *yes, *word;
    bool focus_yes, painted;
    char note[80];
    struct ui_input input;
    bool result, prompt;
    void (*prompt_done)(void *owner, const char *text);
};

static bool dialog_view_open(struct view *v, void *arg)
{
    struct dialog_view *dv = view_priv(v), *from = arg;

    *dv = *from;
    return true;
}

static void dialog_view_close(struct view *v)
{
    struct dialog_view *dv = view_priv(v);

    x_free(dv->title);
    x_free(dv->text);
    x_free(dv->yes);
    x_free(dv->word);
    ui_input_free(&dv->input);
}

static void text_line(void *opaque, int n, const char *s, size_t len)
{
    struct rect *r = opaque;

    if (n < r->h)
        ui_textn(r->y + n, r->x, r->w, ROLE_TEXT, s, len);
}

static void draw_buttons(const struct dialog_view *dv, struct rect r)
{
    int y = r.y + r.h - 2, x = r.x + 2;
    bool danger = dv->d.level == DIALOG_DANGER;

    x += ui_textf(y, x, r.w - 4, dv->focus_yes ? ROLE_TEXT : ROLE_FOCUS, "[ Cancel ]");
    x += 2;
    ui_textf(y, x, r.x + r.w - 2 - x,
             dv->focus_yes ? ROLE_DANGER
             : danger      ? ROLE_BAD
                           : ROLE_TEXT,
             "[ %s ]", dv->yes);
    if (!dv->focus_yes)
        ui_cursor(y, r.x + 4, false);
    else
        ui_cursor(y, x + 2, false);
}

static void dialog_view_draw(struct view *v)
{
    struct dialog_view *dv = view_priv(v);
    int w = MIN(ui_cols() - 4, 64), inner = w - 4;
    int lines = text_wrap(dv->text, inner, ui_ascii(), NULL, NULL);
    bool input = dv->prompt || dv->d.level == DIALOG_TYPE;
    int h = MIN(lines + (input ? 6 : 5), ui_rows());
    struct rect r = {(ui_rows() - h) / 2, (ui_cols() - w) / 2, h, w};
    struct rect body = {r.y + 1, r.x + 2, h - (input ? 5 : 4), inner};

    ui_frame(r, dv->prompt ? ROLE_BORDER : ROLE_BAD, dv->title);
    text_wrap(dv->text, inner, ui_ascii(), text_line, &body);
    if (input) {
        ui_input_draw(&dv->input, r.y + h - 4, r.x + 2, inner, ROLE_FIELD, true);
        ui_text(r.y + h - 2, r.x + 2, inner, ROLE_DIM,
                dv->note[0] ? dv->note : "Enter accept   Esc cancel");
    } else {
        draw_buttons(dv, r);
        if (dv->note[0])
            ui_text(r.y + h - 3, r.x + 2, inner, ROLE_WARN, dv->note);
    }
    if (!dv->painted) {
        dv->painted = true;
        ui_flush_keys();
    }
}

static void finish(struct view *v, bool yes)
{
    struct dialog_view *dv = view_priv(v);
    struct dialog d = dv->d;
    void (*prompt_done)(void *, const char *) = dv->prompt_done;
    char *typed = dv->prompt && yes ? x_strdup(buf_str(&dv->input.text)) : NULL;

    view_pop(v);
    if (prompt_done)
        prompt_done(d.owner, typed);
    else if (d.done)
        d.done(d.owner, yes);
    x_free(typed);
}

static void enter(struct view *v)
{
    struct dialog_view *dv = view_priv(v);

    if (dv->prompt)
        finish(v, true);
    else if (dv->d.level == DIALOG_TYPE && !strcmp(buf_str(&dv->input.text), dv->word))
        finish(v, true);
    else if (dv->d.level == DIALOG_TYPE)
        snprintf(dv->note, sizeof(dv->note), "type %.40s, or Esc to cancel", dv->word);
    else if (dv->focus_yes)
        str_copy(dv->note, sizeof(dv->note), "Enter does not confirm: press y");
    else
        finish(v, false);
}

static bool dialog_view_key(struct view *v, int key)
{
    struct dialog_view *dv = view_priv(v);
    bool typing = dv->prompt || dv->d.level == DIALOG_TYPE;

    if (!dv->painted)
        return true;
    if (key == UI_KEY_ESC) {
        finish(v, false);
    } else if (key == UI_KEY_ENTER) {
        enter(v);
    } else if (typing) {
        dv->note[0] = '\0';
        ui_input_key(&dv->input, key);
    } else if (key == 'n' || key == 'q') {
        finish(v, false);
    } else if (key == 'y' || (key == ' ' && dv->focus_yes)) {
        if (dv->focus_yes || dv->d.level == DIALOG_ASK) {
            finish(v, true);
        } else {
            dv->focus_yes = true;
            str_copy(dv->note, sizeof(dv->note), "press y again to confirm");
        }
    } else if (key == UI_KEY_TAB || key == UI_KEY_BACKTAB || key == UI_KEY_LEFT ||
               key == UI_KEY_RIGHT) {
        dv->focus_yes = !dv->focus_yes;
        dv->note[0] = '\0';
    }
    return true;
}

static const struct view_ops dialog_ops = {
    .name = "dialog",
    .size = sizeof(struct dialog_view),
    .modal = true,
    .open = dialog_view_open,
    .draw = dialog_view_draw,
    .key = dialog_view_key,
    .close = dialog_view_close,
};

void dialog_open(const struct dialog *d)
{
    struct dialog_view dv = {.d = *d,
                             .title = x_strdup(d->title),
                             .text = x_strdup(d->text),
                             .yes = x_strdup(d->yes ? d->yes : "OK"),
                             .word = x_strdup(d->word ? d->word : "")};

    view_push(&dialog_ops, &dv);
}

void prompt_open(const char *title, const char *label, const char *initial,
                 void (*done)(void *owner, const char *text), void *owner)
{
    struct dialog_view dv = {.d = {.owner = owner},
                             .prompt = true,
                             .prompt_done = done,
                             .title = x_strdup(title),
                             .text = x_strdup(label),
                             .yes = x_strdup(""),
                             .word = x_strdup("")};

    ui_input_set(&dv.input, initial ? initial : "");
    view_push(&dialog_ops, &dv);
}
