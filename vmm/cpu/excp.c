/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Raising and delivery of exceptions and interrupts.
 *
 * Source: SDM vol. 3A ch. 6 (protected and long mode), 20.1.4 (real mode), 20.3 (virtual-8086 mode),
 * vol. 2 "INT n"; double fault table 6-5. Delivery commits nothing before every check has passed and
 * every push has been probed, so a fault met on the way leaves the state at the interrupted
 * instruction; cpu_deliver catches it, combines the two, and tries again. */

/* cpu_raise leaves the stack below struct cpu on which translated code calls C (jit/jit_priv.h); the checked longjmp
 * takes that for an error. */
#undef _FORTIFY_SOURCE

#include "vmm/cpu/excp.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

#include "vmm/cpu/debug.h"
#include "vmm/cpu/seg.h"
#include "vmm/cpu/sysutil.h"

/* ---- raising ---- */

/* For AddressSanitizer, whose longjmp knows the thread's own stack alone: neither the frames of the C code that
 * translated code called nor those between it and cpu_run are left guarded. */
static inline void forget_frames(struct cpu *c)
{
#ifdef __SANITIZE_ADDRESS__
    uintptr_t here = (uintptr_t)__builtin_frame_address(0), cpu = (uintptr_t)c;

    if (here >= cpu || cpu - here > CPU_STACK_SIZE)
        return;
    __asan_unpoison_memory_region((void *)(cpu - CPU_STACK_SIZE), CPU_STACK_SIZE);
    __asan_unpoison_memory_region((void *)c->hot.host_rsp, 4 * KIB); /* some frames more: no harm */
#else
    (void)c;
#endif
}

static _Noreturn void raise_event(struct cpu *c, unsigned vector, bool has_error, uint32_t error)
{
    c->raised.vector = (uint8_t)vector;
    c->raised.has_error = has_error;
    c->raised.error = error;
    /* a delivery may have been pushing for another privilege level */
    c->mmu = cpu_mmu_index(c, c->cpl);
    forget_frames(c);
    siglongjmp(c->raise_env, 1);
}

void cpu_raise(struct cpu *c, unsigned vector)
{
    raise_event(c, vector, false, 0);
}

void cpu_raise_err(struct cpu *c, unsigned vector, uint32_t error)
{
    raise_event(c, vector, true, error);
}

void cpu_raise_pf(struct cpu *c, uint64_t gva, uint32_t error)
{
    c->raised.cr2 = gva;
    raise_event(c, X86_PF_FAULT, true, error);
}

/* ---- real mode, and virtual-8086 mode through its own vector table ---- */

static void enter_real(struct cpu *c, unsigned vector, uint64_t table, uint16_t flags, uint64_t ret)
{
    uint32_t entry = (uint32_t)mem_ld_sys(c, table + vector * 4, 4);
    struct x86_seg cs = seg_real(c, X86_CS, (uint16_t)(entry >> 16));
    struct stack st;

    stack_current(c, &st, 0);
    stack_push(c, &st, flags, 2);
    stack_push(c, &st, c->s.seg[X86_CS].sel, 2);
    stack_push(c, &st, ret, 2);
    seg_check_rip(c, &cs, entry & 0xffff, 0);
    stack_write(c, &st);
    stack_set_rsp(c, &st);
    seg_commit_cs(c, &cs, c->cpl, entry & 0xffff);
}

static void deliver_real(struct cpu *c, const struct event *ev)
{
    if (ev->vector * 4u + 3 > c->s.idt.limit)
        cpu_gp(c, ev->vector * 8u + 2 + ev->ext);
    enter_real(c, ev->vector, c->s.idt.base, (uint16_t)cpu_flags(c), ev->ret);
    flags_write(c, 0, X86_IF | X86_TF | X86_AC | X86_RF);
    cpu_mode_changed(c);
}

/* INT n of a virtual-8086 task with CR4.VME: whether bit n of the redirection map, which lies in
 * front of the I/O map, says that the task handles it itself (SDM vol. 3A 20.3.3). */
static bool vme_redirects(struct cpu *c, unsigned vector)
{
    if (!(SEG_TYPE(c->s.tr.attr) & 8) || c->s.tr.limit < 0x67)
        return false;
    uint64_t io_base = mem_ld_sys(c, c->s.tr.base + 0x66, 2);
    uint64_t at = io_base - 32 + vector / 8;
    if (io_base < 32 || at > c->s.tr.limit)
        cpu_gp(c, 0);
    return !(mem_ld_sys(c, c->s.tr.base + at, 1) >> (vector & 7) & 1);
}

/* Returns true when INT n has been taken inside of the virtual-8086 task. */
static bool deliver_vm86_soft(struct cpu *c, const struct event *ev)
{
    if ((c->s.cr4 & CR4_VME) && vme_redirects(c, ev->vector)) {
        uint64_t flags = cpu_flags(c);
        bool virtual_if = cpu_iopl(c) < 3;

        if (virtual_if)
            flags = (flags & ~(uint64_t)X86_IF) | X86_IOPL | (flags & X86_VIF ? X86_IF : 0);
        enter_real(c, ev->vector, 0, (uint16_t)flags, ev->ret);
        flags_write(c, 0, X86_TF | X86_RF | (virtual_if ? X86_VIF : X86_IF));
        return true;
    }
    if (cpu_iopl(c) < 3)
        cpu_gp(c, 0);
    return false;
}

/* ---- protected and long mode ---- */

struct idt_gate {
    struct desc d;
    uint64_t offset;
    uint16_t sel;
    uint8_t type, ist;
};

static void gate_fetch(struct cpu *c, const struct event *ev, struct idt_gate *g)
{
    unsigned size = c->long_mode ? 16 : 8;
    uint32_t error = ev->vector * 8u + 2 + ev->ext;

    if (ev->vector * size + size - 1 > c->s.idt.limit)
        cpu_gp(c, error);
    g->d.addr = c->s.idt.base + ev->vector * size;
    if (!c->long_mode)
        g->d.addr = (uint32_t)g->d.addr;
    g->d.raw = mem_ld_sys(c, g->d.addr, 8);
    g->d.high = c->long_mode ? mem_ld_sys(c, g->d.addr + 8, 8) : 0;
    g->d.attr = g->d.raw >> 40 & 0xff;
    g->type = SEG_TYPE(g->d.attr);
    g->sel = g->d.raw >> 16 & 0xffff;
    g->ist = c->long_mode ? g->d.raw >> 32 & 7 : 0;
    g->offset = (g->d.raw & 0xffff) | (g->d.raw >> 32 & 0xffff0000) | g->d.high << 32;

    bool long_ok = g->type == SYS_INT32 || g->type == SYS_TRAP32;
    bool legacy_ok = long_ok || g->type == SYS_TASK || g->type == SYS_INT16 || g->type == SYS_TRAP16;
    if ((g->d.attr & SEG_S) || !(c->long_mode ? long_ok : legacy_ok))
        cpu_gp(c, error);
    if (ev->check_dpl && SEG_DPL(g->d.attr) < c->cpl)
        cpu_gp(c, error);
    if (!(g->d.attr & SEG_P))
        cpu_raise_err(c, X86_NP, error);
    if (g->type == SYS_INT16 || g->type == SYS_TRAP16)
        g->offset &= 0xffff;
}

/* Checks the handler's code segment and returns the privilege it runs at. */
static unsigned gate_code(struct cpu *c, const struct event *ev, const struct idt_gate *g,
                          struct desc *code)
{
    uint32_t error = (g->sel & 0xfffcu) | ev->ext;

    if (SEL_IS_NULL(g->sel))
        cpu_gp(c, ev->ext);
    if (!desc_fetch(c, g->sel, code) || !desc_is_code(code) || SEG_DPL(code->attr) > c->cpl)
        cpu_gp(c, error);
    if (c->long_mode && (code->attr & (SEG_L | SEG_DB)) != SEG_L)
        cpu_gp(c, error);
    if (!(code->attr & SEG_P))
        cpu_raise_err(c, X86_NP, error);
    unsigned cpl = desc_is_conforming(code) ? c->cpl : SEG_DPL(code->attr);
    if ((c->s.rflags & X86_VM) && cpl != 0)
        cpu_gp(c, error);
    return cpl;
}

/* RFLAGS image: faults set RF, so that an instruction breakpoint does not hit again on return;
 * instruction breakpoints themselves do not (SDM vol. 3B 17.3.1.1). */
static uint64_t flags_image(struct cpu *c, const struct event *ev)
{
    uint64_t flags = cpu_flags(c);

    return ev->kind == EVENT_FAULT && ev->vector != X86_DB ? flags | X86_RF : flags;
}

static void enter_common(struct cpu *c, const struct idt_gate *g)
{
    bool interrupt = g->type == SYS_INT16 || g->type == SYS_INT32;

    flags_write(c, 0, X86_TF | X86_NT | X86_RF | X86_VM | (interrupt ? X86_IF : 0));
}

static void deliver_protected(struct cpu *c, const struct event *ev, const struct idt_gate *g)
{
    bool vm = c->s.rflags & X86_VM;
    unsigned width = g->type == SYS_INT32 || g->type == SYS_TRAP32 ? 4 : 2;
    struct stack st;
    struct x86_seg ss = c->s.seg[X86_SS];
    struct desc code;
    unsigned cpl = gate_code(c, ev, g, &code);

    if (cpl < c->cpl) {
        uint64_t sp;
        uint16_t sel;

        tss_inner_stack(c, cpl, ev->ext, &sel, &sp);
        tss_check_ss(c, sel, cpl, ev->ext, &ss);
        stack_other(c, &st, &ss, sp, false, (uint8_t)cpl, (uint16_t)((sel & 0xfffcu) | ev->ext));
        if (vm) {
            static const uint8_t order[] = {X86_GS, X86_FS, X86_DS, X86_ES};

            for (unsigned n = 0; n < ARRAY_LEN(order); n++)
                stack_push(c, &st, c->s.seg[order[n]].sel, width);
        }
        stack_push(c, &st, c->s.seg[X86_SS].sel, width);
        stack_push(c, &st, c->s.gpr[X86_RSP], width);
    } else {
        stack_current(c, &st, ev->ext);
    }
    stack_push(c, &st, flags_image(c, ev), width);
    stack_push(c, &st, c->s.seg[X86_CS].sel, width);
    stack_push(c, &st, ev->ret, width);
    if (ev->has_error)
        stack_push(c, &st, ev->error, width);
    struct x86_seg cs = desc_seg(c, &code, (uint16_t)((g->sel & ~3u) | cpl));
    seg_check_rip(c, &cs, g->offset, ev->ext);

    stack_write(c, &st);
    if (vm)
        for (unsigned n = X86_ES; n <= X86_GS; n++)
            if (n != X86_CS && n != X86_SS)
                c->s.seg[n] = seg_null(0, 0);
    c->s.seg[X86_SS] = ss;
    stack_set_rsp(c, &st);
    enter_common(c, g);
    seg_commit_cs(c, &cs, (uint8_t)cpl, g->offset);
}

static void deliver_long(struct cpu *c, const struct event *ev, const struct idt_gate *g)
{
    struct x86_seg ss = c->s.seg[X86_SS];
    uint64_t sp = c->s.gpr[X86_RSP];
    struct stack st;
    struct desc code;
    unsigned cpl = gate_code(c, ev, g, &code);

    if (cpl < c->cpl)
        ss = seg_null((uint16_t)cpl, cpl);
    if (g->ist || cpl < c->cpl)
        sp = tss_long_stack(c, cpl, g->ist, ev->ext);
    stack_other(c, &st, &ss, sp & ~UINT64_C(15), true, (uint8_t)cpl, ev->ext);
    stack_push(c, &st, c->s.seg[X86_SS].sel, 8);
    stack_push(c, &st, c->s.gpr[X86_RSP], 8);
    stack_push(c, &st, flags_image(c, ev), 8);
    stack_push(c, &st, c->s.seg[X86_CS].sel, 8);
    stack_push(c, &st, ev->ret, 8);
    if (ev->has_error)
        stack_push(c, &st, ev->error, 8);
    struct x86_seg cs = desc_seg(c, &code, (uint16_t)((g->sel & ~3u) | cpl));
    seg_check_rip(c, &cs, g->offset, ev->ext);

    stack_write(c, &st);
    c->s.seg[X86_SS] = ss;
    stack_set_rsp(c, &st);
    enter_common(c, g);
    seg_commit_cs(c, &cs, (uint8_t)cpl, g->offset);
}

void excp_deliver_once(struct cpu *c, const struct event *ev)
{
    struct idt_gate g;

    c->dbg_tf = false; /* entering a handler clears TF: no single-step trap behind INT n */
    if (!(c->s.cr0 & CR0_PE)) {
        deliver_real(c, ev);
    } else {
        if ((c->s.rflags & X86_VM) && ev->is_int_n && deliver_vm86_soft(c, ev))
            return;
        gate_fetch(c, ev, &g);
        if (g.type == SYS_TASK)
            task_gate(c, &g.d, TASK_INT, ev->ret, ev->ext, ev->has_error, ev->error);
        else if (c->long_mode)
            deliver_long(c, ev, &g);
        else
            deliver_protected(c, ev, &g);
    }
    if (ev->vector == X86_DB)
        c->s.dr[7] &= ~(uint64_t)DR7_GD;
    if (ev->kind == EVENT_NMI)
        c->s.nmi_masked = 1;
    c->s.sti_shadow = c->s.mov_ss_shadow = 0;
}

/* ---- faults during delivery ---- */

enum fault_class { BENIGN, CONTRIBUTORY, PAGE_FAULT, DOUBLE_FAULT };

static enum fault_class classify(const struct event *ev)
{
    if (ev->kind != EVENT_FAULT)
        return BENIGN;
    switch (ev->vector) {
    case X86_DE:
    case X86_TS:
    case X86_NP:
    case X86_SS_FAULT:
    case X86_GP:
        return CONTRIBUTORY;
    case X86_PF_FAULT:
        return PAGE_FAULT;
    case X86_DF_FAULT:
        return DOUBLE_FAULT;
    default:
        return BENIGN;
    }
}

/* False with c->raised set when the delivery faulted. */
static bool try_deliver(struct cpu *c, const struct event *ev)
{
    sigjmp_buf outer;
    bool ok = false;

    memcpy(&outer, &c->raise_env, sizeof(outer));
    if (sigsetjmp(c->raise_env, 0) == 0) {
        excp_deliver_once(c, ev);
        ok = true;
    }
    memcpy(&c->raise_env, &outer, sizeof(outer));
    return ok;
}

static void event_from_raised(struct cpu *c, struct event *ev)
{
    *ev = (struct event){.vector = c->raised.vector, .kind = EVENT_FAULT, .ext = 1,
                         .has_error = c->raised.has_error, .error = c->raised.error};
    if (ev->vector == X86_PF_FAULT)
        c->s.cr2 = c->raised.cr2;
}

static bool deliver(struct cpu *c, struct event *ev)
{
    ev->ret = c->s.rip;
    while (!try_deliver(c, ev)) {
        enum fault_class first = classify(ev), second;

        event_from_raised(c, ev);
        ev->ret = c->s.rip; /* a task switch may have got as far as the new task */
        second = classify(ev);
        if (first == DOUBLE_FAULT && second != BENIGN)
            return false;
        if ((first == CONTRIBUTORY && second == CONTRIBUTORY) ||
            (first == PAGE_FAULT && second != BENIGN)) {
            ev->vector = X86_DF_FAULT;
            ev->has_error = true;
            ev->error = 0;
        }
    }
    return true;
}

bool cpu_deliver_raised(struct cpu *c)
{
    struct event ev;

    event_from_raised(c, &ev);
    c->dbg_hits = 0; /* an instruction that did not complete has hit nothing */
    c->stats.exceptions++;
    return deliver(c, &ev);
}

bool cpu_deliver(struct cpu *c, unsigned vector, enum event_kind kind, bool has_error, uint32_t error)
{
    struct event ev = {.vector = (uint8_t)vector, .kind = kind, .ext = kind != EVENT_SOFT_INT,
                       .check_dpl = kind == EVENT_SOFT_INT, .has_error = has_error, .error = error};

    if (kind == EVENT_EXT_INT || kind == EVENT_NMI)
        c->stats.interrupts++;
    else
        c->stats.exceptions++;
    return deliver(c, &ev);
}
