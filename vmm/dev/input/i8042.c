/* SPDX-License-Identifier: GPL-2.0-or-later */
/* 8042 keyboard controller with keyboard (IRQ 1) and auxiliary device (IRQ 12), ports 60h and 64h.
 * Source: IBM PC/AT and PS/2 technical references. The controller holds one byte for the host at a
 * time; devices keep their own queues behind it. The A20 bit of the output port is kept and does
 * nothing, as A20 is always on. */
#include "display/input.h"
#include "vmm/dev/dev.h"
#include "vmm/dev/input/hub.h"
#include "vmm/dev/input/i8042_translate.h"
#include "vmm/dev/input/ps2.h"

#define STATUS_OBF  0x01u
#define STATUS_SYS  0x04u
#define STATUS_CMD  0x08u
#define STATUS_KEYL 0x10u
#define STATUS_AUX  0x20u

#define CMD_KBD_INT     0x01u
#define CMD_AUX_INT     0x02u
#define CMD_SYS         0x04u
#define CMD_KBD_DISABLE 0x10u
#define CMD_AUX_DISABLE 0x20u
#define CMD_TRANSLATE   0x40u

#define OUT_RESET 0x01u
#define OUT_A20   0x02u

/* clang-format off */
const uint8_t i8042_translation[128] = {
    0xff, 0x43, 0x41, 0x3f, 0x3d, 0x3b, 0x3c, 0x58, 0x64, 0x44, 0x42, 0x40, 0x3e, 0x0f, 0x29, 0x59,
    0x65, 0x38, 0x2a, 0x70, 0x1d, 0x10, 0x02, 0x5a, 0x66, 0x71, 0x2c, 0x1f, 0x1e, 0x11, 0x03, 0x5b,
    0x67, 0x2e, 0x2d, 0x20, 0x12, 0x05, 0x04, 0x5c, 0x68, 0x39, 0x2f, 0x21, 0x14, 0x13, 0x06, 0x5d,
    0x69, 0x31, 0x30, 0x23, 0x22, 0x15, 0x07, 0x5e, 0x6a, 0x72, 0x32, 0x24, 0x16, 0x08, 0x09, 0x5f,
    0x6b, 0x33, 0x25, 0x17, 0x18, 0x0b, 0x0a, 0x60, 0x6c, 0x34, 0x35, 0x26, 0x27, 0x19, 0x0c, 0x61,
    0x6d, 0x73, 0x28, 0x74, 0x1a, 0x0d, 0x62, 0x6e, 0x3a, 0x36, 0x1c, 0x1b, 0x75, 0x2b, 0x63, 0x76,
    0x55, 0x56, 0x77, 0x78, 0x79, 0x7a, 0x0e, 0x7b, 0x7c, 0x4f, 0x7d, 0x4b, 0x47, 0x7e, 0x7f, 0x6f,
    0x52, 0x53, 0x50, 0x4c, 0x4d, 0x48, 0x01, 0x45, 0x57, 0x4e, 0x51, 0x4a, 0x37, 0x49, 0x46, 0x54,
};
/* clang-format on */

struct i8042_state {
    uint8_t command; /* command byte (RAM 20h) */
    uint8_t pending; /* command that waits for its data byte at port 60h */
    uint8_t output;  /* output port */
    uint8_t data;    /* in the output buffer */
    bool full, from_aux, last_was_command;
    bool translate_break;    /* F0 was seen, the next code is a release */
    struct ps2_queue own;    /* the controller's own answers */
    bool own_aux[PS2_QUEUE]; /* of those: appear as from the auxiliary device */
    struct ps2_kbd_state kbd;
    struct ps2_mouse_state mouse;
};

struct i8042 {
    struct dev dev;
    const struct irq_line *irq_kbd, *irq_aux;
    struct input_hub *hub;
    struct pio_region *data_port, *command_port;
    struct i8042_state s;
};

static struct i8042 *of(void *opaque)
{
    return opaque;
}

static void update_irq(struct i8042 *k)
{
    struct i8042_state *s = &k->s;

    irq_set(k->irq_kbd, s->full && !s->from_aux && (s->command & CMD_KBD_INT));
    irq_set(k->irq_aux, s->full && s->from_aux && (s->command & CMD_AUX_INT));
}

static uint8_t translate(struct i8042_state *s, uint8_t v)
{
    uint8_t up = s->translate_break ? 0x80 : 0;

    s->translate_break = false;
    if (v == 0x83)
        return 0x41 | up;
    if (v == 0x84)
        return 0x54 | up;
    return v < 0x80 ? i8042_translation[v] | up : v;
}

/* Moves the next byte into the empty output buffer. */
static void pump(struct i8042 *k)
{
    struct i8042_state *s = &k->s;

    while (!s->full) {
        if (s->own.count) {
            s->from_aux = s->own_aux[s->own.head];
            s->data = ps2_queue_get(&s->own);
        } else if (s->kbd.out.count && !(s->command & CMD_KBD_DISABLE)) {
            uint8_t v = ps2_queue_get(&s->kbd.out);
            if ((s->command & CMD_TRANSLATE) && v == 0xf0) {
                s->translate_break = true;
                continue;
            }
            s->from_aux = false;
            s->data = s->command & CMD_TRANSLATE ? translate(s, v) : v;
        } else if (s->mouse.out.count && !(s->command & CMD_AUX_DISABLE)) {
            s->from_aux = true;
            s->data = ps2_queue_get(&s->mouse.out);
        } else {
            break;
        }
        s->full = true;
    }
    update_irq(k);
}

static void answer(struct i8042 *k, uint8_t v, bool aux)
{
    struct i8042_state *s = &k->s;

    s->own_aux[(s->own.head + s->own.count) % PS2_QUEUE] = aux;
    ps2_queue_put(&s->own, &v, 1);
}

static uint32_t data_read(void *opaque, uint16_t offset, unsigned size)
{
    struct i8042 *k = of(opaque);
    uint8_t v = k->s.data;

    (void)offset;
    (void)size;
    if (k->s.full) {
        k->s.full = false;
        update_irq(k); /* the line falls between two bytes */
        ps2_mouse_poll(&k->s.mouse);
        pump(k);
    }
    return v;
}

static void data_write(void *opaque, uint16_t offset, uint32_t value, unsigned size)
{
    struct i8042 *k = of(opaque);
    struct i8042_state *s = &k->s;
    uint8_t v = (uint8_t)value, pending = s->pending;

    (void)offset;
    (void)size;
    s->last_was_command = false;
    s->pending = 0;
    switch (pending) {
    case 0x60: s->command = v; break;
    case 0xd1:
        s->output = v;
        if (!(v & OUT_RESET))
            bus_request(k->dev.env->bus, MACHINE_RESET, 0);
        break;
    case 0xd2: answer(k, v, false); break;
    case 0xd3: answer(k, v, true); break;
    case 0xd4:
        s->command &= (uint8_t)~CMD_AUX_DISABLE;
        ps2_mouse_write(&s->mouse, v);
        break;
    default: {
        uint8_t leds = s->kbd.leds;

        s->command &= (uint8_t)~CMD_KBD_DISABLE;
        ps2_kbd_write(&s->kbd, v);
        if (s->kbd.leds != leds)
            input_hub_leds(k->hub, s->kbd.leds);
        break;
    }
    }
    pump(k);
}

static uint32_t status_read(void *opaque, uint16_t offset, unsigned size)
{
    const struct i8042_state *s = &of(opaque)->s;

    (void)offset;
    (void)size;
    return (s->full ? STATUS_OBF : 0) | (s->full && s->from_aux ? STATUS_AUX : 0) |
           (s->command & CMD_SYS ? STATUS_SYS : 0) | (s->last_was_command ? STATUS_CMD : 0) |
           STATUS_KEYL;
}

static void command_write(void *opaque, uint16_t offset, uint32_t value, unsigned size)
{
    struct i8042 *k = of(opaque);
    struct i8042_state *s = &k->s;
    uint8_t v = (uint8_t)value;

    (void)offset;
    (void)size;
    s->last_was_command = true;
    s->pending = 0;
    switch (v) {
    case 0x20: answer(k, s->command, false); break;
    case 0x60:
    case 0xd1:
    case 0xd2:
    case 0xd3:
    case 0xd4: s->pending = v; break;
    case 0xa7: s->command |= CMD_AUX_DISABLE; break;
    case 0xa8: s->command &= (uint8_t)~CMD_AUX_DISABLE; break;
    case 0xa9: answer(k, 0, false); break; /* auxiliary port works */
    case 0xaa:                             /* self test */
        s->command |= CMD_SYS;
        answer(k, 0x55, false);
        break;
    case 0xab: answer(k, 0, false); break;
    case 0xad: s->command |= CMD_KBD_DISABLE; break;
    case 0xae: s->command &= (uint8_t)~CMD_KBD_DISABLE; break;
    case 0xc0: answer(k, 0x80, false); break; /* input port: not locked */
    case 0xd0: answer(k, s->output, false); break;
    case 0xdd:
    case 0xdf: break; /* A20 off and on */
    default:
        if (v >= 0xf0 && !(v & 1)) /* pulse of the reset line */
            bus_request(k->dev.env->bus, MACHINE_RESET, 0);
        break;
    }
    pump(k);
}

static const struct pio_ops data_ops = {data_read, data_write, 1};
static const struct pio_ops command_ops = {status_read, command_write, 1};

/* ---- input ---- */

static bool kbd_active(void *opaque)
{
    (void)opaque;
    return true;
}

static void kbd_key(void *opaque, uint16_t code, bool down)
{
    ps2_kbd_key(&of(opaque)->s.kbd, code, down);
    pump(of(opaque));
}

static void mouse_move(void *opaque, int dx, int dy, int wheel, uint32_t buttons)
{
    ps2_mouse_move(&of(opaque)->s.mouse, dx, dy, wheel, buttons);
    pump(of(opaque));
}

static const struct input_sink sink = {
    .active = kbd_active, .key = kbd_key, .relative = mouse_move};

/* ---- life ---- */

static void i8042_reset(struct dev *d)
{
    struct i8042 *k = container_of(d, struct i8042, dev);

    if (k->s.kbd.leds)
        input_hub_leds(k->hub, 0);
    memset(&k->s, 0, sizeof(k->s));
    k->s.command = CMD_TRANSLATE | CMD_KBD_INT;
    k->s.output = OUT_RESET | OUT_A20;
    ps2_kbd_reset(&k->s.kbd);
    ps2_mouse_reset(&k->s.mouse);
    update_irq(k);
}

static bool i8042_realize(struct dev *d, struct err *e)
{
    struct i8042 *k = container_of(d, struct i8042, dev);

    (void)e;
    if (!k->irq_kbd)
        k->irq_kbd = bus_gsi(d->env->bus, 1);
    if (!k->irq_aux)
        k->irq_aux = bus_gsi(d->env->bus, 12);
    k->data_port = bus_add_pio(d->env->bus, "i8042", 0x60, 1, &data_ops, k);
    k->command_port = bus_add_pio(d->env->bus, "i8042", 0x64, 1, &command_ops, k);
    input_hub_add(k->hub, &sink, k);
    return true;
}

static void i8042_unrealize(struct dev *d)
{
    struct i8042 *k = container_of(d, struct i8042, dev);

    input_hub_remove(k->hub, k);
}

static const struct dev_prop i8042_props[] = {
    DEV_PROP("hub", PROP_PTR, struct i8042, hub, 0, "where key and mouse events come from"),
    DEV_PROP("irq", PROP_PTR, struct i8042, irq_kbd, 0,
             "keyboard interrupt line, by default GSI 1"),
    DEV_PROP("aux-irq", PROP_PTR, struct i8042, irq_aux, 0,
             "mouse interrupt line, by default GSI 12"),
    {0},
};

const struct dev_class i8042_class = {
    .name = "i8042",
    .summary = "keyboard controller with PS/2 keyboard and mouse",
    .size = sizeof(struct i8042),
    .props = i8042_props,
    .realize = i8042_realize,
    .unrealize = i8042_unrealize,
    .reset = i8042_reset,
};
