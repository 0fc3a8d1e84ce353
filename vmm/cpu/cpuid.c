/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CPU models and the CPUID instruction. Source: SDM vol. 2 "CPUID", vol. 3A 9.9; x86-64 psABI for the
 * levels v2 and v3.
 *
 * The vendor is GenuineIntel because Linux then takes the frequencies of TSC and local APIC from leaf
 * 15h instead of calibrating them, and ARCH_CAPABILITIES says for good that no mitigation is needed
 * (page table isolation, retpolines and buffer clearing cost an interpreter dearly). It obliges us to
 * Intel's behaviour: SYSCALL only in 64-bit code, 66h ignored on near branches there, FAR with REX.W. */
#include "vmm/cpu/cpuid.h"

#include <cpuid.h>
#include <string.h>

#include "vmm/cpu/x86.h"
#include "vmm/mem/mem.h"

enum cpuid_reg { EAX, EBX, ECX, EDX };

#define M_V2  1u
#define M_V3  2u
#define M_MAX 4u
#define M_ALL (M_V2 | M_V3 | M_MAX)
#define M_V3_UP (M_V3 | M_MAX)

struct feature {
    const char *name;
    uint32_t leaf, subleaf;
    uint8_t reg, bit;
    uint8_t models;
    bool host; /* its instructions are executed by the host's own */
};

/* clang-format off */
static const struct feature features[CPUF_COUNT] = {
    [CPUF_SSE3]         = {"sse3",         1, 0, ECX, 0,  M_ALL,   true},
    [CPUF_PCLMUL]       = {"pclmulqdq",    1, 0, ECX, 1,  M_V3_UP, true},
    [CPUF_SSSE3]        = {"ssse3",        1, 0, ECX, 9,  M_ALL,   true},
    [CPUF_FMA]          = {"fma",          1, 0, ECX, 12, M_V3_UP, true},
    [CPUF_CX16]         = {"cx16",         1, 0, ECX, 13, M_ALL,   true},
    [CPUF_PCID]         = {"pcid",         1, 0, ECX, 17, M_V3_UP, false},
    [CPUF_SSE41]        = {"sse4.1",       1, 0, ECX, 19, M_ALL,   true},
    [CPUF_SSE42]        = {"sse4.2",       1, 0, ECX, 20, M_ALL,   true},
    [CPUF_X2APIC]       = {"x2apic",       1, 0, ECX, 21, M_ALL,   false},
    [CPUF_MOVBE]        = {"movbe",        1, 0, ECX, 22, M_V3_UP, false},
    [CPUF_POPCNT]       = {"popcnt",       1, 0, ECX, 23, M_ALL,   false},
    [CPUF_TSC_DEADLINE] = {"tsc-deadline", 1, 0, ECX, 24, M_ALL,   false},
    [CPUF_AES]          = {"aes",          1, 0, ECX, 25, M_V3_UP, true},
    [CPUF_XSAVE]        = {"xsave",        1, 0, ECX, 26, M_V3_UP, false},
    [CPUF_AVX]          = {"avx",          1, 0, ECX, 28, M_V3_UP, true},
    [CPUF_F16C]         = {"f16c",         1, 0, ECX, 29, M_V3_UP, true},
    [CPUF_RDRAND]       = {"rdrand",       1, 0, ECX, 30, M_ALL,   false},
    [CPUF_FSGSBASE]     = {"fsgsbase",     7, 0, EBX, 0,  M_V3_UP, false},
    [CPUF_BMI1]         = {"bmi1",         7, 0, EBX, 3,  M_V3_UP, false},
    [CPUF_AVX2]         = {"avx2",         7, 0, EBX, 5,  M_V3_UP, true},
    [CPUF_SMEP]         = {"smep",         7, 0, EBX, 7,  M_V3_UP, false},
    [CPUF_BMI2]         = {"bmi2",         7, 0, EBX, 8,  M_V3_UP, false},
    [CPUF_ERMS]         = {"erms",         7, 0, EBX, 9,  M_ALL,   false},
    [CPUF_INVPCID]      = {"invpcid",      7, 0, EBX, 10, M_V3_UP, false},
    [CPUF_RDSEED]       = {"rdseed",       7, 0, EBX, 18, M_MAX,   false},
    [CPUF_ADX]          = {"adx",          7, 0, EBX, 19, M_MAX,   false},
    [CPUF_SMAP]         = {"smap",         7, 0, EBX, 20, M_V3_UP, false},
    [CPUF_CLFLUSHOPT]   = {"clflushopt",   7, 0, EBX, 23, M_MAX,   false},
    [CPUF_CLWB]         = {"clwb",         7, 0, EBX, 24, M_MAX,   false},
    [CPUF_SHA]          = {"sha",          7, 0, EBX, 29, M_MAX,   true},
    [CPUF_UMIP]         = {"umip",         7, 0, ECX, 2,  M_V3_UP, false},
    [CPUF_PKU]          = {"pku",          7, 0, ECX, 3,  M_MAX,   false},
    [CPUF_GFNI]         = {"gfni",         7, 0, ECX, 8,  M_MAX,   true},
    [CPUF_VAES]         = {"vaes",         7, 0, ECX, 9,  M_MAX,   true},
    [CPUF_VPCLMUL]      = {"vpclmulqdq",   7, 0, ECX, 10, M_MAX,   true},
    [CPUF_LA57]         = {"la57",         7, 0, ECX, 16, M_MAX,   false},
    [CPUF_RDPID]        = {"rdpid",        7, 0, ECX, 22, M_MAX,   false},
    [CPUF_FSRM]         = {"fsrm",         7, 0, EDX, 4,  M_MAX,   false},
    [CPUF_XSAVEOPT]     = {"xsaveopt",     0xd, 1, EAX, 0, M_V3_UP, false},
    [CPUF_XSAVEC]       = {"xsavec",       0xd, 1, EAX, 1, M_V3_UP, false},
    [CPUF_XGETBV1]      = {"xgetbv1",      0xd, 1, EAX, 2, M_V3_UP, false},
    [CPUF_XSAVES]       = {"xsaves",       0xd, 1, EAX, 3, M_V3_UP, false},
    [CPUF_LAHF]         = {"lahf",         0x80000001, 0, ECX, 0,  M_ALL,   false},
    [CPUF_LZCNT]        = {"lzcnt",        0x80000001, 0, ECX, 5,  M_V3_UP, false},
    [CPUF_SYSCALL]      = {"syscall",      0x80000001, 0, EDX, 11, M_ALL,   false},
    [CPUF_NX]           = {"nx",           0x80000001, 0, EDX, 20, M_ALL,   false},
    [CPUF_PDPE1GB]      = {"pdpe1gb",      0x80000001, 0, EDX, 26, M_V3_UP, false},
    [CPUF_RDTSCP]       = {"rdtscp",       0x80000001, 0, EDX, 27, M_ALL,   false},
    [CPUF_LM]           = {"lm",           0x80000001, 0, EDX, 29, M_ALL,   false},
};
/* clang-format on */

/* Leaf 1 EDX of every model: FPU VME DE PSE TSC MSR PAE MCE CX8 APIC SEP MTRR PGE MCA CMOV PAT PSE36
 * CLFSH MMX FXSR SSE SSE2. */
#define BASE_EDX       0x078bfbffu
#define EDX_APIC       (1u << 9)
#define EDX_HTT        (1u << 28)
#define ECX_OSXSAVE    (1u << 27)
#define ECX_HYPERVISOR (1u << 31)
#define L7_TSC_ADJUST  (1u << 1)  /* EBX */
#define L7_NO_FPU_CSDS (1u << 13) /* EBX: FIP and FDP without selectors */
#define L7_OSPKE       (1u << 4)  /* ECX */
#define L7_SPECULATION (1u << 26 | 1u << 27 | 1u << 29 | 1u << 31) /* EDX: IBRS, STIBP, ARCH_CAP, SSBD */
/* Subleaf 2 EDX: SPEC_CTRL.BHI_DIS_S, which Linux sets once; else it runs a loop at every system call. */
#define L7_BHI_CTRL (1u << 4)

static const char *const model_names[CPU_MODEL_COUNT] = {"x86-64-v2", "x86-64-v3", "max"};

const char *cpu_model_name(enum cpu_model m)
{
    return model_names[m];
}

bool cpu_model_parse(const char *name, enum cpu_model *out)
{
    for (unsigned m = 0; m < CPU_MODEL_COUNT; m++) {
        if (strcmp(name, model_names[m]) == 0) {
            *out = m;
            return true;
        }
    }
    return false;
}

/* ---- the host ---- */

static void host_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t regs[4])
{
    memset(regs, 0, 4 * sizeof(regs[0]));
    __get_cpuid_count(leaf, subleaf, &regs[EAX], &regs[EBX], &regs[ECX], &regs[EDX]);
}

/* Whether the host's kernel keeps the YMM registers. */
static bool host_saves_avx(void)
{
    uint32_t regs[4], lo, hi;

    host_cpuid(1, 0, regs);
    if (!(regs[ECX] & ECX_OSXSAVE))
        return false;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return (lo & (XCR0_SSE | XCR0_AVX)) == (XCR0_SSE | XCR0_AVX);
}

static bool needs_ymm(enum cpu_feature f)
{
    return f == CPUF_AVX || f == CPUF_AVX2 || f == CPUF_FMA || f == CPUF_F16C || f == CPUF_VAES ||
           f == CPUF_VPCLMUL;
}

static bool host_has(enum cpu_feature f)
{
    static _Atomic signed char known[CPUF_COUNT]; /* 0 unknown, 1 yes, -1 no */
    uint32_t regs[4];

    if (!known[f]) {
        host_cpuid(features[f].leaf, features[f].subleaf, regs);
        bool yes = regs[features[f].reg] >> features[f].bit & 1;
        known[f] = yes && (!needs_ymm(f) || host_saves_avx()) ? 1 : -1;
    }
    return known[f] > 0;
}

bool cpu_has(enum cpu_model m, enum cpu_feature f)
{
    return (features[f].models >> m & 1) && (!features[f].host || host_has(f));
}

bool cpu_model_supported(enum cpu_model m, struct err *e)
{
    if (m == CPU_MAX) /* is what there is */
        return true;
    for (unsigned f = 0; f < CPUF_COUNT; f++) {
        if ((features[f].models >> m & 1) && features[f].host && !host_has(f)) {
            err_set(e, ERR_UNSUPPORTED, "CPU model \"%s\": this host has no %s", model_names[m],
                    features[f].name);
            return err_hint(e, "choose a lower model, or max");
        }
    }
    return true;
}

/* ---- leaves ---- */

static uint32_t feature_bits(enum cpu_model m, uint32_t leaf, uint32_t subleaf, enum cpuid_reg reg)
{
    uint32_t bits = 0;

    for (unsigned f = 0; f < CPUF_COUNT; f++)
        if (features[f].leaf == leaf && features[f].subleaf == subleaf && features[f].reg == reg &&
            cpu_has(m, f))
            bits |= 1u << features[f].bit;
    return bits;
}

#define MAX_BASIC      0x1fu
#define MAX_HYPERVISOR 0x40000010u
#define MAX_EXTENDED   0x80000008u

static unsigned log2_up(unsigned n)
{
    unsigned bits = 0;

    while (1u << bits < n)
        bits++;
    return bits;
}

static void leaf_signature(const struct cpuid_env *env, struct cpuid_regs *r)
{
    r->eax = CPUID_SIGNATURE;
    r->ebx = env->apic_id << 24 | (1u << log2_up(env->cpu_count)) << 16 | 8u << 8; /* CLFLUSH 64 */
    r->ecx = feature_bits(env->model, 1, 0, ECX) | ECX_HYPERVISOR;
    r->edx = BASE_EDX | (env->cpu_count > 1 ? EDX_HTT : 0);
    if (cpu_has(env->model, CPUF_XSAVE) && (env->cr4 & CR4_OSXSAVE))
        r->ecx |= ECX_OSXSAVE;
    if (!(env->apic_base & 1u << 11))
        r->edx &= ~EDX_APIC;
}

/* Deterministic cache parameters: what a small server core has. */
static void leaf_caches(const struct cpuid_env *env, uint32_t subleaf, struct cpuid_regs *r)
{
    static const struct {
        uint8_t type, level; /* type: 1 data, 2 code, 3 both */
        uint16_t ways;
        uint32_t sets;
        bool shared;
    } cache[] = {{1, 1, 8, 64, false}, {2, 1, 8, 64, false}, {3, 2, 16, 1024, false},
                 {3, 3, 16, 8192, true}};

    if (subleaf >= sizeof(cache) / sizeof(cache[0]))
        return;
    unsigned cores = (1u << log2_up(env->cpu_count)) - 1;
    r->eax = cache[subleaf].type | (uint32_t)cache[subleaf].level << 5 | 1u << 8 |
             (cache[subleaf].shared ? cores << 14 : 0) | cores << 26;
    r->ebx = 63 | (uint32_t)(cache[subleaf].ways - 1) << 22;
    r->ecx = cache[subleaf].sets - 1;
}

static void leaf_features(const struct cpuid_env *env, uint32_t subleaf, struct cpuid_regs *r)
{
    if (subleaf == 2)
        r->edx = L7_BHI_CTRL;
    if (subleaf)
        return;
    r->eax = 2; /* highest subleaf */
    r->ebx = feature_bits(env->model, 7, 0, EBX) | L7_TSC_ADJUST | L7_NO_FPU_CSDS;
    r->ecx = feature_bits(env->model, 7, 0, ECX);
    r->edx = feature_bits(env->model, 7, 0, EDX) | L7_SPECULATION;
    if (cpu_has(env->model, CPUF_PKU) && (env->cr4 & CR4_PKE))
        r->ecx |= L7_OSPKE;
}

/* One package of cores without hyper-threads. */
static void leaf_topology(const struct cpuid_env *env, uint32_t subleaf, struct cpuid_regs *r)
{
    r->ecx = subleaf & 0xff;
    r->edx = env->apic_id;
    if (subleaf == 0) {
        r->ebx = 1;
        r->ecx |= 1u << 8; /* SMT */
    } else if (subleaf == 1) {
        r->eax = log2_up(env->cpu_count);
        r->ebx = env->cpu_count;
        r->ecx |= 2u << 8; /* core */
    }
}

static uint32_t xsave_size(uint64_t xcr0)
{
    if (xcr0 & XCR0_PKRU)
        return XSAVE_PKRU_OFFSET + 8;
    return xcr0 & XCR0_AVX ? XSAVE_AVX_OFFSET + 256 : XSAVE_AVX_OFFSET;
}

static uint32_t xsave_size_compact(uint64_t xcr0)
{
    return XSAVE_AVX_OFFSET + (xcr0 & XCR0_AVX ? 256 : 0) + (xcr0 & XCR0_PKRU ? 8 : 0);
}

static void leaf_xsave(const struct cpuid_env *env, uint32_t subleaf, struct cpuid_regs *r)
{
    uint32_t all = XCR0_X87 | XCR0_SSE;

    if (!cpu_has(env->model, CPUF_XSAVE))
        return;
    if (cpu_has(env->model, CPUF_AVX))
        all |= XCR0_AVX;
    if (cpu_has(env->model, CPUF_PKU))
        all |= XCR0_PKRU;
    if (subleaf == 0) {
        *r = (struct cpuid_regs){.eax = all, .ebx = xsave_size(env->xcr0), .ecx = xsave_size(all)};
    } else if (subleaf == 1) {
        r->eax = feature_bits(env->model, 0xd, 1, EAX);
        if (cpu_has(env->model, CPUF_XSAVEC))
            r->ebx = xsave_size_compact(env->xcr0);
    } else if (subleaf == 2 && (all & XCR0_AVX)) {
        r->eax = 256;
        r->ebx = XSAVE_AVX_OFFSET;
    } else if (subleaf == 9 && (all & XCR0_PKRU)) {
        r->eax = 8;
        r->ebx = XSAVE_PKRU_OFFSET;
    }
}

static void leaf_brand(const struct cpuid_env *env, uint32_t part, struct cpuid_regs *r)
{
    char text[48] = "vmdeck virtual CPU ";

    strncat(text, model_names[env->model], sizeof(text) - strlen(text) - 1);
    memcpy(r, text + part * sizeof(*r), sizeof(*r));
}

static void leaf_hypervisor(const struct cpuid_env *env, uint32_t leaf, uint32_t tsc_khz,
                            struct cpuid_regs *r)
{
    (void)env;
    if (leaf == 0x40000000) {
        r->eax = MAX_HYPERVISOR;
        memcpy(&r->ebx, "vmdeckvmdeck", 12);
    } else if (leaf == 0x40000010) {
        r->eax = tsc_khz;
        r->ebx = CPU_APIC_HZ / 1000;
    }
}

static void leaf_extended(const struct cpuid_env *env, uint32_t leaf, struct cpuid_regs *r)
{
    switch (leaf) {
    case 0x80000000:
        r->eax = MAX_EXTENDED;
        break;
    case 0x80000001:
        r->ecx = feature_bits(env->model, leaf, 0, ECX);
        r->edx = feature_bits(env->model, leaf, 0, EDX);
        break;
    case 0x80000002:
    case 0x80000003:
    case 0x80000004:
        leaf_brand(env, leaf - 0x80000002, r);
        break;
    case 0x80000006:
        r->ecx = 1024u << 16 | 8u << 12 | 64; /* L2: 1 MiB, 16 ways, 64-byte lines */
        break;
    case 0x80000007:
        r->edx = 1u << 8; /* invariant TSC */
        break;
    case 0x80000008:
        r->eax = GPA_BITS | (cpu_has(env->model, CPUF_LA57) ? 57u : 48u) << 8;
        break;
    default:
        break;
    }
}

void cpuid_query(const struct cpuid_env *env, uint32_t leaf, uint32_t subleaf, struct cpuid_regs *out)
{
    uint32_t tsc_khz = env->tsc_khz ? env->tsc_khz : CPU_TSC_HZ / 1000;

    *out = (struct cpuid_regs){0};
    if (leaf >> 16 == 0x4000) {
        leaf_hypervisor(env, leaf, tsc_khz, out);
        return;
    }
    if (leaf >= 0x80000000 && leaf <= MAX_EXTENDED) {
        leaf_extended(env, leaf, out);
        return;
    }
    if (leaf > MAX_BASIC)
        leaf = MAX_BASIC; /* as Intel answers leaves out of range */
    switch (leaf) {
    case 0:
        out->eax = MAX_BASIC;
        memcpy(&out->ebx, "Genu", 4);
        memcpy(&out->edx, "ineI", 4);
        memcpy(&out->ecx, "ntel", 4);
        break;
    case 1:
        leaf_signature(env, out);
        break;
    case 2:
        out->eax = 0x00feff01; /* no TLB data; caches: see leaf 4 */
        break;
    case 4:
        leaf_caches(env, subleaf, out);
        break;
    case 6:
        out->eax = 1u << 2; /* the APIC timer never stops */
        break;
    case 7:
        leaf_features(env, subleaf, out);
        break;
    case 0xb:
    case 0x1f:
        leaf_topology(env, subleaf, out);
        break;
    case 0xd:
        leaf_xsave(env, subleaf, out);
        break;
    case 0x15: /* TSC = crystal * EBX / EAX; Linux multiplies kHz in 32 bits, so only small ratios are told */
        if (tsc_khz % (CPU_APIC_HZ / 1000) == 0) {
            out->eax = 1;
            out->ebx = tsc_khz / (CPU_APIC_HZ / 1000);
            out->ecx = CPU_APIC_HZ;
        }
        break;
    case 0x16:
        out->eax = tsc_khz / 1000;
        out->ebx = tsc_khz / 1000;
        out->ecx = 100;
        break;
    default:
        break;
    }
}
