/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inside of the generator: templates of encodings, aiming of operands, and what makes a test of them. */
#ifndef VMDECK_TESTS_CPU_DIFF_GEN_H
#define VMDECK_TESTS_CPU_DIFF_GEN_H

#include <Zydis/Zydis.h>

#include "tests/cpu/diff.h"

/* ---- diff_template.c ---- */

/* Decodes with the features that both sides have. */
bool diff_decode(bool code32, const uint8_t *b, unsigned len, ZydisDecodedInstruction *z, ZydisDecodedOperand *ops);
/* Enumerates the encodings that only (see gen_init) selects. */
bool template_init(const char *only);
/* A random instruction: its mnemonic (prefixes may have made it another) and at least 15 bytes. */
#define TEMPLATE_BYTES 40
unsigned template_random(bool *code32, uint8_t *b);
/* One of a group (see gen_init), or NULL, for code of that size; base: of its memory operand, or -1. 0: no luck this
 * time. */
unsigned template_pick(const char *group, bool code32, int base, uint8_t *b);
/* Whether tests may execute it: it does the same everywhere, and leads nowhere. */
bool template_wanted(const ZydisDecodedInstruction *z, const ZydisDecodedOperand *ops);

/* ---- diff_aim.c ---- */

/* Chooses registers, displacement and immediates so that memory operands lie in or at the window. */
void aim_operands(struct diff_test *t, const ZydisDecodedInstruction *z, const ZydisDecodedOperand *ops);
/* Linear address of a memory operand. */
uint64_t aim_address(const struct diff_test *t, const ZydisDecodedInstruction *z, const ZydisDecodedOperand *o);
/* A random address for an access of that size, mostly a good one. */
uint64_t aim_target(unsigned size);
/* Notes in info where the operand is. */
void aim_note(const struct diff_test *t, struct diff_info *info, const ZydisDecodedInstruction *z,
              const ZydisDecodedOperand *ops);
/* Prepares its contents in diff_initial. */
void aim_prepare(struct diff_test *t, struct diff_info *info, const ZydisDecodedInstruction *z,
              const ZydisDecodedOperand *ops);
void aim_branch(struct diff_test *t, struct diff_info *info, const ZydisDecodedInstruction *z,
                const ZydisDecodedOperand *ops);
/* x87 environment, x87 state, FXSAVE or XSAVE area. */
bool aim_state_area(const ZydisDecodedInstruction *z);
/* Number of a general register, or -1. */
int aim_gpr(ZydisRegister r);

/* ---- diff_gen.c ---- */

/* What is to be known of the instruction whose bytes, RIP and general registers t has (len: how many bytes there are; becomes
 * its length). False: what it does depends on the processor. */
bool gen_describe(struct diff_test *t, struct diff_info *info, ZydisDecodedInstruction *z, ZydisDecodedOperand *ops);
/* The components' mask in EDX:EAX must not double as an address. */
bool gen_mask_in_address(const ZydisDecodedInstruction *z, const ZydisDecodedOperand *ops);

#endif
