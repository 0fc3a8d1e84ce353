/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The way into translated code and out of it. Stubs are called from translated code with a CALL, whose return address
 * they take off the stack at once, so that RSP is struct cpu again (16-byte aligned, as C functions want it). */
#include "vmm/cpu/jit/jit_priv.h"
#include "vmm/cpu/jit/runtime.h"

const uint8_t jit_host_reg[16] = {H_RAX, H_GRCX, H_RDX, H_RBX, H_GRSP, H_RBP, H_RSI, H_RDI,
                                  H_R8,  H_R9,   H_R10, H_R11, H_NONE, H_NONE, H_NONE, H_NONE};

#define OFF_CC    OFF(cc)
#define OFF_RIP   OFF(s.rip)
#define OFF_MXCSR OFF(s.fpu.mxcsr)
#define OFF_YMM(n) ((int32_t)(offsetof(struct cpu, s.fpu.ymm) + 32u * (n)))

#define EMIT(e, ...)                                                                               \
    do {                                                                                           \
        static const uint8_t bytes_[] = {__VA_ARGS__};                                             \
        emit_bytes(e, bytes_, sizeof(bytes_));                                                     \
    } while (0)

static const uint8_t saved_by_callee[] = {H_RBX, H_RBP, H_R12, H_R13, H_R14, H_R15};

static void push_pop(struct emit *e, unsigned opcode, unsigned reg)
{
    if (reg >= 8)
        emit8(e, 0x41);
    emit8(e, opcode | (reg & 7));
}

/* Guest registers and flags to struct x86_state. RCX, R14 and R15 keep their values. */
static void spill(struct emit *e)
{
    for (unsigned g = 0; g < 12; g++)
        emit_store(e, true, jit_host_reg[g], STATE(OFF_GPR(g)));
    EMIT(e, 0x9f, 0x0f, 0x90, 0xc0, 0x66); /* lahf; seto al; mov word [cc], ax */
    emit_store(e, false, H_RAX, STATE(OFF_CC));
}

static void reload(struct emit *e)
{
    emit_op_0f(e, false, 0xb7, H_RAX, STATE(OFF_CC));
    EMIT(e, 0x04, 0x7f, 0x9e); /* add al, 0x7f; sahf */
    for (unsigned g = 0; g < 12; g++)
        emit_load(e, true, jit_host_reg[g], STATE(OFF_GPR(g)));
}

static void store_imm32(struct emit *e, int32_t off, uint32_t v)
{
    emit_enc(e, &(struct enc){.opcode = 0xc7, .rm = STATE(off), .imm_size = 4, .imm = v});
}

static void cmp_imm8(struct emit *e, int32_t off, unsigned v)
{
    emit_enc(e, &(struct enc){.opcode = 0x83, .reg = 7, .rm = STATE(off), .imm_size = 1, .imm = v});
}

static void call_c(struct emit *e, const void *fn)
{
    emit_mov_imm(e, H_RAX, (uint64_t)(uintptr_t)fn);
    EMIT(e, 0xff, 0xd0);
}

static void vex_mem(struct emit *e, unsigned opcode, bool ymm, unsigned reg, unsigned src, int32_t off)
{
    emit_enc(e, &(struct enc){.vex = true, .map = MAP_0F, .l = ymm, .opcode = (uint8_t)opcode, .reg = (uint8_t)reg,
                              .vvvv = (uint8_t)src, .rm = STATE(off)});
}

#define VMOVUPS_LOAD  0x10
#define VMOVUPS_STORE 0x11
#define VORPS         0x56

/* Without touching flags. With clean upper halves the processor executes SSE instructions at full speed; it does not when
 * they were written, be it with zeros, so they are not unless there is something in them. */
static void vec_in(struct emit *e)
{
    vex_mem(e, VMOVUPS_LOAD, false, 0, 0, OFF_YMM(0) + 16);
    for (unsigned n = 1; n < 16; n++)
        vex_mem(e, VORPS, false, 0, 0, OFF_YMM(n) + 16);
    EMIT(e, 0xc5, 0xf1, 0xef, 0xc9,  /* vpxor xmm1, xmm1, xmm1 */
         0xc5, 0xf9, 0x74, 0xc1,     /* vpcmpeqb xmm0, xmm0, xmm1 */
         0xc5, 0xf9, 0xd7, 0xc8,     /* vpmovmskb ecx, xmm0 */
         0x8d, 0x89, 0x01, 0, 0xff, 0xff); /* lea ecx, [rcx - 0xffff] */
    uint8_t *clean = emit_short(e, OP_JRCXZ);
    uint8_t *used = emit_jmp_forward(e);
    emit_patch8(e, clean);
    EMIT(e, 0xc5, 0xf8, 0x77); /* vzeroupper */
    for (unsigned n = 0; n < 16; n++)
        vex_mem(e, VMOVUPS_LOAD, false, n, 0, OFF_YMM(n));
    uint8_t *loaded = emit_jmp_forward(e);
    emit_patch32(e, used, emit_rx(e));
    for (unsigned n = 0; n < 16; n++)
        vex_mem(e, VMOVUPS_LOAD, true, n, 0, OFF_YMM(n));
    emit_patch32(e, loaded, emit_rx(e));
    emit_op_0f(e, false, 0xae, 2, STATE(OFF_MXCSR)); /* ldmxcsr */
    store_imm32(e, OFF_HOT(vec_absent), 0);
}

/* If it is the guest's. C code gets its own MXCSR unless only flags differ. */
static void vec_out(struct emit *e)
{
    cmp_imm8(e, OFF_HOT(vec_absent), 0);
    uint8_t *absent = emit_jcc_forward(e, 5);
    for (unsigned n = 0; n < 16; n++)
        vex_mem(e, VMOVUPS_STORE, true, n, 0, OFF_YMM(n));
    EMIT(e, 0xc5, 0xf8, 0x77); /* vzeroupper */
    emit_op_0f(e, false, 0xae, 3, STATE(OFF_MXCSR)); /* stmxcsr */
    store_imm32(e, OFF_HOT(vec_absent), 1);
    emit_load(e, false, H_RAX, STATE(OFF_MXCSR));
    EMIT(e, 0x25, 0xc0, 0xff, 0, 0, 0x3d, 0x80, 0x1f, 0, 0); /* and eax, 0xffc0; cmp eax, 0x1f80 */
    uint8_t *same = emit_jcc_forward(e, 4);
    emit_op_0f(e, false, 0xae, 2, STATE(OFF_HOT(mxcsr_host)));
    emit_patch32(e, same, emit_rx(e));
    emit_patch32(e, absent, emit_rx(e));
}

static void x87_area(struct emit *e, unsigned reg)
{
    EMIT(e, 0xb8, 1, 0, 0, 0, 0x31, 0xd2); /* mov eax, 1; xor edx, edx: x87 alone */
    emit_op_0f(e, true, 0xae, reg, STATE(OFF_HOT(x87)));
}

static void x87_out(struct emit *e)
{
    cmp_imm8(e, OFF_HOT(x87_absent), 0);
    uint8_t *absent = emit_jcc_forward(e, 5);
    x87_area(e, 4); /* xsave64 */
    EMIT(e, 0xdb, 0xe3); /* fninit */
    EMIT(e, 0x48, 0x89, 0xe7); /* mov rdi, rsp */
    call_c(e, (const void *)jit_x87_saved);
    emit_patch32(e, absent, emit_rx(e));
}

static void x87_in(struct emit *e)
{
    EMIT(e, 0x48, 0x89, 0xe7);
    call_c(e, (const void *)jit_x87_prepare);
    x87_area(e, 5); /* xrstor64 */
}

static void take_return(struct emit *e)
{
    emit_op(e, false, 0x8f, 0, STATE(OFF_HOT(ret))); /* pop [ret] */
}

static void go_back(struct emit *e)
{
    emit_op(e, false, 0xff, 4, STATE(OFF_HOT(ret))); /* jmp [ret] */
}

/* Registers are spilled already. */
static void leave(struct emit *e)
{
    vec_out(e);
    x87_out(e);
    emit_load(e, true, H_RSP, STATE(OFF_HOT(host_rsp)));
    for (unsigned n = ARRAY_LEN(saved_by_callee); n-- > 0;)
        push_pop(e, 0x58, saved_by_callee[n]);
    emit8(e, 0xc3);
}

static void enter_stub(struct emit *e)
{
    for (unsigned n = 0; n < ARRAY_LEN(saved_by_callee); n++)
        push_pop(e, 0x50, saved_by_callee[n]);
    emit_store(e, true, H_RSP, rm_mem(H_RDI, OFF_HOT(host_rsp)));
    emit_store(e, true, H_RSI, rm_mem(H_RDI, OFF_HOT(ret)));
    emit_op(e, true, 0x8b, H_RSP, rm_reg(H_RDI));
    reload(e);
    go_back(e);
}

/* R15D: index of the link. */
static void exit_link_stub(struct emit *e)
{
    emit_store(e, false, H_TEMP, STATE(OFF_HOT(link)));
    spill(e);
    leave(e);
}

/* R14: RIP. */
static void exit_jump_stub(struct emit *e)
{
    emit_store(e, true, H_ADDR, STATE(OFF_RIP));
    store_imm32(e, OFF_HOT(link), LINK_JUMP);
    spill(e);
    leave(e);
}

static void landed_stub(struct emit *e)
{
    store_imm32(e, OFF_HOT(link), LINK_LANDED);
    spill(e);
    leave(e);
}

/* R14: target, R15D: index of the site. */
static void exit_indirect_stub(struct emit *e)
{
    emit_store(e, true, H_ADDR, STATE(OFF_HOT(target)));
    emit_store(e, false, H_TEMP, STATE(OFF_HOT(site)));
    store_imm32(e, OFF_HOT(link), LINK_INDIRECT);
    spill(e);
    leave(e);
}

static void require_zero(struct emit *e, uint8_t **fail)
{
    uint8_t *zero = emit_short(e, OP_JRCXZ);

    *fail = emit_jmp_forward(e);
    emit_patch8(e, zero);
}

/* R14: an RIP that the jump cache has not, R15D: the mode. Looks for it in hot.known and puts it into the jump cache.
 * R15: host address, or 0. Flags stay. */
static void find_jump_stub(struct emit *e, unsigned mmu)
{
    const int32_t cache = (int32_t)(sizeof(((struct jit_hot *)0)->jumps[0]) * mmu);
    uint8_t *asked, *other_rip, *other_mode;

    take_return(e);
    emit_store(e, true, H_ADDR, STATE(OFF_HOT(target)));
    emit_store(e, false, H_TEMP, STATE(OFF_HOT(site)));
    emit_load(e, false, H_RCX, STATE(OFF_HOT(attention)));
    require_zero(e, &asked);
    emit_rorx(e, true, H_TEMP, rm_reg(H_ADDR), PAGE_SHIFT);
    emit_lea(e, true, H_TEMP, rm_index(H_TEMP, H_ADDR, 1, 0));
    emit_pext(e, H_TEMP, H_TEMP, STATE(OFF_HOT(known_select)));
    emit_rorx(e, true, H_TEMP, rm_reg(H_TEMP), 64 - 5); /* times 32 */
    emit_load(e, true, H_RCX, rm_index(H_RSP, H_TEMP, 1, OFF_HOT(known[0].minus_rip)));
    emit_lea(e, true, H_RCX, rm_index(H_RCX, H_ADDR, 1, 0));
    require_zero(e, &other_rip);
    emit_load(e, false, H_RCX, rm_index(H_RSP, H_TEMP, 1, OFF_HOT(known[0].minus_mode)));
    emit_load(e, false, H_ADDR, STATE(OFF_HOT(site)));
    emit_lea(e, false, H_RCX, rm_index(H_RCX, H_ADDR, 1, 0));
    require_zero(e, &other_mode);
    emit_load(e, true, H_TEMP, rm_index(H_RSP, H_TEMP, 1, OFF_HOT(known[0].entry)));
    emit_load(e, true, H_ADDR, STATE(OFF_HOT(target)));
    emit_pext(e, H_RCX, H_ADDR, STATE(OFF_HOT(jump_fill)));
    uint8_t *first = emit_short(e, OP_JRCXZ); /* stays empty */
    emit_store(e, true, H_TEMP, rm_index(H_RSP, H_RCX, 8, OFF_HOT(jumps[0].host) + cache));
    emit_op(e, true, 0xf7, 2, rm_reg(H_ADDR)); /* not */
    emit_lea(e, true, H_ADDR, rm_mem(H_ADDR, 1));
    emit_store(e, true, H_ADDR, rm_index(H_RSP, H_RCX, 8, OFF_HOT(jumps[0].tag) + cache));
    emit_load(e, true, H_ADDR, STATE(OFF_HOT(target)));
    emit_patch8(e, first);
    go_back(e);
    emit_patch32(e, asked, emit_rx(e));
    emit_patch32(e, other_rip, emit_rx(e));
    emit_patch32(e, other_mode, emit_rx(e));
    emit_load(e, true, H_ADDR, STATE(OFF_HOT(target)));
    emit_mov_imm(e, H_TEMP, 0);
    go_back(e);
}

static void find_jump_kernel_stub(struct emit *e)
{
    find_jump_stub(e, MMU_KERNEL);
}

static void find_jump_user_stub(struct emit *e)
{
    find_jump_stub(e, MMU_USER);
}

static void find_jump_kernel_ac_stub(struct emit *e)
{
    find_jump_stub(e, MMU_KERNEL_AC);
}

/* RIP is set; the instruction there is the interpreter's. */
static void trap_stub(struct emit *e)
{
    store_imm32(e, OFF_HOT(link), LINK_INTERPRET);
    spill(e);
    leave(e);
}

/* R14: linear address, R15D: index of the site. Returns when the TLB has the page. */
static void slow_stub(struct emit *e)
{
    take_return(e);
    spill(e);
    emit_load(e, false, H_RBX, STATE(OFF_HOT(vec_absent)));
    emit_load(e, false, H_RBP, STATE(OFF_HOT(x87_absent)));
    vec_out(e);
    x87_out(e);
    EMIT(e, 0x48, 0x89, 0xe7, 0x4c, 0x89, 0xf6, 0x44, 0x89, 0xfa); /* mov rdi, rsp; mov rsi, r14; mov edx, r15d */
    call_c(e, (const void *)jit_slow_access);
    EMIT(e, 0x85, 0xc0); /* test eax, eax */
    uint8_t *failed = emit_jcc_forward(e, 4);
    EMIT(e, 0x85, 0xed); /* test ebp, ebp */
    uint8_t *no_x87 = emit_jcc_forward(e, 5);
    x87_in(e);
    emit_patch32(e, no_x87, emit_rx(e));
    EMIT(e, 0x85, 0xdb); /* test ebx, ebx */
    uint8_t *no_vec = emit_jcc_forward(e, 5);
    vec_in(e);
    emit_patch32(e, no_vec, emit_rx(e));
    reload(e);
    go_back(e);
    emit_patch32(e, failed, emit_rx(e));
    store_imm32(e, OFF_HOT(link), LINK_INTERPRET);
    leave(e);
}

/* R15: struct jit_call. */
static void callback_stub(struct emit *e)
{
    take_return(e);
    spill(e);
    vec_out(e);
    x87_out(e);
    EMIT(e, 0x48, 0x89, 0xe7, 0x4c, 0x89, 0xfe); /* mov rdi, rsp; mov rsi, r15 */
    call_c(e, (const void *)jit_call_handler);
    EMIT(e, 0x48, 0x85, 0xc0); /* test rax, rax */
    uint8_t *leaves = emit_jcc_forward(e, 4);
    emit_store(e, true, H_RAX, STATE(OFF_HOT(ret)));
    reload(e);
    go_back(e);
    emit_patch32(e, leaves, emit_rx(e));
    store_imm32(e, OFF_HOT(link), LINK_NONE);
    leave(e);
}

static void vec_load_stub(struct emit *e)
{
    take_return(e);
    vec_in(e);
    go_back(e);
}

static void x87_load_stub(struct emit *e)
{
    take_return(e);
    spill(e);
    emit_load(e, false, H_RBX, STATE(OFF_HOT(vec_absent)));
    vec_out(e);
    x87_in(e);
    EMIT(e, 0x85, 0xdb);
    uint8_t *no_vec = emit_jcc_forward(e, 5);
    vec_in(e);
    emit_patch32(e, no_vec, emit_rx(e));
    reload(e);
    go_back(e);
}

bool jit_make_stubs(struct jit *j)
{
    struct emit e = {.p = j->rw, .end = j->rw + 65536, .rx = j->rx - j->rw};

#define STUB(member, make)                                                                         \
    do {                                                                                           \
        while ((uintptr_t)e.p & 15)                                                                \
            emit8(&e, 0xcc);                                                                       \
        j->member = (const void *)emit_rx(&e);                                                     \
        make(&e);                                                                                  \
    } while (0)
    const void *enter;
    enter = emit_rx(&e);
    enter_stub(&e);
    memcpy(&j->enter, &enter, sizeof(enter));
    STUB(exit_link, exit_link_stub);
    STUB(exit_jump, exit_jump_stub);
    STUB(landed, landed_stub);
    STUB(exit_indirect, exit_indirect_stub);
    STUB(find_jump[MMU_KERNEL], find_jump_kernel_stub);
    STUB(find_jump[MMU_USER], find_jump_user_stub);
    STUB(find_jump[MMU_KERNEL_AC], find_jump_kernel_ac_stub);
    STUB(trap, trap_stub);
    STUB(slow, slow_stub);
    STUB(callback, callback_stub);
    STUB(vec_load, vec_load_stub);
    STUB(x87_load, x87_load_stub);
#undef STUB
    j->start = ALIGN_UP((size_t)(e.p - j->rw), (size_t)64);
    return !e.full;
}
