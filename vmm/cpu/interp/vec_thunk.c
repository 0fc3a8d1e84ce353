/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Thunks: emission, cache, and the exit taken when a host instruction raises a SIMD floating-point
 * exception. Encodings: Intel SDM vol. 2A chapter 2.
 *
 * A thunk executes under the guest's own MXCSR. When the guest has unmasked an exception and it
 * happens, the host's #XM arrives as SIGFPE with the flags in the saved MXCSR and no destination
 * written; the handler (vec_fpe.c) resumes at the fault stub at the start of the code buffer, which
 * stores MXCSR for the guest and returns 1. x87 never raises: thunks wait for nothing after the instruction. */
#include "vmm/cpu/interp/vec_priv.h"

#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/cpu/interp/vec_fpe.h"

#define OFF_XMM(n)   (offsetof(struct x86_state, fpu.ymm) + 32u * (n))
#define OFF_MM(n)    (offsetof(struct x86_state, fpu.st) + 16u * (n))
#define OFF_GPR(n)   (offsetof(struct x86_state, gpr) + 8u * (n))
#define OFF_MXCSR    offsetof(struct x86_state, fpu.mxcsr)
#define OFF_IO_MXCSR offsetof(struct vec_io, mxcsr_host)
#define OFF_IO_FLAGS offsetof(struct vec_io, flags)
#define OFF_IO_FX    offsetof(struct vec_io, fx)

#define RSI 6u
#define RDI 7u

static _Atomic uint32_t last_generation;

/* ---- emission ---- */

static void emit(uint8_t **p, const void *bytes, size_t n)
{
    memcpy(*p, bytes, n);
    *p += n;
}

#define EMIT(p, ...)                                                                               \
    do {                                                                                           \
        static const uint8_t bytes_[] = {__VA_ARGS__};                                             \
        emit(p, bytes_, sizeof(bytes_));                                                           \
    } while (0)

/* ModRM and disp32 of [base + disp]. */
static void emit_mem(uint8_t **p, unsigned reg, unsigned base, size_t disp)
{
    uint8_t b[5] = {(uint8_t)(0x80 | (reg & 7) << 3 | base)};
    st_le32(b + 1, (uint32_t)disp);
    emit(p, b, sizeof(b));
}

/* (V)MOVUPS between a vector register and its place in x86_state. */
static void emit_xmm(uint8_t **p, unsigned reg, bool vex, bool store)
{
    const uint8_t opcode = store ? 0x11 : 0x10;
    if (vex) {
        const uint8_t b[] = {0xc5, reg & 8 ? 0x7c : 0xfc, opcode};
        emit(p, b, sizeof(b));
    } else {
        const uint8_t b[] = {reg & 8 ? 0x44 : 0x40, 0x0f, opcode};
        emit(p, b, sizeof(b));
    }
    emit_mem(p, reg, RDI, OFF_XMM(reg));
}

static void emit_gpr(uint8_t **p, unsigned host, unsigned guest, bool store)
{
    const uint8_t b[] = {0x48, store ? 0x89 : 0x8b};
    emit(p, b, sizeof(b));
    emit_mem(p, host, RDI, OFF_GPR(guest));
}

static void emit_mxcsr_load(uint8_t **p, unsigned base, size_t disp)
{
    EMIT(p, 0x0f, 0xae);
    emit_mem(p, 2, base, disp);
}

static void emit_mxcsr_store(uint8_t **p)
{
    EMIT(p, 0x0f, 0xae);
    emit_mem(p, 3, RDI, OFF_MXCSR);
}

static void emit_flags_load(uint8_t **p)
{
    EMIT(p, 0xff); /* push [rsi + flags]; popfq */
    emit_mem(p, 6, RSI, OFF_IO_FLAGS);
    EMIT(p, 0x9d);
}

static void emit_flags_store(uint8_t **p)
{
    EMIT(p, 0x9c, 0x8f); /* pushfq; pop [rsi + flags] */
    emit_mem(p, 0, RSI, OFF_IO_FLAGS);
}

static void emit_return(uint8_t **p, bool fault)
{
    if (fault)
        EMIT(p, 0xb8, 1, 0, 0, 0, 0xc3); /* mov eax, 1; ret */
    else
        EMIT(p, 0x31, 0xc0, 0xc3); /* xor eax, eax; ret */
}

static void emit_x87(uint8_t **p, const struct vec_spec *s)
{
    EMIT(p, 0x48, 0x0f, 0xae); /* fxrstor64 */
    emit_mem(p, 1, RSI, OFF_IO_FX);
    if (s->flags & VOP_FLAGS)
        emit_flags_load(p);
    emit(p, s->code, s->len);
    if (s->flags & VOP_FLAGS)
        emit_flags_store(p);
    EMIT(p, 0x48, 0x0f, 0xae); /* fxsave64 */
    emit_mem(p, 0, RSI, OFF_IO_FX);
    EMIT(p, 0xdb, 0xe3); /* fninit: C code expects an empty stack and nothing pending */
    emit_return(p, false);
}

static void emit_loads(uint8_t **p, const struct vec_spec *s)
{
    for (unsigned n = 0; n < 16; n++)
        if (s->xmm_load & BIT(n))
            emit_xmm(p, n, s->flags & VOP_VEX, false);
    for (unsigned n = 0; n < 8; n++)
        if (s->mmx_load & BIT(n)) {
            EMIT(p, 0x0f, 0x6f);
            emit_mem(p, n, RDI, OFF_MM(n));
        }
    for (unsigned n = 0; n < 3; n++)
        if (s->gpr_load & BIT(n))
            emit_gpr(p, n, n, false);
    if (s->gpr_in != REG_NONE)
        emit_gpr(p, X86_RAX, s->gpr_in, false);
    if (s->flags & VOP_FLAGS)
        emit_flags_load(p);
    if (s->flags & VOP_MXCSR)
        emit_mxcsr_load(p, RDI, OFF_MXCSR);
}

static void emit_stores(uint8_t **p, const struct vec_spec *s)
{
    if (s->flags & VOP_FLAGS)
        emit_flags_store(p);
    if (s->flags & VOP_MXCSR) {
        emit_mxcsr_store(p);
        emit_mxcsr_load(p, RSI, OFF_IO_MXCSR);
    }
    for (unsigned n = 0; n < 16; n++)
        if (s->xmm_store & BIT(n))
            emit_xmm(p, n, s->flags & VOP_VEX, true);
    for (unsigned n = 0; n < 8; n++)
        if (s->mmx_store & BIT(n)) {
            EMIT(p, 0x0f, 0x7f);
            emit_mem(p, n, RDI, OFF_MM(n));
            EMIT(p, 0x66, 0xc7); /* mov word [...], 0xffff: sign and exponent */
            emit_mem(p, 0, RDI, OFF_MM(n) + 8);
            EMIT(p, 0xff, 0xff);
        }
    for (unsigned n = 0; n < 3; n++)
        if (s->gpr_store & BIT(n))
            emit_gpr(p, n, n, true);
    if (s->gpr_out != REG_NONE)
        emit_gpr(p, X86_RAX, s->gpr_out, true);
}

static void emit_vector(uint8_t **p, const struct vec_spec *s)
{
    emit_loads(p, s);
    emit(p, s->code, s->len);
    emit_stores(p, s);
    if (s->flags & VOP_MMX)
        EMIT(p, 0x0f, 0x77); /* emms */
    if (s->flags & VOP_VEX)
        EMIT(p, 0xc5, 0xf8, 0x77); /* vzeroupper */
    emit_return(p, false);
}

/* Where SIGFPE resumes; it does not know which thunk it was. */
static void emit_fault_stub(uint8_t **p)
{
    emit_mxcsr_store(p);
    emit_mxcsr_load(p, RSI, OFF_IO_MXCSR);
    EMIT(p, 0x0f, 0x77);
    if (__builtin_cpu_supports("avx"))
        EMIT(p, 0xc5, 0xf8, 0x77);
    emit_return(p, true);
}

/* ---- cache ---- */

static void flush(struct vec_ctx *v)
{
    v->generation = atomic_fetch_add(&last_generation, 1) + 1;
    v->op_count = 0;
    v->code_used = v->code_start;
    memset(v->hash, 0xff, sizeof(v->hash));
}

static uint32_t hash_spec(const struct vec_spec *s)
{
    const uint8_t *b = (const uint8_t *)s;
    uint64_t h = 0;
    for (size_t n = 0; n < sizeof(*s); n += 4)
        h = (h ^ ld_le32(b + n)) * UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)(h >> 40) % VEC_HASH;
}

struct vec_op *vec_op_get(struct vec_ctx *v, const struct vec_spec *spec)
{
    _Static_assert(sizeof(*spec) % 4 == 0, "hashed by words");
    uint32_t h = hash_spec(spec);
    for (; v->hash[h] != VEC_NO_OP; h = (h + 1) % VEC_HASH)
        if (!memcmp(&v->op[v->hash[h]].spec, spec, sizeof(*spec)))
            return &v->op[v->hash[h]];
    if (v->op_count == VEC_OPS || v->code_used + VEC_THUNK_MAX > VEC_CODE) {
        flush(v);
        h = hash_spec(spec);
    }
    struct vec_op *op = &v->op[v->op_count];
    v->hash[h] = (uint16_t)v->op_count++;
    op->spec = *spec;
    uint8_t *p = v->code_rw + v->code_used;
    op->run = (thunk_fn *)(void *)(v->code_rx + v->code_used);
    if (spec->flags & VOP_X87)
        emit_x87(&p, spec);
    else
        emit_vector(&p, spec);
    v->code_used = ALIGN_UP((uint32_t)(p - v->code_rw), 16u);
    return op;
}

unsigned vec_op_run(struct vec_ctx *v, const struct vec_op *op, struct x86_state *s)
{
    vec_fpe_code = v->code_rx;
    return op->run(s, &v->io);
}

/* ---- life ---- */

static bool map_code(struct vec_ctx *v, struct err *e)
{
    const int fd = memfd_create("vmdeck-thunks", MFD_CLOEXEC);
    if (fd < 0)
        return err_errno(e, errno, "cannot create the software CPU's code buffer");
    void *rw = MAP_FAILED, *rx = MAP_FAILED;
    bool ok = ftruncate(fd, VEC_CODE) == 0;
    if (ok)
        rw = mmap(NULL, VEC_CODE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (rw != MAP_FAILED)
        rx = mmap(NULL, VEC_CODE, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
    const int errnum = errno;
    close(fd);
    v->code_rw = rw == MAP_FAILED ? NULL : rw;
    v->code_rx = rx == MAP_FAILED ? NULL : rx;
    return v->code_rx ||
           err_errno(e, errnum, "cannot map the software CPU's code buffer of %u KiB", VEC_CODE >> 10);
}

struct vec_ctx *vec_ctx_new(struct err *e)
{
    struct vec_ctx *v = mmap(NULL, sizeof(*v), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (v == MAP_FAILED) {
        err_errno(e, errno, "cannot allocate the software CPU's vector unit");
        return NULL;
    }
    if (!map_code(v, e)) {
        vec_ctx_free(v);
        return NULL;
    }
    v->io.mxcsr_host = 0x1f80;
    st_le32(v->io.fx + 24, v->io.mxcsr_host);
    uint8_t *p = v->code_rw;
    emit_fault_stub(&p);
    v->code_start = ALIGN_UP((uint32_t)(p - v->code_rw), 16u);
    flush(v);
    vec_fpe_install();
    return v;
}

void vec_ctx_free(struct vec_ctx *v)
{
    if (!v)
        return;
    if (v->code_rw)
        munmap(v->code_rw, VEC_CODE);
    if (v->code_rx)
        munmap(v->code_rx, VEC_CODE);
    munmap(v, sizeof(*v));
}
