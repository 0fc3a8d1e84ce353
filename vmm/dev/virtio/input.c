/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-input (VIRTIO 1.1 5.8): a keyboard and an absolute tablet. Events wait in a short queue
 * while the driver has no buffer; when it is full, presses of keys are dropped, and of the pointer
 * only the latest state is kept. */
#include <linux/input-event-codes.h>
#include <string.h>

#include "vmm/dev/input/hub.h"
#include "vmm/dev/virtio/virtio.h"

#define EVENTQ  0
#define STATUSQ 1

#define CFG_ID_NAME   1
#define CFG_ID_DEVIDS 3
#define CFG_EV_BITS   0x11
#define CFG_ABS_INFO  0x12

#define CONFIG_SIZE 136
#define EVENT_SIZE  8
#define PENDING     64

struct event {
    uint16_t type, code;
    uint32_t value;
};

struct virtio_input_state {
    uint8_t select, subsel;
    uint8_t down[32], held;    /* keyboard: keys whose press was reported */
    uint8_t leds;              /* keyboard: INPUT_LED_* */
    uint8_t buttons, reported; /* tablet */
    uint8_t behind;            /* something below is not reported yet */
    uint16_t x, y;
    uint32_t count;
    struct event pending[PENDING];
};

struct virtio_input {
    struct dev dev;
    struct virtio v;
    struct input_hub *hub;
    bool tablet;
    struct virtio_input_state s;
    struct virtio_chain chain;
};

static struct virtio_input *of(struct virtio *v)
{
    return container_of(v, struct virtio_input, v);
}

/* ---- configuration ---- */

static void set_bit(uint8_t *bits, unsigned n)
{
    bits[n / 8] |= (uint8_t)BIT(n % 8);
}

/* Bitmap of the codes of one event type; returns its length in bytes. */
static unsigned event_bits(const struct virtio_input *d, unsigned type, uint8_t *bits)
{
    if (!d->tablet && type == EV_KEY) {
        for (unsigned k = KEY_ESC; k < KEY_MICMUTE; k++)
            set_bit(bits, k);
        return 32;
    }
    if (!d->tablet && type == EV_REP) {
        set_bit(bits, REP_DELAY);
        set_bit(bits, REP_PERIOD);
        return 1;
    }
    if (!d->tablet && type == EV_LED) {
        set_bit(bits, LED_NUML);
        set_bit(bits, LED_CAPSL);
        set_bit(bits, LED_SCROLLL);
        return 1;
    }
    if (d->tablet && type == EV_KEY) {
        set_bit(bits, BTN_LEFT);
        set_bit(bits, BTN_RIGHT);
        set_bit(bits, BTN_MIDDLE);
        return BTN_MIDDLE / 8 + 1;
    }
    if (d->tablet && type == EV_REL) {
        set_bit(bits, REL_WHEEL);
        return REL_WHEEL / 8 + 1;
    }
    if (d->tablet && type == EV_ABS) {
        set_bit(bits, ABS_X);
        set_bit(bits, ABS_Y);
        return 1;
    }
    return 0;
}

static unsigned config_union(const struct virtio_input *d, uint8_t *u)
{
    const char *name = d->tablet ? "vmdeck tablet" : "vmdeck keyboard";

    switch (d->s.select) {
    case CFG_ID_NAME:
        if (d->s.subsel)
            return 0;
        memcpy(u, name, strlen(name));
        return (unsigned)strlen(name);
    case CFG_ID_DEVIDS:
        if (d->s.subsel)
            return 0;
        st_le16(u, 0x06 /* BUS_VIRTUAL of linux/input.h */);
        st_le16(u + 2, 0x0627);
        st_le16(u + 4, d->tablet ? 2 : 1);
        st_le16(u + 6, 1);
        return 8;
    case CFG_EV_BITS: return event_bits(d, d->s.subsel, u);
    case CFG_ABS_INFO:
        if (!d->tablet || d->s.subsel > ABS_Y)
            return 0;
        st_le32(u + 4, INPUT_ABS_MAX);
        return 20;
    default: return 0;
    }
}

static uint32_t config_read(struct virtio *v, unsigned offset, unsigned size)
{
    struct virtio_input *d = of(v);
    uint8_t c[CONFIG_SIZE] = {d->s.select, d->s.subsel};

    c[2] = (uint8_t)config_union(d, c + 8);
    return (uint32_t)ld_le(c + offset, size);
}

static void config_write(struct virtio *v, unsigned offset, uint32_t value, unsigned size)
{
    struct virtio_input *d = of(v);

    for (unsigned i = 0; i < size; i++, offset++, value >>= 8) {
        if (offset == 0)
            d->s.select = (uint8_t)value;
        else if (offset == 1)
            d->s.subsel = (uint8_t)value;
    }
}

/* ---- events ---- */

static void tablet_report(struct virtio_input *d, uint32_t wheel);

static void flush(struct virtio_input *d)
{
    unsigned sent = 0;

    while (sent < d->s.count && virtio_pop(&d->v, EVENTQ, &d->chain)) {
        uint8_t raw[EVENT_SIZE];
        const struct event *ev = &d->s.pending[sent++];

        st_le16(raw, ev->type);
        st_le16(raw + 2, ev->code);
        st_le32(raw + 4, ev->value);
        virtio_push(&d->v, EVENTQ, &d->chain, virtio_write_in(&d->chain, 0, raw, sizeof(raw)));
    }
    if (!sent)
        return;
    d->s.count -= sent;
    memmove(d->s.pending, d->s.pending + sent, d->s.count * sizeof(d->s.pending[0]));
    virtio_signal(&d->v, EVENTQ);
    if (d->s.behind)
        tablet_report(d, 0);
}

static void report(struct virtio_input *d, const struct event *events, unsigned n)
{
    memcpy(d->s.pending + d->s.count, events, n * sizeof(events[0]));
    d->s.count += n;
    d->s.pending[d->s.count++] = (struct event){EV_SYN, SYN_REPORT, 0};
    flush(d);
}

static bool active(void *opaque)
{
    struct virtio_input *d = opaque;

    return virtio_running(&d->v) && d->v.s.q[EVENTQ].enabled;
}

/* A press is dropped unless its release will fit, too, with those of the other keys that are down.
 * The driver repeats by itself. */
static void on_key(void *opaque, uint16_t code, bool down)
{
    struct virtio_input *d = opaque;
    uint8_t bit = (uint8_t)BIT(code % 8), *byte = &d->s.down[code / 8 % sizeof(d->s.down)];

    if (down == !!(*byte & bit) || (down && d->s.count + 2 + 2 * (d->s.held + 1u) > PENDING))
        return;
    *byte ^= bit;
    d->s.held = (uint8_t)(d->s.held + (down ? 1 : -1));
    report(d, &(struct event){EV_KEY, code, down}, 1);
}

/* Where the pointer is and which buttons changed since the last report; later, when there is no
 * room. */
static void tablet_report(struct virtio_input *d, uint32_t wheel)
{
    static const struct {
        uint8_t mask;
        uint16_t code;
    } map[] = {
        {INPUT_BTN_LEFT, BTN_LEFT}, {INPUT_BTN_MIDDLE, BTN_MIDDLE}, {INPUT_BTN_RIGHT, BTN_RIGHT}};
    struct event ev[8];
    unsigned n = 0;

    d->s.behind = d->s.count + ARRAY_LEN(ev) > PENDING;
    if (d->s.behind)
        return;
    ev[n++] = (struct event){EV_ABS, ABS_X, d->s.x};
    ev[n++] = (struct event){EV_ABS, ABS_Y, d->s.y};
    for (unsigned i = 0; i < ARRAY_LEN(map); i++)
        if ((d->s.buttons ^ d->s.reported) & map[i].mask)
            ev[n++] = (struct event){EV_KEY, map[i].code, !!(d->s.buttons & map[i].mask)};
    if (wheel)
        ev[n++] = (struct event){EV_REL, REL_WHEEL, wheel & INPUT_WHEEL_UP ? 1 : (uint32_t)-1};
    d->s.reported = d->s.buttons;
    report(d, ev, n);
}

static void on_absolute(void *opaque, uint16_t x, uint16_t y, uint32_t buttons)
{
    struct virtio_input *d = opaque;

    d->s.x = x;
    d->s.y = y;
    d->s.buttons = (uint8_t)(buttons & (INPUT_BTN_LEFT | INPUT_BTN_MIDDLE | INPUT_BTN_RIGHT));
    tablet_report(d, buttons & (INPUT_WHEEL_UP | INPUT_WHEEL_DOWN));
}

static const struct input_sink keyboard_sink = {.active = active, .key = on_key};
static const struct input_sink tablet_sink = {.active = active, .absolute = on_absolute};

/* An event of the driver's. */
static void status(struct virtio_input *d)
{
    static const uint8_t leds[] = {
        [LED_NUML] = INPUT_LED_NUM, [LED_CAPSL] = INPUT_LED_CAPS, [LED_SCROLLL] = INPUT_LED_SCROLL};
    uint8_t raw[EVENT_SIZE] = {0}, before = d->s.leds;

    virtio_read_out(&d->chain, 0, raw, sizeof(raw));
    uint16_t code = ld_le16(raw + 2);
    if (d->tablet || ld_le16(raw) != EV_LED || code >= ARRAY_LEN(leds))
        return;
    d->s.leds = (uint8_t)(ld_le32(raw + 4) ? before | leds[code] : before & ~leds[code]);
    if (d->s.leds != before)
        input_hub_leds(d->hub, d->s.leds);
}

static void notify(struct virtio *v, unsigned q)
{
    struct virtio_input *d = of(v);

    if (q == EVENTQ) {
        flush(d);
        return;
    }
    unsigned done = 0;
    while (done < VIRTIO_QUEUE_SIZE && virtio_pop(v, STATUSQ, &d->chain)) {
        status(d);
        virtio_push(v, STATUSQ, &d->chain, 0);
        done++;
    }
    if (done)
        virtio_signal(v, STATUSQ);
    if (done == VIRTIO_QUEUE_SIZE)
        virtio_kick_later(v, STATUSQ);
}

static void drop_all(struct virtio *v)
{
    if (of(v)->s.leds)
        input_hub_leds(of(v)->hub, 0);
    memset(&of(v)->s, 0, sizeof(of(v)->s));
}

static const struct virtio_class input_class = {
    .id = 18,
    .class_code = 9,
    .subclass = 0x80,
    .queues = 2,
    .config_size = CONFIG_SIZE,
    .config_read = config_read,
    .config_write = config_write,
    .notify = notify,
    .reset = drop_all,
};

/* ---- life ---- */

static bool realize(struct dev *d, bool tablet, struct err *e)
{
    struct virtio_input *in = container_of(d, struct virtio_input, dev);

    in->tablet = tablet;
    if (!virtio_init(&in->v, d, &input_class, e))
        return false;
    input_hub_add(in->hub, tablet ? &tablet_sink : &keyboard_sink, in);
    return true;
}

static bool keyboard_realize(struct dev *d, struct err *e)
{
    return realize(d, false, e);
}

static bool tablet_realize(struct dev *d, struct err *e)
{
    return realize(d, true, e);
}

static void input_unrealize(struct dev *d)
{
    struct virtio_input *in = container_of(d, struct virtio_input, dev);

    input_hub_remove(in->hub, in);
    virtio_fini(&in->v);
}

static void input_reset(struct dev *d)
{
    virtio_reset(&container_of(d, struct virtio_input, dev)->v);
}

static const struct dev_prop input_props[] = {
    DEV_PROP("hub", PROP_PTR, struct virtio_input, hub, 0,
             "where key and pointer events come from"),
    {0},
};

const struct dev_class virtio_keyboard_class = {
    .name = "virtio-keyboard",
    .summary = "virtio keyboard",
    .size = sizeof(struct virtio_input),
    .props = input_props,
    .realize = keyboard_realize,
    .unrealize = input_unrealize,
    .reset = input_reset,
};

const struct dev_class virtio_tablet_class = {
    .name = "virtio-tablet",
    .summary = "virtio absolute pointer",
    .size = sizeof(struct virtio_input),
    .props = input_props,
    .realize = tablet_realize,
    .unrealize = input_unrealize,
    .reset = input_reset,
};
