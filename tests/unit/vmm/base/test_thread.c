/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/test.h"

#include <setjmp.h>
#include <signal.h>

#include "vmm/base/thread.h"

static sigjmp_buf back;

static void on_fault(int sig)
{
    siglongjmp(back, sig);
}

static void *divide(void *arg)
{
    int *sig = arg;

    *sig = sigsetjmp(back, 1);
    if (!*sig) /* in assembly: UBSan would notice a division in C */
        __asm__ volatile("div %b0" : : "c"(0), "a"(1) : "cc");
    return NULL;
}

/* A fault that a thread causes reaches the handler: translated guest code divides by the host's own instruction. */
static void faults_are_not_blocked(void **state)
{
    struct sigaction sa = {.sa_handler = on_fault}, old;
    struct err e = ERR_INIT;
    pthread_t t;
    int sig = 0;

    (void)state;
    sigaction(SIGFPE, &sa, &old);
    assert_ok(thread_start(&t, "divide", divide, &sig, &e));
    pthread_join(t, NULL);
    sigaction(SIGFPE, &old, NULL);
    assert_int_equal(sig, SIGFPE);
}

static void *mask_of(void *arg)
{
    pthread_sigmask(SIG_SETMASK, NULL, arg);
    return NULL;
}

static void other_signals_are(void **state)
{
    struct err e = ERR_INIT;
    pthread_t t;
    sigset_t set;

    (void)state;
    assert_ok(thread_start(&t, "mask", mask_of, &set, &e));
    pthread_join(t, NULL);
    assert_true(sigismember(&set, SIGTERM) && sigismember(&set, SIGUSR1) && sigismember(&set, SIGCHLD));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(faults_are_not_blocked), cmocka_unit_test(other_signals_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
