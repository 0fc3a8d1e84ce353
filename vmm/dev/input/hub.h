/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Routes input events of screens to the guest's devices: the keyboard to virtio when its driver is
 * up, else to PS/2; the pointer to the absolute tablet when its driver is up, else as relative
 * motion to the PS/2 mouse. Machine lock. */
#ifndef VMDECK_DEV_INPUT_HUB_H
#define VMDECK_DEV_INPUT_HUB_H

#include "display/input.h"
#include "vmm/dev/dev.h"

struct input_hub;

/* A device that takes events. active: its driver runs; asked before each event. */
struct input_sink {
    bool (*active)(void *opaque);
    void (*key)(void *opaque, uint16_t code, bool down); /* NULL: no keyboard */
    /* Absolute position 0..INPUT_ABS_MAX and buttons (INPUT_BTN_*; wheel bits are pulses). NULL: no
     * tablet */
    void (*absolute)(void *opaque, uint16_t x, uint16_t y, uint32_t buttons);
    /* Relative motion in counts. NULL: no mouse */
    void (*relative)(void *opaque, int dx, int dy, int wheel, uint32_t buttons);
};

/* fd: the SOCK_SEQPACKET of struct input_event, watched on env->loop; -1: none. It becomes the
 * hub's. */
struct input_hub *input_hub_new(const struct dev_env *env, int fd);
void input_hub_free(struct input_hub *hub);
/* Sinks asked first are those added last, so add PS/2 before virtio. At most 8. */
void input_hub_add(struct input_hub *hub, const struct input_sink *sink, void *opaque);
void input_hub_remove(struct input_hub *hub, void *opaque);
/* fn is told of the lights of the keyboard that the guest set last, INPUT_LED_*. */
void input_hub_on_leds(struct input_hub *hub, void (*fn)(void *opaque, uint8_t leds), void *opaque);
/* From a keyboard whose lights have changed; hub may be NULL. */
void input_hub_leds(struct input_hub *hub, uint8_t leds);
/* One event, checked like one from the socket. */
void input_hub_event(struct input_hub *hub, const struct input_event *ev);

#endif
