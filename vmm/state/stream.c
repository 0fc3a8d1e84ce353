/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The shape of a state stream, read without tables: what reader and printer stand on. */
#include "vmm/state/state_priv.h"

uint32_t state_crc(const void *data, size_t size)
{
    const uint8_t *p = data;
    uint32_t crc = UINT32_MAX;

    while (size-- > 0) {
        crc ^= *p++;
        for (unsigned bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? UINT32_C(0x82f63b78) : 0);
    }
    return ~crc;
}

unsigned state_kind_size(unsigned kind)
{
    switch (kind) {
    case STATE_U8:
    case STATE_I8:
    case STATE_BOOL:
    case STATE_BYTES: return 1;
    case STATE_U16:
    case STATE_I16: return 2;
    case STATE_U32:
    case STATE_I32: return 4;
    case STATE_U64:
    case STATE_I64: return 8;
    default: return 0;
    }
}

const uint8_t *state_take(struct state_cursor *c, size_t n)
{
    const uint8_t *p = c->p;

    if ((size_t)(c->end - p) < n)
        return NULL;
    c->p += n;
    return p;
}

static bool truncated(struct err *e)
{
    return err_set(e, ERR_CORRUPT, "the stream ends too early");
}

/* A name that is safe to print. */
static bool take_name(struct state_cursor *c, size_t len, char name[STATE_NAME_MAX + 1],
                      struct err *e)
{
    const uint8_t *p = len && len <= STATE_NAME_MAX ? state_take(c, len) : NULL;

    if (!p)
        return err_set(e, ERR_CORRUPT, "a name of %zu bytes", len);
    for (size_t i = 0; i < len; i++)
        if (p[i] <= ' ' || p[i] > '~')
            return err_set(e, ERR_CORRUPT, "a name with byte 0x%02x", p[i]);
    memcpy(name, p, len);
    name[len] = '\0';
    return true;
}

bool state_next_record(struct state_cursor *c, struct state_record *r, struct err *e)
{
    const uint8_t *head = state_take(c, 2);

    if (!head)
        return truncated(e);
    if (head[0] < STATE_U8 || head[0] > STATE_SUB)
        return err_set(e, ERR_CORRUPT, "a record of unknown kind %u", head[0]);
    if (!take_name(c, head[1], r->name, e))
        return false;
    const uint8_t *count = state_take(c, 4);
    if (!count)
        return truncated(e);
    r->kind = (enum state_kind)head[0];
    r->count = ld_le32(count);
    r->data = state_take(c, (size_t)r->count * state_kind_size(head[0]));
    return r->data || err_set(e, ERR_CORRUPT, "\"%s\": %u values do not fit in", r->name, r->count);
}

bool state_next_struct(struct state_cursor *c, unsigned *version, struct state_cursor *body,
                       struct err *e)
{
    const uint8_t *head = state_take(c, 6), *p;

    if (!head || !(p = state_take(c, ld_le32(head + 2))))
        return truncated(e);
    *version = ld_le16(head);
    *body = (struct state_cursor){p, c->p};
    return true;
}

bool state_open(struct state_cursor *c, uint32_t *sections, struct err *e)
{
    const uint8_t *head = state_take(c, STATE_HEADER_SIZE);

    if (!head || memcmp(head, STATE_MAGIC, 8) != 0)
        return err_set(e, ERR_CORRUPT, "not a saved state");
    if (ld_le32(head + 8) != STATE_FORMAT)
        return err_set(e, ERR_UNSUPPORTED, "format %u of saved state, %u is known",
                       ld_le32(head + 8), STATE_FORMAT);
    *sections = ld_le32(head + 12);
    return *sections <= STATE_SECTIONS_MAX || err_set(e, ERR_LIMIT, "%u sections", *sections);
}

bool state_next_section(struct state_cursor *c, struct state_section *s, struct err *e)
{
    const uint8_t *start = c->p, *head = state_take(c, 7), *body, *crc;

    if (!head)
        return truncated(e);
    if (!take_name(c, head[6], s->name, e))
        return false;
    body = state_take(c, ld_le32(head));
    crc = body ? state_take(c, 4) : NULL;
    if (!crc)
        return truncated(e) || err_wrap(e, "section \"%s\"", s->name);
    if (state_crc(start, (size_t)(crc - start)) != ld_le32(crc))
        return err_set(e, ERR_CORRUPT, "section \"%s\": checksum differs", s->name);
    s->version = ld_le16(head + 4);
    s->body = (struct state_cursor){body, crc};
    return true;
}
