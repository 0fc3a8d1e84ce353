/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Vectors and x87 by the host's own instructions.
 *
 * A guest instruction is re-encoded with its memory operand as [rsi] and its general register, if it
 * has one, as RAX; a small routine around it, the thunk, loads the registers it needs from struct
 * x86_state, executes it and stores what it wrote. So every result is the host's, bit for bit, and
 * everything that may fault (segments, paging) has been done in C before. Instructions that only move
 * data, touch memory in parts, or handle state as a whole are plain C handlers instead.
 *
 * Thunks live in a code buffer of their vCPU: one memfd mapped twice, writable and executable. It is
 * flushed when it is full, which makes all ops stale; a decoded instruction refers to its op by index
 * and generation and binds again when the generation is old. */
#ifndef VMDECK_CPU_INTERP_VEC_PRIV_H
#define VMDECK_CPU_INTERP_VEC_PRIV_H

#include "vmm/cpu/cpu_priv.h"

/* What a thunk works on besides x86_state. */
struct vec_io {
    uint8_t buf[64] __attribute__((aligned(64)));  /* memory operand; must be first: [rsi] */
    uint8_t fx[512] __attribute__((aligned(64)));  /* FXSAVE image of x87 thunks */
    uint64_t flags;      /* RFLAGS before and after, VOP_FLAGS */
    uint32_t mxcsr_host; /* MXCSR of C code */
};

/* 0, or 1 when an unmasked SIMD floating-point exception was raised: then only MXCSR has changed. */
typedef unsigned thunk_fn(struct x86_state *s, struct vec_io *io);

#define VOP_MEM_READ  1u
#define VOP_MEM_WRITE 2u
#define VOP_ALIGN     4u   /* #GP unless the memory operand is aligned to its size */
#define VOP_FLAGS     8u   /* writes (or, FCMOVcc, reads) status flags */
#define VOP_MMX       16u  /* uses an MMX register: needs the switch from x87 */
#define VOP_MXCSR     32u
#define VOP_VEX       64u
#define VOP_X87       128u
#define VOP_OSFXSR    256u /* uses XMM: needs CR4.OSFXSR */
#define VOP_MEM_DEST  512u /* x87 store: not written when an unmasked exception prevents it */

/* What a thunk is made from; also the key of the cache, so it has no padding and is zeroed first. */
struct vec_spec {
    uint8_t code[15]; /* the instruction as executed on the host */
    uint8_t len;
    uint16_t flags;                      /* VOP_* */
    uint16_t mem_size;                   /* bytes of the memory operand */
    uint16_t xmm_load, xmm_store;        /* bit per register */
    uint8_t mmx_load, mmx_store;
    uint8_t gpr_load, gpr_store;         /* bits 0-2: RAX, RCX, RDX as hidden operands */
    uint8_t gpr_in, gpr_out;             /* guest register held in the thunk's RAX, or REG_NONE */
    uint16_t pad;
};

struct vec_op {
    thunk_fn *run;
    struct vec_spec spec;
};

#define VEC_OPS      8192u
#define VEC_HASH     16384u
#define VEC_CODE     (1u << 20)
#define VEC_NO_OP    0xffffu
#define VEC_THUNK_MAX 1024u /* bytes of the longest thunk */

struct vec_ctx {
    struct vec_io io;
    uint8_t *code_rw, *code_rx;
    uint32_t code_used, code_start; /* code_start: end of the stub that SIMD exceptions leave through */
    uint32_t generation;            /* unique among all contexts */
    uint32_t op_count;
    uint16_t hash[VEC_HASH];
    struct vec_op op[VEC_OPS];
};

/* ---- vec_thunk.c ---- */

/* The op of a spec, made when it is not there yet; never fails (may flush). */
struct vec_op *vec_op_get(struct vec_ctx *v, const struct vec_spec *spec);
/* What the thunk returns. */
unsigned vec_op_run(struct vec_ctx *v, const struct vec_op *op, struct x86_state *s);

static inline uint64_t vec_op_ref(const struct vec_ctx *v, const struct vec_op *op)
{
    return (uint64_t)v->generation << 32 | (uint32_t)(op - v->op);
}

/* ---- vec_decode.c ---- */

/* Binds an instruction whose op is stale. */
struct vec_op *vec_bind(struct cpu *c, const struct insn *i);

static inline struct vec_op *vec_insn_op(struct cpu *c, const struct insn *i)
{
    struct vec_ctx *v = c->vec;
    return i->aux >> 32 == v->generation ? &v->op[(uint32_t)i->aux] : vec_bind(c, i);
}

/* ---- vec_exec.c ---- */

insn_fn vec_exec, vec_exec_x87;
/* Raises #XM, or #UD without CR4.OSXMMEXCPT. */
_Noreturn void vec_raise_simd(struct cpu *c);
/* What waiting instructions do about a pending unmasked x87 exception (SDM vol. 1 8.7): #MF with CR0.NE. Without, FERR#
 * is asserted, and unless the board answers by IGNNE# the vCPU freezes in front of the instruction until an interrupt;
 * then this is false and the handler returns at once. */
bool x87_check_pending(struct cpu *c) __attribute__((warn_unused_result));
/* By the instructions that clear exceptions without looking at them: FERR# falls. */
void x87_error_cleared(struct cpu *c);
/* What the first MMX instruction does to x87: TOP 0, all registers valid. */
void x87_enter_mmx(struct x86_fpu *f);
/* Physical registers stay where they are, ST(i) is renumbered. */
void x87_set_top(struct x86_fpu *f, unsigned top);
/* FSW.ES and B follow from flags and masks; reserved bits of FCW have their fixed values. */
void x87_normalise(struct x86_fpu *f);
static inline unsigned x87_top(const struct x86_fpu *f)
{
    return (f->fsw >> 11) & 7u;
}

/* ---- vec_move.c ---- */

insn_fn vec_mov_load, vec_mov_store, vec_mov_reg, vec_maskmov_load, vec_maskmov_store,
    vec_maskmovdqu, vec_maskmovq, vec_gather, vec_zeroupper, vec_zeroall;

/* imm of the vec_mov_* handlers, set by the decoder. */
#define MOV_SIZE  0xffu  /* bytes: 4, 8, 16, 32 */
#define MOV_ALIGN 0x100u
#define MOV_VEX   0x200u /* clears the upper part of the destination, checked as AVX */
#define MOV_STORE_FORM 0x400u /* register form with ModRM.rm as the destination */
/* imm of vec_maskmov_* and vec_gather */
#define ELEM_SIZE   0xffu   /* bytes of an element */
#define ELEM_YMM    0x100u  /* VEX.L */
#define ELEM_QINDEX 0x200u  /* gather with 64-bit indices */
#define ELEM_INDEX_SHIFT 16 /* gather: number of the vector index register */

/* ---- x87.c ---- */

insn_fn x87_fninit, x87_fnclex, x87_fnstsw, x87_fnstcw, x87_fldcw, x87_fnstenv, x87_fldenv,
    x87_fnsave, x87_frstor, x87_fwait, x87_nop, x87_emms;

/* ---- xsave.c ---- */

insn_fn vec_fxsave, vec_fxrstor, vec_ldmxcsr, vec_stmxcsr, vec_xsave, vec_xrstor;

#define MXCSR_MASK 0xffffu /* bits the guest may set */

/* imm of vec_xsave and vec_xrstor */
#define XSAVE_OPT 1u
#define XSAVE_COMPACT 2u
#define XSAVE_SUPERVISOR 4u /* XSAVES, XRSTORS */

/* #GP unless the operand is aligned; comes before the checks of insn_linear. */
static inline void vec_check_aligned(struct cpu *c, const struct insn *i, unsigned align)
{
    const bool based = !(c->mode & MODE_CODE64) || i->seg >= X86_FS;
    if ((insn_offset(c, i) + (based ? c->s.seg[i->seg].base : 0)) & (align - 1))
        cpu_gp(c, 0);
}

#endif
