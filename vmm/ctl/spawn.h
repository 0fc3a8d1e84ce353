/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The processes of a VM are this program again (/proc/self/exe), told by a hidden first argument what they are and by
 * words NAME=VALUE what they got; descriptors arrive as NAME=NUMBER. A child has exactly the descriptors it was
 * given, /dev/null as input and output, the log as standard error, and dies with its parent. It ignores SIGPIPE,
 * SIGINT, SIGHUP and SIGTERM. */
#ifndef VMDECK_CTL_SPAWN_H
#define VMDECK_CTL_SPAWN_H

#include <stdbool.h>
#include <sys/types.h>

#include "vmm/base/err.h"

#define SPAWN_WORDS 80

struct spawn {
    char *words[SPAWN_WORDS + 1]; /* title, role, NAME=VALUE... */
    int fds[SPAWN_WORDS];
    unsigned word_count, fd_count;
};

/* role: "__vm". title is shown by ps. */
void spawn_init(struct spawn *s, const char *role, const char *title);
void spawn_fini(struct spawn *s);
/* A descriptor stays the caller's; -1 is left out. */
void spawn_fd(struct spawn *s, const char *name, int fd);
void spawn_word(struct spawn *s, const char *name, const char *value);
/* Starts it; log_fd becomes its standard error. *pidfd is the caller's. */
bool spawn_run(struct spawn *s, int log_fd, pid_t *pid, int *pidfd, struct err *e);

/* In the child: the arguments as main got them (argv[0] the title, argv[1] the role). */
struct spawn_args {
    int argc;
    char **argv;
};
/* -1 when absent; close-on-exec is set. */
int spawn_get_fd(const struct spawn_args *a, const char *name);
/* NULL when absent. */
const char *spawn_get_word(const struct spawn_args *a, const char *name);
/* Leaves only the title for ps to show; the words are gone afterwards. */
void spawn_hide_args(const struct spawn_args *a);

#endif
