/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest's screen and keyboard. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "display/keymap.h"
#include "display/text.h"
#include "tui/client/client_priv.h"
#include "vmm/base/alloc.h"
#include "vmm/base/bits.h"
#include "vmm/base/fd.h"

#define TYPE_HOLD_MS 8 /* between press and release while typing */

/* ---- screen ---- */

static int digit(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *p = c ? strchr(digits, c) : NULL;

    return p ? (int)(p - digits) : 0;
}

static void read_cells(const char *text, size_t len, struct text_screen *out)
{
    size_t cells = (size_t)out->cols * out->rows, n = 0;
    uint32_t acc = 0;
    unsigned bits = 0;
    uint8_t pair[2];

    for (size_t i = 0; i < len && text[i] != '=' && n < cells * 2; i++) {
        acc = acc << 6 | (uint32_t)digit(text[i]);
        bits += 6;
        if (bits < 8)
            continue;
        bits -= 8;
        pair[n & 1] = (uint8_t)(acc >> bits);
        if (n & 1)
            out->cells[n / 2 / out->cols][n / 2 % out->cols] = (uint16_t)(pair[0] | pair[1] << 8);
        n++;
    }
}

static unsigned number(const json_t *v, const char *key, unsigned max)
{
    json_int_t n = json_integer_value(json_object_get(v, key));

    return n < 0 ? 0 : n > max ? max : (unsigned)n;
}

bool client_text_screen(struct client *c, uint64_t since, struct text_screen *out, struct err *e)
{
    json_t *v = client_call(c, "x-text-screen", json_pack("{sI}", "since", (json_int_t)since), CLIENT_TIMEOUT_MS, e);

    if (!v)
        return false;
    uint64_t frame = (uint64_t)json_integer_value(json_object_get(v, "frame"));
    const json_t *cells = json_object_get(v, "cells");
    const char *mode = json_string_value(json_object_get(v, "mode"));
    bool text = mode && !strcmp(mode, "text");

    if (!(frame == since && text && !cells)) {
        out->mode = text ? 1 : mode && !strcmp(mode, "graphics") ? 2 : 0;
        out->cols = number(v, "cols", 132);
        out->rows = number(v, "rows", 60);
        out->width = number(v, "width", 65535);
        out->height = number(v, "height", 65535);
        out->cursor_col = number(v, "cursor-col", 131);
        out->cursor_row = number(v, "cursor-row", 59);
        out->cursor_visible = json_is_true(json_object_get(v, "cursor-visible"));
        memset(out->cells, 0, sizeof(out->cells));
        if (cells && out->cols)
            read_cells(json_string_value(cells), json_string_length(cells), out);
    }
    out->frame = frame;
    json_decref(v);
    return true;
}

/* Under another name until it is complete. */
bool client_screenshot(const char *name, const char *path, struct err *e)
{
    char *tmp = x_asprintf("%s.part%d", path, (int)getpid());
    struct client *c = client_connect(name, e);
    int fd = c ? open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644) : -1;
    bool ok = false;

    if (c && fd < 0)
        err_errno(e, errno, "cannot write \"%s\"", path);
    if (fd >= 0) {
        json_t *v = client_call_fd(c, "screendump", NULL, fd, CLIENT_TIMEOUT_MS, e);
        ok = v && (rename(tmp, path) == 0 || err_errno(e, errno, "cannot write \"%s\"", path));
        json_decref(v);
        if (!ok)
            unlink(tmp);
        close(fd);
    }
    client_close(c);
    x_free(tmp);
    return ok;
}

/* ---- keyboard ---- */

static bool send_chord(struct client *c, const uint16_t *codes, unsigned count, int hold_ms, struct err *e)
{
    json_t *keys = json_array();

    for (unsigned i = 0; i < count; i++)
        json_array_append_new(keys, json_pack("{ssss}", "type", "qcode", "data", keymap_name(codes[i])));
    json_t *v = client_call(c, "send-key", json_pack("{sosi}", "keys", keys, "hold-time", hold_ms),
                            CLIENT_TIMEOUT_MS + hold_ms, e);
    json_decref(v);
    return v != NULL;
}

bool client_send_key(struct client *c, const char *combo, struct err *e)
{
    uint16_t codes[KEYMAP_COMBO];
    unsigned count;

    return keymap_combo(combo, codes, &count, e) && send_chord(c, codes, count, 100, e);
}

/* Each key is answered after its release, so a slow guest slows us down instead of losing keys. */
bool client_type(struct client *c, const char *utf8, const char *layout, struct err *e)
{
    const struct keymap *km = keymap_find(layout);
    size_t len = strlen(utf8);

    if (!km) {
        err_set(e, ERR_USAGE, "unknown keyboard layout \"%s\"", layout);
        return err_hint(e, "choose one of: %s", keymap_layouts());
    }
    while (len > 0) {
        struct keymap_stroke strokes[KEYMAP_STROKES];
        uint32_t cp;
        unsigned used = text_from_utf8(utf8, len, &cp), n = keymap_type(km, cp, strokes);

        if (n == 0)
            return err_set(e, ERR_INVALID, "layout %s cannot produce \"%.*s\" (U+%04X)", layout, (int)used, utf8, cp);
        for (unsigned i = 0; i < n; i++) {
            uint16_t codes[3];
            unsigned count = 0;

            if (strokes[i].mods & KEYMAP_SHIFT)
                codes[count++] = keymap_code("shift");
            if (strokes[i].mods & KEYMAP_ALTGR)
                codes[count++] = keymap_code("alt_r");
            codes[count++] = strokes[i].code;
            if (!send_chord(c, codes, count, TYPE_HOLD_MS, e))
                return false;
        }
        utf8 += used;
        len -= used;
    }
    return true;
}
