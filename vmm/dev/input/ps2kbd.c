/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PS/2 keyboard, scan code sets 1 and 2. Source: IBM PS/2 keyboard technical reference. Linux' key
 * codes 1 to 88 are the make codes of set 1, so one small table of the others is enough; set 2
 * follows from set 1 by the inverse of the controller's translation. Set 3, which nothing uses, is
 * refused. */
#include "vmm/dev/input/ps2.h"

#include <linux/input-event-codes.h>
#include <string.h>

#include "vmm/base/bits.h"
#include "vmm/dev/input/i8042_translate.h"

#define ACK    0xfau
#define RESEND 0xfeu
#define E0     0x100u

#define KEY_BYTES   3 /* the longest release: E0 F0 and the code */
#define REPLY_BYTES 8

/* Set 1 make codes of keys above 88. */
static const struct {
    uint16_t key, code;
} extra[] = {
    {KEY_RO, 0x73},
    {KEY_KATAKANAHIRAGANA, 0x70},
    {KEY_HENKAN, 0x79},
    {KEY_MUHENKAN, 0x7b},
    {KEY_KPJPCOMMA, 0x5c},
    {KEY_KPENTER, E0 | 0x1c},
    {KEY_RIGHTCTRL, E0 | 0x1d},
    {KEY_KPSLASH, E0 | 0x35},
    {KEY_SYSRQ, E0 | 0x37},
    {KEY_RIGHTALT, E0 | 0x38},
    {KEY_HOME, E0 | 0x47},
    {KEY_UP, E0 | 0x48},
    {KEY_PAGEUP, E0 | 0x49},
    {KEY_LEFT, E0 | 0x4b},
    {KEY_RIGHT, E0 | 0x4d},
    {KEY_END, E0 | 0x4f},
    {KEY_DOWN, E0 | 0x50},
    {KEY_PAGEDOWN, E0 | 0x51},
    {KEY_INSERT, E0 | 0x52},
    {KEY_DELETE, E0 | 0x53},
    {KEY_MUTE, E0 | 0x20},
    {KEY_VOLUMEDOWN, E0 | 0x2e},
    {KEY_VOLUMEUP, E0 | 0x30},
    {KEY_POWER, E0 | 0x5e},
    {KEY_KPEQUAL, 0x59},
    {KEY_KPCOMMA, 0x7e},
    {KEY_YEN, 0x7d},
    {KEY_LEFTMETA, E0 | 0x5b},
    {KEY_RIGHTMETA, E0 | 0x5c},
    {KEY_COMPOSE, E0 | 0x5d},
};

static uint16_t set1_code(uint16_t key)
{
    if (key <= KEY_F12)
        return key;
    for (unsigned i = 0; i < ARRAY_LEN(extra); i++)
        if (extra[i].key == key)
            return extra[i].code;
    return 0;
}

static uint8_t set2_of_set1(uint8_t code)
{
    if (code == 0x41)
        return 0x83; /* F7: two codes translate to it, this is the key's */
    for (unsigned i = 0; i < 0x80; i++)
        if (i8042_translation[i] == code)
            return (uint8_t)i;
    return code;
}

static void put(struct ps2_kbd_state *k, const uint8_t *p, unsigned n)
{
    ps2_queue_put(&k->out, p, n);
}

static void reply(struct ps2_kbd_state *k, uint8_t v)
{
    put(k, &v, 1);
}

static void defaults(struct ps2_kbd_state *k)
{
    k->set = 2;
    k->rate = 0x2b;
    k->command = 0;
}

void ps2_kbd_reset(struct ps2_kbd_state *k)
{
    memset(k, 0, sizeof(*k));
    defaults(k);
    k->scanning = true;
}

/* A press must leave room for the releases of all keys that are down, and for replies. */
static bool room_for_press(const struct ps2_kbd_state *k, unsigned bytes, unsigned held)
{
    return k->out.count + bytes + held * KEY_BYTES + REPLY_BYTES <= PS2_QUEUE;
}

/* Keeps track of what the guest is told; false: nothing. */
static bool track(struct ps2_kbd_state *k, uint16_t key, bool down)
{
    uint8_t bit = (uint8_t)BIT(key % 8), *byte = &k->down[key / 8];
    bool was = *byte & bit;

    if (down && !room_for_press(k, KEY_BYTES, k->held + !was))
        return false;
    if (down != was)
        k->held = (uint8_t)(k->held + (down ? 1 : -1));
    *byte = (uint8_t)(down ? *byte | bit : *byte & ~bit);
    return (down || was) && k->scanning;
}

void ps2_kbd_key(struct ps2_kbd_state *k, uint16_t key, bool down)
{
    static const uint8_t pause1[] = {0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5};
    static const uint8_t pause2[] = {0xe1, 0x14, 0x77, 0xe1, 0xf0, 0x14, 0xf0, 0x77};
    uint16_t code = set1_code(key);
    uint8_t p[KEY_BYTES];
    unsigned n = 0;

    if (key == KEY_PAUSE) { /* make only */
        if (down && k->scanning && room_for_press(k, sizeof(pause2), k->held))
            put(k, k->set == 1 ? pause1 : pause2, k->set == 1 ? sizeof(pause1) : sizeof(pause2));
        return;
    }
    if (!code || (down && !k->scanning) || !track(k, key, down))
        return;
    if (code & E0)
        p[n++] = 0xe0;
    if (k->set == 1) {
        p[n++] = (uint8_t)(code | (down ? 0 : 0x80));
    } else {
        if (!down)
            p[n++] = 0xf0;
        p[n++] = set2_of_set1((uint8_t)code);
    }
    put(k, p, n);
}

/* The data byte of a command. */
static void data_byte(struct ps2_kbd_state *k, uint8_t v)
{
    uint8_t command = k->command;

    k->command = 0;
    switch (command) {
    case 0xed: k->leds = v & 7; break;
    case 0xf3: k->rate = v; break;
    case 0xf0:
        if (v == 0) {
            reply(k, ACK);
            reply(k, k->set);
            return;
        }
        if (v > 2) {
            reply(k, RESEND);
            return;
        }
        k->set = v;
        break;
    default: break;
    }
    reply(k, ACK);
}

void ps2_kbd_write(struct ps2_kbd_state *k, uint8_t v)
{
    if (k->command && v < 0xed) {
        data_byte(k, v);
        return;
    }
    k->command = 0;
    switch (v) {
    case 0xed:
    case 0xf0:
    case 0xf3:
        k->command = v;
        reply(k, ACK);
        break;
    case 0xee: reply(k, 0xee); break;
    case 0xf2: put(k, (const uint8_t[]){ACK, 0xab, 0x83}, 3); break;
    case 0xf4:
        k->out.count = 0;
        k->scanning = true;
        reply(k, ACK);
        break;
    case 0xf5:
    case 0xf6:
        defaults(k);
        k->scanning = v == 0xf6;
        reply(k, ACK);
        break;
    case 0xf7:
    case 0xf8:
    case 0xf9:
    case 0xfa: reply(k, ACK); break;
    case 0xff:
        defaults(k);
        k->leds = 0;
        k->scanning = true;
        k->out.count = 0;
        put(k, (const uint8_t[]){ACK, 0xaa}, 2);
        break;
    default: reply(k, RESEND); break;
    }
}
