/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What writer, reader and printer of state streams share. */
#ifndef VMDECK_STATE_STATE_PRIV_H
#define VMDECK_STATE_STATE_PRIV_H

#include "vmm/base/bits.h"
#include "vmm/state/state.h"

#define STATE_MAGIC       "vmdkstat"
#define STATE_HEADER_SIZE 16

/* Unread part of a stream. */
struct state_cursor {
    const uint8_t *p, *end;
};

struct state_record {
    enum state_kind kind;
    char name[STATE_NAME_MAX + 1];
    uint32_t count;
    const uint8_t *data; /* of integers and bytes: all of it is there */
};

struct state_section {
    char name[STATE_NAME_MAX + 1];
    unsigned version;
    struct state_cursor body;
};

/* Bytes per value of an integer kind, 1 for BYTES, 0 for all else. */
unsigned state_kind_size(unsigned kind);

/* n bytes, or NULL when there are fewer. */
const uint8_t *state_take(struct state_cursor *c, size_t n);
/* Moves behind a record; the elements of structs are left to state_next_struct. */
bool state_next_record(struct state_cursor *c, struct state_record *r, struct err *e);
bool state_next_struct(struct state_cursor *c, unsigned *version, struct state_cursor *body,
                       struct err *e);
/* Checks magic and format. */
bool state_open(struct state_cursor *c, uint32_t *sections, struct err *e);
/* Checks the checksum, too. */
bool state_next_section(struct state_cursor *c, struct state_section *s, struct err *e);

/* CRC-32C (Castagnoli, reflected, as in RFC 3720 appendix B.4). */
uint32_t state_crc(const void *data, size_t size);

#endif
