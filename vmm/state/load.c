/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reader of state streams: everything into scratch copies first, then the live structs. */
#include "vmm/state/state_priv.h"

#include <inttypes.h>

#include "vmm/base/alloc.h"

struct state_loading {
    const struct state_item *items;
    unsigned n;
    uint8_t **scratch; /* n structs; NULL: no section yet */
};

static bool is_signed(enum state_kind kind)
{
    return kind >= STATE_I8 && kind <= STATE_I64;
}

/* Little-endian value of the kind, as int64_t's bits for the signed ones. */
static uint64_t value_of(enum state_kind kind, const uint8_t *p)
{
    unsigned size = state_kind_size(kind);
    uint64_t v = ld_le(p, size);

    if (is_signed(kind) && size < 8 && v >> (size * 8 - 1))
        v |= ~mask_bytes(size);
    return v;
}

static bool read_integers(const struct state_field *f, uint8_t *dst, const struct state_record *r,
                          struct err *e)
{
    for (uint32_t i = 0; i < f->count; i++) {
        uint64_t v = value_of(f->kind, r->data + i * f->size);
        bool any = f->min == f->max, within;

        if (f->kind == STATE_BOOL)
            within = v <= 1;
        else if (is_signed(f->kind))
            within = any || ((int64_t)v >= (int64_t)f->min && (int64_t)v <= (int64_t)f->max);
        else
            within = any || (v >= f->min && v <= f->max);
        if (!within && is_signed(f->kind))
            return err_set(e, ERR_CORRUPT, "%" PRIi64 " is not within %" PRIi64 " to %" PRIi64,
                           (int64_t)v, (int64_t)f->min, (int64_t)f->max);
        if (!within)
            return err_set(e, ERR_CORRUPT, "%" PRIu64 " is not within %" PRIu64 " to %" PRIu64, v,
                           f->min, f->kind == STATE_BOOL ? 1 : f->max);
        memcpy(dst + i * f->size, r->data + i * f->size, f->size);
    }
    return true;
}

static bool read_bytes(const struct state_field *f, struct state_bytes *dst,
                       const struct state_record *r, struct err *e)
{
    if (r->count > f->max)
        return err_set(e, ERR_LIMIT, "%u bytes, at most %" PRIu64 " are allowed", r->count, f->max);
    if (r->count && !(dst->data = try_alloc(r->count)))
        return err_set(e, ERR_NOMEM, "no memory for %u bytes", r->count);
    if (r->count)
        memcpy(dst->data, r->data, r->count);
    dst->len = r->count;
    return true;
}

static bool read_records(const struct state_table *t, uint8_t *s, unsigned version,
                         struct state_cursor c, unsigned depth, struct err *e);

static bool read_struct(const struct state_table *t, uint8_t *s, struct state_cursor *c,
                        unsigned depth, struct err *e)
{
    struct state_cursor body;
    unsigned version;

    if (depth >= STATE_DEPTH_MAX)
        return err_set(e, ERR_LIMIT, "structs nest deeper than %u", STATE_DEPTH_MAX);
    return state_next_struct(c, &version, &body, e) &&
           read_records(t, s, version, body, depth + 1, e);
}

static bool read_field(const struct state_field *f, uint8_t *s, const struct state_record *r,
                       struct state_cursor *c, unsigned depth, struct err *e)
{
    uint8_t *dst = s + f->offset;

    if (r->kind != f->kind)
        return err_set(e, ERR_CORRUPT, "kind %u instead of %u", r->kind, f->kind);
    if (f->kind == STATE_BYTES)
        return read_bytes(f, (struct state_bytes *)(void *)dst, r, e);
    if (r->count != f->count)
        return err_set(e, ERR_CORRUPT, "%u values instead of %u", r->count, f->count);
    if (f->kind != STATE_STRUCT)
        return read_integers(f, dst, r, e);
    for (uint32_t i = 0; i < f->count; i++)
        if (!read_struct(f->table, dst + i * f->size, c, depth, e))
            return f->count == 1 ? false : err_wrap(e, "element %u", i);
    return true;
}

/* Which row the record is for: its number among fields, then subs; -1 when it has none. */
static int find_row(const struct state_table *t, const struct state_record *r, unsigned version)
{
    int n = 0;

    for (const struct state_field *f = t->fields; f->name; f++, n++)
        if (r->kind != STATE_SUB && f->since <= version && strcmp(f->name, r->name) == 0)
            return n;
    for (unsigned i = 0; t->subs && t->subs[i]; i++, n++)
        if (r->kind == STATE_SUB && strcmp(t->subs[i]->name, r->name) == 0)
            return n;
    return -1;
}

static bool read_records(const struct state_table *t, uint8_t *s, unsigned version,
                         struct state_cursor c, unsigned depth, struct err *e)
{
    bool seen[STATE_FIELDS_MAX] = {false};
    struct state_record r;
    unsigned fields = 0;

    if (version > t->version)
        return err_set(e, ERR_UNSUPPORTED, "version %u is newer than %u, the last known one",
                       version, t->version);
    if (version < t->min_version)
        return err_set(e, ERR_UNSUPPORTED, "version %u is older than %u, the first readable one",
                       version, t->min_version);
    while (t->fields[fields].name)
        fields++;
    while (c.p < c.end) {
        if (!state_next_record(&c, &r, e))
            return false;
        int n = find_row(t, &r, version);
        if (n < 0)
            return err_set(e, ERR_UNSUPPORTED, "unknown %s \"%s\"",
                           r.kind == STATE_SUB ? "part" : "field", r.name);
        if (n >= STATE_FIELDS_MAX || seen[n])
            return err_set(e, ERR_CORRUPT, "\"%s\" is there twice", r.name);
        seen[n] = true;
        if (r.kind == STATE_SUB && r.count != 1)
            return err_set(e, ERR_CORRUPT, "\"%s\": %u values instead of 1", r.name, r.count);
        if (!(r.kind == STATE_SUB
                  ? read_struct(t->subs[(unsigned)n - fields], s, &c, depth, e)
                  : read_field(&t->fields[n], s, &r, &c, depth, e)))
            return err_wrap(e, "\"%s\"", r.name);
    }
    for (unsigned n = 0; n < fields; n++)
        if (!seen[n] && t->fields[n].since <= version)
            return err_set(e, ERR_CORRUPT, "field \"%s\" is missing", t->fields[n].name);
    return true;
}

/* Calls check of the table and of all structs in it. */
static bool check_all(const struct state_table *t, const uint8_t *s, const void *owner,
                      struct err *e)
{
    for (const struct state_field *f = t->fields; f->name; f++)
        for (uint32_t i = 0; f->kind == STATE_STRUCT && i < f->count; i++)
            if (!check_all(f->table, s + f->offset + i * f->size, owner, e))
                return err_wrap(e, "\"%s\"", f->name);
    for (unsigned i = 0; t->subs && t->subs[i]; i++)
        if (!check_all(t->subs[i], s, owner, e))
            return err_wrap(e, "\"%s\"", t->subs[i]->name);
    return !t->check || t->check(s, owner, e);
}

/* Moves every member that has a row from src, or with src NULL frees what dst owns. */
static void move_all(const struct state_table *t, uint8_t *dst, uint8_t *src)
{
    for (const struct state_field *f = t->fields; f->name; f++) {
        uint8_t *to = dst + f->offset, *from = src ? src + f->offset : NULL;

        if (f->kind == STATE_STRUCT) {
            for (uint32_t i = 0; i < f->count; i++)
                move_all(f->table, to + i * f->size, from ? from + i * f->size : NULL);
            continue;
        }
        if (f->kind == STATE_BYTES)
            x_free(((struct state_bytes *)(void *)to)->data);
        if (from)
            memcpy(to, from, f->count * f->size);
    }
    for (unsigned i = 0; t->subs && t->subs[i]; i++)
        move_all(t->subs[i], dst, src);
}

static bool read_section(struct state_loading *l, struct state_cursor *c, struct err *e)
{
    struct state_section s;
    unsigned i = 0;

    if (!state_next_section(c, &s, e))
        return false;
    while (i < l->n && strcmp(l->items[i].name, s.name) != 0)
        i++;
    if (i == l->n)
        return err_set(e, ERR_UNSUPPORTED, "unknown section \"%s\"", s.name);
    if (l->scratch[i])
        return err_set(e, ERR_CORRUPT, "section \"%s\" is there twice", s.name);
    const struct state_item *item = &l->items[i];
    if (!(l->scratch[i] = try_alloc(item->table->size)))
        return err_set(e, ERR_NOMEM, "section \"%s\": no memory", s.name);
    if (!read_records(item->table, l->scratch[i], s.version, s.body, 0, e) ||
        !check_all(item->table, l->scratch[i], item->owner, e))
        return err_wrap(e, "section \"%s\"", s.name);
    return true;
}

static bool read_stream(struct state_loading *l, struct state_cursor c, struct err *e)
{
    uint32_t sections;

    if (!state_open(&c, &sections, e))
        return false;
    for (uint32_t i = 0; i < sections; i++)
        if (!read_section(l, &c, e))
            return false;
    if (c.p != c.end)
        return err_set(e, ERR_CORRUPT, "%zu bytes behind the last section", (size_t)(c.end - c.p));
    for (unsigned i = 0; i < l->n; i++)
        if (!l->scratch[i])
            return err_set(e, ERR_CORRUPT, "section \"%s\" is missing", l->items[i].name);
    return true;
}

struct state_loading *state_parse(const struct state_item *items, unsigned n, const void *data,
                                  size_t size, struct err *e)
{
    struct state_loading *l = X_NEW(struct state_loading);
    struct state_cursor c = {data, (const uint8_t *)data + size};

    l->items = items;
    l->n = n;
    l->scratch = x_calloc(n + 1, sizeof(*l->scratch));
    if (read_stream(l, c, e))
        return l;
    err_wrap(e, "cannot load the saved state");
    state_discard(l);
    return NULL;
}

static void loading_free(struct state_loading *l)
{
    for (unsigned i = 0; i < l->n; i++)
        x_free(l->scratch[i]);
    x_free(l->scratch);
    x_free(l);
}

void state_commit(struct state_loading *l)
{
    for (unsigned i = 0; i < l->n; i++)
        move_all(l->items[i].table, l->items[i].s, l->scratch[i]);
    loading_free(l);
}

void state_discard(struct state_loading *l)
{
    if (!l)
        return;
    for (unsigned i = 0; i < l->n; i++)
        if (l->scratch[i])
            move_all(l->items[i].table, l->scratch[i], NULL);
    loading_free(l);
}
