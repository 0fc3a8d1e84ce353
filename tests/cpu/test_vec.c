/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What difftest cannot reach from user level: availability of x87, SSE and AVX by control registers,
 * environments of other modes, instruction pointers, protection keys in the XSAVE area, and the thunk
 * buffer running full. */
#include "tests/lib/test.h"
#include "tests/lib/vcpu.h"

GUEST_CODE(code_fld1, "fld1\nhlt\n");
GUEST_CODE(code_fwait, "fwait\nhlt\n");
GUEST_CODE(code_emms, "emms\nhlt\n");
GUEST_CODE(code_addps, "addps %xmm1, %xmm0\nhlt\n");
GUEST_CODE(code_vaddps, "vaddps %ymm1, %ymm0, %ymm0\nhlt\n");
GUEST_CODE(code_fxsave, "fxsave 0x200000\nhlt\n");
GUEST_CODE(code_xsave, "mov $0x207, %eax\nxor %edx, %edx\nxsave 0x200000\nhlt\n");

#define READY (CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE)

static int exception_of(const uint8_t *code, const uint8_t *end, uint64_t cr0, uint64_t cr4, uint64_t xcr0)
{
    struct vcpu *v = vcpu_new(1, 64);
    vcpu_load(v, code, end);
    v->st.cr0 = (v->st.cr0 & ~(uint64_t)(CR0_EM | CR0_TS | CR0_MP)) | CR0_NE | cr0;
    v->st.cr4 = (v->st.cr4 & ~(uint64_t)READY) | cr4;
    v->st.xcr0 = xcr0;
    vcpu_step(v);
    uint64_t error;
    const int vector = vcpu_exception(v, &error);
    vcpu_free(v);
    return vector;
}

#define EXCEPTION_OF(code, cr0, cr4, xcr0) exception_of(code, code##_end, cr0, cr4, xcr0)

static void available_by_control_registers(void **state)
{
    (void)state;
    assert_int_equal(EXCEPTION_OF(code_fld1, 0, READY, 7), -1);
    assert_int_equal(EXCEPTION_OF(code_fld1, CR0_EM, READY, 7), X86_NM);
    assert_int_equal(EXCEPTION_OF(code_fld1, CR0_TS, READY, 7), X86_NM);
    assert_int_equal(EXCEPTION_OF(code_fwait, CR0_TS, READY, 7), -1);
    assert_int_equal(EXCEPTION_OF(code_fwait, CR0_TS | CR0_MP, READY, 7), X86_NM);
    assert_int_equal(EXCEPTION_OF(code_emms, CR0_EM, READY, 7), X86_UD);
    assert_int_equal(EXCEPTION_OF(code_emms, CR0_TS, READY, 7), X86_NM);
    assert_int_equal(EXCEPTION_OF(code_addps, 0, READY, 7), -1);
    assert_int_equal(EXCEPTION_OF(code_addps, CR0_EM, READY, 7), X86_UD);
    assert_int_equal(EXCEPTION_OF(code_addps, CR0_TS, READY, 7), X86_NM);
    assert_int_equal(EXCEPTION_OF(code_addps, CR0_TS, 0, 7), X86_UD);
    assert_int_equal(EXCEPTION_OF(code_fxsave, CR0_EM, READY, 7), X86_NM);
    assert_int_equal(EXCEPTION_OF(code_xsave, 0, 0, 7), X86_UD);
    assert_int_equal(EXCEPTION_OF(code_xsave, CR0_TS, READY, 7), X86_NM);
}

static void avx_by_control_registers(void **state)
{
    (void)state;
    if (!cpu_has(CPU_MAX, CPUF_AVX))
        skip();
    assert_int_equal(EXCEPTION_OF(code_vaddps, 0, READY, 7), -1);
    assert_int_equal(EXCEPTION_OF(code_vaddps, CR0_TS, READY, 7), X86_NM);
    assert_int_equal(EXCEPTION_OF(code_vaddps, CR0_TS, READY, 3), X86_UD);
    assert_int_equal(EXCEPTION_OF(code_vaddps, 0, CR4_OSFXSR, 7), X86_UD);
}

/* ---- floating-point exceptions ---- */

GUEST_CODE(code_divps, "movl $0x1d80, -4(%rsp)\n" /* division by zero not masked */
                       "ldmxcsr -4(%rsp)\n"
                       "divps %xmm1, %xmm0\n"
                       "hlt\n");
GUEST_CODE(code_fdiv, "fninit\n" /* the same for x87 */
                      "movw $0x37b, -4(%rsp)\n"
                      "fldcw -4(%rsp)\n"
                      "fld1\n"
                      "fldz\n"
                      ".byte 0xde, 0xf9\n" /* ST(1) / ST */
                      "fnop\n"
                      "hlt\n");

static void floating_point_exceptions(void **state)
{
    (void)state;
    assert_int_equal(EXCEPTION_OF(code_divps, 0, READY, 7), -1); /* 0/0 is invalid, which is masked */
    assert_int_equal(EXCEPTION_OF(code_fdiv, 0, READY, 7), X86_MF);
    for (unsigned xm = 0; xm < 2; xm++) {
        struct vcpu *v = vcpu_new(1, 64);
        vcpu_load(v, code_divps, code_divps_end);
        v->st.cr0 &= ~(uint64_t)(CR0_EM | CR0_TS);
        v->st.cr4 = (v->st.cr4 & ~(uint64_t)CR4_OSXMMEXCPT) | CR4_OSFXSR | (xm ? CR4_OSXMMEXCPT : 0);
        memset(v->st.fpu.ymm[0], 0x3f, 16);
        vcpu_step(v);
        uint64_t error;
        assert_int_equal(vcpu_exception(v, &error), xm ? X86_XM : X86_UD);
        assert_int_equal(v->st.fpu.mxcsr, 0x1d84);
        assert_int_equal(v->st.fpu.ymm[0][0], 0x3f); /* the destination is as it was */
        vcpu_free(v);
    }
}

/* ---- instruction pointers, real mode ---- */

GUEST_CODE(code_env16, ".code16\n"
                       "fninit\n"
                       "fldpi\n"
                       "fstps 0x500\n"
                       "fnstenv 0x600\n"
                       "hlt\n");

static void environment_of_real_mode(void **state)
{
    (void)state;
    struct vcpu *v = vcpu_new(1, 16);
    vcpu_load(v, code_env16, code_env16_end);
    vcpu_step(v);
    const uint64_t env = 0x600 + v->st.seg[X86_DS].base, at = VCPU_CODE + 4;
    assert_int_equal(vcpu_peek(v, env, 2), 0x37f);
    assert_int_equal(vcpu_peek(v, env + 2, 2), 0x220); /* inexact, rounded up; empty again */
    assert_int_equal(vcpu_peek(v, env + 4, 2), 0xffff);
    assert_int_equal(vcpu_peek(v, env + 6, 2), at & 0xffff);
    assert_int_equal(vcpu_peek(v, env + 8, 2), (at >> 16 & 0xf) << 12 | 0x11e);
    assert_int_equal(vcpu_peek(v, env + 10, 2), (0x500 + v->st.seg[X86_DS].base) & 0xffff);
    vcpu_free(v);
}

/* ---- XSAVE ---- */

static void protection_keys_are_saved(void **state)
{
    (void)state;
    if (!cpu_has(CPU_MAX, CPUF_PKU) || !cpu_has(CPU_MAX, CPUF_AVX))
        skip();
    struct vcpu *v = vcpu_new(1, 64);
    vcpu_load(v, code_xsave, code_xsave_end);
    v->st.cr0 &= ~(uint64_t)(CR0_EM | CR0_TS);
    v->st.cr4 |= READY;
    v->st.xcr0 = XCR0_X87 | XCR0_SSE | XCR0_AVX | XCR0_PKRU;
    v->st.fpu.pkru = 0x12345678;
    memset(v->st.fpu.ymm, 0, sizeof(v->st.fpu.ymm));
    v->st.fpu.ymm[3][20] = 7;
    vcpu_step(v);
    assert_int_equal(vcpu_peek(v, VCPU_DATA + 512, 8) & ~UINT64_C(1), XCR0_AVX | XCR0_PKRU);
    assert_int_equal(vcpu_peek(v, VCPU_DATA + XSAVE_AVX_OFFSET + 3 * 16 + 4, 1), 7);
    assert_int_equal(vcpu_peek(v, VCPU_DATA + XSAVE_PKRU_OFFSET, 8), 0x12345678);
    vcpu_free(v);
}

/* ---- thunks ---- */

/* More different instructions than the thunk buffer holds, each several times. */
static void thunk_buffer_runs_full(void **state)
{
    enum { COUNT = 20000 };
    static uint8_t code[COUNT * 5 + 8];
    uint8_t *p = code;
    (void)state;
    for (unsigned n = 0; n < COUNT; n++) { /* pshufd xmm, xmm, imm8 */
        const uint8_t insn[5] = {0x66, 0x0f, 0x70, (uint8_t)(0xc0 | (n >> 8 & 0x3f)), (uint8_t)n};
        memcpy(p, insn, sizeof(insn));
        p += sizeof(insn);
    }
    *p++ = 0xf4;
    struct vcpu *v = vcpu_new(1, 64);
    vcpu_load(v, code, p);
    v->st.cr0 &= ~(uint64_t)(CR0_EM | CR0_TS);
    v->st.cr4 |= READY;
    memset(v->st.fpu.ymm, 0x5a, sizeof(v->st.fpu.ymm)); /* a shuffle of equal elements changes nothing */
    for (unsigned pass = 0; pass < 2; pass++) {
        v->st.rip = VCPU_CODE;
        vcpu_step(v);
        uint64_t error;
        assert_int_equal(vcpu_exception(v, &error), -1);
        assert_int_equal(v->st.rip, VCPU_CODE + COUNT * 5 + 1);
        assert_int_equal(v->st.fpu.ymm[7][31], 0x5a);
        assert_int_equal(v->st.fpu.ymm[7][0], 0x5a);
    }
    vcpu_free(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(available_by_control_registers),
        cmocka_unit_test(avx_by_control_registers),
        cmocka_unit_test(floating_point_exceptions),
        cmocka_unit_test(environment_of_real_mode),
        cmocka_unit_test(protection_keys_are_saved),
        cmocka_unit_test(thunk_buffer_runs_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
