/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tui/ui/pager.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "tui/ui/app.h"
#include "tui/ui/input.h"
#include "tui/ui/text.h"
#include "vmm/base/alloc.h"
#include "vmm/base/bits.h"

struct pager {
    char *title, *text;
    const char **lines;
    int count, top, page;
    int left; /* columns scrolled off */
    bool follow, typing;
    struct ui_input search;
    void (*refresh)(struct view *v, void *opaque);
    void *opaque;
};

static void split(struct pager *p)
{
    int n = 0;

    for (const char *s = p->text; *s; n++) {
        s += strcspn(s, "\n");
        s += *s == '\n';
    }
    p->lines = x_realloc(p->lines, ((size_t)n + 1) * sizeof(*p->lines));
    n = 0;
    for (char *s = p->text; *s; n++) {
        size_t len = strcspn(s, "\n");

        p->lines[n] = s;
        s += len;
        if (*s)
            *s++ = '\0';
    }
    p->count = n;
}

static void clamp(struct pager *p)
{
    int last = MAX(p->count - p->page, 0);

    p->top = p->follow ? last : MAX(MIN(p->top, last), 0);
}

static bool open_pager(struct view *v, void *arg)
{
    struct pager *p = view_priv(v);

    *p = *(struct pager *)arg;
    split(p);
    return true;
}

static void close_pager(struct view *v)
{
    struct pager *p = view_priv(v);

    x_free(p->title);
    x_free(p->text);
    x_free(p->lines);
    x_free(p->opaque);
    ui_input_free(&p->search);
}

static void draw(struct view *v)
{
    struct pager *p = view_priv(v);
    int w = ui_cols(), last = ui_rows() - 1;
    char where[48];

    p->page = ui_rows() - 2;
    clamp(p);
    snprintf(where, sizeof(where), "%d-%d of %d%s", p->count ? p->top + 1 : 0,
             MIN(p->top + p->page, p->count), p->count, p->follow ? ", follows" : "");
    ui_fill((struct rect){0, 0, 1, w}, ROLE_TITLE);
    ui_text(0, 1, w - 2 - (int)strlen(where), ROLE_TITLE, p->title);
    ui_text(0, w - 1 - (int)strlen(where), w, ROLE_TITLE, where);
    for (int i = 0; i < p->page && p->top + i < p->count; i++) {
        const char *s = p->lines[p->top + i];
        const char *found = buf_str(&p->search.text);
        bool hit = *found && strcasestr(s, found);

        s += text_fit(s, p->left, ui_ascii());
        ui_text(1 + i, 0, w, hit ? ROLE_SELECTED : ROLE_TEXT, s);
    }
    if (p->typing) {
        int x = ui_text(last, 0, w, ROLE_KEY, "/");

        ui_input_draw(&p->search, last, x, w - x, ROLE_TEXT, true);
    } else {
        int x = 1;

        x += ui_text(last, x, w - x, ROLE_KEY, "Esc") +
             ui_text(last, x + 3, w - x, ROLE_TEXT, " back") + 2;
        x += ui_text(last, x, w - x, ROLE_KEY, "/") +
             ui_text(last, x + 1, w - x, ROLE_TEXT, " search") + 2;
        x += ui_text(last, x, w - x, ROLE_KEY, "n N") +
             ui_text(last, x + 3, w - x, ROLE_TEXT, " next, previous") + 2;
        if (p->refresh)
            ui_text(last, x + ui_text(last, x, w - x, ROLE_KEY, "F"), w - x, ROLE_TEXT, " follow");
        ui_cursor(1, 0, false);
    }
}

static void find(struct pager *p, int direction)
{
    const char *what = buf_str(&p->search.text);

    if (!*what)
        return;
    for (int i = 1; i <= p->count; i++) {
        int n = ((p->top + direction * i) % p->count + p->count) % p->count;

        if (strcasestr(p->lines[n], what)) {
            p->follow = false;
            p->top = n;
            return;
        }
    }
    app_toast(ROLE_WARN, "not found: %.60s", what);
}

static bool search_key(struct pager *p, int key)
{
    if (key == UI_KEY_ESC) {
        ui_input_set(&p->search, "");
        p->typing = false;
    } else if (key == UI_KEY_ENTER) {
        p->typing = false;
        p->top--;
        find(p, 1);
    } else {
        ui_input_key(&p->search, key);
    }
    return true;
}

static bool key(struct view *v, int k)
{
    struct pager *p = view_priv(v);
    int top = p->top;

    if (p->typing)
        return search_key(p, k);
    switch (k) {
    case 'q':
    case UI_KEY_ESC: view_pop(v); return true;
    case '/':
        p->typing = true;
        ui_input_set(&p->search, "");
        return true;
    case 'n': find(p, 1); return true;
    case 'N': find(p, -1); return true;
    case 'F': p->follow = p->refresh != NULL; return true;
    case 'k':
    case UI_KEY_UP: top--; break;
    case 'j':
    case UI_KEY_ENTER:
    case UI_KEY_DOWN: top++; break;
    case UI_CTRL('u'):
    case UI_KEY_PGUP: top -= p->page - 1; break;
    case ' ':
    case UI_CTRL('d'):
    case UI_KEY_PGDN: top += p->page - 1; break;
    case 'g':
    case UI_KEY_HOME: top = 0; break;
    case 'G':
    case UI_KEY_END:
        p->follow = p->refresh != NULL;
        top = p->count;
        break;
    case UI_KEY_LEFT: p->left = MAX(p->left - 8, 0); return true;
    case UI_KEY_RIGHT: p->left = MIN(p->left + 8, 1000); return true;
    default: return false;
    }
    if (top < p->top)
        p->follow = false;
    p->top = top;
    clamp(p);
    return true;
}

static void tick(struct view *v)
{
    struct pager *p = view_priv(v);

    if (p->refresh)
        p->refresh(v, p->opaque);
}

static const struct view_ops pager_ops = {
    .name = "pager",
    .size = sizeof(struct pager),
    .open = open_pager,
    .draw = draw,
    .key = key,
    .tick = tick,
    .close = close_pager,
};

struct view *pager_open(const char *title, const char *text,
                        void (*refresh)(struct view *v, void *opaque), void *opaque)
{
    struct pager p = {
        .title = x_strdup(title), .text = x_strdup(text), .refresh = refresh, .opaque = opaque};

    return view_push(&pager_ops, &p);
}

void pager_set(struct view *v, const char *text)
{
    struct pager *p = view_priv(v);

    x_free(p->text);
    p->text = x_strdup(text);
    split(p);
    clamp(p);
    app_dirty();
}

void pager_follow(struct view *v)
{
    struct pager *p = view_priv(v);

    p->follow = true;
}
