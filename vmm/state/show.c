/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is said about streams and tables: the printer, which needs no table, and the check of tables. */
#include "vmm/state/state_priv.h"

#include <inttypes.h>

#include "vmm/base/alloc.h"

#define SHOW_VALUES 32 /* of one array */

static bool show_records(struct buf *out, struct state_cursor c, unsigned depth, struct err *e);

static bool show_structs(struct buf *out, struct state_cursor *c, const struct state_record *r,
                         unsigned depth, struct err *e)
{
    struct state_cursor body;
    unsigned version;

    if (depth >= STATE_DEPTH_MAX)
        return err_set(e, ERR_LIMIT, "structs nest deeper than %u", STATE_DEPTH_MAX);
    for (uint32_t i = 0; i < r->count; i++) { /* each takes bytes, so that no count is too large */
        if (!state_next_struct(c, &version, &body, e))
            return false;
        buf_printf(out, "%*s%s[%u] version %u\n", (int)depth * 2, "", r->name, i, version);
        if (!show_records(out, body, depth + 1, e))
            return false;
    }
    return true;
}

static bool show_records(struct buf *out, struct state_cursor c, unsigned depth, struct err *e)
{
    struct state_record r;

    while (c.p < c.end) {
        if (!state_next_record(&c, &r, e))
            return false;
        unsigned size = state_kind_size(r.kind);
        if (!size) {
            if (!show_structs(out, &c, &r, depth, e))
                return false;
            continue;
        }
        buf_printf(out, "%*s%s:", (int)depth * 2, "", r.name);
        for (uint32_t i = 0; i < r.count && i < SHOW_VALUES; i++)
            buf_printf(out, " 0x%" PRIx64, ld_le(r.data + (size_t)i * size, size));
        buf_puts(out, r.count > SHOW_VALUES ? " ...\n" : "\n");
    }
    return true;
}

bool state_show(struct buf *out, const void *data, size_t size, struct err *e)
{
    struct state_cursor c = {data, (const uint8_t *)data + size};
    struct state_section s;
    uint32_t sections;

    if (!state_open(&c, &sections, e))
        return false;
    for (uint32_t i = 0; i < sections; i++) {
        if (!state_next_section(&c, &s, e))
            return false;
        buf_printf(out, "%s version %u\n", s.name, s.version);
        if (!show_records(out, s.body, 1, e))
            return err_wrap(e, "section \"%s\"", s.name);
    }
    return true;
}

static void cover(const struct state_table *t, uint8_t *map)
{
    for (const struct state_field *f = t->fields; f->name; f++)
        memset(map + f->offset, 1, f->count * f->size);
    for (unsigned i = 0; t->subs && t->subs[i]; i++)
        cover(t->subs[i], map);
}

size_t state_table_gaps(const struct state_table *t)
{
    uint8_t *map = x_alloc(t->size);
    size_t gaps = 0;

    cover(t, map);
    for (size_t i = 0; i < t->size;) {
        size_t start = i;

        while (i < t->size && !map[i])
            i++;
        /* padding ends where something aligned begins, and is smaller than that alignment */
        size_t align = i & (~i + 1);
        if (i > start && i - start >= MIN(align, 8u))
            gaps += i - start;
        while (i < t->size && map[i])
            i++;
    }
    x_free(map);
    return gaps;
}
