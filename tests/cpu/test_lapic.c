/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Local APICs of a two-processor set that is never run: registers in, pending bits and vectors out. */
#include "tests/lib/test.h"

#include "vmm/cpu/lapic.h"
#include "vmm/mem/mem.h"

static struct {
    struct clock *clock;
    struct mem *mem;
    struct cpu_set *set;
    struct cpu *cpu[2];
    unsigned eois;
    uint8_t eoi_vector;
} t;

static uint8_t pic_ack(void *opaque)
{
    (void)opaque;
    return 0x08;
}

static void ioapic_eoi(void *opaque, uint8_t vector)
{
    (void)opaque;
    t.eois++;
    t.eoi_vector = vector;
}

static const struct cpu_io_ops io_ops = {.pic_ack = pic_ack, .ioapic_eoi = ioapic_eoi};

static int setup(void **state)
{
    struct err e = ERR_INIT;

    (void)state;
    t.clock = clock_new(NULL, NULL, true);
    t.mem = mem_new(MIB, &e);
    struct cpu_set_cfg cfg = {.mem = t.mem, .clock = t.clock, .io = &io_ops, .count = 2,
                              .model = CPU_X86_64_V2};
    t.set = cpu_set_new(&cfg, &e);
    if (!t.set)
        return -1;
    for (unsigned n = 0; n < 2; n++) {
        t.cpu[n] = cpu_get(t.set, n);
        lapic_mmio_write(t.cpu[n]->lapic, APIC_SVR * 16, 0x1ff);
    }
    t.eois = 0;
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

static uint32_t rd(unsigned cpu, unsigned reg)
{
    return lapic_mmio_read(t.cpu[cpu]->lapic, reg * 16);
}

static void wr(unsigned cpu, unsigned reg, uint32_t v)
{
    lapic_mmio_write(t.cpu[cpu]->lapic, reg * 16, v);
}

static uint32_t take_pending(unsigned cpu)
{
    return atomic_exchange(&t.cpu[cpu]->pending, 0);
}

static void test_priorities(void **state)
{
    struct lapic *l = t.cpu[0]->lapic;

    (void)state;
    wr(0, APIC_ICR, 1u << 18 | 0x41);
    wr(0, APIC_ICR, 1u << 18 | 0x63);
    assert_true(lapic_has_irq(l));
    assert_int_equal(lapic_ack(l), 0x63);
    assert_false(lapic_has_irq(l)); /* 41h is below 63h in service */
    assert_int_equal(lapic_ack(l), -1);
    assert_int_equal(rd(0, APIC_PPR), 0x60);
    wr(0, APIC_EOI, 0);
    assert_int_equal(lapic_ack(l), 0x41);
    wr(0, APIC_EOI, 0);
    wr(0, APIC_TPR, 0x45);
    assert_int_equal(t.cpu[0]->s.cr8, 4);
    wr(0, APIC_ICR, 1u << 18 | 0x4f);
    assert_false(lapic_has_irq(l));
    lapic_set_tpr(l, 0x30);
    assert_int_equal(lapic_ack(l), 0x4f);
    wr(0, APIC_EOI, 0);
    assert_int_equal(t.eois, 0);
}

static void test_msi_and_eoi(void **state)
{
    (void)state;
    cpu_msi(t.set, 0xfee01000, 0x8000 | 0x4000 | 0x55); /* APIC 1, level */
    assert_false(lapic_has_irq(t.cpu[0]->lapic));
    assert_true(take_pending(1) & CPU_PENDING_IRQ);
    assert_int_equal(lapic_ack(t.cpu[1]->lapic), 0x55);
    wr(1, APIC_EOI, 0);
    assert_int_equal(t.eois, 1);
    assert_int_equal(t.eoi_vector, 0x55);
    cpu_msi(t.set, 0xfeeff000, 0x56); /* broadcast, edge */
    for (unsigned n = 0; n < 2; n++) {
        assert_int_equal(lapic_ack(t.cpu[n]->lapic), 0x56);
        wr(n, APIC_EOI, 0);
    }
    assert_int_equal(t.eois, 1);
    /* lowest priority goes to the one that is less busy */
    wr(0, APIC_TPR, 0x20);
    wr(0, APIC_LDR, 1u << 24);
    wr(1, APIC_LDR, 2u << 24);
    cpu_msi(t.set, 0xfee0300c, 0x0100 | 0x57);
    assert_false(lapic_has_irq(t.cpu[0]->lapic));
    assert_int_equal(lapic_ack(t.cpu[1]->lapic), 0x57);
}

static void test_ipis(void **state)
{
    (void)state;
    take_pending(0);
    take_pending(1);
    wr(0, APIC_ICR2, 1u << 24);
    wr(0, APIC_ICR, 0x4500);
    assert_int_equal(take_pending(1), CPU_PENDING_INIT);
    wr(0, APIC_ICR, 0x8500); /* de-assert */
    assert_int_equal(take_pending(1), 0);
    wr(0, APIC_ICR, 0x4699);
    assert_int_equal(take_pending(1), CPU_PENDING_SIPI);
    assert_int_equal(t.cpu[1]->sipi_vector, 0x99);
    wr(0, APIC_ICR, 3u << 18 | 0x4400);
    assert_int_equal(take_pending(1), CPU_PENDING_NMI);
    assert_int_equal(take_pending(0), 0);
    /* cluster model */
    for (unsigned n = 0; n < 2; n++) {
        wr(n, APIC_DFR, 0);
        wr(n, APIC_LDR, (n << 4 | 1) << 24);
    }
    wr(0, APIC_ICR2, 0x11u << 24);
    wr(0, APIC_ICR, 0x800 | 0x66);
    assert_false(lapic_has_irq(t.cpu[0]->lapic));
    assert_int_equal(lapic_ack(t.cpu[1]->lapic), 0x66);
    /* vectors below 16 are errors */
    wr(0, APIC_ICR, 1u << 18 | 5);
    wr(0, APIC_ESR, 0);
    assert_int_equal(rd(0, APIC_ESR), 1u << 5);
    wr(0, APIC_ESR, 0);
    assert_int_equal(rd(0, APIC_ESR), 0);
}

static void test_timer(void **state)
{
    struct lapic *l = t.cpu[0]->lapic;

    (void)state;
    wr(0, APIC_TDCR, 0); /* by 2 */
    wr(0, APIC_LVT_TIMER, 0x40);
    wr(0, APIC_TICR, 1000);
    clock_advance(t.clock, 1000);
    assert_int_equal(rd(0, APIC_TCCR), 500);
    assert_false(lapic_has_irq(l));
    clock_advance(t.clock, 1000);
    assert_int_equal(rd(0, APIC_TCCR), 0);
    assert_int_equal(lapic_ack(l), 0x40);
    wr(0, APIC_EOI, 0);
    clock_advance(t.clock, 100000);
    assert_false(lapic_has_irq(l));

    wr(0, APIC_LVT_TIMER, 1u << 17 | 0x40);
    wr(0, APIC_TICR, 500000);
    for (unsigned n = 0; n < 3; n++) {
        clock_advance(t.clock, 1000000);
        assert_int_equal(lapic_ack(l), 0x40);
        wr(0, APIC_EOI, 0);
    }
    clock_advance(t.clock, 250000);
    assert_int_equal(rd(0, APIC_TCCR), 375000);
    wr(0, APIC_TDCR, 0xb); /* by 1: the count goes on from where it is */
    assert_int_equal(rd(0, APIC_TCCR), 375000);
    clock_advance(t.clock, 375000);
    assert_int_equal(lapic_ack(l), 0x40);
    wr(0, APIC_EOI, 0);
    wr(0, APIC_TICR, 0);
    clock_advance(t.clock, 10000000);
    assert_false(lapic_has_irq(l));

    wr(0, APIC_LVT_TIMER, 2u << 17 | 0x40);
    lapic_set_tsc_deadline(l, cpu_tsc(t.cpu[0]) + 5000);
    assert_int_equal(lapic_get_tsc_deadline(l), cpu_tsc(t.cpu[0]) + 5000);
    t.cpu[0]->tsc_offset += 2000;
    lapic_tsc_changed(l);
    clock_advance(t.clock, 2999);
    assert_false(lapic_has_irq(l));
    clock_advance(t.clock, 1);
    assert_int_equal(lapic_ack(l), 0x40);
    assert_int_equal(lapic_get_tsc_deadline(l), 0);
}

/* A period of nanoseconds must not keep the host busy. */
static void test_timer_storm(void **state)
{
    unsigned taken = 0;

    (void)state;
    wr(0, APIC_TDCR, 0xb);
    wr(0, APIC_LVT_TIMER, 1u << 17 | 0x40);
    wr(0, APIC_TICR, 1);
    for (unsigned n = 0; n < 1000; n++) {
        clock_advance(t.clock, 1000);
        if (lapic_ack(t.cpu[0]->lapic) == 0x40) {
            wr(0, APIC_EOI, 0);
            taken++;
        }
    }
    assert_in_range(taken, 1, 25);
}

static void test_extint(void **state)
{
    struct lapic *l = t.cpu[0]->lapic;

    (void)state;
    wr(0, APIC_LVT_LINT0, 0x10700);
    cpu_set_extint(t.set, true);
    assert_false(lapic_has_irq(l));
    wr(0, APIC_LVT_LINT0, 0x700);
    assert_true(lapic_has_irq(l));
    assert_false(lapic_has_irq(t.cpu[1]->lapic));
    assert_int_equal(lapic_ack(l), 8);
    cpu_set_extint(t.set, false);
    assert_false(lapic_has_irq(l));
    /* without an APIC the line reaches the boot processor */
    assert_true(lapic_set_base(l, 0xfee00000));
    cpu_set_extint(t.set, true);
    assert_true(lapic_has_irq(l));
}

static void test_modes(void **state)
{
    struct lapic *l = t.cpu[1]->lapic;
    uint64_t v;

    (void)state;
    assert_false(lapic_set_base(l, 0xfee00000 | APIC_BASE_X2APIC));
    assert_false(lapic_set_base(l, 0xfee00000 | APIC_BASE_ENABLE | 1));
    assert_false(lapic_msr_read(l, 0x802, &v));
    assert_true(lapic_set_base(l, 0xfee00000 | APIC_BASE_ENABLE | APIC_BASE_X2APIC));
    assert_true(lapic_msr_read(l, 0x802, &v));
    assert_int_equal(v, 1);
    assert_true(lapic_msr_read(l, 0x80d, &v));
    assert_int_equal(v, 2);
    assert_false(lapic_msr_read(l, 0x80e, &v));
    assert_false(lapic_msr_write(l, 0x80b, 1));
    assert_true(lapic_msr_write(l, 0x83f, 0x77));
    assert_int_equal(lapic_ack(l), 0x77);
    assert_true(lapic_msr_write(l, 0x80b, 0));
    assert_false(lapic_set_base(l, 0xfee00000 | APIC_BASE_ENABLE));
    assert_true(lapic_set_base(l, 0xfee00000));
    assert_false(lapic_set_base(l, 0xfee00000 | APIC_BASE_ENABLE | APIC_BASE_X2APIC));
    assert_true(lapic_set_base(l, 0xfee00000 | APIC_BASE_ENABLE));
    assert_int_equal(rd(1, APIC_ID), 1u << 24);
    assert_int_equal(rd(1, APIC_SVR), 0xff);
    /* software disabled: fixed interrupts are not taken, INIT is */
    cpu_msi(t.set, 0xfee01000, 0x55);
    assert_false(lapic_has_irq(l));
}

static void test_save_load(void **state)
{
    struct lapic *l = t.cpu[0]->lapic;

    (void)state;
    wr(0, APIC_TDCR, 0xb);
    wr(0, APIC_LVT_TIMER, 0x40);
    wr(0, APIC_TICR, 1000000);
    clock_advance(t.clock, 400000);
    lapic_save(l);
    assert_int_equal(t.cpu[0]->s.lapic[APIC_TCCR], 600000);
    clock_advance(t.clock, 100000);
    lapic_load(l);
    clock_advance(t.clock, 599999);
    assert_false(lapic_has_irq(l));
    clock_advance(t.clock, 1);
    assert_true(lapic_has_irq(l));
}

/* Loading states takes time, which must not show as TSCs that differ. */
static void test_tsc_sync(void **state)
{
    (void)state;
    cpu_tsc_set(t.cpu[0], UINT64_C(5000000000));
    clock_advance(t.clock, 700);
    cpu_tsc_set(t.cpu[1], UINT64_C(5000000300));
    assert_int_equal(cpu_tsc(t.cpu[0]), cpu_tsc(t.cpu[1]));
    assert_int_equal(cpu_tsc(t.cpu[1]), UINT64_C(5000000700));
    cpu_tsc_set(t.cpu[1], 0);
    assert_int_equal(cpu_tsc(t.cpu[1]), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_priorities),  TEST(test_msi_and_eoi), TEST(test_ipis),  TEST(test_timer),
        TEST(test_timer_storm), TEST(test_extint),      TEST(test_modes), TEST(test_save_load),
        TEST(test_tsc_sync),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
