/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Text before it is drawn: decoding, cleaning, width, and the ASCII look of characters.
 *
 * Names, descriptions, logs and screens come from files and guests. Everything that is drawn passes
 * text_next, so that none of them can send control sequences to the terminal, or reorder what a
 * person reads. */
#ifndef VMDECK_UI_TEXT_H
#define VMDECK_UI_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/base/buf.h"

#define TEXT_BAD 0xfffd

/* Decodes one UTF-8 character at *p (before end) and moves on; TEXT_BAD for an invalid byte. */
uint32_t text_decode(const char **p, const char *end);
/* Appends the UTF-8 of c. */
void text_encode(uint32_t c, struct buf *out);
/* Control, format and private characters, and anything a terminal may act upon. */
bool text_unsafe(uint32_t c);
/* text_decode with unsafe characters as TEXT_BAD; in ASCII mode folded to one ASCII character. */
uint32_t text_next(const char **p, const char *end, bool ascii);
/* The ASCII character that looks or reads most like c, '?' when none does. */
char text_fold(uint32_t c);
/* Columns of one character: 0 for combining marks, 2 for wide ones. Never negative. */
int text_columns(uint32_t c);
/* Columns of a whole text. */
int text_width(const char *s, bool ascii);
/* Bytes of s that fit into the columns without cutting a character. */
size_t text_fit(const char *s, int columns, bool ascii);
/* Splits text into lines of at most that many columns at spaces. Calls line for each; returns their
 * count. */
int text_wrap(const char *s, int columns, bool ascii,
              void (*line)(void *opaque, int n, const char *s, size_t len), void *opaque);

#endif
