/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/base/alloc.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *check(void *p)
{
    if (!p) {
        fputs("vmdeck: out of memory\n", stderr);
        abort();
    }
    return p;
}

void *x_alloc(size_t size)
{
    return check(calloc(1, size ? size : 1));
}

void *x_calloc(size_t n, size_t size)
{
    return check(calloc(n ? n : 1, size ? size : 1));
}

void *x_realloc(void *p, size_t size)
{
    return check(realloc(p, size ? size : 1));
}

char *x_strdup(const char *s)
{
    return check(strdup(s));
}

char *x_strndup(const char *s, size_t n)
{
    return check(strndup(s, n));
}

char *x_asprintf(const char *fmt, ...)
{
    va_list ap;
    char *s = NULL;

    va_start(ap, fmt);
    int n = vasprintf(&s, fmt, ap);
    va_end(ap);
    return check(n < 0 ? NULL : s);
}

void *try_alloc(size_t size)
{
    return calloc(1, size ? size : 1);
}

void *try_realloc(void *p, size_t size)
{
    return realloc(p, size ? size : 1);
}

void x_free(void *p)
{
    free(p);
}
