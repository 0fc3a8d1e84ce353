/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Segmentation for the files below vmm/cpu/: descriptors, checks before a segment register is loaded,
 * stacks that are filled as one unit, and the inline form of seg_linear. */
#ifndef VMDECK_CPU_SEG_H
#define VMDECK_CPU_SEG_H

#include "vmm/cpu/cpu_priv.h"

#define SEL_RPL(sel)    ((sel)&3u)
#define SEL_IS_NULL(sel) (((sel)&0xfffcu) == 0)
#define SEL_TI          4u

/* Type field of code and data descriptors. */
#define SEGT_ACCESSED 1u
#define SEGT_WRITE    2u /* data */
#define SEGT_READ     2u /* code */
#define SEGT_DOWN     4u /* data: expand down */
#define SEGT_CONFORM  4u /* code */
#define SEGT_CODE     8u

/* Type field of system descriptors (SDM vol. 3A table 3-2). */
enum sys_type {
    SYS_TSS16 = 1, SYS_LDT = 2, SYS_TSS16_BUSY = 3, SYS_CALL16 = 4, SYS_TASK = 5, SYS_INT16 = 6,
    SYS_TRAP16 = 7, SYS_TSS32 = 9, SYS_TSS32_BUSY = 11, SYS_CALL32 = 12, SYS_INT32 = 14,
    SYS_TRAP32 = 15,
};

/* A descriptor as read from GDT, LDT or IDT. */
struct desc {
    uint64_t raw, high; /* high: bytes 8-15 of 16-byte descriptors (desc_fetch_wide) */
    uint64_t addr;      /* linear address it was read from */
    uint16_t sel;
    uint16_t attr;      /* as in struct x86_seg */
};

static inline bool desc_is_code(const struct desc *d)
{
    return (d->attr & (SEG_S | SEGT_CODE)) == (SEG_S | SEGT_CODE);
}

static inline bool desc_is_conforming(const struct desc *d)
{
    return d->attr & SEGT_CONFORM;
}

/* ---- descriptors (seg.c) ---- */

/* False when the selector lies outside its table. sel must not be null. */
bool desc_fetch(struct cpu *c, uint16_t sel, struct desc *d);
/* The same; in long mode reads 16 bytes, since gates, LDT and TSS are that long there. */
bool desc_fetch_wide(struct cpu *c, uint16_t sel, struct desc *d);
uint32_t desc_base32(uint64_t raw);
uint32_t desc_limit(uint64_t raw);
/* Sets bits of the access byte in the table (accessed, busy) or clears them, atomically. */
void desc_set_access(struct cpu *c, struct desc *d, uint8_t set, uint8_t clear);
/* The hidden part, accessed bit set (also in memory). */
struct x86_seg desc_seg(struct cpu *c, struct desc *d, uint16_t sel);

/* ---- loading, in two steps: check (raises, nothing changed), then commit ---- */

struct seg_rule {
    uint8_t cpl;    /* privilege the segment is loaded for */
    bool code64;    /* the code it is loaded for is 64-bit: null SS is allowed below CPL 3 */
    uint8_t vector; /* of selector and descriptor faults: X86_GP, or X86_TS in task switches */
    uint8_t ext;    /* EXT bit of error codes */
};

/* DS, ES, FS, GS, SS in protected mode. */
void seg_check_data(struct cpu *c, unsigned seg, uint16_t sel, const struct seg_rule *r,
                    struct x86_seg *out);
/* What a load in real and virtual-8086 mode leaves. */
struct x86_seg seg_real(struct cpu *c, unsigned seg, uint16_t sel);
/* Either of the two, as mode and CPL are now. */
void seg_check_load(struct cpu *c, unsigned seg, uint16_t sel, struct x86_seg *out);
struct x86_seg seg_null(uint16_t sel, unsigned dpl);
/* Not for CS. SS ends with cpu_mode_changed. */
void seg_commit(struct cpu *c, unsigned seg, const struct x86_seg *s);
/* Loads CS and SS together with RIP; cpl becomes DPL of SS. */
void seg_commit_cs(struct cpu *c, const struct x86_seg *cs, uint8_t cpl, uint64_t rip);
/* Checks RIP against the limit of a CS about to be loaded (canonical form in 64-bit code): #GP(ext). */
void seg_check_rip(struct cpu *c, const struct x86_seg *cs, uint64_t rip, uint8_t ext);
/* Checks of the CS that RET and IRET return to, RPL of sel being the new CPL. */
void ret_check_cs(struct cpu *c, uint16_t sel, struct desc *d);
/* After a return to an outer level: data segments too privileged for CPL become null. */
void seg_drop_privileged(struct cpu *c);

/* Raises #GP or #SS (0). */
_Noreturn void seg_fault(struct cpu *c, unsigned seg);
/* Checks limit and type only; for segments that are not loaded yet. */
bool seg_permits(const struct x86_seg *s, uint64_t offset, unsigned size, bool write);

/* TLB index for data accesses at a privilege level. */
static inline uint8_t cpu_mmu_index(const struct cpu *c, unsigned cpl)
{
    if (cpl == 3)
        return MMU_USER;
    return (c->s.cr4 & CR4_SMAP) && (c->s.rflags & X86_AC) ? MMU_KERNEL_AC : MMU_KERNEL;
}

static inline bool cpu_canonical(const struct cpu *c, uint64_t a)
{
    unsigned shift = c->s.cr4 & CR4_LA57 ? 7 : 16;

    return (uint64_t)((int64_t)(a << shift) >> shift) == a;
}

/* Out of line part of seg_linear_fast. */
uint64_t seg_linear_slow(struct cpu *c, unsigned seg, uint64_t offset, unsigned size, bool write);

/* seg_linear for callers that care: flat and ordinary writable data segments take no call. */
static inline uint64_t seg_linear_fast(struct cpu *c, unsigned seg, uint64_t offset, unsigned size,
                                       bool write)
{
    const struct x86_seg *s = &c->s.seg[seg];

    if (__builtin_expect(c->align_check, 0))
        return seg_linear_slow(c, seg, offset, size, write);
    if (c->mode & MODE_CODE64) {
        uint64_t linear = offset + (seg >= X86_FS ? s->base : 0);

        /* strictly inside the lower or upper half of 48 bits, so that size cannot leave it */
        if (__builtin_expect((linear + (UINT64_C(1) << 47)) >> 48 == 0 &&
                             (linear + size + (UINT64_C(1) << 47)) >> 48 == 0, 1))
            return linear;
    } else if (__builtin_expect((s->attr & (SEG_P | SEG_S | SEG_UNUSABLE | SEGT_CODE | SEGT_DOWN |
                                            SEGT_WRITE)) == (SEG_P | SEG_S | SEGT_WRITE) &&
                                offset <= s->limit && size - 1 <= s->limit - offset, 1)) {
        return (uint32_t)(s->base + offset);
    }
    return seg_linear_slow(c, seg, offset, size, write);
}

static inline uint64_t insn_offset_fast(struct cpu *c, const struct insn *i)
{
    uint64_t a = (uint64_t)i->disp;

    if (i->base < 16)
        a += c->s.gpr[i->base];
    else if (i->base == REG_RIP)
        a += c->s.rip + i->len;
    if (i->index < 16)
        a += c->s.gpr[i->index] * i->scale;
    if (i->addrsize == 8)
        return a;
    return i->addrsize == 4 ? (uint32_t)a : (uint16_t)a;
}

/* ---- stacks: pushes are checked as they are made and written all at once ---- */

#define STACK_MAX 44 /* call gate: 31 parameters, SS, ESP, CS, EIP; v86: 9 and an error code */

struct stack {
    const struct x86_seg *seg;
    uint64_t sp, mask;
    bool code64;
    uint8_t cpl;     /* pushes run at this privilege */
    uint8_t vector;  /* X86_SS_FAULT */
    uint16_t error;
    uint8_t count;
    uint8_t size[STACK_MAX];
    uint64_t linear[STACK_MAX], value[STACK_MAX];
};

/* The current stack. error: code of #SS. */
void stack_current(struct cpu *c, struct stack *st, uint16_t error);
/* A stack about to be switched to, for code of that CPL. */
void stack_other(struct cpu *c, struct stack *st, const struct x86_seg *ss, uint64_t sp, bool code64,
                 uint8_t cpl, uint16_t error);
void stack_push(struct cpu *c, struct stack *st, uint64_t value, unsigned size);
/* Reads at sp, then moves it. */
uint64_t stack_pop(struct cpu *c, struct stack *st, unsigned size);
/* Stores what was pushed. Does not touch RSP. */
void stack_write(struct cpu *c, struct stack *st);
/* RSP from st->sp, as wide as the stack is. */
void stack_set_rsp(struct cpu *c, const struct stack *st);

/* ---- task state segment (task.c) ---- */

/* SS:SP for a privilege level from the TSS; #TS(TR) when it does not reach. */
void tss_inner_stack(struct cpu *c, unsigned dpl, uint8_t ext, uint16_t *ss, uint64_t *sp);
/* RSPn or, with ist 1 to 7, ISTn of the 64-bit TSS. */
uint64_t tss_long_stack(struct cpu *c, unsigned dpl, unsigned ist, uint8_t ext);
/* Checks the inner SS of 16- and 32-bit code: #TS, #SS (SDM vol. 3A 5.8.5). */
void tss_check_ss(struct cpu *c, uint16_t sel, unsigned dpl, uint8_t ext, struct x86_seg *out);

enum task_cause { TASK_JMP, TASK_CALL, TASK_INT, TASK_IRET };

/* Switches to the task of the TSS descriptor at sel (already checked to be in the GDT only for
 * privileges). next_rip is saved as the old task's EIP. error: pushed when has_error. */
void task_switch(struct cpu *c, uint16_t sel, enum task_cause cause, uint64_t next_rip, uint8_t ext,
                 bool has_error, uint32_t error);
/* The same through a task gate: checks its TSS selector. */
void task_gate(struct cpu *c, const struct desc *gate, enum task_cause cause, uint64_t next_rip,
               uint8_t ext, bool has_error, uint32_t error);

#endif
