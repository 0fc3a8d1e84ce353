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

/* ---- diff_aim.c ---- */

/* Chooses registers, displacement and immediates so that memory operands lie in or at the window. */
void aim_operands(struct diff_test *t, const ZydisDecodedInstruction *z, const ZydisDecodedOperand *ops);
/* Notes in info where the operand is, and prepares its contents. */
void aim_note(struct diff_test *t, struct diff_info *info, const ZydisDecodedInstruction *z,
              const ZydisDecodedOperand *ops);
void aim_branch(struct diff_test *t, struct diff_info *info, const ZydisDecodedInstruction *z,
                const ZydisDecodedOperand *ops);
/* x87 environment, x87 state, FXSAVE or XSAVE area. */
bool aim_state_area(const ZydisDecodedInstruction *z);
/* Number of a general register, or -1. */
int aim_gpr(ZydisRegister r);

#endif
