/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Handlers of the system instructions: those of the rows of insn_sys.def, and those that share their
 * mnemonic with a common instruction, so that the decoder picks them by opcode.
 *
 * They follow the contract of cpu_priv.h. Registers: `reg` holds the number of the segment, control
 * or debug register and `rm` the general register (MOV); PUSH and POP of a segment register have its
 * number in `reg`. All of them must end a decoded block (I_END). */
#ifndef VMDECK_CPU_SYS_H
#define VMDECK_CPU_SYS_H

#include "vmm/cpu/cpu_priv.h"

#define INSN(mnemonic, handler, flags) insn_fn handler;
#include "vmm/cpu/decode/insn_sys.def"
#undef INSN

/* MOV: 8C, 8E, 0F 20-23. */
void op_mov_from_sreg(struct cpu *c, const struct insn *i);
void op_mov_to_sreg(struct cpu *c, const struct insn *i);
void op_mov_from_cr(struct cpu *c, const struct insn *i);
void op_mov_to_cr(struct cpu *c, const struct insn *i);
void op_mov_from_dr(struct cpu *c, const struct insn *i);
void op_mov_to_dr(struct cpu *c, const struct insn *i);
/* PUSH: 06 0E 16 1E 0FA0 0FA8; POP: 07 17 1F 0FA1 0FA9. opsize is the effective operand size. */
void op_push_sreg(struct cpu *c, const struct insn *i);
void op_pop_sreg(struct cpu *c, const struct insn *i);
/* Far CALL (9A, FF/3) and JMP (EA, FF/5): INSN_MEM for the indirect forms, whose memory operand is
 * opsize + 2 bytes; else imm is the offset and aux the selector. */
void op_call_far(struct cpu *c, const struct insn *i);
void op_jmp_far(struct cpu *c, const struct insn *i);
/* RETF: CB, CA (imm: bytes to release, 0 without). */
void op_ret_far(struct cpu *c, const struct insn *i);

#endif
