/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Characters and keysyms to keys. Tables of some 200 entries are searched one by one: people type slowly. */
#include "display/keymap.h"

#include <linux/input-event-codes.h>
#include <string.h>

#include "display/keymap_priv.h"
#include "vmm/base/bits.h"

const struct keymap *keymap_find(const char *layout)
{
    for (unsigned i = 0; i < keymap_layout_count; i++)
        if (strcmp(keymap_layout_table[i].name, layout) == 0)
            return &keymap_layout_table[i];
    return NULL;
}

const char *keymap_layouts(void)
{
    return "us, gb, de, fr, es";
}

/* The key that yields ch by itself (a combining character: that dead key), with the fewest modifiers. */
static bool find_key(const struct keymap *km, uint32_t ch, struct keymap_stroke *out)
{
    for (unsigned level = 0; level < KEYMAP_LEVELS; level++) {
        const char16_t *chars = km->levels[level];
        for (unsigned i = 0; chars && i < KEYMAP_KEYS; i++) {
            if (chars[i] != ch || ch == ' ')
                continue;
            /* Caps Lock acts on keys whose two levels are the cases of one letter, which differ by 32 */
            const char16_t *lower = km->levels[level & ~KEYMAP_SHIFT];
            const char16_t *upper = km->levels[level | KEYMAP_SHIFT];
            bool letter = lower && upper && lower[i] - upper[i] == 0x20 && lower[i] >= 'a' && lower[i] != 0xf7;
            *out = (struct keymap_stroke){keymap_positions[i], (uint8_t)level, letter};
            return true;
        }
    }
    return false;
}

static uint16_t control_key(uint32_t cp)
{
    switch (cp) {
    case ' ': return KEY_SPACE;
    case '\n':
    case '\r': return KEY_ENTER;
    case '\t': return KEY_TAB;
    case '\b':
    case 0x7f: return KEY_BACKSPACE;
    case 0x1b: return KEY_ESC;
    default: return 0;
    }
}

/* Dead key, then a letter or a space. */
static unsigned find_composed(const struct keymap *km, uint32_t cp,
                              struct keymap_stroke out[KEYMAP_STROKES])
{
    for (unsigned i = 0; i < keymap_compose_count; i++) {
        const struct keymap_compose *c = &keymap_compose_table[i];
        if (!find_key(km, c->dead, &out[0]))
            continue;
        if (cp == c->spacing) {
            out[1] = (struct keymap_stroke){.code = KEY_SPACE};
            return 2;
        }
        for (unsigned n = 0; c->composed[n]; n++)
            if (cp == c->composed[n])
                return find_key(km, c->base[n], &out[1]) ? 2 : 0;
    }
    return 0;
}

unsigned keymap_type(const struct keymap *km, uint32_t cp, struct keymap_stroke out[KEYMAP_STROKES])
{
    uint16_t control = control_key(cp);

    if (control) {
        out[0] = (struct keymap_stroke){.code = control};
        return 1;
    }
    if (cp < 0x20)
        return 0;
    return find_key(km, cp, &out[0]) ? 1 : find_composed(km, cp, out);
}

/* Code point of a keysym, combining for dead keys; 0: none. */
static uint32_t keysym_character(uint32_t keysym)
{
    static const struct {
        uint16_t keysym, cp;
    } special[] = {
        {0x20ac, 0x20ac}, /* EuroSign */
        {0xfe50, 0x0300}, {0xfe51, 0x0301}, {0xfe52, 0x0302}, {0xfe53, 0x0303}, {0xfe57, 0x0308},
        {0xfe58, 0x030a}, {0xfe5b, 0x0327}, /* dead keys */
        {0xffae, '.'},    /* KP_Decimal */
        {0xffac, ','},    /* KP_Separator */
        {0xffbd, '='},    /* KP_Equal */
    };

    if ((keysym >= 0x20 && keysym <= 0x7e) || (keysym >= 0xa0 && keysym <= 0xff))
        return keysym;
    if (keysym >> 24 == 1 && (keysym & 0xffffff) <= 0x10ffff)
        return keysym & 0xffffff;
    if (keysym >= 0xffb0 && keysym <= 0xffb9)
        return '0' + (keysym - 0xffb0);
    for (unsigned i = 0; i < ARRAY_LEN(special); i++)
        if (special[i].keysym == keysym)
            return special[i].cp;
    return 0;
}

unsigned keymap_keysym(const struct keymap *km, uint32_t keysym,
                       struct keymap_stroke out[KEYMAP_STROKES], bool *plain)
{
    uint32_t cp = keysym_character(keysym);
    uint16_t code = cp == ' ' ? KEY_SPACE : keymap_function_keysym(keysym);

    *plain = code != 0;
    if (code) {
        out[0] = (struct keymap_stroke){.code = code};
        return 1;
    }
    return cp ? keymap_type(km, cp, out) : 0;
}
