/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See vec_fpe.h. */
#include "vmm/cpu/interp/vec_fpe.h"

#include <pthread.h>
#include <signal.h>
#include <ucontext.h>

_Thread_local const uint8_t *volatile vec_fpe_code;

static struct sigaction old;

static void on_fpe(int sig, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    const uintptr_t code = (uintptr_t)vec_fpe_code;
    const uintptr_t rip = (uintptr_t)uc->uc_mcontext.gregs[REG_RIP];

    if (code && rip - code < VEC_CODE)
        uc->uc_mcontext.gregs[REG_RIP] = (greg_t)code;
    else if (old.sa_flags & SA_SIGINFO)
        old.sa_sigaction(sig, info, context);
    else if (old.sa_handler != SIG_DFL && old.sa_handler != SIG_IGN)
        old.sa_handler(sig);
    else
        signal(sig, SIG_DFL); /* our own mistake: comes again on return and ends the process */
}

void vec_fpe_install(void)
{
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    struct sigaction sa = {.sa_sigaction = on_fpe, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER}, now;

    sigemptyset(&sa.sa_mask);
    pthread_mutex_lock(&mutex);
    sigaction(SIGFPE, NULL, &now);
    if (!(now.sa_flags & SA_SIGINFO) || now.sa_sigaction != on_fpe) {
        old = now;
        sigaction(SIGFPE, &sa, NULL);
    }
    pthread_mutex_unlock(&mutex);
}
