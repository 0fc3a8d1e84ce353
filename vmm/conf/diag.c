/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Diagnostics as a compiler prints them. */
#include <stdio.h>
#include <string.h>

#include "vmm/base/alloc.h"
#include "vmm/base/bits.h"
#include "vmm/conf/config.h"

#define SHOWN_COLUMNS 200

void conf_diags_free(struct conf_diags *d)
{
    x_free(d->list);
    *d = (struct conf_diags){0};
}

/* Control characters of the file must not reach a terminal. */
static void add_clean(struct buf *out, const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s[i];
        bool c1 = c == 0xc2 && i + 1 < len && (unsigned char)s[i + 1] < 0xa0;

        if (c1)
            i++;
        buf_add(out, c1 || (c < 32 && c != '\t') || c == 127 ? "?" : (const char *)&s[i], 1);
    }
}

static void add_caret(struct buf *out, const char *line, size_t len, const struct conf_diag *d)
{
    unsigned column = 1;

    if (d->column > SHOWN_COLUMNS)
        return;
    buf_puts(out, "\n      | ");
    for (size_t i = 0; i < len && column < d->column; i++) {
        if (((unsigned char)line[i] & 0xc0) == 0x80)
            continue;
        buf_puts(out, line[i] == '\t' ? "\t" : " ");
        column++;
    }
    for (; column < d->column; column++)
        buf_puts(out, " ");
    buf_puts(out, "^");
    for (unsigned i = 1; i < MIN(d->width, 60u); i++)
        buf_puts(out, "~");
}

void conf_diags_format(const struct conf_diags *d, const char *file, const char *text,
                       struct buf *out)
{
    for (unsigned i = 0; i < d->count; i++) {
        const struct conf_diag *g = &d->list[i];
        const char *line = text;

        buf_printf(out, "%s:%u:%u: error: ", file, g->line, g->column);
        add_clean(out, g->message, strlen(g->message));
        for (unsigned n = 1; line && n < g->line; n++) {
            line = strchr(line, '\n');
            line = line ? line + 1 : NULL;
        }
        if (line && *line) {
            size_t len = strcspn(line, "\r\n");

            buf_printf(out, "\n%5u | ", g->line);
            add_clean(out, line, MIN(len, (size_t)SHOWN_COLUMNS));
            add_caret(out, line, len, g);
        }
        buf_puts(out, "\n");
    }
}
