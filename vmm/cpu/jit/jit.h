/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The translator: guest code into host code of the same instruction set, a block at a time.
 *
 * Everything belongs to one vCPU and runs on its thread; there is no lock. Other threads only set hot.attention
 * (cpu_post). See jit_priv.h for how generated code looks at the world. */
#ifndef VMDECK_CPU_JIT_JIT_H
#define VMDECK_CPU_JIT_JIT_H

#include "vmm/cpu/cpu_priv.h"

/* Whether the host has what generated code uses (AVX2, BMI2, XSAVE). */
bool jit_supported(void);

/* As c->set->tuning says. */
struct jit *jit_new(struct cpu *c, struct err *e);
void jit_free(struct cpu *c);

/* Any thread; see cpu_get_stats. out has what the vCPU counted. */
void jit_get_stats(const struct cpu *c, struct cpu_jit_stats *out);
/* For a signal handler on the vCPU's thread: whether that host address is translated code, and the block there; its
 * instructions are 0 between blocks. */
bool jit_locate(const struct cpu *c, uintptr_t host, struct cpu_hot *out);

enum jit_result {
    JIT_COLD,     /* nothing is translated for this RIP and mode: the interpreter's turn, for a block */
    JIT_AGAIN,    /* RIP is where to go on; events may be pending */
    JIT_INTERPRET, /* the interpreter must execute the instruction at RIP */
    JIT_DIFFERS    /* verify.h found a difference */
};

/* Executes from RIP. Raises what fetching the instruction raises. */
enum jit_result jit_run(struct cpu *c);

/* The vCPU's thread, before it looks at what is pending: attention asked for from now on counts. */
void jit_quiet(struct cpu *c);
/* Any thread: jit_run returns within a bounded time. */
void jit_ask_attention(struct cpu *c);

/* From the TLB: what is known of the mapping of code no longer holds. */
void jit_tlb_flushed(struct cpu *c, bool global);
void jit_tlb_flushed_page(struct cpu *c, uint64_t linear);
void jit_tlb_resized(struct cpu *c);

/* Any thread: code of the page was overwritten. */
void jit_page_written(struct cpu *c, uint64_t page_index);

#endif
