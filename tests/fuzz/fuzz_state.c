/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A state stream from anyone, once as it is and once with checksums made right, so that the fuzzer gets
 * behind them. A refused stream changes nothing; what an accepted one leaves is within its ranges and
 * saves and loads again to the same bytes. */
#include <stdlib.h>

#include "vmm/base/alloc.h"
#include "vmm/state/state_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct inner {
    uint32_t index, value;
};

struct outer {
    uint64_t u64;
    int32_t i32[2];
    uint8_t u8;
    bool flag;
    struct inner one, many[3];
    struct state_bytes bytes;
    uint32_t extra;
};

static bool extra_needed(const void *s)
{
    return ((const struct outer *)s)->extra != 0;
}

static const struct state_field inner_fields[] = {ST_RANGE(struct inner, index, 1, 0, 3),
                                                  ST_INT(struct inner, value, 2), ST_END};
static const struct state_table inner_table = {.name = "inner",
                                               .size = sizeof(struct inner),
                                               .version = 2,
                                               .min_version = 1,
                                               .fields = inner_fields};
static const struct state_field extra_fields[] = {ST_INT(struct outer, extra, 1), ST_END};
static const struct state_table extra_table = {.name = "extra",
                                               .size = sizeof(struct outer),
                                               .version = 1,
                                               .min_version = 1,
                                               .fields = extra_fields,
                                               .needed = extra_needed};
static const struct state_table *const subs[] = {&extra_table, NULL};
static const struct state_field fields[] = {
    ST_INT(struct outer, u64, 1),
    ST_ARRAY_RANGE(struct outer, i32, 1, -4, 4),
    ST_RANGE(struct outer, u8, 1, 0, 9),
    ST_INT(struct outer, flag, 1),
    ST_STRUCT(struct outer, one, 1, inner_table),
    ST_STRUCTS(struct outer, many, 1, inner_table),
    ST_BYTES(struct outer, bytes, 1, 32),
    ST_END,
};
static const struct state_table outer_table = {.name = "outer",
                                               .size = sizeof(struct outer),
                                               .version = 2,
                                               .min_version = 1,
                                               .fields = fields,
                                               .subs = subs};

static void require(bool ok)
{
    if (!ok)
        abort();
}

static void within(const struct outer *s)
{
    require(s->u8 <= 9 && s->bytes.len <= 32 && s->one.index <= 3);
    require(*(const uint8_t *)&s->flag <= 1);
    for (unsigned i = 0; i < 2; i++)
        require(s->i32[i] >= -4 && s->i32[i] <= 4);
    for (unsigned i = 0; i < 3; i++)
        require(s->many[i].index <= 3);
}

static void try_load(const uint8_t *data, size_t size)
{
    struct outer s = {.u8 = 3}, before = s, again = {0};
    struct state_item item = {.name = "s", .table = &outer_table, .s = &s};
    struct buf one = BUF_INIT, two = BUF_INIT, text = BUF_INIT;
    struct err e = ERR_INIT;
    struct state_loading *l = state_parse(&item, 1, data, size, &e);

    require(memcmp(&s, &before, sizeof(s)) == 0);
    state_show(&text, data, size, &e);
    buf_free(&text);
    if (!l)
        return;
    state_commit(l);
    within(&s);
    state_save(&one, &item, 1);
    item.s = &again;
    l = state_parse(&item, 1, one.data, one.len, &e);
    require(l != NULL);
    state_commit(l);
    state_save(&two, &item, 1);
    require(one.len == two.len && memcmp(one.data, two.data, one.len) == 0);
    x_free(s.bytes.data);
    x_free(again.bytes.data);
    buf_free(&one);
    buf_free(&two);
}

static void seal(uint8_t *data, size_t size)
{
    size_t at = STATE_HEADER_SIZE;

    while (at <= size && size - at >= 7) {
        uint64_t n = 7 + (uint64_t)data[at + 6] + ld_le32(data + at);

        if (n + 4 > size - at)
            return;
        st_le32(data + at + n, state_crc(data + at, n));
        at += n + 4;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = try_alloc(size ? size : 1);

    if (!copy)
        return 0;
    if (size)
        memcpy(copy, data, size);
    try_load(copy, size);
    seal(copy, size);
    try_load(copy, size);
    x_free(copy);
    return 0;
}
