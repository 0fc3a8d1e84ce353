/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writing x86-64 machine code. Encodings: Intel SDM vol. 2A chapter 2. */
#ifndef VMDECK_CPU_JIT_EMIT_H
#define VMDECK_CPU_JIT_EMIT_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum host_reg {
    H_RAX, H_RCX, H_RDX, H_RBX, H_RSP, H_RBP, H_RSI, H_RDI,
    H_R8, H_R9, H_R10, H_R11, H_R12, H_R13, H_R14, H_R15, H_NONE = 0xff,
};

/* Code memory is mapped twice: written through p, executed at p + rx. */
struct emit {
    uint8_t *p, *end;
    int64_t rx;
    bool full; /* end was reached; what was written is useless */
};

/* The r/m operand. */
struct rm {
    bool mem;
    uint8_t reg;         /* when it is a register */
    uint8_t base, index; /* H_NONE: none; RSP is no index */
    uint8_t scale;       /* 1, 2, 4, 8 */
    int32_t disp;
};

static inline struct rm rm_reg(unsigned r)
{
    return (struct rm){.reg = (uint8_t)r};
}

static inline struct rm rm_mem(unsigned base, int32_t disp)
{
    return (struct rm){.mem = true, .base = (uint8_t)base, .index = H_NONE, .scale = 1, .disp = disp};
}

static inline struct rm rm_index(unsigned base, unsigned index, unsigned scale, int32_t disp)
{
    return (struct rm){
        .mem = true, .base = (uint8_t)base, .index = (uint8_t)index, .scale = (uint8_t)scale, .disp = disp};
}

enum opcode_map { MAP_ONE, MAP_0F, MAP_0F38, MAP_0F3A };

/* One instruction with a ModRM byte, in any encoding but EVEX. */
struct enc {
    uint8_t legacy[4]; /* prefixes in front of REX: 66, F2, F3, F0 */
    uint8_t legacy_count;
    bool w;
    bool byte_reg, byte_rm; /* those fields name byte registers: 4 to 7 are SPL to DIL, which takes a REX */
    bool no_rex;            /* they are AH to BH instead; no field may exceed 7 then */
    bool vex;
    uint8_t vvvv, l, pp;
    uint8_t map, opcode, reg;
    struct rm rm;
    uint8_t imm_size;
    uint64_t imm;
};

void emit_enc(struct emit *e, const struct enc *x);

static inline uint8_t *emit_rx(const struct emit *e)
{
    return e->p + e->rx;
}

static inline void emit8(struct emit *e, unsigned v)
{
    if (e->p < e->end)
        *e->p++ = (uint8_t)v;
    else
        e->full = true;
}

static inline void emit_bytes(struct emit *e, const void *bytes, unsigned n)
{
    if (e->end - e->p >= (int64_t)n) {
        memcpy(e->p, bytes, n);
        e->p += n;
    } else {
        e->full = true;
    }
}

static inline void emit32(struct emit *e, uint32_t v)
{
    emit_bytes(e, &v, 4);
}

static inline void emit64(struct emit *e, uint64_t v)
{
    emit_bytes(e, &v, 8);
}

/* opcode r/m, reg of MAP_ONE; w: 64-bit operands. */
static inline void emit_op(struct emit *e, bool w, unsigned opcode, unsigned reg, struct rm rm)
{
    emit_enc(e, &(struct enc){.w = w, .opcode = (uint8_t)opcode, .reg = (uint8_t)reg, .rm = rm});
}

static inline void emit_op_0f(struct emit *e, bool w, unsigned opcode, unsigned reg, struct rm rm)
{
    emit_enc(e, &(struct enc){.w = w, .map = MAP_0F, .opcode = (uint8_t)opcode, .reg = (uint8_t)reg, .rm = rm});
}

static inline void emit_load(struct emit *e, bool w, unsigned reg, struct rm rm)
{
    emit_op(e, w, 0x8b, reg, rm);
}

static inline void emit_store(struct emit *e, bool w, unsigned reg, struct rm rm)
{
    emit_op(e, w, 0x89, reg, rm);
}

static inline void emit_lea(struct emit *e, bool w, unsigned reg, struct rm rm)
{
    emit_op(e, w, 0x8d, reg, rm);
}

/* Shortest move of a constant; leaves flags alone. */
void emit_mov_imm(struct emit *e, unsigned reg, uint64_t v);
/* dst = src rotated right, flags untouched (BMI2). */
void emit_rorx(struct emit *e, bool w, unsigned dst, struct rm src, unsigned count);
/* dst = bits of src selected by mask (BMI2). */
void emit_pext(struct emit *e, unsigned dst, unsigned src, struct rm mask);
void emit_pdep(struct emit *e, unsigned dst, unsigned src, struct rm mask);

/* Jumps to an executable address within reach. */
void emit_jmp(struct emit *e, const void *target);
void emit_jcc(struct emit *e, unsigned cond, const void *target);
void emit_call(struct emit *e, const void *target);

/* Forward jumps inside the buffer: the place to be patched, and the patch. */
static inline uint8_t *emit_jmp_forward(struct emit *e)
{
    emit8(e, 0xe9);
    emit32(e, 0);
    return e->p;
}

static inline uint8_t *emit_jcc_forward(struct emit *e, unsigned cond)
{
    emit8(e, 0x0f);
    emit8(e, 0x80 | cond);
    emit32(e, 0);
    return e->p;
}

/* after: what emit_*_forward returned (writable side); target: executable address. */
static inline void emit_patch32(const struct emit *e, uint8_t *after, const void *target)
{
    int32_t rel = (int32_t)((const uint8_t *)target - (after + e->rx));

    if (!e->full)
        memcpy(after - 4, &rel, 4);
}

/* A short jump over what follows, until emit_patch8. JRCXZ tests RCX without touching flags. */
static inline uint8_t *emit_short(struct emit *e, unsigned opcode)
{
    emit8(e, opcode);
    emit8(e, 0);
    return e->p;
}
#define OP_JRCXZ 0xe3
#define OP_JMP8  0xeb

static inline void emit_patch8(const struct emit *e, uint8_t *after)
{
    if (!e->full)
        after[-1] = (uint8_t)(e->p - after);
}

#endif
