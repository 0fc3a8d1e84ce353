/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A struct with a row of every kind, for the tests of vmm/state. */
#ifndef TESTS_LIB_STATEFIX_H
#define TESTS_LIB_STATEFIX_H

#include "vmm/state/state.h"

#define FIX_BYTES_MAX 64

struct fix_inner {
    uint32_t index; /* below 4 */
    uint32_t value;
};

struct fix_state {
    uint64_t u64;
    int64_t i64;
    int32_t i32;      /* -5 to 5 */
    uint32_t u32[3];
    uint16_t u16;
    int16_t i16;
    int8_t i8;
    uint8_t u8;       /* at most 9 */
    bool flag;
    struct fix_inner one, many[2];
    struct state_bytes bytes;
    uint32_t extra;   /* part "extra": written when it is not 0 */
    uint32_t newer;   /* since version 2 */
    void *host;       /* has no row */
};

extern const struct state_table fix_table;      /* version 2 */
extern const struct state_table fix_table_old;  /* as version 1 wrote it */
extern const struct state_table fix_table_next; /* version 3, which reads nothing older */

/* Lives on the stack of the test; free bytes.data by fix_free. */
void fix_fill(struct fix_state *s, uint32_t salt);
void fix_free(struct fix_state *s);

#endif
