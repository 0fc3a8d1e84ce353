/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Viewers' keys and pointers as input events. Viewers with the extended key event send scan codes and
 * need no layout. For the others a keysym is looked up in the guest's layout, and Shift and AltGr are
 * pressed or released around the key where the guest's layout wants them otherwise.
 *
 * Caps_Lock of a keysym viewer is not passed on: its keysyms already say upper case. */
#include <errno.h>
#include <linux/input-event-codes.h>
#include <string.h>
#include <sys/socket.h>

#include "display/vnc_priv.h"
#include "vmm/base/bits.h"
#include "vmm/base/clock.h"
#include "vmm/base/log.h"

#define XK_ISO_LEVEL3_SHIFT 0xfe03u
#define XK_MODE_SWITCH      0xff7eu
#define XK_CONTROL_L        0xffe3u
#define XK_CAPS_LOCK        0xffe5u
#define XK_ALT_R            0xffeau
/* Windows reports AltGr as Control_L and Alt_R at once */
#define FAKE_CONTROL_NS (50 * NS_PER_MS)

/* ---- queue ---- */

bool vnc_input_flush(struct vnc_input *in)
{
    while (in->count) {
        ssize_t n = send(in->fd, &in->queue[in->head], sizeof(in->queue[0]),
                         MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN || errno == ENOBUFS;
        in->head = (in->head + 1) % VNC_INPUT_QUEUE;
        in->count--;
    }
    return true;
}

static void push(struct vnc_input *in, const struct input_event *ev)
{
    if (in->count && ev->type == INPUT_POINTER) {
        struct input_event *last = &in->queue[(in->head + in->count - 1) % VNC_INPUT_QUEUE];
        if (last->type == INPUT_POINTER && last->value == ev->value) {
            *last = *ev; /* only a newer position */
            return;
        }
    }
    if (in->count == VNC_INPUT_QUEUE) { /* the VM does not take them: forget, but leave no key down */
        in->head = 0;
        in->count = 1;
        in->queue[0] = (struct input_event){.type = INPUT_RELEASE_ALL};
        return;
    }
    in->queue[(in->head + in->count++) % VNC_INPUT_QUEUE] = *ev;
}

static void emit_key(struct vnc_input *in, uint16_t code, bool down)
{
    push(in, &(struct input_event){.type = INPUT_KEY, .code = code, .value = down});
}

/* ---- keys ---- */

static bool is_down(const struct vnc_keys *k, uint16_t code)
{
    return k->down[code / 32] & BIT(code % 32);
}

/* A press of a key that is down already is autorepeat and passed on. */
static void press(struct vnc_input *in, struct vnc_keys *k, uint16_t code)
{
    if (!is_down(k, code)) {
        k->down[code / 32] |= BIT(code % 32);
        in->held[code]++;
        if (code == KEY_CAPSLOCK && in->held[code] == 1)
            in->caps = !in->caps;
    }
    emit_key(in, code, true);
}

static void release(struct vnc_input *in, struct vnc_keys *k, uint16_t code)
{
    if (!is_down(k, code))
        return;
    k->down[code / 32] &= ~BIT(code % 32);
    if (--in->held[code] == 0)
        emit_key(in, code, false);
}

/* What modifiers_apply changed, for modifiers_undo. */
struct modifiers {
    bool shift_on, shift_off, altgr_on, altgr_off;
};

static void set_shift(struct vnc_input *in, bool down)
{
    if (in->held[KEY_LEFTSHIFT])
        emit_key(in, KEY_LEFTSHIFT, down);
    if (in->held[KEY_RIGHTSHIFT])
        emit_key(in, KEY_RIGHTSHIFT, down);
}

/* Makes the guest see the modifiers of the stroke. */
static struct modifiers modifiers_apply(struct vnc_input *in, const struct vnc_keys *k,
                                        const struct keymap_stroke *s)
{
    bool shift = in->held[KEY_LEFTSHIFT] || in->held[KEY_RIGHTSHIFT];
    bool altgr = in->held[KEY_RIGHTALT];
    bool shortcut = in->held[KEY_LEFTCTRL] || in->held[KEY_RIGHTCTRL] || in->held[KEY_LEFTALT] ||
                    in->held[KEY_LEFTMETA] || in->held[KEY_RIGHTMETA];
    bool want_shift = s->mods & KEYMAP_SHIFT, want_altgr = s->mods & KEYMAP_ALTGR;
    struct modifiers m = {0};

    if (s->letter && shortcut)
        want_shift = shift; /* Ctrl+C is the same with and without Caps Lock */
    else if (s->letter && in->caps)
        want_shift = !want_shift;
    m.shift_on = want_shift && !shift;
    m.shift_off = !want_shift && shift;
    m.altgr_on = want_altgr && !altgr;
    m.altgr_off = !want_altgr && altgr && k->level3; /* Alt_R as such is a shortcut's */
    if (m.shift_off)
        set_shift(in, false);
    if (m.shift_on)
        emit_key(in, KEY_LEFTSHIFT, true);
    if (m.altgr_off || m.altgr_on)
        emit_key(in, KEY_RIGHTALT, m.altgr_on);
    return m;
}

static void modifiers_undo(struct vnc_input *in, const struct modifiers *m)
{
    if (m->altgr_off || m->altgr_on)
        emit_key(in, KEY_RIGHTALT, m->altgr_off);
    if (m->shift_on)
        emit_key(in, KEY_LEFTSHIFT, false);
    if (m->shift_off)
        set_shift(in, true);
}

static void plain_key(struct vnc_input *in, struct vnc_keys *k, bool down, uint32_t keysym,
                      uint16_t code)
{
    int64_t now = clock_now_ns();

    if (keysym == XK_CAPS_LOCK)
        return;
    if (keysym == XK_CONTROL_L && down)
        k->ctrl_ns = now;
    bool level3 = keysym == XK_ISO_LEVEL3_SHIFT || keysym == XK_MODE_SWITCH;
    if (keysym == XK_ALT_R && down && is_down(k, KEY_LEFTCTRL) && now - k->ctrl_ns < FAKE_CONTROL_NS) {
        release(in, k, KEY_LEFTCTRL);
        level3 = true;
    }
    if (code == KEY_RIGHTALT)
        k->level3 = down && level3;
    if (down)
        press(in, k, code);
    else
        release(in, k, code);
}

void vnc_input_keysym(struct vnc_input *in, struct vnc_keys *k, bool down, uint32_t keysym)
{
    struct keymap_stroke s[KEYMAP_STROKES];
    bool plain;
    unsigned n = keymap_keysym(in->km, keysym, s, &plain);

    if (n == 0) {
        if (down && !k->warned)
            log_info("vnc", "keysym %#x is not on the guest's keyboard layout", (unsigned)keysym);
        k->warned |= down;
    } else if (plain) {
        plain_key(in, k, down, keysym, s[0].code);
    } else if (n == 1 && !down) {
        release(in, k, s[0].code); /* whatever its case is by now */
    } else if (n == 1) {
        struct modifiers m = modifiers_apply(in, k, &s[0]);
        press(in, k, s[0].code);
        modifiers_undo(in, &m);
    } else if (down) {
        for (unsigned i = 0; i < n; i++) {
            struct modifiers m = modifiers_apply(in, k, &s[i]);
            emit_key(in, s[i].code, true);
            emit_key(in, s[i].code, false);
            modifiers_undo(in, &m);
        }
    }
}

void vnc_input_xt(struct vnc_input *in, struct vnc_keys *k, bool down, uint32_t xt)
{
    uint16_t code = keymap_from_xt(xt);

    if (!code)
        return;
    if (down)
        press(in, k, code);
    else
        release(in, k, code);
}

/* ---- pointer ---- */

void vnc_input_pointer(struct vnc_input *in, struct vnc_keys *k, uint8_t mask, uint16_t x, uint16_t y)
{
    k->buttons = mask & (INPUT_BTN_LEFT | INPUT_BTN_MIDDLE | INPUT_BTN_RIGHT | INPUT_WHEEL_UP |
                         INPUT_WHEEL_DOWN);
    k->x = x;
    k->y = y;
    push(in, &(struct input_event){.type = INPUT_POINTER, .value = k->buttons, .x = x, .y = y});
}

void vnc_input_leave(struct vnc_input *in, struct vnc_keys *k, bool last)
{
    for (uint16_t code = 0; code < KEYMAP_CODES; code++)
        release(in, k, code);
    if (k->buttons)
        vnc_input_pointer(in, k, 0, k->x, k->y);
    if (last)
        push(in, &(struct input_event){.type = INPUT_RELEASE_ALL});
    memset(k, 0, sizeof(*k));
}
