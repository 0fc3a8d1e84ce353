/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Errors as values: what was being done, to which object, why, and what to do about it.
 *
 * A `struct err` is owned by the caller and holds fixed buffers, so failing never allocates.
 * Functions that can fail for reasons of the host or the user return bool (or a pointer) and take
 * `struct err *` last, never NULL. An error is reported or returned, never both. Guest mistakes are
 * not errors: devices answer them as hardware does. */
#ifndef VMDECK_BASE_ERR_H
#define VMDECK_BASE_ERR_H

#include <stdbool.h>

/* The names go over the control socket and into the man page; exit is the status of the CLI. */
#define ERR_CODES(X)                                                                               \
    X(NONE, "none", 0)                                                                             \
    X(FAILED, "failed", 1)                                                                         \
    X(USAGE, "usage", 2)                                                                           \
    X(NOENT, "not-found", 3)                                                                       \
    X(STATE, "wrong-state", 4)                                                                     \
    X(INVALID, "invalid", 5)                                                                       \
    X(CORRUPT, "corrupt", 5)                                                                       \
    X(TIMEOUT, "timeout", 6)                                                                       \
    X(PERM, "permission", 7)                                                                       \
    X(UNSUPPORTED, "unsupported", 7)                                                               \
    X(NOMEM, "no-memory", 7)                                                                       \
    X(BUSY, "busy", 8)                                                                             \
    X(EXISTS, "exists", 4)                                                                         \
    X(NOSPACE, "no-space", 1)                                                                      \
    X(IO, "io", 1)                                                                                 \
    X(LIMIT, "limit", 1)                                                                           \
    X(PROTO, "protocol", 1)                                                                        \
    X(CANCELLED, "cancelled", 10)                                                                  \
    X(INTERNAL, "internal", 1)

enum err_code {
#define X(id, name, exit) ERR_##id,
    ERR_CODES(X)
#undef X
};

struct err {
    enum err_code code;
    char msg[512];  /* "cannot start \"web\": disk \"a.raw\": locked by process 41" */
    char hint[256]; /* one sentence starting with a verb, or empty */
};

#define ERR_INIT {.code = ERR_NONE}

/* Sets the error and returns false, so that `return err_set(...)` reads well. */
bool err_set(struct err *e, enum err_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* As err_set with ": strerror(errnum)" appended; the code follows from errnum. */
bool err_errno(struct err *e, int errnum, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Prefixes the message with "fmt: " while unwinding. Returns false. */
bool err_wrap(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Adds what to do. Returns false. */
bool err_hint(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

const char *err_code_name(enum err_code code);
/* ERR_INTERNAL when the name is unknown. */
enum err_code err_code_from_name(const char *name);
/* Exit status of the CLI for this code (see vmdeck(1), EXIT STATUS). */
int err_exit_status(enum err_code code);

#endif
