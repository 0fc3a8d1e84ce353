/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/dev/input/hub.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/base/alloc.h"
#include "vmm/base/fd.h"

#define SINKS_MAX 8
#define KEYS      256
/* A full sweep of the screen moves a PS/2 mouse by this many counts. */
#define REL_RANGE 1024

struct input_hub {
    int fd;
    struct loop_fd *watch;
    struct {
        const struct input_sink *ops;
        void *opaque;
    } sinks[SINKS_MAX];
    unsigned count;
    const void *down[KEYS]; /* the sink that was told of a pressed key */
    uint32_t buttons;
    int last_x, last_y; /* for relative motion; -1: unknown */
    void (*on_leds)(void *opaque, uint8_t leds);
    void *leds_opaque;
};

static void on_packet(void *opaque, unsigned events)
{
    struct input_hub *h = opaque;
    struct input_event ev;

    (void)events;
    for (unsigned budget = 64; budget > 0; budget--) {
        ssize_t n = recv(h->fd, &ev, sizeof(ev), MSG_DONTWAIT | MSG_TRUNC);
        if (n < 0)
            return;
        if (n == 0) { /* the supervisor is gone */
            loop_unwatch(h->watch);
            h->watch = NULL;
            return;
        }
        if (n == sizeof(ev))
            input_hub_event(h, &ev);
    }
}

struct input_hub *input_hub_new(const struct dev_env *env, int fd)
{
    struct input_hub *h = X_NEW(struct input_hub);

    h->fd = fd;
    h->last_x = h->last_y = -1;
    if (fd >= 0 && env->loop)
        h->watch = loop_watch(env->loop, fd, LOOP_READ, on_packet, h);
    return h;
}

void input_hub_free(struct input_hub *h)
{
    if (!h)
        return;
    if (h->watch)
        loop_unwatch(h->watch);
    fd_close(&h->fd);
    x_free(h);
}

void input_hub_add(struct input_hub *h, const struct input_sink *sink, void *opaque)
{
    if (!h || h->count == SINKS_MAX)
        return;
    h->sinks[h->count].ops = sink;
    h->sinks[h->count++].opaque = opaque;
}

void input_hub_remove(struct input_hub *h, void *opaque)
{
    for (unsigned code = 0; h && code < KEYS; code++)
        if (h->down[code] == opaque)
            h->down[code] = NULL;
    for (unsigned i = 0; h && i < h->count; i++)
        if (h->sinks[i].opaque == opaque) {
            for (h->count--; i < h->count; i++)
                h->sinks[i] = h->sinks[i + 1];
            return;
        }
}

void input_hub_on_leds(struct input_hub *h, void (*fn)(void *opaque, uint8_t leds), void *opaque)
{
    h->on_leds = fn;
    h->leds_opaque = opaque;
}

void input_hub_leds(struct input_hub *h, uint8_t leds)
{
    if (h && h->on_leds)
        h->on_leds(h->leds_opaque, leds);
}

/* A release goes where its press went, even when another device has become active meanwhile. */
static void key(struct input_hub *h, uint16_t code, bool down)
{
    const void *owner = h->down[code];

    if (!down && !owner)
        return; /* a release of what was never pressed */
    if (!down)
        h->down[code] = NULL;
    for (unsigned i = h->count; i-- > 0;)
        if (h->sinks[i].ops->key && (!owner || owner == h->sinks[i].opaque) &&
            h->sinks[i].ops->active(h->sinks[i].opaque)) {
            if (down)
                h->down[code] = h->sinks[i].opaque;
            h->sinks[i].ops->key(h->sinks[i].opaque, code, down);
            return;
        }
}

static void pointer(struct input_hub *h, int x, int y, uint32_t buttons)
{
    int dx = 0, dy = 0;
    int wheel = buttons & INPUT_WHEEL_UP ? -1 : buttons & INPUT_WHEEL_DOWN ? 1 : 0;

    if (h->last_x >= 0) {
        dx = (x - h->last_x) * REL_RANGE / INPUT_ABS_MAX;
        dy = (y - h->last_y) * REL_RANGE / INPUT_ABS_MAX;
    }
    for (unsigned i = h->count; i-- > 0;) {
        const struct input_sink *ops = h->sinks[i].ops;
        void *opaque = h->sinks[i].opaque;

        if (!(ops->absolute || ops->relative) || !ops->active(opaque))
            continue;
        if (ops->absolute)
            ops->absolute(opaque, (uint16_t)x, (uint16_t)y, buttons);
        else
            ops->relative(opaque, dx, dy, wheel, buttons);
        break;
    }
    /* what rounding lost stays to be moved */
    if (h->last_x < 0 || dx)
        h->last_x = x;
    if (h->last_y < 0 || dy)
        h->last_y = y;
    h->buttons = buttons & (INPUT_BTN_LEFT | INPUT_BTN_MIDDLE | INPUT_BTN_RIGHT);
}

static void release_all(struct input_hub *h)
{
    for (unsigned code = 0; code < KEYS; code++)
        if (h->down[code])
            key(h, (uint16_t)code, false);
    if (h->buttons && h->last_x >= 0)
        pointer(h, h->last_x, h->last_y, 0);
}

void input_hub_event(struct input_hub *h, const struct input_event *ev)
{
    switch (ev->type) {
    case INPUT_KEY:
        if (ev->code > 0 && ev->code < KEYS)
            key(h, ev->code, ev->value != 0);
        break;
    case INPUT_POINTER:
        pointer(h, MIN(ev->x, INPUT_ABS_MAX), MIN(ev->y, INPUT_ABS_MAX), ev->value & 0x1f);
        break;
    case INPUT_RELEASE_ALL: release_all(h); break;
    default: break;
    }
}
