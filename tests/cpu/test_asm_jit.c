/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The system tests of tests/cpu/asm with everything translated at once, and with what is rare made common: full code
 * memory, a tiny TLB, eviction at every block, signals all the time. */
#include "tests/lib/test.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "tests/lib/asmrun.h"

static void run(const char *tuning, const char *name, unsigned cpus, enum cpu_model model, int expected)
{
    struct asm_result r;

    setenv("VMDECK_CPU", tuning, 1);
    asm_run(&(struct asm_host){.ops = &accel_soft, .kvm_fd = -1, .timeout = 30}, name, cpus, model, &r);
    if (r.outcome != expected)
        fail_msg("%s with %u vCPUs and %s: result %d, expected %d, stopped at %x:%llx: %s", name, cpus, tuning,
                 r.outcome, expected, r.cs, (unsigned long long)r.rip, r.text);
}

static void run_all(const char *tuning)
{
#define RUN(name, cpus, model, expected) run(tuning, #name, cpus, model, expected);
    ASM_TESTS(RUN)
#undef RUN
}

static void test_all_translated(void **state)
{
    (void)state;
    run_all("heat=1");
}

static void test_interpreted(void **state)
{
    (void)state;
    run_all("interpret");
}

static void test_little_memory(void **state)
{
    (void)state;
    run_all("heat=1,code=524288,tlb=16");
}

static void test_eviction(void **state)
{
    (void)state;
    run_all("heat=1,evict");
}

/* Every translation against the interpreter; with two vCPUs they are merely executed. */
static void test_compared(void **state)
{
    (void)state;
    run_all("heat=1,verify");
    run_all("heat=1,verify,tlb=16,code=524288");
}

static void test_wrong_translation(void **state)
{
    struct asm_result r;

    (void)state;
    setenv("VMDECK_CPU", "heat=1,verify,wrong=inc", 1);
    asm_run(&(struct asm_host){.ops = &accel_soft, .kvm_fd = -1, .timeout = 30}, "long", 1, CPU_MAX, &r);
    assert_int_equal(r.outcome, ASM_ERROR);
    assert_non_null(strstr(r.text, "the translator and the interpreter differ"));
}

static volatile sig_atomic_t storms;

static void on_alarm(int sig)
{
    (void)sig;
    storms++;
}

/* Handlers run on the vCPU's stack, wherever translated code is. */
static void test_signal_storm(void **state)
{
    struct sigaction sa = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    const struct itimerval often = {{0, 200}, {0, 200}}, never = {{0, 0}, {0, 0}};

    (void)state;
    sigaction(SIGPROF, &sa, NULL);
    setitimer(ITIMER_PROF, &often, NULL);
    run_all("heat=1");
    run_all("heat=1,evict,tlb=16");
    setitimer(ITIMER_PROF, &never, NULL);
    assert_true(storms > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_translated), cmocka_unit_test(test_interpreted),
        cmocka_unit_test(test_little_memory),  cmocka_unit_test(test_eviction),
        cmocka_unit_test(test_compared),       cmocka_unit_test(test_wrong_translation),
        cmocka_unit_test(test_signal_storm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
