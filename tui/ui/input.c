/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tui/ui/input.h"

#include <string.h>

#include "tui/ui/text.h"
#include "vmm/base/bits.h"

void ui_input_set(struct ui_input *in, const char *text)
{
    buf_clear(&in->text);
    buf_puts(&in->text, text);
    in->cursor = in->text.len;
    in->scroll = 0;
}

void ui_input_free(struct ui_input *in)
{
    buf_free(&in->text);
}

static size_t before(const struct ui_input *in, size_t at)
{
    if (at > 0)
        at--;
    while (at > 0 && ((unsigned char)in->text.data[at] & 0xc0) == 0x80)
        at--;
    return at;
}

static size_t after(const struct ui_input *in, size_t at)
{
    if (at >= in->text.len)
        return in->text.len;
    const char *p = in->text.data + at;

    text_decode(&p, in->text.data + in->text.len);
    return (size_t)(p - in->text.data);
}

static void erase(struct ui_input *in, size_t from, size_t to)
{
    if (from >= to)
        return;
    memmove(in->text.data + from, in->text.data + to, in->text.len - to + 1);
    in->text.len -= to - from;
    in->cursor = from;
}

static void insert(struct ui_input *in, uint32_t c)
{
    struct buf s = BUF_INIT;

    text_encode(c, &s);
    if (in->text.len + s.len <= INPUT_MAX) {
        buf_add(&in->text, s.data, s.len); /* room for it at the end, then moved into place */
        memmove(in->text.data + in->cursor + s.len, in->text.data + in->cursor,
                in->text.len - s.len - in->cursor);
        memcpy(in->text.data + in->cursor, s.data, s.len);
        in->cursor += s.len;
    }
    buf_free(&s);
}

static size_t word_start(const struct ui_input *in)
{
    size_t at = in->cursor;

    while (at > 0 && in->text.data[at - 1] == ' ')
        at--;
    while (at > 0 && in->text.data[at - 1] != ' ')
        at--;
    return at;
}

/* One line: the first of what was pasted. */
static void paste(struct ui_input *in)
{
    const char *p = ui_pasted(), *end = p + strcspn(p, "\r\n");

    while (p < end) {
        uint32_t c = text_decode(&p, end);

        if (c == '\t')
            c = ' ';
        if (!text_unsafe(c))
            insert(in, c);
    }
}

bool ui_input_key(struct ui_input *in, int key)
{
    switch (key) {
    case UI_KEY_PASTE: paste(in); return true;
    case UI_KEY_LEFT: in->cursor = before(in, in->cursor); return true;
    case UI_KEY_RIGHT: in->cursor = after(in, in->cursor); return true;
    case UI_CTRL('a'):
    case UI_KEY_HOME: in->cursor = 0; return true;
    case UI_CTRL('e'):
    case UI_KEY_END: in->cursor = in->text.len; return true;
    case UI_KEY_BACKSPACE: erase(in, before(in, in->cursor), in->cursor); return true;
    case UI_KEY_DELETE: erase(in, in->cursor, after(in, in->cursor)); return true;
    case UI_CTRL('u'): erase(in, 0, in->cursor); return true;
    case UI_CTRL('k'): erase(in, in->cursor, in->text.len); return true;
    case UI_CTRL('w'): erase(in, word_start(in), in->cursor); return true;
    default: break;
    }
    if (key < 32 || key > 0x10ffff || text_unsafe((uint32_t)key))
        return false;
    insert(in, (uint32_t)key);
    return true;
}

void ui_input_draw(struct ui_input *in, int y, int x, int w, enum role role, bool focused)
{
    const char *s = buf_str(&in->text), *end = s + in->text.len, *cursor = s + in->cursor;
    int column = 0, used = 0;

    if (w < 2)
        return;
    for (const char *p = s; p < cursor;)
        column += text_columns(text_next(&p, end, ui_ascii()));
    if (column < in->scroll)
        in->scroll = column;
    if (column - in->scroll > w - 1)
        in->scroll = column - w + 1;
    for (int skip = 0; s < end && skip < in->scroll;)
        skip += text_columns(text_next(&s, end, ui_ascii()));
    used = ui_textn(y, x, w, role, s, (size_t)(end - s));
    ui_fill((struct rect){y, x + used, 1, w - used}, role);
    if (focused)
        ui_cursor(y, x + column - in->scroll, true);
}
