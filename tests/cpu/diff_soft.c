/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The software CPU's side: a vCPU in long mode at CPL 3 whose page tables give the addresses of the
 * host side, and an IDT whose gates lead to CPL 0, where the frame tells the exception and OUT stops it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/cpu/diff.h"
#include "vmm/cpu/cpu_priv.h"
#include "vmm/cpu/jit/jit_priv.h"

#define RAM_SIZE (16 * MIB)

/* Guest physical addresses. */
#define P_PML4   0x1000u
#define P_PDPT   0x2000u
#define P_PD     0x3000u /* 0 to 1 GiB */
#define P_PT     0x4000u /* code */
#define P_PT2    0x5000u /* data */
#define P_PDPT2  0x6000u /* upper half: kernel */
#define P_PD2    0x7000u
#define P_PT3    0x8000u
#define P_KERNEL 0x10000u
#define P_CODE   0x20000u
#define P_DATA   0x30000u

/* Offsets in the kernel's four pages. */
#define K_GDT     0x0u
#define K_TSS     0x200u
#define K_IDT     0x1000u
#define K_STACK   0x3000u /* top */
#define K_HANDLER 0x3000u
#define K_SIZE    0x4000u

#define SEL_KCODE 0x10
#define SEL_KTSS  0x40

#define PTE_P 1u
#define PTE_W 2u
#define PTE_U 4u
#define PTE_A 0x60u /* accessed and dirty */
#define PTE_NX BIT64(63)

struct soft {
    struct mem *mem;
    struct cpu *cpu;
    struct cpu_set *set;
    uint8_t *ram;
    bool translate, alive;
    _Atomic bool interrupted;
};

#define OPCODE_OUT 0xe6 /* and the port */

static uint64_t no_read(void *o, uint64_t a, unsigned s)
{
    (void)o, (void)a, (void)s;
    return UINT64_MAX;
}

static void no_write(void *o, uint64_t a, uint64_t v, unsigned s)
{
    (void)o, (void)a, (void)v, (void)s;
}

static uint64_t no_pio_read(void *o, uint16_t p, unsigned s)
{
    return no_read(o, p, s);
}

/* Only the handlers execute OUT: the test is over. */
static void stop(void *o, uint16_t p, uint64_t v, unsigned size)
{
    const struct soft *s = o;

    (void)p, (void)v, (void)size;
    cpu_kick(s->cpu);
}

static uint8_t no_ack(void *o)
{
    (void)o;
    return 0xff;
}

static void no_eoi(void *o, uint8_t v)
{
    (void)o, (void)v;
}

static void page_tables(uint8_t *ram, bool writable)
{
    const uint64_t user = PTE_P | PTE_W | PTE_U | PTE_A, kernel = PTE_P | PTE_W | PTE_A;
    st_le64(ram + P_PML4, P_PDPT | user);
    st_le64(ram + P_PDPT, P_PD | user);
    st_le64(ram + P_PML4 + 8 * 256, P_PDPT2 | kernel);
    st_le64(ram + P_PDPT2, P_PD2 | kernel);
    st_le64(ram + P_PD + 8 * (CODE_BASE >> 21), P_PT | user);
    st_le64(ram + P_PD + 8 * (DATA_BASE >> 21), P_PT2 | user);
    st_le64(ram + P_PD2, P_PT3 | kernel);
    for (unsigned n = 0; n < CODE_SIZE / 0x1000; n++)
        st_le64(ram + P_PT + 8 * n, (P_CODE + 0x1000 * n) | (writable ? user : user & ~(uint64_t)PTE_W));
    for (unsigned n = 0; n < DATA_SIZE / 0x1000; n++)
        st_le64(ram + P_PT2 + 8 * n,
                (P_DATA + 0x1000 * n) | PTE_NX | (n * 0x1000 < DATA_RW ? user : user & ~(uint64_t)PTE_W));
    for (unsigned n = 0; n < K_SIZE / 0x1000; n++)
        st_le64(ram + P_PT3 + 8 * n, (P_KERNEL + 0x1000 * n) | kernel);
}

static void descriptor_tables(uint8_t *ram)
{
    uint8_t *k = ram + P_KERNEL;
    st_le64(k + K_GDT + SEL_KCODE, UINT64_C(0x00af9b000000ffff));
    st_le64(k + K_GDT + (SEL_USER32 & ~7u), UINT64_C(0x00cffb000000ffff));
    st_le64(k + K_GDT + (SEL_DATA & ~7u), UINT64_C(0x00cff3000000ffff));
    st_le64(k + K_GDT + (SEL_USER64 & ~7u), UINT64_C(0x00affb000000ffff));
    st_le64(k + K_TSS + 4, KERNEL_BASE + K_STACK); /* RSP0 */
    st_le16(k + K_TSS + 0x66, 0x68);                       /* no I/O permission bitmap */
    for (unsigned n = 0; n < 32; n++) {
        const uint64_t h = KERNEL_BASE + K_HANDLER + 16 * n;
        const unsigned dpl = n == X86_BP || n == X86_OF_TRAP ? 3 : 0;
        uint8_t *g = k + K_IDT + 16 * n;
        st_le16(g, (uint16_t)h);
        st_le16(g + 2, SEL_KCODE);
        st_le16(g + 4, (uint16_t)(0x8e00 | dpl << 13));
        st_le16(g + 6, (uint16_t)(h >> 16));
        st_le32(g + 8, (uint32_t)(h >> 32));
        memset(k + K_HANDLER + 16 * n, OPCODE_HLT, 16);
        k[K_HANDLER + 16 * n] = OPCODE_OUT;
    }
}

static struct x86_seg flat(uint16_t sel, uint16_t attr)
{
    return (struct x86_seg){.limit = 0xffffffff, .sel = sel, .attr = attr};
}

static void base_state(struct cpu *cpu)
{
    struct x86_state base;

    x86_state_reset(&base, 0, true, false);
    base.cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_PG;
    base.cr3 = P_PML4;
    base.cr4 = CR4_PAE | CR4_PGE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE | CR4_FSGSBASE | CR4_UMIP;
    base.efer = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE;
    base.xcr0 = XCR0_X87 | XCR0_SSE | XCR0_AVX;
    base.gdt = (struct x86_dtable){.base = KERNEL_BASE + K_GDT, .limit = 0x7f};
    base.idt = (struct x86_dtable){.base = KERNEL_BASE + K_IDT, .limit = 0x1ff};
    base.tr = (struct x86_seg){.base = KERNEL_BASE + K_TSS, .limit = 0x67, .sel = SEL_KTSS, .attr = 0x8b};
    base.ldt = (struct x86_seg){.attr = SEG_UNUSABLE};
    base.seg[X86_SS] = flat(SEL_DATA, 0xc0f3);
    cpu_set_state(cpu, &base);
}

struct soft *soft_new(bool translate, bool writable)
{
    static const struct cpu_io_ops io = {.pio_read = no_pio_read,
                                         .pio_write = stop,
                                         .mmio_read = no_read,
                                         .mmio_write = no_write,
                                         .pic_ack = no_ack,
                                         .ioapic_eoi = no_eoi};
    struct cpu_tuning tuning = cpu_tuning_default(1);
    struct err e = ERR_INIT;
    struct soft *s = calloc(1, sizeof(*s));

    tuning.interpret = !translate;
    tuning.heat = 1;
    s->translate = translate;
    s->mem = mem_new(RAM_SIZE, &e);
    const struct cpu_set_cfg cfg = {.mem = s->mem, .clock = clock_new(NULL, NULL, true), .io = &io, .io_opaque = s,
                                    .count = 1, .model = CPU_MAX, .tuning = &tuning};
    s->set = s->mem ? cpu_set_new(&cfg, &e) : NULL;
    if (!s->set) {
        fprintf(stderr, "difftest: %s\n", e.msg);
        exit(2);
    }
    s->cpu = cpu_get(s->set, 0);
    if (translate && !s->cpu->jit) {
        fprintf(stderr, "difftest: no translator\n");
        exit(2);
    }
    s->ram = mem_host(s->mem, 0, RAM_SIZE);
    memset(s->ram + P_CODE, OPCODE_HLT, CODE_SIZE);
    page_tables(s->ram, writable);
    descriptor_tables(s->ram);
    base_state(s->cpu);
    return s;
}

uint8_t *soft_window(struct soft *s)
{
    return s->ram + P_DATA;
}

uint8_t *soft_code(struct soft *s)
{
    return s->ram + P_CODE;
}

void soft_put_code(struct soft *s, unsigned offset, const uint8_t *bytes, unsigned len)
{
    mem_write(s->mem, P_CODE + offset, bytes, len);
}

static void set_segments(struct cpu *cpu, bool code32)
{
    struct x86_seg *s = cpu->s.seg;
    const struct x86_seg data = code32 ? flat(SEL_DATA, 0xc0f3) : (struct x86_seg){.attr = SEG_UNUSABLE};
    s[X86_CS] = code32 ? flat(SEL_USER32, 0xc0fb) : flat(SEL_USER64, 0xa0fb);
    s[X86_SS] = flat(SEL_DATA, 0xc0f3);
    s[X86_DS] = s[X86_ES] = data;
    s[X86_FS] = s[X86_GS] = (struct x86_seg){.attr = SEG_UNUSABLE};
    s[X86_GS].base = DIFF_GS_BASE;
}

void soft_load(struct soft *s, bool code32, const struct diff_regs *r)
{
    struct cpu *cpu = s->cpu;

    memcpy(cpu->s.gpr, r->gpr, sizeof(cpu->s.gpr));
    cpu->s.rip = r->rip;
    cpu->s.rflags = r->rflags & ~(uint64_t)X86_STATUS_FLAGS;
    cpu_set_status_flags(cpu, (uint32_t)r->rflags & X86_STATUS_FLAGS);
    cpu->s.fpu = r->fpu;
    cpu->s.mp_state = X86_MP_RUNNABLE;
    cpu->dbg_hits = 0;
    set_segments(cpu, code32);
    cpu_mode_changed(cpu);
    cpu->end_block = cpu->branched = false;
    s->alive = true;
    s->interrupted = false;
}

void soft_regs(struct soft *s, struct diff_regs *r)
{
    memcpy(r->gpr, s->cpu->s.gpr, sizeof(r->gpr));
    r->rip = s->cpu->s.rip;
    r->rflags = cpu_flags(s->cpu);
    r->fpu = s->cpu->s.fpu;
}

uint64_t soft_rip(const struct soft *s)
{
    return s->cpu->s.rip;
}

uint64_t soft_rflags(const struct soft *s)
{
    return s->cpu->s.rflags;
}

uint64_t soft_gpr(const struct soft *s, unsigned n)
{
    return s->cpu->s.gpr[n];
}

bool soft_step(struct soft *s)
{
    s->alive = cpu_step(s->cpu);
    return s->alive && s->cpu->cpl == 3;
}

void soft_execute(struct soft *s)
{
    if (!s->translate)
        while (!s->interrupted && soft_step(s))
            ;
    else
        do
            s->alive = cpu_run(s->cpu) == CPU_EXIT_KICK;
        while (s->alive && s->cpu->cpl == 3 && !s->interrupted);
}

/* After a delivery to CPL 0: what is on the stack. */
static void get_fault(const struct soft *s, struct diff_result *r)
{
    static const uint32_t with_error = 1u << 8 | 0x7c00u | 1u << 17;
    const struct cpu *cpu = s->cpu;
    const uint8_t *f = s->ram + P_KERNEL + (cpu->s.gpr[X86_RSP] - KERNEL_BASE);
    r->vector = (unsigned)(cpu->s.rip - KERNEL_BASE - K_HANDLER) / 16;
    if (with_error >> r->vector & 1) {
        r->error = ld_le32(f);
        f += 8;
    }
    r->after.rip = ld_le64(f);
    r->after.rflags = ld_le64(f + 16);
    r->after.gpr[X86_RSP] = ld_le64(f + 24);
    r->cr2 = r->vector == X86_PF_FAULT ? cpu->s.cr2 : 0;
}

void soft_result(struct soft *s, struct diff_result *r)
{
    soft_regs(s, &r->after);
    r->who = s->translate ? "translator" : "interpreter";
    r->vector = NO_FAULT;
    r->error = 0;
    r->cr2 = 0;
    r->window = soft_window(s);
    r->code = soft_code(s);
    r->stuck = s->interrupted;
    if (!s->alive)
        r->vector = X86_DF_FAULT;
    else if (s->cpu->cpl != 3)
        get_fault(s, r);
}

static bool at_hlt(const struct diff_test *t, const struct soft *s)
{
    const uint64_t rip = s->cpu->s.rip;

    return rip - CODE_BASE < CODE_SIZE && rip != t->rip && s->ram[P_CODE + rip - CODE_BASE] == OPCODE_HLT;
}

void soft_run(struct soft *s, const struct diff_test *t, struct diff_result *r)
{
    const unsigned at = (unsigned)(t->rip - CODE_BASE), len = MIN(t->len, CODE_SIZE - at);
    uint8_t hlt[15];

    soft_put_code(s, at, t->bytes, len);
    soft_load(s, t->code32, &t->before);
    for (unsigned n = 0; !at_hlt(t, s) && n < 1u << 20 && soft_step(s); n++)
        ;
    soft_result(s, r);
    memset(hlt, OPCODE_HLT, sizeof(hlt));
    soft_put_code(s, at, hlt, len);
}

void soft_forget_code(struct soft *s)
{
    struct jit *j = s->cpu->jit;

    jit_flush(s->cpu);
    j->heat_factor = 1; /* blocks of tests do not come back: flushing often says nothing */
    memset(j->changes, 0, sizeof(j->changes));
    memset(j->alone, 0, sizeof(j->alone));
}

void soft_forget_mapping(struct soft *s)
{
    tlb_flush_all(s->cpu);
}

uint64_t soft_interpreted(struct soft *s)
{
    return s->cpu->stats.instructions;
}

void soft_interrupt(struct soft *s)
{
    s->interrupted = true;
    cpu_kick(s->cpu);
}
