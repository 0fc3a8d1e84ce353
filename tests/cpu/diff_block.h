/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Differential test of blocks of instructions: on this processor, on the interpreter, and translated.
 *
 * A block is grown along its path: the interpreter executes each instruction as soon as it is chosen, so that the next one
 * can be aimed with the registers as they are by then. Executed for the comparison, the interpreter goes first again,
 * with eyes on what the architecture leaves undefined (struct diff_trace): a test whose outcome depends on that, or that
 * does not end, is dropped. */
#ifndef VMDECK_TESTS_CPU_DIFF_BLOCK_H
#define VMDECK_TESTS_CPU_DIFF_BLOCK_H

#include <Zydis/Zydis.h>

#include "tests/cpu/diff.h"

struct diff_block {
    bool code32;
    uint8_t image[CODE_SIZE]; /* HLT where there is nothing */
    struct diff_regs before;  /* rip: where it begins */
    unsigned count;           /* instructions that were chosen */
};

/* ---- diff_trace.c ---- */

#define TRACE_BLANKS 32

/* What is known of an execution by the interpreter so far. */
struct diff_trace {
    unsigned steps;
    uint32_t undefined;             /* status flags that are by now */
    struct diff_blank blank[TRACE_BLANKS]; /* memory that is */
    unsigned blanks;
    struct diff_test last;          /* the instruction at which it is, or which raised the exception that ended it; */
    struct diff_info info;          /* before: general registers only */
    uint8_t executed[CODE_SIZE];    /* length of the instruction that was executed there, 0: none */
    bool has[ZYDIS_MNEMONIC_MAX_VALUE + 1]; /* by mnemonic: it was executed */
};

enum trace_result { TRACE_ON, TRACE_RAISED, TRACE_UNUSABLE /* the instruction was not executed */ };

void trace_begin(struct diff_trace *t);
enum trace_result trace_step(struct diff_trace *t, struct soft *reference, bool code32);

/* ---- diff_grow.c ---- */

/* Grows a block of at most that many instructions from random registers, in diff_initial. False: nothing came of it. */
bool block_grow(struct diff_block *b, struct soft *reference, unsigned count);
/* Other registers to execute it from. */
void block_disturb(const struct diff_block *b, struct diff_regs *r);

/* ---- diff_run.c ---- */

struct block_options {
    uint64_t count, seed;
    const char *bug;
    bool keep_going, fault_flags, stats;
};

/* Number of blocks with differences, which it reports. */
unsigned blocks_run(const struct block_options *o);

#endif
