/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VMDECK_DISPLAY_KEYMAP_PRIV_H
#define VMDECK_DISPLAY_KEYMAP_PRIV_H

#include <uchar.h>

#include "display/keymap.h"

#define KEYMAP_KEYS   48 /* keys that produce characters, in the order of keymap_positions */
#define KEYMAP_LEVELS 4  /* index: KEYMAP_SHIFT | KEYMAP_ALTGR */

/* Each level names what its keys produce, a space for nothing; combining characters are dead keys. */
struct keymap {
    const char *name;
    const char16_t *levels[KEYMAP_LEVELS]; /* KEYMAP_KEYS characters, or NULL */
};

extern const struct keymap keymap_layout_table[];
extern const unsigned keymap_layout_count;
extern const uint8_t keymap_positions[KEYMAP_KEYS];

/* Letters with accents that are typed as dead key and letter. */
struct keymap_compose {
    char16_t dead;      /* the combining character */
    char16_t spacing;   /* dead key, then space */
    const char16_t *base, *composed;
};
extern const struct keymap_compose keymap_compose_table[];
extern const unsigned keymap_compose_count;

/* Evdev code of a keysym that is no character, 0: none. */
uint16_t keymap_function_keysym(uint32_t keysym);

#endif
