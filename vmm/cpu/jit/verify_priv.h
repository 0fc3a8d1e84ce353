/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inside of verify.h, for its report. */
#ifndef VMDECK_CPU_JIT_VERIFY_PRIV_H
#define VMDECK_CPU_JIT_VERIFY_PRIV_H

#include "vmm/cpu/jit/jit_priv.h"
#include "vmm/cpu/jit/verify.h"

#define VERIFY_STORES 256
#define VERIFY_STORE_MAX 64 /* bytes */
#define VERIFY_SLOTS  64

/* What instructions that are compared can change, and what they must not. */
struct verify_state {
    uint8_t low[offsetof(struct x86_state, pat)];
    uint8_t sti_shadow, mov_ss_shadow;
    uint16_t cc;
    struct x86_fpu fpu;
};

struct verify_store {
    uint8_t *host;
    uint64_t linear;
    unsigned size;
    uint8_t old[VERIFY_STORE_MAX], want[VERIFY_STORE_MAX], got[VERIFY_STORE_MAX];
};

struct verify_log {
    unsigned count;
    struct verify_store store[VERIFY_STORES];
};

/* How far the interpreter came. */
struct verify_path {
    unsigned at;       /* instructions of the block done */
    bool left;         /* the last one led out of it */
    uint8_t undefined; /* status flags, folded */
};

enum verify_phase { VERIFY_IDLE, VERIFY_RECORD, VERIFY_RUN };

struct verify {
    enum verify_phase phase;
    bool failed;
    const struct jit_block *block;
    unsigned first;
    struct verify_path path;
    struct verify_state before, want, got;
    struct verify_log log;   /* of the interpreter's stores, in front of the translation */
    struct verify_log again; /* of later attempts */
    struct verify_log *recording;
    uint64_t stray;          /* where translated code stored though the interpreter had not; 0: nowhere */
    uint64_t jump;           /* RIP in the jump cache; 0: none */

    unsigned slot_count;     /* of TLB write tags that are open; above VERIFY_SLOTS: too many to list */
    struct {
        uint16_t mmu, slot;
    } slot[VERIFY_SLOTS];

    uint64_t segments, instructions, repeated;
};

/* Status flags that count at the end of a path. */
uint8_t verify_flags(const struct verify *v, const struct verify_path *p);

/* ---- verify_report.c ---- */

/* Writes the difference into the log: how translated code stopped, what differs, the block in both languages. */
void verify_report(struct cpu *c, enum verify_end how);

static inline uint64_t *verify_gpr(struct verify_state *s)
{
    return (uint64_t *)(void *)(s->low + offsetof(struct x86_state, gpr));
}

static inline uint64_t verify_rip(const struct verify_state *s)
{
    return ld_le64(s->low + offsetof(struct x86_state, rip));
}

#endif
