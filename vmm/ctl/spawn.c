/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/ctl/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm/base/alloc.h"
#include "vmm/base/fd.h"

#define FIRST_FD 3
/* the child's copies go here first, out of the way of the final numbers */
#define SCRATCH_FD (FIRST_FD + SPAWN_WORDS)

static void add(struct spawn *s, char *word)
{
    if (s->word_count < SPAWN_WORDS)
        s->words[s->word_count++] = word;
    else
        x_free(word);
}

void spawn_init(struct spawn *s, const char *role, const char *title)
{
    memset(s, 0, sizeof(*s));
    add(s, x_strdup(title));
    add(s, x_strdup(role));
}

void spawn_fini(struct spawn *s)
{
    for (unsigned i = 0; i < s->word_count; i++)
        x_free(s->words[i]);
}

void spawn_fd(struct spawn *s, const char *name, int fd)
{
    if (fd < 0 || s->word_count == SPAWN_WORDS)
        return;
    add(s, x_asprintf("%s=%u", name, FIRST_FD + s->fd_count));
    s->fds[s->fd_count++] = fd;
}

void spawn_word(struct spawn *s, const char *name, const char *value)
{
    add(s, x_asprintf("%s=%s", name, value));
}

/* Between fork and exec: async-signal-safe calls only. */
static void child(const struct spawn *s, int null_fd, int log_fd, pid_t parent)
{
    sigset_t none;

    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
        _exit(127);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_IGN);
    /* those of a terminal or a service manager are for the supervisor, which ends us in order */
    signal(SIGINT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    int high[SPAWN_WORDS];
    for (unsigned i = 0; i < s->fd_count; i++) {
        high[i] = fcntl(s->fds[i], F_DUPFD, SCRATCH_FD);
        if (high[i] < 0)
            _exit(127);
    }
    if (dup2(log_fd, 2) < 0 || dup2(null_fd, 0) < 0 || dup2(null_fd, 1) < 0)
        _exit(127);
    for (unsigned i = 0; i < s->fd_count; i++)
        if (dup2(high[i], FIRST_FD + (int)i) < 0)
            _exit(127);
    syscall(SYS_close_range, FIRST_FD + s->fd_count, ~0u, 0);
    execv("/proc/self/exe", s->words);
    _exit(127);
}

bool spawn_run(struct spawn *s, int log_fd, pid_t *pid, int *pidfd, struct err *e)
{
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    pid_t parent = getpid();
    sigset_t all, old;

    if (null_fd < 0)
        return err_errno(e, errno, "cannot open /dev/null");
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &old); /* no handler of ours may run in the child */
    *pid = fork();
    if (*pid == 0)
        child(s, null_fd, log_fd, parent);
    int errnum = errno;
    sigprocmask(SIG_SETMASK, &old, NULL);
    close(null_fd);
    if (*pid < 0)
        return err_errno(e, errnum, "cannot start process \"%s\"", s->words[0]);
    *pidfd = (int)syscall(SYS_pidfd_open, *pid, 0);
    if (*pidfd < 0) {
        err_errno(e, errno, "cannot watch process \"%s\"", s->words[0]);
        kill(*pid, SIGKILL);
        waitpid(*pid, NULL, 0);
        return false;
    }
    fd_set_cloexec(*pidfd, true);
    return true;
}

const char *spawn_get_word(const struct spawn_args *a, const char *name)
{
    size_t n = strlen(name);

    for (int i = 2; i < a->argc; i++)
        if (!strncmp(a->argv[i], name, n) && a->argv[i][n] == '=')
            return a->argv[i] + n + 1;
    return NULL;
}

int spawn_get_fd(const struct spawn_args *a, const char *name)
{
    const char *word = spawn_get_word(a, name);

    if (!word)
        return -1;
    int fd = (int)strtol(word, NULL, 10);
    if (fd < FIRST_FD || !fd_set_cloexec(fd, true))
        return -1;
    return fd;
}

void spawn_hide_args(const struct spawn_args *a)
{
    for (int i = 1; i < a->argc; i++)
        memset(a->argv[i], 0, strlen(a->argv[i]));
}
