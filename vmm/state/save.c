/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writer of state streams. */
#include "vmm/state/state_priv.h"

#include <assert.h>

static void put(struct buf *out, uint64_t v, unsigned size)
{
    uint8_t bytes[8];

    st_le(bytes, v, size);
    buf_add(out, bytes, size);
}

static void put_record(struct buf *out, unsigned kind, const char *name, uint32_t count)
{
    size_t len = strlen(name);

    assert(len && len <= STATE_NAME_MAX);
    put(out, kind, 1);
    put(out, len, 1);
    buf_add(out, name, len);
    put(out, count, 4);
}

static void put_records(struct buf *out, const struct state_table *t, const void *s);

/* Version, size and records; the size is known afterwards. */
static void put_struct(struct buf *out, const struct state_table *t, const void *s)
{
    put(out, t->version, 2);
    size_t at = out->len;
    put(out, 0, 4);
    put_records(out, t, s);
    st_le32(out->data + at, (uint32_t)(out->len - at - 4));
}

static void put_field(struct buf *out, const struct state_field *f, const void *s)
{
    const uint8_t *p = (const uint8_t *)s + f->offset;
    const struct state_bytes *bytes = (const void *)p;

    if (f->kind == STATE_BYTES) {
        put_record(out, f->kind, f->name, bytes->len);
        if (bytes->len)
            buf_add(out, bytes->data, bytes->len);
        return;
    }
    put_record(out, f->kind, f->name, f->count);
    for (uint32_t i = 0; i < f->count; i++, p += f->size) {
        uint64_t v = 0;

        if (f->kind == STATE_STRUCT) {
            put_struct(out, f->table, p);
            continue;
        }
        memcpy(&v, p, f->size); /* hosts are little-endian (x86-64) */
        put(out, v, (unsigned)f->size);
    }
}

static void put_records(struct buf *out, const struct state_table *t, const void *s)
{
    for (const struct state_field *f = t->fields; f->name; f++)
        put_field(out, f, s);
    for (unsigned i = 0; t->subs && t->subs[i]; i++)
        if (t->subs[i]->needed(s)) {
            put_record(out, STATE_SUB, t->subs[i]->name, 1);
            put_struct(out, t->subs[i], s);
        }
}

void state_save(struct buf *out, const struct state_item *items, unsigned n)
{
    buf_add(out, STATE_MAGIC, 8);
    put(out, STATE_FORMAT, 4);
    put(out, n, 4);
    for (unsigned i = 0; i < n; i++) {
        size_t start = out->len, len = strlen(items[i].name), body;

        assert(len && len <= STATE_NAME_MAX);
        put(out, 0, 4);
        put(out, items[i].table->version, 2);
        put(out, len, 1);
        buf_add(out, items[i].name, len);
        body = out->len;
        put_records(out, items[i].table, items[i].s);
        st_le32(out->data + start, (uint32_t)(out->len - body));
        put(out, state_crc(out->data + start, out->len - start), 4);
    }
}
