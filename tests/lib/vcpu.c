/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/vcpu.h"

#include <stdlib.h>

#include "vmm/base/alloc.h"

static uint64_t pio_read(void *opaque, uint16_t port, unsigned size)
{
    (void)opaque, (void)port;
    return mask_bytes(size);
}

static void pio_write(void *opaque, uint16_t port, uint64_t value, unsigned size)
{
    struct vcpu *v = opaque;

    (void)value, (void)size;
    if (port == VCPU_EXIT_PORT)
        for (unsigned n = 0; n < v->set->cfg.count; n++)
            cpu_kick(cpu_get(v->set, n));
}

static uint64_t mmio_read(void *opaque, uint64_t gpa, unsigned size)
{
    struct vcpu *v = opaque;

    v->mmio_last = gpa;
    v->mmio_count++;
    if (v->mmio_bytes)
        return ld_le(v->mmio_bytes + (gpa & 0xfff), size);
    return v->mmio_value & mask_bytes(size);
}

static void mmio_write(void *opaque, uint64_t gpa, uint64_t value, unsigned size)
{
    struct vcpu *v = opaque;

    (void)size;
    v->mmio_last = gpa;
    v->mmio_value = value;
    v->mmio_count++;
}

static uint8_t pic_ack(void *opaque)
{
    (void)opaque;
    return 0x20;
}

static const struct cpu_io_ops io = {.pio_read = pio_read, .pio_write = pio_write,
                                     .mmio_read = mmio_read, .mmio_write = mmio_write,
                                     .pic_ack = pic_ack};

void vcpu_poke(struct vcpu *v, uint64_t gpa, uint64_t value, unsigned size)
{
    mem_write(v->mem, gpa, &value, size);
}

uint64_t vcpu_peek(struct vcpu *v, uint64_t gpa, unsigned size)
{
    uint64_t value = 0;

    mem_read(v->mem, gpa, &value, size);
    return value;
}

static void tables(struct vcpu *v, bool long_mode)
{
    static const uint64_t gdt[] = {0, 0x00af9b000000ffff, 0x00cf93000000ffff, 0x00cf9b000000ffff,
                                   0x00affb000000ffff, 0x00cff3000000ffff};

    for (unsigned n = 0; n < ARRAY_LEN(gdt); n++)
        vcpu_poke(v, VCPU_GDT + n * 8, gdt[n], 8);
    for (unsigned n = 0; n < 256; n++) {
        uint64_t at = VCPU_STUBS + n * 16;
        uint64_t sel = long_mode ? 0x08 : 0x18;
        uint64_t gate = (at & 0xffff) | sel << 16 | UINT64_C(0x8e00) << 32 | (at >> 16) << 48;

        vcpu_poke(v, at, 0xf4, 1);
        vcpu_poke(v, VCPU_IDT + n * (long_mode ? 16 : 8), gate, 8);
    }
    vcpu_poke(v, VCPU_TABLES, (VCPU_TABLES + 0x1000) | 7, 8);
    vcpu_poke(v, VCPU_TABLES + 0x1000, (VCPU_TABLES + 0x2000) | 7, 8);
    for (uint64_t n = 0; n < 512; n++)
        vcpu_poke(v, VCPU_TABLES + 0x2000 + n * 8, n << 21 | 0x83, 8);
}

static void protected_state(struct x86_state *s, bool long_mode)
{
    struct x86_seg data = {.limit = UINT32_MAX, .sel = 0x10, .attr = 0xc093};

    for (unsigned n = 0; n < 6; n++)
        s->seg[n] = data;
    s->seg[X86_CS] = (struct x86_seg){.limit = UINT32_MAX, .sel = long_mode ? 0x08 : 0x18,
                                      .attr = long_mode ? 0xa09b : 0xc09b};
    s->gdt = (struct x86_dtable){.base = VCPU_GDT, .limit = 47};
    s->idt = (struct x86_dtable){.base = VCPU_IDT, .limit = 4095};
    s->cr0 = CR0_PE | CR0_ET | CR0_NE | CR0_WP;
    s->cr4 = CR4_OSFXSR | CR4_PSE;
    if (long_mode) {
        s->cr0 |= CR0_PG;
        s->cr4 |= CR4_PAE | CR4_PGE;
        s->cr3 = VCPU_TABLES;
        s->efer = EFER_LME | EFER_LMA | EFER_NXE | EFER_SCE;
    }
}

struct vcpu *vcpu_new(unsigned count, unsigned bits)
{
    struct err e = ERR_INIT;
    struct vcpu *v = X_NEW(struct vcpu);

    v->mem = mem_new(VCPU_RAM, &e);
    if (!v->mem)
        abort();
    struct cpu_set_cfg cfg = {.mem = v->mem, .io = &io, .io_opaque = v, .count = count,
                              .model = CPU_MAX};
    v->set = cpu_set_new(&cfg, &e);
    if (!v->set)
        abort();
    v->cpu = cpu_get(v->set, 0);
    tables(v, bits == 64);
    for (unsigned n = 0; n < count; n++) {
        struct cpu *c = cpu_get(v->set, n);

        cpu_get_state(c, &v->st);
        v->st.mp_state = X86_MP_RUNNABLE;
        v->st.rip = VCPU_CODE;
        v->st.gpr[X86_RSP] = VCPU_STACK - n * 0x4000;
        v->st.gpr[X86_RBX] = n;
        if (bits == 16) {
            v->st.rip = 0;
            v->st.seg[X86_CS].base = VCPU_CODE; /* not reachable by a selector, but fine */
        } else {
            protected_state(&v->st, bits == 64);
        }
        cpu_set_state(c, &v->st);
    }
    cpu_get_state(v->cpu, &v->st);
    return v;
}

void vcpu_free(struct vcpu *v)
{
    cpu_set_free(v->set);
    mem_free(v->mem);
    x_free(v);
}

void vcpu_load(struct vcpu *v, const uint8_t *code, const uint8_t *end)
{
    mem_write(v->mem, VCPU_CODE, code, (uint64_t)(end - code));
}

void vcpu_step(struct vcpu *v)
{
    cpu_set_state(v->cpu, &v->st);
    for (unsigned n = 0; n < 100000; n++) {
        if (!cpu_step(v->cpu)) {
            cpu_get_state(v->cpu, &v->st);
            v->st.rip = UINT64_MAX; /* triple fault */
            return;
        }
        if (v->cpu->s.mp_state == X86_MP_HALTED)
            break;
    }
    cpu_get_state(v->cpu, &v->st);
    v->st.mp_state = X86_MP_RUNNABLE;
}

static void *run_thread(void *arg)
{
    cpu_run(arg);
    return NULL;
}

void vcpu_run(struct vcpu *v)
{
    pthread_t t[CPU_SET_MAX];
    struct err e = ERR_INIT;
    unsigned count = v->set->cfg.count;

    cpu_set_state(v->cpu, &v->st);
    for (unsigned n = 1; n < count; n++)
        if (!thread_start(&t[n], "vcpu", run_thread, cpu_get(v->set, n), &e))
            abort();
    cpu_run(v->cpu);
    for (unsigned n = 1; n < count; n++)
        pthread_join(t[n], NULL);
    cpu_get_state(v->cpu, &v->st);
}

int vcpu_exception(struct vcpu *v, uint64_t *error)
{
    uint64_t at = v->st.rip - 1;

    if (at < VCPU_STUBS || at >= VCPU_STUBS + 256 * 16)
        return -1;
    if (error)
        *error = vcpu_peek(v, v->st.gpr[X86_RSP], v->cpu->long_mode ? 8 : 4);
    return (int)((at - VCPU_STUBS) / 16);
}
