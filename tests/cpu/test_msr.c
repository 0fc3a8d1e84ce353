/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/test.h"

#include "vmm/cpu/msr.h"

static struct {
    struct clock *clock;
    struct mem *mem;
    struct cpu_set *set;
    struct cpu *c;
} t;

static int setup(void **state)
{
    static const struct cpu_io_ops none;
    struct err e = ERR_INIT;

    (void)state;
    t.clock = clock_new(NULL, NULL, true);
    t.mem = mem_new(MIB, &e);
    struct cpu_set_cfg cfg = {.mem = t.mem, .clock = t.clock, .io = &none, .count = 1,
                              .model = CPU_X86_64_V2};
    t.set = cpu_set_new(&cfg, &e);
    if (!t.set)
        return -1;
    t.c = cpu_get(t.set, 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    cpu_set_free(t.set);
    clock_free(t.clock);
    mem_free(t.mem);
    return 0;
}

static uint64_t rd(uint32_t index)
{
    uint64_t v = 0;

    assert_true(msr_read(t.c, index, &v));
    return v;
}

static void test_unknown(void **state)
{
    uint64_t v;

    (void)state;
    assert_false(msr_read(t.c, 0x12345678, &v));
    assert_false(msr_write(t.c, 0x12345678, 0));
    assert_false(msr_read(t.c, 0x49, &v)); /* write only */
    assert_false(msr_write(t.c, 0x10a, 0)); /* read only */
    assert_false(msr_write(t.c, 0xfe, 0));
    assert_false(msr_read(t.c, 0x900, &v));
}

static void test_efer(void **state)
{
    (void)state;
    assert_true(msr_write(t.c, 0xc0000080, EFER_SCE | EFER_LME | EFER_NXE));
    assert_int_equal(rd(0xc0000080), EFER_SCE | EFER_LME | EFER_NXE);
    assert_false(msr_write(t.c, 0xc0000080, 1u << 12)); /* SVME */
    assert_true(msr_write(t.c, 0xc0000080, EFER_LMA)); /* LMA itself cannot be written */
    assert_int_equal(rd(0xc0000080), 0);
}

static void test_mtrr_and_pat(void **state)
{
    (void)state;
    assert_int_equal(rd(0xfe) & 0xff, MTRR_VARIABLE);
    assert_true(msr_write(t.c, 0x2ff, 0xc06));
    assert_false(msr_write(t.c, 0x2ff, 0xc02));
    assert_false(msr_write(t.c, 0x2ff, 0x100));
    assert_true(msr_write(t.c, 0x250, UINT64_C(0x0606060606060606)));
    assert_true(msr_write(t.c, 0x26f, UINT64_C(0x0505050505050505)));
    assert_true(rd(0x26f) == UINT64_C(0x0505050505050505));
    assert_int_equal(rd(0x26e), 0);
    assert_false(msr_write(t.c, 0x259, 7));
    assert_true(msr_write(t.c, 0x20f, 0x800));
    assert_int_equal(t.c->s.mtrr_mask[7], 0x800);
    assert_false(msr_write(t.c, 0x20f, 1));
    assert_false(msr_write(t.c, 0x200, UINT64_C(1) << 60));
    assert_false(msr_write(t.c, 0x210, 0));
    assert_false(msr_write(t.c, 0x277, 2));
    assert_true(msr_write(t.c, 0x277, 7));
}

static void test_canonical(void **state)
{
    (void)state;
    assert_true(msr_write(t.c, 0xc0000082, UINT64_C(0xffffffff81000000)));
    assert_false(msr_write(t.c, 0xc0000082, UINT64_C(0x800000000000)));
    assert_false(msr_write(t.c, 0xc0000101, UINT64_C(0x800000000000)));
    assert_false(msr_write(t.c, 0x176, UINT64_C(0x800000000000)));
    assert_true(msr_write(t.c, 0xc0000102, 5));
    assert_int_equal(t.c->s.kernel_gs_base, 5);
    assert_true(msr_write(t.c, 0xc0000100, 6));
    assert_int_equal(t.c->s.seg[X86_FS].base, 6);
}

static void test_tsc(void **state)
{
    (void)state;
    uint64_t before = rd(0x10);
    clock_advance(t.clock, 1000);
    assert_int_equal(rd(0x10), before + 1000);
    assert_true(msr_write(t.c, 0x10, 5000));
    assert_int_equal(rd(0x10), 5000);
    assert_true(rd(0x3b) == 5000 - (before + 1000));
    assert_true(msr_write(t.c, 0x3b, rd(0x3b) + 7));
    assert_int_equal(rd(0x10), 5007);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_unknown), TEST(test_efer), TEST(test_mtrr_and_pat),
        TEST(test_canonical), TEST(test_tsc),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
