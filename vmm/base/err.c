/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int exit;
} codes[] = {
#define X(id, name, exit) {name, exit},
    ERR_CODES(X)
#undef X
};

bool err_set(struct err *e, enum err_code code, const char *fmt, ...)
{
    va_list ap;

    e->code = code;
    e->hint[0] = '\0';
    va_start(ap, fmt);
    vsnprintf(e->msg, sizeof(e->msg), fmt, ap);
    va_end(ap);
    return false;
}

static enum err_code code_of_errno(int errnum)
{
    switch (errnum) {
    case ENOENT: return ERR_NOENT;
    case EACCES:
    case EPERM:
    case EROFS: return ERR_PERM;
    case EEXIST: return ERR_EXISTS;
    case ENOMEM: return ERR_NOMEM;
    case ENOSPC:
    case EDQUOT: return ERR_NOSPACE;
    case EISDIR: return ERR_INVALID;
    case EBUSY:
    case EADDRINUSE: return ERR_BUSY;
    case ETIMEDOUT: return ERR_TIMEOUT;
    case EIO: return ERR_IO;
    default: return ERR_FAILED;
    }
}

bool err_errno(struct err *e, int errnum, const char *fmt, ...)
{
    va_list ap;
    char what[sizeof(e->msg) - 128];

    va_start(ap, fmt);
    vsnprintf(what, sizeof(what), fmt, ap);
    va_end(ap);
    return err_set(e, code_of_errno(errnum), "%s: %s", what, strerror(errnum));
}

bool err_wrap(struct err *e, const char *fmt, ...)
{
    va_list ap;
    char inner[sizeof(e->msg)];
    size_t n;

    memcpy(inner, e->msg, sizeof(inner));
    va_start(ap, fmt);
    vsnprintf(e->msg, sizeof(e->msg), fmt, ap);
    va_end(ap);
    n = strlen(e->msg);
    snprintf(e->msg + n, sizeof(e->msg) - n, ": %s", inner);
    return false;
}

bool err_hint(struct err *e, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(e->hint, sizeof(e->hint), fmt, ap);
    va_end(ap);
    return false;
}

const char *err_code_name(enum err_code code)
{
    return codes[code].name;
}

enum err_code err_code_from_name(const char *name)
{
    for (unsigned i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
        if (strcmp(codes[i].name, name) == 0)
            return (enum err_code)i;
    return ERR_INTERNAL;
}

int err_exit_status(enum err_code code)
{
    return codes[code].exit;
}
