/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Named CPU models and what CPUID says for each, used by both accelerators: KVM filters its CPUID to
 * the same tables, so that a VM can move between the two. */
#ifndef VMDECK_CPU_CPUID_H
#define VMDECK_CPU_CPUID_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/base/err.h"

enum cpu_model { CPU_X86_64_V2, CPU_X86_64_V3, CPU_MAX, CPU_MODEL_COUNT };

struct cpuid_regs {
    uint32_t eax, ebx, ecx, edx;
};

/* Features as one set, so that code asks for a feature and not for a CPUID bit. */
enum cpu_feature {
    CPUF_SSE3, CPUF_PCLMUL, CPUF_SSSE3, CPUF_FMA, CPUF_CX16, CPUF_SSE41, CPUF_SSE42, CPUF_X2APIC,
    CPUF_MOVBE, CPUF_POPCNT, CPUF_TSC_DEADLINE, CPUF_AES, CPUF_XSAVE, CPUF_AVX, CPUF_F16C,
    CPUF_RDRAND, CPUF_FSGSBASE, CPUF_BMI1, CPUF_AVX2, CPUF_SMEP, CPUF_BMI2, CPUF_ERMS,
    CPUF_INVPCID, CPUF_RDSEED, CPUF_ADX, CPUF_SMAP, CPUF_CLFLUSHOPT, CPUF_CLWB, CPUF_SHA,
    CPUF_UMIP, CPUF_PKU, CPUF_LA57, CPUF_RDPID, CPUF_FSRM, CPUF_LAHF, CPUF_LZCNT, CPUF_SYSCALL,
    CPUF_NX, CPUF_PDPE1GB, CPUF_RDTSCP, CPUF_LM, CPUF_PCID, CPUF_XSAVEOPT, CPUF_XSAVEC,
    CPUF_XGETBV1, CPUF_XSAVES, CPUF_VAES, CPUF_VPCLMUL, CPUF_GFNI, CPUF_COUNT
};

/* Leaf 1 EAX of every model, and EDX after reset: family 6, model 143, stepping 8. */
#define CPUID_SIGNATURE 0x000806f8u
/* The software CPU's TSC and core crystal, which also clocks the local APIC timer. */
#define CPU_TSC_HZ      1000000000u
#define CPU_APIC_HZ     1000000000u
/* Where the PKRU component lies in the standard format of XSAVE (AVX follows the header at 576). */
#define XSAVE_AVX_OFFSET  576u
#define XSAVE_PKRU_OFFSET 2688u

/* The name in vm.yaml: "x86-64-v2", "x86-64-v3", "max". */
const char *cpu_model_name(enum cpu_model m);
bool cpu_model_parse(const char *name, enum cpu_model *out);
/* Whether the software CPU on this host can run the model: vector instructions run on the host's own,
 * so the host must have them. The error names what is missing. */
bool cpu_model_supported(enum cpu_model m, struct err *e);
/* Part of the model AND present on the host where the implementation needs it. */
bool cpu_has(enum cpu_model m, enum cpu_feature f);

struct cpuid_env {
    enum cpu_model model;
    unsigned apic_id, cpu_count;
    uint64_t cr4, xcr0, apic_base; /* OSXSAVE, XSAVE sizes, APIC bit */
    uint32_t tsc_khz;              /* leaves 15h, 16h, 40000010h; 0: the software CPU's */
};
/* What the guest's CPUID instruction answers. Unknown leaves answer as the SDM says (highest basic). */
void cpuid_query(const struct cpuid_env *env, uint32_t leaf, uint32_t subleaf, struct cpuid_regs *out);

#endif
