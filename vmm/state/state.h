/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Saved state: what of a struct belongs to the guest is declared once, in a table of rows, and written
 * to and read from a self-describing stream by it. A row has a name for ever: it is never reused or
 * retyped; a new one gets `since` and the table a new version.
 *
 *     stream   magic "vmdkstat", le32 format, le32 sections, the sections, nothing more
 *     section  le32 size of its records, le16 version, u8 length of name, name, records, le32 CRC-32C of the section
 *     record   u8 kind, u8 length of name, name, le32 count, then by kind
 *              integers: count little-endian values; BYTES: count bytes;
 *              STRUCT and SUB: count times le16 version, le32 size, records
 *
 * Streams are foreign input: everything is parsed into scratch copies and checked before the first
 * live byte changes, names that are unknown, doubled or missing are refused, and no size is believed.
 * No function here takes a lock; the caller sees to it that the structs stand still. */
#ifndef VMDECK_STATE_STATE_H
#define VMDECK_STATE_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/base/buf.h"
#include "vmm/base/err.h"

#define STATE_FORMAT       1
#define STATE_DEPTH_MAX    8   /* structs within structs */
#define STATE_FIELDS_MAX   128 /* rows of one table */
#define STATE_SECTIONS_MAX 4096
#define STATE_NAME_MAX     64

/* On disk: numbers are never reused. */
enum state_kind {
    STATE_U8 = 1,
    STATE_U16 = 2,
    STATE_U32 = 3,
    STATE_U64 = 4,
    STATE_I8 = 5,
    STATE_I16 = 6,
    STATE_I32 = 7,
    STATE_I64 = 8,
    STATE_BOOL = 9,
    STATE_BYTES = 10,
    STATE_STRUCT = 11,
    STATE_SUB = 12,
};

/* Bytes of variable length in a state struct; data is from alloc.h and may be NULL when len is 0. */
struct state_bytes {
    uint8_t *data;
    uint32_t len;
};

struct state_table;

struct state_field {
    const char *name; /* NULL ends the rows */
    enum state_kind kind;
    unsigned since; /* first version of the table that has it; in older streams it is 0 */
    size_t offset, size; /* of one element */
    uint32_t count;
    /* integers: allowed values, as int64_t for the signed kinds; BYTES: longest length */
    uint64_t min, max;
    const struct state_table *table; /* STRUCT */
};

struct state_table {
    const char *name;
    size_t size; /* of the struct */
    unsigned version, min_version; /* of streams that are still read; at least 1 */
    const struct state_field *fields;
    /* Conditional sections of the same struct; ends with NULL. One that is not needed is not written,
     * and its fields are 0 after loading. */
    const struct state_table *const *subs;
    bool (*needed)(const void *s);
    /* What rows cannot say, on the scratch copy; members without a row are 0 in it. May be NULL. */
    bool (*check)(const void *s, const void *owner, struct err *e);
};

#define STATE_KIND_OF(x)                                                                           \
    _Generic((x), uint8_t : STATE_U8, uint16_t : STATE_U16, uint32_t : STATE_U32,                  \
             uint64_t : STATE_U64, int8_t : STATE_I8, int16_t : STATE_I16, int32_t : STATE_I32,    \
             int64_t : STATE_I64, bool : STATE_BOOL)
#define STATE_MEMBER(struct_, f) (((struct_ *)0)->f)

/* One integer or bool within [min, max]. Other types do not compile. */
#define ST_RANGE(struct_, f, since_, min_, max_)                                                   \
    {.name = #f, .kind = STATE_KIND_OF(STATE_MEMBER(struct_, f)), .since = since_,                 \
     .offset = offsetof(struct_, f), .size = sizeof(STATE_MEMBER(struct_, f)), .count = 1,         \
     .min = (uint64_t)(min_), .max = (uint64_t)(max_)}
/* One of any value. */
#define ST_INT(struct_, f, since_) ST_RANGE(struct_, f, since_, 0, 0)
/* Array of integers, each within [min, max]; of any value. */
#define ST_ARRAY_RANGE(struct_, f, since_, min_, max_)                                             \
    {.name = #f, .kind = STATE_KIND_OF(STATE_MEMBER(struct_, f)[0]), .since = since_,              \
     .offset = offsetof(struct_, f), .size = sizeof(STATE_MEMBER(struct_, f)[0]),                  \
     .count = sizeof(STATE_MEMBER(struct_, f)) / sizeof(STATE_MEMBER(struct_, f)[0]),              \
     .min = (uint64_t)(min_), .max = (uint64_t)(max_)}
#define ST_ARRAY(struct_, f, since_) ST_ARRAY_RANGE(struct_, f, since_, 0, 0)
/* struct state_bytes of at most max_ bytes. */
#define ST_BYTES(struct_, f, since_, max_)                                                         \
    {.name = #f, .kind = STATE_BYTES, .since = since_, .max = max_, .count = 1,                    \
     .offset = offsetof(struct_, f),                                                               \
     .size = _Generic(STATE_MEMBER(struct_, f), struct state_bytes : sizeof(struct state_bytes))}
/* A struct with a table of its own; an array of them. */
#define ST_STRUCT(struct_, f, since_, table_)                                                      \
    {.name = #f, .kind = STATE_STRUCT, .since = since_, .offset = offsetof(struct_, f),            \
     .size = sizeof(STATE_MEMBER(struct_, f)), .count = 1, .table = &(table_)}
#define ST_STRUCTS(struct_, f, since_, table_)                                                     \
    {.name = #f, .kind = STATE_STRUCT, .since = since_, .offset = offsetof(struct_, f),            \
     .size = sizeof(STATE_MEMBER(struct_, f)[0]),                                                  \
     .count = sizeof(STATE_MEMBER(struct_, f)) / sizeof(STATE_MEMBER(struct_, f)[0]),              \
     .table = &(table_)}
#define ST_END {.name = NULL}

/* One section of a stream: a live struct under a name that is unique in it ("pit", "disk0"). */
struct state_item {
    const char *name;
    const struct state_table *table;
    void *s;
    const void *owner; /* handed to check */
};

/* Appends a whole stream. */
void state_save(struct buf *out, const struct state_item *items, unsigned n);

/* Phase one: reads a stream that must have exactly these sections, in any order. The live structs are
 * not touched. NULL after an error that names section and field. */
struct state_loading *state_parse(const struct state_item *items, unsigned n, const void *data,
                                  size_t size, struct err *e);
/* Phase two, which cannot fail: copies every member that has a row, and frees l. items as above. */
void state_commit(struct state_loading *l);
/* Forgets l instead; NULL is fine. */
void state_discard(struct state_loading *l);

/* Bytes of the struct below the end that no row covers, padding for alignment aside: 0 in a sound table. */
size_t state_table_gaps(const struct state_table *t);

/* Prints any stream as text, without its tables. False with what was printed so far when it is damaged. */
bool state_show(struct buf *out, const void *data, size_t size, struct err *e);

#endif
