/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Translator and interpreter in lock step: whatever a block is about to do is first done by the interpreter, with its
 * stores written down and taken back, then by the translation, and the two outcomes are compared.
 *
 * A comparison spans a segment: from the block's first instruction, or from behind a callback, to where translated code
 * leaves or reaches the next callback. It ends earlier in front of what may not be done twice (MMIO, stores to pages
 * with code or a clean dirty log, instructions that raise): translated code must come to the same stop, or stop earlier,
 * as for an interrupt; then the interpreter repeats what it did, up to there.
 *
 * Compared: general, segment and control registers, the MSRs that instructions write by themselves, RIP, status flags
 * where they are alive and defined, interrupt shadows, vector and x87 state, every byte that the interpreter stored, and
 * that the translation stores to no other page.
 *
 * Not compared:
 * - What a translation leaves to the interpreter's handlers: RDTSC, CPUID, port and device accesses, system
 *   instructions; and the delivery of interrupts and exceptions. These are done once, between segments.
 * - Flags that an instruction leaves undefined, until one defines them; nor what looks at them all the same.
 * - A store of the translation to wrong bytes of a page that the segment stores to.
 * - How blocks follow each other: they are not chained, and the jump cache holds at most where the segment leads.
 * - Accessed and dirty bits, and the order of stores within a segment.
 *
 * While a segment is compared devices are frozen (cpu_io_ops.freeze), so that they neither see a store that is taken
 * back nor change what is read. What arrives all the same, disk data into a buffer, may make the two see different
 * memory: what differs is tried again and counts when it differs each time. One vCPU only: there is no such way to
 * freeze others, and what they store would look like a mistake. */
#ifndef VMDECK_CPU_JIT_VERIFY_H
#define VMDECK_CPU_JIT_VERIFY_H

#include "vmm/cpu/cpu_priv.h"

struct jit_block;

/* What the comparison needs to know of a translated instruction. Flags are folded as in translate.c. */
struct jit_note {
    uint16_t offset; /* in the block */
    bool native;     /* else a callback */
    bool branch;     /* may lead out of the block */
    bool repeats;    /* string instruction with a prefix */
    uint8_t live;    /* flags in front of it */
    uint8_t defines, undefines;
};

struct verify *verify_new(void);
/* Says in the log how much was compared. */
void verify_free(struct verify *v);

void verify_get_stats(const struct verify *v, struct cpu_jit_stats *out);

/* In front of instruction number first of the block, whose translation is executed next. */
void verify_begin(struct cpu *c, const struct jit_block *b, unsigned first);
enum verify_end {
    VERIFY_AT,   /* in front of the instruction at RIP, which is one of the block's */
    VERIFY_LEFT, /* went on to RIP, where the block led */
};
/* Translated code stopped; all state is in c. Does nothing when no comparison is under way. False: there was a difference
 * and it is in the log; the vCPU must not go on. */
bool verify_end(struct cpu *c, enum verify_end how);
/* It has returned false. */
bool verify_failed(const struct cpu *c);
/* A repeated string instruction is compared in a segment that begins with it, unless it is a long one. */
bool verify_repeats(const struct cpu *c, const struct insn *i);
/* The block that verify_begin was last called for, and the number of its instruction at RIP. */
const struct jit_block *verify_block(const struct cpu *c);
unsigned verify_index(const struct cpu *c, uint64_t rip);
/* A jump hit the one entry of the jump cache: it leads to the RIP that the interpreter came to. */
uint64_t verify_landed(const struct cpu *c);

/* ---- from the MMU, only when c->verify ---- */

/* An access by the slow path, before it happens: host is NULL for MMIO. Does not return when it may not be repeated. */
void verify_access(struct cpu *c, uint64_t linear, uint8_t *host, uint64_t page_index, unsigned size, bool write);
/* Whether a walk may set bits in that paging structure entry. One that the segment itself has stored would lose them
 * when the store is taken back, while the TLB took them for set: the access is not compared, then. */
bool verify_may_mark(struct cpu *c, const void *host);
/* Whether stores may get the fast path now; if so it is closed before the next comparison. */
bool verify_open_slot(struct cpu *c, unsigned mmu, unsigned slot);
/* Translated code is running: a page that may be written gets its write tag whatever the access is. */
bool verify_running(const struct cpu *c);
/* Translated code stores there. */
void verify_store(struct cpu *c, uint64_t linear);

#endif
