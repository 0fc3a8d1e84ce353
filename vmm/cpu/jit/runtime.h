/* SPDX-License-Identifier: GPL-2.0-or-later */
/* C functions that stubs call, on the stack below struct cpu. */
#ifndef VMDECK_CPU_JIT_RUNTIME_H
#define VMDECK_CPU_JIT_RUNTIME_H

#include "vmm/cpu/cpu_priv.h"

/* Values of hot.link that are no index. */
#define LINK_FIRST     0xfffffffbu
#define LINK_LANDED    0xfffffffbu /* the jump cache led here, see verify.h */
#define LINK_NONE      0xffffffffu /* RIP is set, and events may be pending */
#define LINK_JUMP      0xfffffffcu /* RIP is set */
#define LINK_INDIRECT  0xfffffffdu /* an indirect jump to hot.target, at hot.site, has not happened yet */
#define LINK_INTERPRET 0xfffffffeu /* RIP is set, and its instruction is the interpreter's */

/* An instruction that the interpreter's handler executes from within a block. */
struct jit_call {
    struct jit_call *next; /* of the block */
    struct insn insn;
    uint64_t rip;
    bool ends; /* the block ends behind it */
    const uint8_t *after; /* in front of a repeated string instruction whose translation is compared: what follows the
                           * translation; else NULL */
};

/* hot.x87 to x86_state, and the other way round. */
void jit_x87_saved(struct cpu *c);
void jit_x87_prepare(struct cpu *c);
/* Fills the TLB. 0: that does not help; RIP is set. */
unsigned jit_slow_access(struct cpu *c, uint64_t linear, unsigned site);
/* The host address to go on at, or NULL: leave translated code. May raise. */
const void *jit_call_handler(struct cpu *c, const struct jit_call *call);

#endif
