/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Keys under their several names: evdev codes (KEY_* of linux/input-event-codes.h, what guests' input
 * devices take), QMP's qcode names, XT scan codes (VNC's extended key event), X keysyms and characters of a
 * keyboard layout. Constant tables, no state. */
#ifndef VMDECK_DISPLAY_KEYMAP_H
#define VMDECK_DISPLAY_KEYMAP_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/base/err.h"

#define KEYMAP_CODES    256 /* all our evdev codes are below */
#define KEYMAP_STROKES  2   /* at most, for one character: dead key and letter */
#define KEYMAP_COMBO    8   /* keys in a combination */

#define KEYMAP_SHIFT 1u
#define KEYMAP_ALTGR 2u

/* A key to press with exactly these of Shift and AltGr held. */
struct keymap_stroke {
    uint16_t code;
    uint8_t mods;
    bool letter; /* Caps Lock swaps Shift */
};

struct keymap;

/* ---- layouts: what the guest is set to ---- */

/* "us", "gb", "de", "fr", "es"; NULL when unknown. */
const struct keymap *keymap_find(const char *layout);
/* For help texts: "us, gb, ...". */
const char *keymap_layouts(void);
/* How to type a character, newline, tab and backspace included: strokes in order; returns their count, 0
 * when the layout cannot produce it. */
unsigned keymap_type(const struct keymap *km, uint32_t cp, struct keymap_stroke out[KEYMAP_STROKES]);
/* The same for a keysym of a viewer, whose layout may be another one. Keys without a character (function
 * keys, modifiers) are one stroke without mods, and *plain is set: Shift and AltGr stay as they are. */
unsigned keymap_keysym(const struct keymap *km, uint32_t keysym,
                       struct keymap_stroke out[KEYMAP_STROKES], bool *plain);

/* ---- keys ---- */

/* Name as in QMP's QKeyCode ("ret", "f1", "ctrl_r"; also "enter", "altgr" and a few more); 0: none. */
uint16_t keymap_code(const char *name);
/* NULL: none. */
const char *keymap_name(uint16_t code);
/* "ctrl-alt-delete": codes in the order to press. */
bool keymap_combo(const char *text, uint16_t codes[KEYMAP_COMBO], unsigned *count, struct err *e);
/* Keycode of QEMU's extended key event: XT set 1, bit 7 for the E0 prefix. 0: none. */
uint16_t keymap_from_xt(uint32_t xt);

#endif
