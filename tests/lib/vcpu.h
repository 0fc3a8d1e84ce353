/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A set of software vCPUs with some RAM and no machine around it: code is assembled into the test
 * binary (GUEST_CODE), copied into guest memory and run in flat 64-bit or 32-bit mode. */
#ifndef VMDECK_TESTS_CPU_VCPU_H
#define VMDECK_TESTS_CPU_VCPU_H

#include "vmm/cpu/cpu.h"
#include "vmm/cpu/cpu_priv.h"

/* Global symbols name and name_end around the instructions, in AT&T syntax; it is 64-bit code unless it
 * begins with .code32 or .code16. */
#define GUEST_CODE(name, text)                                                                     \
    __asm__(".pushsection .rodata\n.global " #name "\n" #name ":\n" text "\n.code64\n.global " #name \
            "_end\n" #name "_end:\n.popsection\n");                                                \
    extern const uint8_t name[], name##_end[]

#define VCPU_RAM       (32 * MIB)
#define VCPU_GDT       0x1000u
#define VCPU_IDT       0x2000u
#define VCPU_STUBS     0x4000u /* one HLT for each vector, 16 bytes apart */
#define VCPU_TABLES    0x10000u /* PML4, PDPT, PD: identity map of 1 GiB in 2 MiB pages */
#define VCPU_STACK     0x80000u
#define VCPU_CODE      0x100000u
#define VCPU_DATA      0x200000u
#define VCPU_EXIT_PORT 0xf4

struct vcpu {
    struct mem *mem;
    struct cpu_set *set;
    struct cpu *cpu; /* number 0 */
    uint64_t mmio_last, mmio_value;
    unsigned mmio_count;
    const uint8_t *mmio_bytes; /* not NULL: what MMIO reads give, by the low 12 bits of the address */
    struct x86_state st;
};

/* Every vCPU is at VCPU_CODE in ring 0. bits: 64, 32 (flat, no paging) or 16 (real mode). */
struct vcpu *vcpu_new(unsigned count, unsigned bits);
void vcpu_free(struct vcpu *v);
void vcpu_load(struct vcpu *v, const uint8_t *code, const uint8_t *end);
/* Steps until HLT, at most 100000 instructions. Then v->st is the state. */
void vcpu_step(struct vcpu *v);
/* Runs until the guest writes to VCPU_EXIT_PORT, which ends the run of every vCPU. */
void vcpu_run(struct vcpu *v);
/* After vcpu_step: the exception that ended it, or -1 when it was a plain HLT; its error code. */
int vcpu_exception(struct vcpu *v, uint64_t *error);
void vcpu_poke(struct vcpu *v, uint64_t gpa, uint64_t value, unsigned size);
uint64_t vcpu_peek(struct vcpu *v, uint64_t gpa, unsigned size);

#endif
