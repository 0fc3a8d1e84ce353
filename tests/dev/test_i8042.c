/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Keyboard controller, PS/2 keyboard and mouse, the hub that feeds them, and the virtio keyboard
 * and tablet that take over when their drivers are up. */
#include <linux/input-event-codes.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/lib/vdriver.h"
#include "vmm/dev/input/hub.h"

struct fixture {
    struct devtest t;
    struct input_hub *hub;
    struct dev *dev;
};

static int setup(void **state)
{
    static struct fixture f;

    dt_init(&f.t);
    f.hub = input_hub_new(&f.t.env, -1);
    f.dev = dt_new(&f.t, "i8042");
    dev_set_ptr(f.dev, "hub", f.hub);
    dt_realize(f.dev);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    dev_free(f->dev);
    input_hub_free(f->hub);
    dt_fini(&f->t);
    return 0;
}

static uint8_t status(struct fixture *f)
{
    return dt_inb(&f->t, 0x64);
}

/* The next byte, which must be there, from the auxiliary device or not. */
static uint8_t byte(struct fixture *f, bool aux)
{
    uint8_t s = status(f);

    assert_true(s & 1);
    assert_int_equal(!!(s & 0x20), aux);
    return dt_inb(&f->t, 0x60);
}

static void expect(struct fixture *f, bool aux, const uint8_t *bytes, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        assert_int_equal(byte(f, aux), bytes[i]);
}
#define EXPECT(f, aux, ...)                                                                        \
    expect(f, aux, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

static void command(struct fixture *f, uint8_t v)
{
    dt_outb(&f->t, 0x64, v);
}

static void kbd(struct fixture *f, uint8_t v)
{
    dt_outb(&f->t, 0x60, v);
}

static void aux(struct fixture *f, uint8_t v)
{
    command(f, 0xd4);
    dt_outb(&f->t, 0x60, v);
}

static void key(struct fixture *f, uint16_t code, bool down)
{
    input_hub_event(f->hub, &(struct input_event){.type = INPUT_KEY, .code = code, .value = down});
}

static void pointer(struct fixture *f, uint16_t x, uint16_t y, uint32_t buttons)
{
    input_hub_event(f->hub,
                    &(struct input_event){.type = INPUT_POINTER, .value = buttons, .x = x, .y = y});
}

static void controller_commands(void **state)
{
    struct fixture *f = *state;

    command(f, 0xaa);
    EXPECT(f, false, 0x55);
    assert_true(status(f) & 4);
    command(f, 0xab);
    EXPECT(f, false, 0);
    command(f, 0xa9);
    EXPECT(f, false, 0);
    command(f, 0x60);
    kbd(f, 0x47);
    command(f, 0x20);
    EXPECT(f, false, 0x47);
    command(f, 0xa7);
    command(f, 0x20);
    assert_true(byte(f, false) & 0x20);
    command(f, 0xa8);
    command(f, 0x20);
    assert_false(byte(f, false) & 0x20);
    command(f, 0xd2); /* as if from the keyboard, from the mouse */
    kbd(f, 0x99);
    EXPECT(f, false, 0x99);
    command(f, 0xd3);
    kbd(f, 0x98);
    EXPECT(f, true, 0x98);
    assert_false(status(f) & 1);
}

static void reset_requests(void **state)
{
    struct fixture *f = *state;

    command(f, 0xfe);
    assert_int_equal(f->t.request_count, 1);
    assert_int_equal(f->t.request, MACHINE_RESET);
    command(f, 0xff); /* pulses nothing */
    assert_int_equal(f->t.request_count, 1);
    command(f, 0xd1);
    kbd(f, 0xdf); /* A20 on */
    assert_int_equal(f->t.request_count, 1);
    command(f, 0xd1);
    kbd(f, 0xde); /* reset line */
    assert_int_equal(f->t.request_count, 2);
}

static void keys_in_set_1(void **state)
{
    struct fixture *f = *state;

    key(f, KEY_A, true);
    assert_int_equal(f->t.gsi[1], 1);
    EXPECT(f, false, 0x1e);
    assert_int_equal(f->t.gsi[1], 0);
    key(f, KEY_A, false);
    EXPECT(f, false, 0x9e);
    key(f, KEY_UP, true);
    key(f, KEY_UP, false);
    EXPECT(f, false, 0xe0, 0x48, 0xe0, 0xc8);
    key(f, KEY_F7, true);
    key(f, KEY_F7, false);
    EXPECT(f, false, 0x41, 0xc1);
    key(f, KEY_102ND, true);
    key(f, KEY_102ND, false);
    EXPECT(f, false, 0x56, 0xd6);
    key(f, KEY_PAUSE, true);
    key(f, KEY_PAUSE, false);
    EXPECT(f, false, 0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5);
    assert_false(status(f) & 1);
}

/* All keys go through set 2 and the controller's translation, and must come out as their set 1
 * codes. */
static void translation_is_the_inverse_of_set_2(void **state)
{
    struct fixture *f = *state;

    for (uint16_t code = KEY_ESC; code <= KEY_F12; code++) {
        if (code == 84 || code == KEY_ZENKAKUHANKAKU)
            continue; /* no keys of a PC */
        key(f, code, true);
        key(f, code, false);
        assert_int_equal(byte(f, false), code);
        assert_int_equal(byte(f, false), code | 0x80);
    }
}

static void keys_in_set_2(void **state)
{
    struct fixture *f = *state;

    command(f, 0x60);
    kbd(f, 0x01); /* no translation */
    key(f, KEY_A, true);
    key(f, KEY_A, false);
    key(f, KEY_RIGHTCTRL, true);
    key(f, KEY_RIGHTCTRL, false);
    key(f, KEY_F7, true);
    EXPECT(f, false, 0x1c, 0xf0, 0x1c, 0xe0, 0x14, 0xe0, 0xf0, 0x14, 0x83);
}

static void keyboard_commands(void **state)
{
    struct fixture *f = *state;

    command(f, 0x60);
    kbd(f, 0x01);
    kbd(f, 0xff);
    EXPECT(f, false, 0xfa, 0xaa);
    kbd(f, 0xf2);
    EXPECT(f, false, 0xfa, 0xab, 0x83);
    kbd(f, 0xee);
    EXPECT(f, false, 0xee);
    kbd(f, 0xed);
    EXPECT(f, false, 0xfa);
    kbd(f, 7);
    EXPECT(f, false, 0xfa);
    kbd(f, 0xf0);
    EXPECT(f, false, 0xfa);
    kbd(f, 0);
    EXPECT(f, false, 0xfa, 2);
    kbd(f, 0xf0);
    EXPECT(f, false, 0xfa);
    kbd(f, 1);
    EXPECT(f, false, 0xfa);
    key(f, KEY_A, true);
    EXPECT(f, false, 0x1e);
    kbd(f, 0xf5);
    EXPECT(f, false, 0xfa);
    key(f, KEY_B, true); /* not scanning */
    assert_false(status(f) & 1);
    kbd(f, 0xf4);
    EXPECT(f, false, 0xfa);
    kbd(f, 0x55);
    EXPECT(f, false, 0xfe);
}

/* A guest that does not read loses key presses, never answers, and no key stays down. */
static void a_full_queue_keeps_answers_and_releases(void **state)
{
    struct fixture *f = *state;
    bool down[128] = {false};
    unsigned n = 0;

    for (unsigned round = 0; round < 20; round++)
        for (uint16_t code = KEY_1; code <= KEY_0; code++)
            key(f, code, true);
    for (uint16_t code = KEY_1; code <= KEY_0; code++)
        key(f, code, false);
    kbd(f, 0xee);
    bool echoed = false;
    for (; status(f) & 1; n++) {
        uint8_t v = byte(f, false);
        if (v == 0xee)
            echoed = true;
        else
            down[v & 0x7f] = !(v & 0x80);
        assert_in_range(n, 0, 200);
    }
    assert_true(echoed);
    for (unsigned i = 0; i < 128; i++)
        assert_false(down[i]);
}

static void disabled_keyboard_waits(void **state)
{
    struct fixture *f = *state;

    command(f, 0xad);
    key(f, KEY_A, true);
    assert_false(status(f) & 1);
    command(f, 0xae);
    EXPECT(f, false, 0x1e);
}

static void mouse_commands(void **state)
{
    struct fixture *f = *state;

    aux(f, 0xff);
    EXPECT(f, true, 0xfa, 0xaa, 0x00);
    aux(f, 0xf2);
    EXPECT(f, true, 0xfa, 0);
    static const uint8_t knock[] = {200, 100, 80};
    for (unsigned i = 0; i < 3; i++) {
        aux(f, 0xf3);
        EXPECT(f, true, 0xfa);
        aux(f, knock[i]);
        EXPECT(f, true, 0xfa);
    }
    aux(f, 0xf2);
    EXPECT(f, true, 0xfa, 3); /* with a wheel */
    aux(f, 0xe8);
    EXPECT(f, true, 0xfa);
    aux(f, 3);
    EXPECT(f, true, 0xfa);
    aux(f, 0xf4);
    EXPECT(f, true, 0xfa);
    aux(f, 0xe9);
    EXPECT(f, true, 0xfa, 0x20, 3, 80);
    aux(f, 0xee); /* wrap mode */
    EXPECT(f, true, 0xfa);
    aux(f, 0x12);
    EXPECT(f, true, 0x12);
    aux(f, 0xec);
    EXPECT(f, true, 0xfa);
    aux(f, 0x77);
    EXPECT(f, true, 0xfe);
}

static void mouse_packets(void **state)
{
    struct fixture *f = *state;

    command(f, 0x60);
    kbd(f, 0x43); /* both interrupts */
    aux(f, 0xf4);
    EXPECT(f, true, 0xfa);
    pointer(f, 10000, 10000, 0); /* where it is: no motion yet */
    pointer(f, 10000 + 320, 10000 - 640, INPUT_BTN_LEFT);
    assert_int_equal(f->t.gsi[12], 1);
    assert_int_equal(byte(f, true), 0x09); /* left, both positive: up is positive */
    assert_int_equal(byte(f, true), 10);
    assert_int_equal(byte(f, true), 20);
    pointer(f, 10000 + 320, 10000 - 640, 0);
    assert_int_equal(byte(f, true), 0x08);
    assert_int_equal(byte(f, true), 0);
    assert_int_equal(byte(f, true), 0);
    assert_false(status(f) & 1);
    for (unsigned i = 0; i < 1000; i++) /* nobody reads: motion adds up, in one packet at a time */
        pointer(f, (uint16_t)(i * 32), 0, 0);
    unsigned n = 0;
    while (status(f) & 1) {
        byte(f, true);
        assert_in_range(n++, 0, 100);
    }
    assert_int_equal(n % 3, 0);
}

static void release_all(void **state)
{
    struct fixture *f = *state;

    key(f, KEY_LEFTCTRL, true);
    key(f, KEY_C, true);
    EXPECT(f, false, 0x1d, 0x2e);
    key(f, KEY_X, false); /* was never down */
    assert_false(status(f) & 1);
    input_hub_event(f->hub, &(struct input_event){.type = INPUT_RELEASE_ALL});
    EXPECT(f, false, 0x9d, 0xae);
    assert_false(status(f) & 1);
}

static void bad_events_do_nothing(void **state)
{
    struct fixture *f = *state;

    key(f, 0, true);
    key(f, 256, true);
    key(f, 0xffff, true);
    input_hub_event(f->hub, &(struct input_event){.type = 77});
    pointer(f, 65535, 65535, UINT32_MAX);
    assert_false(status(f) & 1);
}

static void events_from_the_socket(void **state)
{
    struct fixture *f = *state;
    struct input_event ev = {.type = INPUT_KEY, .code = KEY_Q, .value = 1};
    struct err e = ERR_INIT;
    int sv[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv), 0);
    f->t.env.loop = loop_new(&e);
    struct input_hub *hub = input_hub_new(&f->t.env, sv[0]);
    struct dev *d = dt_new(&f->t, "i8042");
    dev_set_ptr(d, "hub", hub);
    dt_realize(d); /* the later region of the ports wins */
    assert_int_equal(send(sv[1], "short", 5, 0), 5);
    assert_int_equal(send(sv[1], &ev, sizeof(ev), 0), sizeof(ev));
    loop_step(f->t.env.loop, 100);
    EXPECT(f, false, 0x10);
    close(sv[1]);
    loop_step(f->t.env.loop, 100); /* the end: no spinning, no crash */
    loop_step(f->t.env.loop, 1);
    dev_free(d);
    input_hub_free(hub);
    loop_free(f->t.env.loop);
}

/* ---- virtio keyboard and tablet ---- */

#define BUF 0x200000u

struct event {
    uint16_t type, code;
    uint32_t value;
};

static void give_buffers(struct vdriver *d, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        vd_chain(d, 0, (uint16_t)i, &(struct vd_seg){BUF + 8 * i, 8, true}, 1);
    vd_kick(d, 0);
}

static bool next_event(struct vdriver *d, struct event *ev)
{
    uint8_t raw[8];
    uint32_t head, len;

    if (!vd_used(d, 0, &head, &len))
        return false;
    assert_int_equal(len, 8);
    assert_true(mem_read(d->t->mem, BUF + 8 * head, raw, 8));
    *ev = (struct event){ld_le16(raw), ld_le16(raw + 2), ld_le32(raw + 4)};
    return true;
}

static void expect_event(struct vdriver *d, uint16_t type, uint16_t code, uint32_t value)
{
    struct event ev;

    assert_true(next_event(d, &ev));
    assert_int_equal(ev.type, type);
    assert_int_equal(ev.code, code);
    assert_int_equal(ev.value, value);
}

static struct dev *add_virtio(struct fixture *f, const char *cls, struct vdriver *d)
{
    struct dev *dev = dt_new(&f->t, cls);

    dev_set_ptr(dev, "hub", f->hub);
    dt_realize(dev);
    vd_init(d, &f->t);
    return dev;
}

static void virtio_keyboard_takes_over(void **state)
{
    struct fixture *f = *state;
    struct vdriver d;
    struct dev *dev = add_virtio(f, "virtio-keyboard", &d);
    struct event ev;

    dt_write(&f->t, d.config, 0x11, 1); /* event bits of EV_KEY */
    dt_write(&f->t, d.config + 1, EV_KEY, 1);
    assert_int_equal(dt_read(&f->t, d.config + 2, 1), 32);
    assert_true(dt_read(&f->t, d.config + 8 + KEY_A / 8, 1) & BIT(KEY_A % 8));
    dt_write(&f->t, d.config + 1, EV_ABS, 1);
    assert_int_equal(dt_read(&f->t, d.config + 2, 1), 0);

    key(f, KEY_B, true); /* before the driver: PS/2 */
    EXPECT(f, false, 0x30);
    vd_start(&d, 0, 2);
    give_buffers(&d, 6);
    key(f, KEY_A, true);
    expect_event(&d, EV_KEY, KEY_A, 1);
    expect_event(&d, EV_SYN, SYN_REPORT, 0);
    assert_false(next_event(&d, &ev));
    key(f, KEY_B, false); /* goes where its press went */
    EXPECT(f, false, 0xb0);
    assert_false(next_event(&d, &ev));
    vd_reset(&d);
    key(f, KEY_C, true);
    EXPECT(f, false, 0x2e);
    dev_free(dev);
}

static void on_leds(void *opaque, uint8_t leds)
{
    *(int *)opaque = leds;
}

static void ps2_leds(void **state)
{
    struct fixture *f = *state;
    int leds = -1;

    input_hub_on_leds(f->hub, on_leds, &leds);
    kbd(f, 0xed);
    kbd(f, 0);
    assert_int_equal(leds, -1); /* as they were */
    kbd(f, 0xed);
    kbd(f, 0xfc); /* no data byte: a command ends the wait */
    kbd(f, 0xed);
    kbd(f, INPUT_LED_NUM | INPUT_LED_CAPS | 8);
    assert_int_equal(leds, INPUT_LED_NUM | INPUT_LED_CAPS);
    dev_reset(f->dev);
    assert_int_equal(leds, 0);
}

static void send_status(struct vdriver *d, uint16_t type, uint16_t code, uint32_t value, uint32_t len)
{
    uint8_t raw[8];

    st_le16(raw, type);
    st_le16(raw + 2, code);
    st_le32(raw + 4, value);
    assert_true(mem_write(d->t->mem, BUF, raw, sizeof(raw)));
    vd_chain(d, 1, 0, &(struct vd_seg){BUF, len, false}, 1);
    vd_kick(d, 1);
}

static void virtio_leds(void **state)
{
    struct fixture *f = *state;
    struct vdriver d;
    struct dev *dev = add_virtio(f, "virtio-keyboard", &d);
    int leds = -1;

    input_hub_on_leds(f->hub, on_leds, &leds);
    vd_start(&d, 0, 2);
    send_status(&d, EV_LED, LED_CAPSL, 1, 8);
    assert_int_equal(leds, INPUT_LED_CAPS);
    send_status(&d, EV_LED, LED_SCROLLL, 1, 8);
    assert_int_equal(leds, INPUT_LED_CAPS | INPUT_LED_SCROLL);
    send_status(&d, EV_LED, LED_CAPSL, 0, 8);
    assert_int_equal(leds, INPUT_LED_SCROLL);
    send_status(&d, EV_LED, LED_MUTE, 1, 8);
    send_status(&d, EV_SYN, LED_NUML, 1, 8);
    send_status(&d, EV_LED, LED_SCROLLL, 0, 1); /* too short */
    assert_int_equal(leds, INPUT_LED_SCROLL);
    vd_reset(&d);
    assert_int_equal(leds, 0);
    dev_free(dev);
}

static void virtio_keyboard_without_buffers(void **state)
{
    struct fixture *f = *state;
    struct vdriver d;
    struct dev *dev = add_virtio(f, "virtio-keyboard", &d);
    bool down[256] = {false};
    struct event ev;

    vd_start(&d, 0, 2);
    for (unsigned round = 0; round < 10; round++)
        for (uint16_t code = KEY_1; code <= KEY_0; code++)
            key(f, code, true);
    for (uint16_t code = KEY_1; code <= KEY_0; code++)
        key(f, code, false);
    for (unsigned i = 0; i < 20; i++) {
        give_buffers(&d, 8);
        while (next_event(&d, &ev))
            if (ev.type == EV_KEY)
                down[ev.code & 255] = ev.value;
    }
    for (unsigned i = 0; i < 256; i++)
        assert_false(down[i]);
    dev_free(dev);
}

static void virtio_tablet(void **state)
{
    struct fixture *f = *state;
    struct vdriver d;
    struct dev *dev = add_virtio(f, "virtio-tablet", &d);
    struct event ev;

    dt_write(&f->t, d.config, 0x12, 1); /* ABS_X */
    dt_write(&f->t, d.config + 1, ABS_X, 1);
    assert_int_equal(dt_read(&f->t, d.config + 12, 4), INPUT_ABS_MAX);
    vd_start(&d, 0, 2);
    give_buffers(&d, 12);
    pointer(f, 100, 200, INPUT_BTN_LEFT | INPUT_WHEEL_UP);
    expect_event(&d, EV_ABS, ABS_X, 100);
    expect_event(&d, EV_ABS, ABS_Y, 200);
    expect_event(&d, EV_KEY, BTN_LEFT, 1);
    expect_event(&d, EV_REL, REL_WHEEL, 1);
    expect_event(&d, EV_SYN, SYN_REPORT, 0);
    pointer(f, 101, 200, 0);
    expect_event(&d, EV_ABS, ABS_X, 101);
    expect_event(&d, EV_ABS, ABS_Y, 200);
    expect_event(&d, EV_KEY, BTN_LEFT, 0);
    expect_event(&d, EV_SYN, SYN_REPORT, 0);
    assert_false(next_event(&d, &ev));
    dev_free(dev);
}

/* Motion that finds no buffer is not queued; where the pointer came to rest is told. */
static void virtio_tablet_without_buffers(void **state)
{
    struct fixture *f = *state;
    struct vdriver d;
    struct dev *dev = add_virtio(f, "virtio-tablet", &d);
    uint32_t x = 0, left = 0;
    struct event ev;

    vd_start(&d, 0, 2);
    pointer(f, 1, 1, INPUT_BTN_LEFT);
    for (uint16_t i = 0; i < 1000; i++)
        pointer(f, i, i, INPUT_BTN_LEFT);
    pointer(f, 1234, 5, 0);
    for (unsigned i = 0; i < 20; i++) {
        give_buffers(&d, 8);
        while (next_event(&d, &ev)) {
            if (ev.type == EV_ABS && ev.code == ABS_X)
                x = ev.value;
            if (ev.type == EV_KEY && ev.code == BTN_LEFT)
                left = ev.value;
        }
    }
    assert_int_equal(x, 1234);
    assert_int_equal(left, 0);
    dev_free(dev);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(controller_commands),
        T(reset_requests),
        T(keys_in_set_1),
        T(translation_is_the_inverse_of_set_2),
        T(keys_in_set_2),
        T(keyboard_commands),
        T(a_full_queue_keeps_answers_and_releases),
        T(disabled_keyboard_waits),
        T(mouse_commands),
        T(mouse_packets),
        T(release_all),
        T(bad_events_do_nothing),
        T(events_from_the_socket),
        T(virtio_keyboard_takes_over),
        T(virtio_keyboard_without_buffers),
        T(ps2_leds),
        T(virtio_leds),
        T(virtio_tablet),
        T(virtio_tablet_without_buffers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
