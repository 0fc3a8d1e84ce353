/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The system tests of tests/cpu/asm on the software CPU. */
#include "tests/lib/test.h"

#include "tests/lib/asmrun.h"

static void run(const char *name, bool board, unsigned cpus, enum cpu_model model, int expected)
{
    struct asm_result r;

    asm_run(&(struct asm_host){.ops = &accel_soft, .kvm_fd = -1, .timeout = 30, .board = board}, name, cpus, model, &r);
    if (r.outcome != expected)
        fail_msg("%s: result %d, expected %d, stopped at %x:%llx: %s", name, r.outcome, expected,
                 r.cs, (unsigned long long)r.rip, r.text);
}

#define ASM_TEST(name, board, cpus, model, expected)                                               \
    static void test_##name##_##cpus(void **state)                                                 \
    {                                                                                              \
        (void)state;                                                                               \
        run(#name, board, cpus, model, expected);                                                  \
    }
#define PLAIN(name, cpus, model, expected) ASM_TEST(name, false, cpus, model, expected)
#define BOARD(name, cpus, model, expected) ASM_TEST(name, true, cpus, model, expected)
ASM_TESTS(PLAIN)
ASM_TESTS_BOARD(BOARD)

int main(void)
{
    const struct CMUnitTest tests[] = {
#define ROW(name, cpus, model, expected) cmocka_unit_test(test_##name##_##cpus),
        ASM_TESTS(ROW)
        ASM_TESTS_BOARD(ROW)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
