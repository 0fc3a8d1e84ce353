/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From bytes to struct insn, by Zydis and two tables: insn.def (core) and insn_sys.def (system). */
#ifndef VMDECK_CPU_DECODE_DECODE_H
#define VMDECK_CPU_DECODE_DECODE_H

#include "vmm/cpu/cpu_priv.h"

enum decode_result {
    DECODE_OK,
    DECODE_END,  /* the block ends behind this instruction */
    DECODE_MORE, /* the bytes end in the middle of it */
};

/* Decodes for c->mode. What is undefined, or of a feature that the model lacks, becomes an instruction that raises
 * #UD when it is executed. */
enum decode_result insn_decode(struct cpu *c, const uint8_t *bytes, unsigned len, struct insn *out);

/* The same, and Zydis' answer: a ZydisDecodedInstruction and ten ZydisDecodedOperand. They mean nothing when out->exec
 * is op_ud. */
enum decode_result insn_decode_full(struct cpu *c, const uint8_t *bytes, unsigned len, struct insn *out, void *zinsn,
                                    void *zops);

/* Operand shapes that select a handler. */
enum insn_form {
    FORM_NONE,
    FORM_RM_R, /* ModRM.rm is the destination, ModRM.reg the source */
    FORM_R_RM,
    FORM_RM_I,
    FORM_RM,   /* one operand */
    FORM_R_RM_I,
};

#endif
