/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/statefix.h"

#include <string.h>

#include "vmm/base/alloc.h"

static const struct state_field inner_fields[] = {
    ST_RANGE(struct fix_inner, index, 1, 0, 3),
    ST_INT(struct fix_inner, value, 1),
    ST_END,
};
static const struct state_table inner_table = {
    .name = "inner",
    .size = sizeof(struct fix_inner),
    .version = 1,
    .min_version = 1,
    .fields = inner_fields,
};

static bool extra_needed(const void *s)
{
    return ((const struct fix_state *)s)->extra != 0;
}

static const struct state_field extra_fields[] = {ST_INT(struct fix_state, extra, 1), ST_END};
static const struct state_table extra_table = {
    .name = "extra",
    .size = sizeof(struct fix_state),
    .version = 1,
    .min_version = 1,
    .fields = extra_fields,
    .needed = extra_needed,
};
static const struct state_table *const subs[] = {&extra_table, NULL};

#define FIX_FIELDS                                                                                 \
    ST_INT(struct fix_state, u64, 1), ST_INT(struct fix_state, i64, 1),                            \
        ST_RANGE(struct fix_state, i32, 1, -5, 5), ST_ARRAY(struct fix_state, u32, 1),             \
        ST_INT(struct fix_state, u16, 1), ST_INT(struct fix_state, i16, 1),                        \
        ST_INT(struct fix_state, i8, 1), ST_RANGE(struct fix_state, u8, 1, 0, 9),                  \
        ST_INT(struct fix_state, flag, 1), ST_STRUCT(struct fix_state, one, 1, inner_table),       \
        ST_STRUCTS(struct fix_state, many, 1, inner_table),                                        \
        ST_BYTES(struct fix_state, bytes, 1, FIX_BYTES_MAX)

static const struct state_field fields[] = {FIX_FIELDS, ST_INT(struct fix_state, newer, 2), ST_END};
static const struct state_field fields_old[] = {FIX_FIELDS, ST_END};

static bool check(const void *s, const void *owner, struct err *e)
{
    (void)owner;
    return ((const struct fix_state *)s)->u16 != 0xdead || err_set(e, ERR_CORRUPT, "dead");
}

const struct state_table fix_table = {
    .name = "fix",
    .size = sizeof(struct fix_state),
    .version = 2,
    .min_version = 1,
    .fields = fields,
    .subs = subs,
    .check = check,
};
const struct state_table fix_table_old = {
    .name = "fix",
    .size = sizeof(struct fix_state),
    .version = 1,
    .min_version = 1,
    .fields = fields_old,
    .subs = subs,
};
const struct state_table fix_table_next = {
    .name = "fix",
    .size = sizeof(struct fix_state),
    .version = 3,
    .min_version = 3,
    .fields = fields,
};

void fix_fill(struct fix_state *s, uint32_t salt)
{
    memset(s, 0, sizeof(*s));
    s->u64 = UINT64_MAX - salt;
    s->i64 = INT64_MIN + salt;
    s->i32 = -5 + (int)(salt % 11);
    for (unsigned i = 0; i < 3; i++)
        s->u32[i] = salt * (i + 1);
    s->u16 = (uint16_t)salt;
    s->i16 = (int16_t)-(int)(salt % 1000);
    s->i8 = -1;
    s->u8 = (uint8_t)(salt % 10);
    s->flag = salt & 1;
    s->one = (struct fix_inner){salt % 4, salt};
    s->many[0] = (struct fix_inner){(salt + 1) % 4, ~salt};
    s->many[1] = (struct fix_inner){3, 7};
    s->bytes.len = salt % (FIX_BYTES_MAX + 1);
    if (s->bytes.len)
        s->bytes.data = memset(x_alloc(s->bytes.len), (int)salt, s->bytes.len);
    s->extra = salt % 3;
    s->newer = salt;
    s->host = s;
}

void fix_free(struct fix_state *s)
{
    x_free(s->bytes.data);
    s->bytes = (struct state_bytes){0};
}
