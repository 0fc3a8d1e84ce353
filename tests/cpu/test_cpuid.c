/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/test.h"

#include <string.h>

#include "vmm/cpu/cpuid.h"
#include "vmm/cpu/x86.h"

static struct cpuid_regs query(enum cpu_model m, uint32_t leaf, uint32_t subleaf)
{
    struct cpuid_env env = {.model = m, .apic_id = 1, .cpu_count = 3, .cr4 = CR4_OSXSAVE,
                            .xcr0 = XCR0_X87 | XCR0_SSE, .apic_base = 1u << 11};
    struct cpuid_regs r;

    cpuid_query(&env, leaf, subleaf, &r);
    return r;
}

static void test_names(void **state)
{
    enum cpu_model m;

    (void)state;
    for (unsigned n = 0; n < CPU_MODEL_COUNT; n++) {
        assert_true(cpu_model_parse(cpu_model_name(n), &m));
        assert_int_equal(m, n);
    }
    assert_false(cpu_model_parse("x86-64-v4", &m));
}

static void test_identity(void **state)
{
    struct cpuid_regs r = query(CPU_X86_64_V2, 0, 0);
    char text[49] = "";

    (void)state;
    assert_int_equal(r.eax, 0x1f);
    assert_memory_equal(&r.ebx, "Genu", 4);
    r = query(CPU_X86_64_V2, 0x40000000, 0);
    assert_memory_equal(&r.ebx, "vmdeckvmdeck", 12);
    for (unsigned n = 0; n < 3; n++) {
        r = query(CPU_MAX, 0x80000002 + n, 0);
        memcpy(text + n * 16, &r, 16);
    }
    assert_string_equal(text, "vmdeck virtual CPU max");
}

static void test_models_nest(void **state)
{
    (void)state;
    for (unsigned f = 0; f < CPUF_COUNT; f++) {
        if (cpu_has(CPU_X86_64_V2, f))
            assert_true(cpu_has(CPU_X86_64_V3, f));
        if (cpu_has(CPU_X86_64_V3, f))
            assert_true(cpu_has(CPU_MAX, f));
    }
    assert_false(cpu_has(CPU_X86_64_V2, CPUF_AVX));
    assert_false(cpu_has(CPU_X86_64_V3, CPUF_LA57));
    assert_true(cpu_has(CPU_MAX, CPUF_LA57));
}

static void test_topology(void **state)
{
    struct cpuid_regs r = query(CPU_X86_64_V2, 1, 0);

    (void)state;
    assert_int_equal(r.ebx >> 24, 1);
    assert_int_equal(r.ebx >> 16 & 0xff, 4);
    r = query(CPU_X86_64_V2, 0xb, 0);
    assert_int_equal(r.eax, 0);
    assert_int_equal(r.ecx, 0x100);
    r = query(CPU_X86_64_V2, 0xb, 1);
    assert_int_equal(r.eax, 2);
    assert_int_equal(r.ebx, 3);
    assert_int_equal(r.ecx, 0x201);
    r = query(CPU_X86_64_V2, 0x1f, 2);
    assert_int_equal(r.ecx, 2);
    assert_int_equal(r.edx, 1);
}

static void test_dynamic_bits(void **state)
{
    struct cpuid_env env = {.model = CPU_MAX, .cpu_count = 1};
    struct cpuid_regs r;

    (void)state;
    cpuid_query(&env, 1, 0, &r);
    assert_false(r.ecx & 1u << 27);
    assert_false(r.edx & 1u << 9);
    assert_false(r.edx & 1u << 28);
    env.cr4 = CR4_OSXSAVE | CR4_PKE;
    env.apic_base = 1u << 11;
    cpuid_query(&env, 1, 0, &r);
    assert_true(r.ecx & 1u << 27);
    assert_true(r.edx & 1u << 9);
    cpuid_query(&env, 7, 0, &r);
    assert_true(r.ecx & 1u << 4);
}

static void test_xsave(void **state)
{
    struct cpuid_env env = {.model = CPU_MAX, .cpu_count = 1, .xcr0 = XCR0_X87 | XCR0_SSE};
    struct cpuid_regs r;

    (void)state;
    cpuid_query(&env, 0xd, 0, &r);
    assert_int_equal(r.ebx, 576);
    assert_int_equal(r.ecx, XSAVE_PKRU_OFFSET + 8);
    env.xcr0 = XCR0_X87 | XCR0_SSE | XCR0_PKRU;
    cpuid_query(&env, 0xd, 0, &r);
    assert_int_equal(r.ebx, XSAVE_PKRU_OFFSET + 8);
    cpuid_query(&env, 0xd, 1, &r);
    assert_int_equal(r.eax, 0xf); /* XSAVEOPT, XSAVEC, XGETBV with ECX 1, XSAVES */
    assert_int_equal(r.ebx, 584);
    assert_int_equal(r.ecx | r.edx, 0); /* no supervisor components */
    env.model = CPU_X86_64_V2;
    cpuid_query(&env, 0xd, 0, &r);
    assert_int_equal(r.eax, 0);
}

static void test_clock(void **state)
{
    struct cpuid_env env = {.model = CPU_X86_64_V2, .cpu_count = 1, .tsc_khz = 2600000};
    struct cpuid_regs r = query(CPU_X86_64_V2, 0x15, 0);

    (void)state;
    assert_int_equal((uint64_t)r.ecx * r.ebx / r.eax, CPU_TSC_HZ);
    cpuid_query(&env, 0x15, 0, &r); /* no ratio that Linux can multiply in 32 bits */
    assert_int_equal(r.eax | r.ebx | r.ecx, 0);
    cpuid_query(&env, 0x16, 0, &r);
    assert_int_equal(r.eax, 2600);
    env.tsc_khz = 3000000;
    cpuid_query(&env, 0x15, 0, &r);
    assert_true((uint64_t)r.ecx * r.ebx / r.eax == UINT64_C(3000000000));
    r = query(CPU_X86_64_V2, 0x80000007, 0);
    assert_true(r.edx & 1u << 8);
}

/* Beyond the highest leaf Intel repeats the highest basic one; other ranges are empty. */
static void test_out_of_range(void **state)
{
    struct cpuid_regs r = query(CPU_MAX, 0x20, 1), high = query(CPU_MAX, 0x1f, 1);

    (void)state;
    assert_memory_equal(&r, &high, sizeof(r));
    r = query(CPU_MAX, 0x80000009, 1);
    assert_memory_equal(&r, &high, sizeof(r));
    r = query(CPU_MAX, 0x40000001, 0);
    assert_int_equal(r.eax | r.ebx | r.ecx | r.edx, 0);
}

static void test_reset(void **state)
{
    static struct x86_state s;

    (void)state;
    x86_state_reset(&s, 0, true, false);
    assert_int_equal(s.seg[X86_CS].base + s.rip, 0xfffffff0);
    assert_int_equal(s.cr0, CR0_CD | CR0_NW | CR0_ET);
    assert_int_equal(s.gpr[X86_RDX], CPUID_SIGNATURE);
    assert_int_equal(s.mp_state, X86_MP_RUNNABLE);
    s.pat = 6;
    s.fpu.mxcsr = 0x1fa0;
    s.cr0 = CR0_PE;
    x86_state_reset(&s, 1, false, true);
    assert_int_equal(s.pat, 6);
    assert_int_equal(s.fpu.mxcsr, 0x1fa0);
    assert_int_equal(s.cr0, CR0_ET);
    assert_int_equal(s.mp_state, X86_MP_WAIT_SIPI);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),     cmocka_unit_test(test_identity),
        cmocka_unit_test(test_models_nest), cmocka_unit_test(test_topology),
        cmocka_unit_test(test_dynamic_bits), cmocka_unit_test(test_xsave),
        cmocka_unit_test(test_clock),     cmocka_unit_test(test_out_of_range),
        cmocka_unit_test(test_reset),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
