/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The text of text modes: code page 437 and UTF-8. No state. */
#ifndef VMDECK_DISPLAY_TEXT_H
#define VMDECK_DISPLAY_TEXT_H

#include <stddef.h>
#include <stdint.h>

/* What the character generator of a PC shows for each code, the graphic signs at 0-31 and 127
 * included; 0 and 255 are spaces. */
uint16_t text_cp437(uint8_t ch);
/* Encodes one code point; returns its length, 1 to 4. Not terminated. */
unsigned text_utf8(uint32_t cp, char out[4]);
/* Decodes one code point of [s, s+len), len > 0; returns the bytes used, at least 1. Anything malformed
 * (overlong, surrogate, cut short) is U+FFFD for one byte. */
unsigned text_from_utf8(const char *s, size_t len, uint32_t *cp);

#endif
