/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Allocation. x_*: small sizes that we chose; abort when the host has nothing left. try_*: any size
 * that a guest, a file or a user chose; NULL when it cannot be had. All memory is zeroed. */
#ifndef VMDECK_BASE_ALLOC_H
#define VMDECK_BASE_ALLOC_H

#include <stddef.h>

#define ALLOC_NONNULL __attribute__((returns_nonnull))

void *x_alloc(size_t size) ALLOC_NONNULL;
void *x_calloc(size_t n, size_t size) ALLOC_NONNULL;
void *x_realloc(void *p, size_t size) ALLOC_NONNULL;
char *x_strdup(const char *s);
char *x_strndup(const char *s, size_t n) ALLOC_NONNULL;
char *x_asprintf(const char *fmt, ...) ALLOC_NONNULL __attribute__((format(printf, 1, 2)));
void *try_alloc(size_t size);
void *try_realloc(void *p, size_t size);
/* NULL is fine. */
void x_free(void *p);

#define X_NEW(type) ((type *)x_alloc(sizeof(type)))

#endif
