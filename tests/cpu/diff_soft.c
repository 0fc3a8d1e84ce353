/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The interpreter's side: a vCPU in long mode at CPL 3 whose page tables give the addresses of the
 * host side, and an IDT whose gates lead to CPL 0, where the frame tells the exception. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/cpu/diff.h"
#include "vmm/cpu/cpu_priv.h"

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
#define P_DATA   0x21000u

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

static struct mem *mem;
static struct cpu *cpu;
static struct cpu_set *set;
static uint8_t *ram;
static struct x86_state base;

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

static void no_pio_write(void *o, uint16_t p, uint64_t v, unsigned s)
{
    no_write(o, p, v, s);
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

static void page_tables(void)
{
    const uint64_t user = PTE_P | PTE_W | PTE_U | PTE_A, kernel = PTE_P | PTE_W | PTE_A;
    st_le64(ram + P_PML4, P_PDPT | user);
    st_le64(ram + P_PDPT, P_PD | user);
    st_le64(ram + P_PML4 + 8 * 256, P_PDPT2 | kernel);
    st_le64(ram + P_PDPT2, P_PD2 | kernel);
    st_le64(ram + P_PD + 8 * (CODE_PAGE >> 21), P_PT | user);
    st_le64(ram + P_PD + 8 * (DATA_BASE >> 21), P_PT2 | user);
    st_le64(ram + P_PD2, P_PT3 | kernel);
    st_le64(ram + P_PT, P_CODE | (user & ~(uint64_t)PTE_W));
    for (unsigned n = 0; n < DATA_SIZE / 0x1000; n++)
        st_le64(ram + P_PT2 + 8 * n,
                (P_DATA + 0x1000 * n) | PTE_NX | (n * 0x1000 < DATA_RW ? user : user & ~(uint64_t)PTE_W));
    for (unsigned n = 0; n < K_SIZE / 0x1000; n++)
        st_le64(ram + P_PT3 + 8 * n, (P_KERNEL + 0x1000 * n) | kernel);
}

static void descriptor_tables(void)
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
    }
}

static struct x86_seg flat(uint16_t sel, uint16_t attr)
{
    return (struct x86_seg){.limit = 0xffffffff, .sel = sel, .attr = attr};
}

static void base_state(void)
{
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
}

void soft_init(void)
{
    static const struct cpu_io_ops io = {.pio_read = no_pio_read,
                                         .pio_write = no_pio_write,
                                         .mmio_read = no_read,
                                         .mmio_write = no_write,
                                         .pic_ack = no_ack,
                                         .ioapic_eoi = no_eoi};
    struct err e = ERR_INIT;

    mem = mem_new(RAM_SIZE, &e);
    const struct cpu_set_cfg cfg = {
        .mem = mem, .clock = clock_new(NULL, NULL, true), .io = &io, .count = 1, .model = CPU_MAX};
    set = mem ? cpu_set_new(&cfg, &e) : NULL;
    if (!set) {
        fprintf(stderr, "difftest: %s\n", e.msg);
        exit(2);
    }
    cpu = cpu_get(set, 0);
    ram = mem_host(mem, 0, RAM_SIZE);
    memset(ram + P_CODE, OPCODE_HLT, 0x1000);
    page_tables();
    descriptor_tables();
    base_state();
    cpu_set_state(cpu, &base);
}

uint8_t *soft_window(void)
{
    return ram + P_DATA;
}

static void set_segments(const struct diff_test *t)
{
    struct x86_seg *s = cpu->s.seg;
    const struct x86_seg data = t->code32 ? flat(SEL_DATA, 0xc0f3)
                                          : (struct x86_seg){.attr = SEG_UNUSABLE};
    s[X86_CS] = t->code32 ? flat(SEL_USER32, 0xc0fb) : flat(SEL_USER64, 0xa0fb);
    s[X86_SS] = flat(SEL_DATA, 0xc0f3);
    s[X86_DS] = s[X86_ES] = data;
    s[X86_FS] = s[X86_GS] = (struct x86_seg){.attr = SEG_UNUSABLE};
    s[X86_GS].base = DIFF_GS_BASE;
}

static void put_regs(const struct diff_test *t)
{
    memcpy(cpu->s.gpr, t->before.gpr, sizeof(cpu->s.gpr));
    cpu->s.rip = t->rip;
    cpu->s.rflags = t->before.rflags & ~(uint64_t)X86_STATUS_FLAGS;
    cpu_set_status_flags(cpu, (uint32_t)t->before.rflags & X86_STATUS_FLAGS);
    cpu->s.fpu = t->before.fpu;
    cpu->dbg_hits = 0;
    set_segments(t);
    cpu_mode_changed(cpu);
}

/* After a delivery to CPL 0: what is on the stack. */
static void get_fault(struct diff_result *r)
{
    static const uint32_t with_error = 1u << 8 | 0x7c00u | 1u << 17;
    const uint8_t *f = ram + P_KERNEL + (cpu->s.gpr[X86_RSP] - KERNEL_BASE);
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

static bool at_hlt(const struct diff_test *t, uint64_t rip)
{
    return rip - CODE_PAGE < 0x1000 && rip != t->rip && ram[P_CODE + rip - CODE_PAGE] == OPCODE_HLT;
}

void soft_run(const struct diff_test *t, struct diff_result *r)
{
    const uint64_t at = P_CODE + (t->rip - CODE_PAGE);
    const unsigned len = (unsigned)MIN(t->len, P_CODE + 0x1000 - at);
    uint8_t hlt[15];

    mem_write(mem, at, t->bytes, len);
    put_regs(t);
    r->vector = NO_FAULT;
    r->error = 0;
    r->cr2 = 0;
    bool alive = true;
    for (unsigned n = 0; alive && cpu->cpl == 3 && !at_hlt(t, cpu->s.rip) && n < 1u << 20; n++)
        alive = cpu_step(cpu);
    memcpy(r->after.gpr, cpu->s.gpr, sizeof(r->after.gpr));
    r->after.rip = cpu->s.rip;
    r->after.rflags = cpu_flags(cpu);
    r->after.fpu = cpu->s.fpu;
    if (!alive)
        r->vector = X86_DF_FAULT;
    else if (cpu->cpl != 3)
        get_fault(r);
    memset(hlt, OPCODE_HLT, sizeof(hlt));
    mem_write(mem, at, hlt, len);
}
