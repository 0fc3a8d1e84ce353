/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Input events from screens (VNC, TUI, CLI) to the VM: one fixed-size record per packet of a
 * SOCK_SEQPACKET. The receiver trusts nothing: codes and coordinates are range-checked. */
#ifndef VMDECK_DISPLAY_INPUT_H
#define VMDECK_DISPLAY_INPUT_H

#include <stdint.h>

enum input_type {
    INPUT_KEY = 1,     /* code: Linux KEY_* (input-event-codes.h); value: 1 down, 0 up */
    INPUT_POINTER = 2, /* x, y: 0..INPUT_ABS_MAX over the screen; value: button mask as below */
    INPUT_RELEASE_ALL = 3, /* a viewer went away: all keys and buttons up */
};

#define INPUT_ABS_MAX 32767
#define INPUT_BTN_LEFT   1u
#define INPUT_BTN_MIDDLE 2u
#define INPUT_BTN_RIGHT  4u
#define INPUT_WHEEL_UP   8u /* wheel bits are pulses, as in RFB */
#define INPUT_WHEEL_DOWN 16u

/* Lock lights of a keyboard, as on PS/2 and in VNC. */
#define INPUT_LED_SCROLL 1u
#define INPUT_LED_NUM    2u
#define INPUT_LED_CAPS   4u
#define INPUT_LEDS       7u

struct input_event {
    uint16_t type, code;
    uint32_t value;
    uint16_t x, y;
    uint32_t pad;
};

#endif
