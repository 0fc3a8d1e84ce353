/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Growable byte buffer with a NUL kept after its end, and bounded string helpers. */
#ifndef VMDECK_BASE_BUF_H
#define VMDECK_BASE_BUF_H

#include <stddef.h>
#include <stdint.h>

struct buf {
    char *data; /* NULL while empty */
    size_t len, cap;
};

#define BUF_INIT {0}

void buf_add(struct buf *b, const void *p, size_t n);
void buf_puts(struct buf *b, const char *s);
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Removes n bytes at the front. */
void buf_consume(struct buf *b, size_t n);
void buf_clear(struct buf *b);
void buf_free(struct buf *b);
/* The text, "" when empty; owned by the buffer. */
const char *buf_str(const struct buf *b);
/* Hands the heap text to the caller and empties the buffer. */
char *buf_steal(struct buf *b);

/* Copies with truncation; dst is always terminated. */
void str_copy(char *dst, size_t size, const char *src);

#endif
