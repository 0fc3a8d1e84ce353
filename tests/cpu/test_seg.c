/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Limits and types of segments, without memory behind them. */
#include "tests/lib/test.h"

#include "vmm/cpu/seg.h"

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
                              .model = CPU_MAX};
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

#define FAULT(vector) (-1 - (int64_t)(vector))

/* The linear address, or FAULT(vector). */
static int64_t linear(unsigned seg, uint64_t offset, unsigned size, bool write)
{
    if (sigsetjmp(t.c->raise_env, 0)) {
        assert_int_equal(t.c->raised.error, 0);
        return FAULT(t.c->raised.vector);
    }
    return (int64_t)seg_linear(t.c, seg, offset, size, write);
}

static void protected_mode(void)
{
    t.c->s.cr0 |= CR0_PE;
    cpu_mode_changed(t.c);
}

static struct x86_seg data(uint64_t base, uint32_t limit, unsigned attr)
{
    return (struct x86_seg){.base = base, .limit = limit, .attr = (uint16_t)(attr | SEG_P | SEG_S)};
}

static void test_descriptor(void **state)
{
    uint64_t raw = UINT64_C(0x12cf9a3456789abc);

    (void)state;
    assert_int_equal(desc_base32(raw), 0x12345678);
    assert_int_equal(desc_limit(raw), 0xf9abcfff);
    assert_int_equal(desc_limit(raw & ~BIT64(55)), 0xf9abc);
}

static void test_real(void **state)
{
    (void)state;
    t.c->s.seg[X86_DS] = seg_real(t.c, X86_DS, 0xffff);
    assert_int_equal(linear(X86_DS, 0xffff, 1, true), 0x10ffef);
    assert_int_equal(linear(X86_DS, 0xffff, 2, true), FAULT(X86_GP));
    assert_int_equal(linear(X86_SS, 0xfffd, 4, false), FAULT(X86_SS_FAULT));
    assert_true(linear(X86_CS, 0, 2, true) >= 0); /* code is writable here */
}

static void test_limits(void **state)
{
    struct x86_seg *ds = &t.c->s.seg[X86_DS];

    (void)state;
    protected_mode();
    *ds = data(0x1000, 0xff, SEGT_WRITE);
    assert_int_equal(linear(X86_DS, 0xfc, 4, true), 0x10fc);
    assert_int_equal(linear(X86_DS, 0xfd, 4, true), FAULT(X86_GP));
    assert_int_equal(linear(X86_DS, 0xfffffffe, 4, true), FAULT(X86_GP));
    *ds = data(0xfffff000, 0xffffffff, SEGT_WRITE | SEG_G | SEG_DB);
    assert_int_equal(linear(X86_DS, 0x2000, 4, true), 0x1000); /* wraps at 4 GiB */
    *ds = data(0, 0xff, SEGT_WRITE | SEGT_DOWN | SEG_DB);
    assert_int_equal(linear(X86_DS, 0xff, 1, false), FAULT(X86_GP));
    assert_int_equal(linear(X86_DS, 0x100, 1, false), 0x100);
    assert_int_equal(linear(X86_DS, 0xfffffffc, 4, false), 0xfffffffc);
    assert_int_equal(linear(X86_DS, 0xfffffffd, 4, false), FAULT(X86_GP));
    ds->attr &= (uint16_t)~SEG_DB;
    assert_int_equal(linear(X86_DS, 0xffff, 2, false), FAULT(X86_GP));
}

static void test_types(void **state)
{
    struct x86_seg *ds = &t.c->s.seg[X86_DS];

    (void)state;
    protected_mode();
    *ds = data(0, 0xfff, 0);
    assert_int_equal(linear(X86_DS, 0, 4, false), 0);
    assert_int_equal(linear(X86_DS, 0, 4, true), FAULT(X86_GP));
    *ds = data(0, 0xfff, SEGT_CODE);
    assert_int_equal(linear(X86_DS, 0, 4, false), FAULT(X86_GP));
    *ds = data(0, 0xfff, SEGT_CODE | SEGT_READ);
    assert_int_equal(linear(X86_DS, 0, 4, false), 0);
    assert_int_equal(linear(X86_DS, 0, 4, true), FAULT(X86_GP));
    *ds = seg_null(0, 0);
    assert_int_equal(linear(X86_DS, 0, 4, false), FAULT(X86_GP));
}

static void test_long(void **state)
{
    (void)state;
    t.c->s.efer = EFER_LME | EFER_LMA;
    t.c->s.cr0 |= CR0_PE | CR0_PG;
    t.c->s.cr4 = CR4_PAE;
    t.c->s.seg[X86_CS].attr |= SEG_L;
    t.c->s.seg[X86_DS].base = 0x5000; /* ignored */
    t.c->s.seg[X86_FS].base = 0x5000;
    cpu_mode_changed(t.c);
    assert_int_equal(linear(X86_DS, 0x10, 8, true), 0x10);
    assert_int_equal(linear(X86_FS, 0x10, 8, true), 0x5010);
    assert_int_equal(linear(X86_DS, UINT64_C(0x7ffffffffff8), 8, true), INT64_C(0x7ffffffffff8));
    assert_int_equal(linear(X86_DS, UINT64_C(0x7ffffffffff9), 8, true), FAULT(X86_GP));
    assert_int_equal(linear(X86_SS, UINT64_C(0x800000000000), 8, true), FAULT(X86_SS_FAULT));
    assert_true(seg_linear(t.c, X86_DS, UINT64_C(0xffff800000000000), 8, true) ==
                UINT64_C(0xffff800000000000));
    t.c->s.cr4 |= CR4_LA57;
    assert_int_equal(linear(X86_DS, UINT64_C(0x800000000000), 8, true), INT64_C(0x800000000000));
    assert_int_equal(linear(X86_DS, UINT64_C(0x100000000000000), 8, true), FAULT(X86_GP));
}

static void test_alignment(void **state)
{
    (void)state;
    protected_mode();
    t.c->s.seg[X86_DS] = data(0, 0xfff, SEGT_WRITE);
    t.c->s.cr0 |= CR0_AM;
    t.c->s.rflags |= X86_AC;
    cpu_mode_changed(t.c);
    assert_int_equal(linear(X86_DS, 1, 4, false), 1); /* ring 0 is exempt */
    t.c->s.seg[X86_SS].attr |= 3 << 5;
    cpu_mode_changed(t.c);
    assert_int_equal(linear(X86_DS, 1, 4, false), FAULT(X86_AC_FAULT));
    assert_int_equal(linear(X86_DS, 2, 2, false), 2);
    assert_int_equal(linear(X86_DS, 8, 16, false), FAULT(X86_AC_FAULT)); /* vectors by 16, whatever their size, */
    assert_int_equal(linear(X86_DS, 16, 32, false), 16);
    assert_int_equal(linear(X86_DS, 4, 10, false), FAULT(X86_AC_FAULT)); /* 80-bit numbers by 8 */
    assert_int_equal(linear(X86_DS, 1, 28, false), 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_descriptor), TEST(test_real), TEST(test_limits),
        TEST(test_types),      TEST(test_long), TEST(test_alignment),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
