/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A short run of the differential tester, and that it notices what it is for: a wrong flag, a wrong
 * error code of a fault, a wrong lane of a YMM register. */
#include <libgen.h>
#include <limits.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/test.h"

#define NO_AVX2 2

/* AddressSanitizer maps an eighth of the address space, which random addresses then meet. */
#ifdef __SANITIZE_ADDRESS__
#define USABLE false
#else
#define USABLE true
#endif

/* Exit status of difftest, which lies beside this program. Its report goes to standard error. */
static int difftest(const char *what, const char *count, const char *bug)
{
    if (!USABLE)
        skip();
    char self[PATH_MAX] = {0}, path[PATH_MAX + 16];
    assert_true(readlink("/proc/self/exe", self, sizeof(self) - 1) > 0);
    snprintf(path, sizeof(path), "%s/difftest", dirname(self));

    const char *argv[] = {path, "--seed", "1", what, count, bug ? "--seed-bug" : NULL, bug, NULL};
    posix_spawn_file_actions_t fa;
    pid_t pid;
    int status;
    posix_spawn_file_actions_init(&fa);
    posix_spawn_file_actions_adddup2(&fa, STDERR_FILENO, STDOUT_FILENO);
    assert_int_equal(posix_spawn(&pid, path, &fa, NULL, (char **)argv, environ), 0);
    posix_spawn_file_actions_destroy(&fa);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void no_difference_to_this_processor(void **state)
{
    (void)state;
    const int status = difftest("--count", "200000", NULL);
    if (status == NO_AVX2)
        skip();
    assert_int_equal(status, 0);
}

static void no_difference_in_blocks(void **state)
{
    (void)state;
    const int status = difftest("--blocks", "10000", NULL);
    if (status == NO_AVX2)
        skip();
    assert_int_equal(status, 0);
}

static void notices(const char *bug)
{
    const int status = difftest("--count", "200000", bug);
    if (status == NO_AVX2)
        skip();
    assert_int_equal(status, 1);
}

static void notices_in_blocks(const char *bug)
{
    const int status = difftest("--blocks", "10000", bug);
    if (status == NO_AVX2)
        skip();
    assert_int_equal(status, 1);
}

static void notices_a_wrong_flag(void **state)
{
    (void)state;
    notices("flag");
}

static void notices_a_wrong_error_code(void **state)
{
    (void)state;
    notices("error-code");
}

static void notices_a_wrong_lane(void **state)
{
    (void)state;
    notices("avx-lane");
}

static void notices_what_is_wrong_in_blocks(void **state)
{
    (void)state;
    notices_in_blocks("flag");
    notices_in_blocks("error-code");
    notices_in_blocks("avx-lane");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_difference_to_this_processor),
        cmocka_unit_test(no_difference_in_blocks),
        cmocka_unit_test(notices_what_is_wrong_in_blocks),
        cmocka_unit_test(notices_a_wrong_flag),
        cmocka_unit_test(notices_a_wrong_error_code),
        cmocka_unit_test(notices_a_wrong_lane),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
