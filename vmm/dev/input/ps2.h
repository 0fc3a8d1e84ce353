/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PS/2 keyboard and mouse as the i8042 sees them: bytes in, bytes out. */
#ifndef VMDECK_DEV_INPUT_PS2_H
#define VMDECK_DEV_INPUT_PS2_H

#include <stdbool.h>
#include <stdint.h>

#define PS2_QUEUE 64

/* Bytes on their way to the controller. Replies and releases of keys always fit; what else a user
 * does is dropped whole when there is no room. */
struct ps2_queue {
    uint8_t data[PS2_QUEUE];
    uint8_t head, count;
};

static inline bool ps2_queue_put(struct ps2_queue *q, const uint8_t *p, unsigned n)
{
    if (q->count + n > PS2_QUEUE)
        return false;
    for (unsigned i = 0; i < n; i++)
        q->data[(q->head + q->count++) % PS2_QUEUE] = p[i];
    return true;
}

static inline uint8_t ps2_queue_get(struct ps2_queue *q)
{
    uint8_t v = q->data[q->head];

    q->head = (uint8_t)((q->head + 1) % PS2_QUEUE);
    q->count--;
    return v;
}

struct ps2_kbd_state {
    struct ps2_queue out;
    uint8_t set; /* scan code set 1 to 3; 2 after reset */
    uint8_t leds, rate;
    uint8_t command; /* that waits for its data byte, 0: none */
    bool scanning;
    uint8_t down[32]; /* bit per key whose press was put into the queue */
    uint8_t held;     /* how many those are */
};

struct ps2_mouse_state {
    struct ps2_queue out;
    int32_t dx, dy, dz; /* not reported yet */
    uint8_t buttons, reported_buttons;
    uint8_t id; /* 0; 3 with a wheel */
    uint8_t rate, resolution;
    uint8_t command;
    uint8_t knock; /* progress of the rate sequence 200, 100, 80 that turns the wheel on */
    bool reporting, remote, wrap, scale21;
};

void ps2_kbd_reset(struct ps2_kbd_state *k);
/* A byte from the host. */
void ps2_kbd_write(struct ps2_kbd_state *k, uint8_t v);
/* code: Linux KEY_*. */
void ps2_kbd_key(struct ps2_kbd_state *k, uint16_t code, bool down);

void ps2_mouse_reset(struct ps2_mouse_state *m);
void ps2_mouse_write(struct ps2_mouse_state *m, uint8_t v);
/* dy grows downward, as on screens. buttons: INPUT_BTN_*. */
void ps2_mouse_move(struct ps2_mouse_state *m, int dx, int dy, int dz, uint32_t buttons);
/* Puts a packet into the queue when there is something to report and room. */
void ps2_mouse_poll(struct ps2_mouse_state *m);

#endif
