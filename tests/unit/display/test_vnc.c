/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The vnc process as viewers see it: vnc_run in a child, raw RFB from here. */
#include "tests/lib/test.h"

#include <errno.h>
#include <linux/input-event-codes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "display/input.h"
#include "display/surface.h"
#include "display/vnc.h"
#include "vmm/base/bits.h"
#include "vmm/base/clock.h"
#include "vmm/base/log.h"

#define PASSWORD "geheim"

void rfbEncryptBytes(unsigned char *bytes, char *passwd); /* libvncserver's DES */

struct fix {
    struct surface *surface;
    int input, status;
    pid_t pid;
    struct sockaddr_un addr;
};

static void paint(struct fix *f, unsigned w, unsigned h, uint32_t color)
{
    surface_set_geometry(f->surface, &(struct surface_geometry){.mode = SURFACE_GRAPHICS, .width = (uint16_t)w,
                                                                .height = (uint16_t)h});
    for (unsigned y = 0; y < h; y++)
        for (unsigned x = 0; x < w; x++)
            surface_pixels(f->surface)[y * SURFACE_MAX_WIDTH + x] = color;
    surface_damage(f->surface, (struct surface_rect){0, 0, (uint16_t)w, (uint16_t)h});
    surface_publish(f->surface);
}

static void start(struct fix *f, const char *layout)
{
    struct err e = ERR_INIT;
    int in[2], status[2];

    f->surface = surface_new(&e);
    assert_non_null(f->surface);
    paint(f, 320, 200, 0x102030);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, in), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, status), 0);
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    f->addr.sun_family = AF_UNIX; /* abstract: the kernel chooses a name */
    assert_int_equal(bind(listener, (struct sockaddr *)&f->addr, sizeof(sa_family_t)), 0);
    socklen_t len = sizeof(f->addr);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&f->addr, &len), 0);
    assert_int_equal(listen(listener, 64), 0);
    int reader = surface_reader_fd(f->surface, &e);
    f->pid = fork();
    if (f->pid == 0) {
        close(in[0]);
        close(status[0]);
        log_init("test/vnc", 2, getenv("VERBOSE") ? LOG_DEBUG : LOG_ERROR);
        struct vnc_cfg cfg = {.surface_fd = reader, .input_fd = in[1], .listen_fds = {listener},
                              .listen_count = 1, .password = PASSWORD, .layout = layout, .name = "test",
                              .status_fd = status[1]};
        _exit(vnc_run(&cfg));
    }
    assert_true(f->pid > 0);
    close(in[1]);
    close(status[1]);
    close(listener);
    close(reader);
    f->input = in[0];
    f->status = status[0];
}

static int setup(void **state)
{
    struct fix *f = test_calloc(1, sizeof(*f));

    start(f, "us");
    *state = f;
    return 0;
}

static void stop(struct fix *f)
{
    int status;

    close(f->input);
    close(f->status);
    assert_int_equal(waitpid(f->pid, &status, 0), f->pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    surface_free(f->surface);
}

static int teardown(void **state)
{
    stop(*state);
    test_free(*state);
    return 0;
}

/* ---- a viewer ---- */

static int dial(struct fix *f)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 6); /* autobind names: 5 digits */

    assert_int_equal(connect(fd, (struct sockaddr *)&f->addr, len), 0);
    return fd;
}

/* Bytes read before the end of stream or the deadline. */
static size_t get(int fd, void *buf, size_t n, int ms)
{
    int64_t end = clock_now_ns() + ms * NS_PER_MS;
    size_t done = 0;

    while (done < n) {
        int64_t left = (end - clock_now_ns()) / NS_PER_MS;
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (left <= 0 || poll(&p, 1, (int)left) <= 0)
            break;
        ssize_t r = recv(fd, (char *)buf + done, n - done, MSG_DONTWAIT);
        if (r <= 0)
            break;
        done += (size_t)r;
    }
    return done;
}

static void must_get(int fd, void *buf, size_t n)
{
    size_t got = get(fd, buf, n, 3000);

    if (got != n)
        fail_msg("%zu bytes instead of %zu", got, n);
}

static void put(int fd, const void *buf, size_t n)
{
    assert_int_equal(send(fd, buf, n, MSG_NOSIGNAL), n);
}

/* True when the other end closes within ms, whatever it sends before. */
static bool closes(int fd, int ms)
{
    char buf[4096];
    int64_t end = clock_now_ns() + ms * NS_PER_MS;

    while (clock_now_ns() < end) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (poll(&p, 1, (int)((end - clock_now_ns()) / NS_PER_MS) + 1) <= 0)
            continue;
        ssize_t n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN))
            return true;
    }
    return false;
}

static void challenge(int fd, const char *version, uint8_t out[16])
{
    char hello[12];
    uint8_t types[2], old[4];

    must_get(fd, hello, 12);
    assert_memory_equal(hello, "RFB 003.008\n", 12);
    put(fd, version, 12);
    if (strcmp(version, "RFB 003.003\n") == 0) {
        must_get(fd, old, 4);
        assert_int_equal(ld_be32(old), 2);
    } else {
        must_get(fd, types, 2);
        assert_int_equal(types[0], 1);
        assert_int_equal(types[1], 2); /* VNC authentication and nothing else */
        put(fd, "\2", 1);
    }
    must_get(fd, out, 16);
}

static uint32_t answer(int fd, uint8_t bytes[16], const char *password)
{
    char copy[16];
    uint8_t result[4];

    snprintf(copy, sizeof(copy), "%s", password);
    rfbEncryptBytes(bytes, copy);
    put(fd, bytes, 16);
    must_get(fd, result, 4);
    return ld_be32(result);
}

static int login_as(struct fix *f, const char *version, unsigned *w, unsigned *h)
{
    int fd = dial(f);
    uint8_t bytes[16], init[24];
    char name[64];

    challenge(fd, version, bytes);
    assert_int_equal(answer(fd, bytes, PASSWORD), 0);
    put(fd, "\0", 1); /* not shared: must not throw the others out */
    must_get(fd, init, 24);
    must_get(fd, name, MIN(ld_be32(init + 20), sizeof(name)));
    assert_memory_equal(name, "test", 4);
    *w = ld_be16(init);
    *h = ld_be16(init + 2);
    return fd;
}

static void set_encodings(int fd, const int32_t *list, unsigned n)
{
    uint8_t m[4 + 64] = {2, 0, 0, (uint8_t)n};

    for (unsigned i = 0; i < n; i++)
        st_be32(m + 4 + 4 * i, (uint32_t)list[i]);
    put(fd, m, 4 + 4 * n);
}

static void request(int fd, bool incremental, unsigned w, unsigned h)
{
    uint8_t m[10] = {3, incremental};

    st_be16(m + 6, (uint16_t)w);
    st_be16(m + 8, (uint16_t)h);
    put(fd, m, 10);
}

/* One update in Raw; returns the last pixel, or the pseudo-encoding if that is what came. */
static uint32_t update(int fd, int32_t *pseudo, unsigned *w, unsigned *h)
{
    uint8_t head[4], rect[12];
    uint32_t pixel = 0;

    *pseudo = 0;
    must_get(fd, head, 4);
    assert_int_equal(head[0], 0);
    for (unsigned n = ld_be16(head + 2); n; n--) {
        must_get(fd, rect, 12);
        int32_t enc = (int32_t)ld_be32(rect + 8);
        *w = ld_be16(rect + 4);
        *h = ld_be16(rect + 6);
        if (enc == -308) {
            uint8_t screens[4 + 16 * 4];
            must_get(fd, screens, 4);
            assert_true(screens[0] >= 1);
            must_get(fd, screens + 4, 16u * screens[0]);
        } else if (enc == 0) {
            size_t size = (size_t)*w * *h * 4;
            uint8_t *raw = malloc(size);
            must_get(fd, raw, size);
            if (size)
                pixel = ld_le32(raw + size - 4);
            free(raw);
        }
        if (enc < 0)
            *pseudo = enc;
    }
    return pixel;
}

static int login(struct fix *f)
{
    unsigned w, h;
    static const int32_t raw = 0;
    int fd = login_as(f, "RFB 003.008\n", &w, &h);

    set_encodings(fd, &raw, 1);
    return fd;
}

static struct input_event event(struct fix *f)
{
    struct input_event ev = {0};
    struct pollfd p = {.fd = f->input, .events = POLLIN};

    if (poll(&p, 1, 2000) == 1)
        assert_int_equal(recv(f->input, &ev, sizeof(ev), MSG_DONTWAIT), sizeof(ev));
    return ev;
}

static void expect_key(struct fix *f, unsigned code, unsigned value)
{
    struct input_event ev = event(f);

    if (ev.type != INPUT_KEY || ev.code != code || ev.value != value)
        fail_msg("event %u: key %u value %u instead of key %u value %u", ev.type, ev.code, ev.value, code,
                 value);
}

static void expect_no_event(struct fix *f)
{
    struct pollfd p = {.fd = f->input, .events = POLLIN};

    assert_int_equal(poll(&p, 1, 30), 0);
}

static void key(int fd, bool down, uint32_t keysym)
{
    uint8_t m[8] = {4, down};

    st_be32(m + 4, keysym);
    put(fd, m, 8);
}

/* ---- tests ---- */

static void test_picture(void **state)
{
    struct fix *f = *state;
    unsigned w, h;
    int32_t pseudo;
    int fd = login(f);
    static const char *const versions[] = {"RFB 003.003\n", "RFB 003.007\n", "RFB 003.889\n"};

    request(fd, false, 640, 480);
    (void)update(fd, &pseudo, &w, &h); /* perhaps still the size before the guest's */
    usleep(200000);
    close(fd);
    for (unsigned i = 0; i < 3; i++) {
        static const int32_t raw = 0;
        fd = login_as(f, versions[i], &w, &h);
        assert_int_equal(w, 320);
        assert_int_equal(h, 200);
        set_encodings(fd, &raw, 1);
        request(fd, false, w, h);
        assert_int_equal(update(fd, &pseudo, &w, &h) & 0xffffff, 0x102030);
        request(fd, true, 320, 200);
        surface_pixels(f->surface)[5 * SURFACE_MAX_WIDTH + 7] = 0xabcd00 + i;
        surface_damage(f->surface, (struct surface_rect){7, 5, 1, 1});
        surface_publish(f->surface);
        assert_int_equal(update(fd, &pseudo, &w, &h) & 0xffffff, 0xabcd00 + i);
        assert_int_equal(w, 1);
        close(fd);
    }
}

static void test_wrong_password(void **state)
{
    struct fix *f = *state;
    uint8_t bytes[16], again[16];
    int64_t start_ns = clock_now_ns();

    for (unsigned i = 0; i < 5; i++) {
        int fd = dial(f);
        challenge(fd, "RFB 003.008\n", bytes);
        if (i)
            assert_memory_not_equal(bytes, again, 16);
        memcpy(again, bytes, 16);
        assert_int_equal(answer(fd, bytes, i % 2 ? "" : "gehein"), 1);
        assert_true(closes(fd, 2000));
        close(fd);
    }
    assert_true(clock_now_ns() - start_ns >= 2 * NS_PER_S); /* the fourth and fifth waited */
    close(login(f)); /* and still one gets in */
}

static void test_strangers(void **state)
{
    struct fix *f = *state;
    static const struct {
        const char *bytes;
        unsigned len;
    } rows[] = {
        {"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n", 38}, {"\x16\x03\x01\x02\x00\x01\x00", 7},
        {"\x80\x2e\x01\x00\x02", 5}, {"RFB 004.001\n", 12}, {"RFB 003.0x8\n", 12},
        {"RFB 003.008 ", 12}, {"\0\0\0\0", 4}, {"<policy-file-request/>", 22},
    };

    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        int fd = dial(f);
        put(fd, rows[i].bytes, rows[i].len);
        if (!closes(fd, 1000))
            fail_msg("row %u is not closed", i);
        close(fd);
    }
    /* type None although only VNC authentication was offered */
    int fd = dial(f);
    char hello[12];
    uint8_t types[2];
    must_get(fd, hello, 12);
    put(fd, "RFB 003.008\n", 12);
    must_get(fd, types, 2);
    put(fd, "\1\1", 2);
    assert_true(closes(fd, 1000));
    close(fd);
    close(login(f));
}

static void test_bad_messages(void **state)
{
    struct fix *f = *state;
    static const struct {
        uint8_t bytes[24];
        unsigned len;
    } rows[] = {
        {{7, 0, 0, 0}, 4}, {{8, 2, 0, 0}, 4}, {{11, 0, 0, 0, 0, 0, 0, 1}, 8}, {{250, 0, 1, 2}, 4},
        {{15, 2, 0, 0}, 4}, {{255, 1, 0, 0}, 4}, {{99}, 1}, {{5 + 1, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff}, 8},
        {{2, 0, 0xff, 0xff}, 4},
        {{0, 0, 0, 0, 32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 200, 8, 0}, 20}, /* shift out of range */
        {{0, 0, 0, 0, 24, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0}, 20},  /* 24 bits per pixel */
        {{0, 0, 0, 0, 16, 16, 0, 1, 255, 255, 0, 63, 0, 31, 11, 5, 0}, 20},  /* wider than the pixel */
    };

    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        int fd = login(f);
        put(fd, rows[i].bytes, rows[i].len);
        if (!closes(fd, 1000))
            fail_msg("row %u is not closed", i);
        close(fd);
    }
    /* clipboard is swallowed */
    int fd = login(f);
    uint8_t cut[8 + 20000] = {6, 0, 0, 0, 0, 0, 0x4e, 0x20};
    put(fd, cut, sizeof(cut));
    key(fd, true, 'a');
    for (unsigned i = 0; i < 2 * ARRAY_LEN(rows); i++) {
        struct input_event ev = event(f);
        if (ev.type == INPUT_KEY) {
            assert_int_equal(ev.code, KEY_A);
            break;
        }
    }
    close(fd);
}

static void test_keysyms_us(void **state)
{
    struct fix *f = *state;
    int fd = login(f);

    key(fd, true, 'A'); /* without Shift: Caps Lock at the viewer */
    key(fd, false, 'A');
    expect_key(f, KEY_LEFTSHIFT, 1);
    expect_key(f, KEY_A, 1);
    expect_key(f, KEY_LEFTSHIFT, 0);
    expect_key(f, KEY_A, 0);
    key(fd, true, 0xffe1); /* Shift held, '/' as on a German keyboard */
    key(fd, true, '/');
    key(fd, false, '/');
    key(fd, false, 0xffe1);
    expect_key(f, KEY_LEFTSHIFT, 1);
    expect_key(f, KEY_LEFTSHIFT, 0);
    expect_key(f, KEY_SLASH, 1);
    expect_key(f, KEY_LEFTSHIFT, 1);
    expect_key(f, KEY_SLASH, 0);
    expect_key(f, KEY_LEFTSHIFT, 0);
    key(fd, true, 0xffe3); /* Ctrl+C with Caps Lock */
    key(fd, true, 'C');
    key(fd, true, 'C'); /* autorepeat */
    key(fd, false, 'c');
    key(fd, false, 0xffe3);
    expect_key(f, KEY_LEFTCTRL, 1);
    expect_key(f, KEY_C, 1);
    expect_key(f, KEY_C, 1);
    expect_key(f, KEY_C, 0);
    expect_key(f, KEY_LEFTCTRL, 0);
    key(fd, true, 0xffe3); /* AltGr as Windows sends it */
    key(fd, true, 0xffea);
    expect_key(f, KEY_LEFTCTRL, 1);
    expect_key(f, KEY_LEFTCTRL, 0);
    expect_key(f, KEY_RIGHTALT, 1);
    key(fd, true, '@');
    expect_key(f, KEY_LEFTSHIFT, 1);
    expect_key(f, KEY_RIGHTALT, 0);
    expect_key(f, KEY_2, 1);
    expect_key(f, KEY_RIGHTALT, 1);
    expect_key(f, KEY_LEFTSHIFT, 0);
    key(fd, true, 0xffe5); /* Caps_Lock stays with the viewer */
    key(fd, true, 0x0100ffff);
    expect_no_event(f);
    close(fd); /* what was held is released */
    expect_key(f, KEY_2, 0);
    expect_key(f, KEY_RIGHTALT, 0);
    assert_int_equal(event(f).type, INPUT_RELEASE_ALL);
}

static void test_keysyms_layout(const char *layout, uint32_t keysym, const uint16_t (*want)[2], unsigned n)
{
    struct fix f = {0};

    start(&f, layout);
    int fd = login(&f);
    key(fd, true, keysym);
    key(fd, false, keysym);
    for (unsigned i = 0; i < n; i++)
        expect_key(&f, want[i][0], want[i][1]);
    expect_no_event(&f);
    close(fd);
    stop(&f);
}

static void test_keysyms_de_fr(void **state)
{
    static const uint16_t at[][2] = {{KEY_RIGHTALT, 1}, {KEY_Q, 1}, {KEY_RIGHTALT, 0}, {KEY_Q, 0}};
    static const uint16_t circ[][2] = {{KEY_LEFTBRACE, 1}, {KEY_LEFTBRACE, 0}, {KEY_E, 1}, {KEY_E, 0}};
    static const uint16_t one[][2] = {{KEY_LEFTSHIFT, 1}, {KEY_1, 1}, {KEY_LEFTSHIFT, 0}, {KEY_1, 0}};

    (void)state;
    test_keysyms_layout("de", '@', at, 4);
    test_keysyms_layout("fr", 0xea, circ, 4);
    test_keysyms_layout("fr", 0xffb1, one, 4); /* keypad 1 */
}

static void test_ext_key(void **state)
{
    struct fix *f = *state;
    unsigned w, h;
    int32_t pseudo;
    static const int32_t list[] = {-258, 0, -309, (int32_t)0xc0a1e5ce};
    int fd = login(f);
    uint8_t m[12] = {255, 0, 0, 1};

    set_encodings(fd, list, 4);
    (void)update(fd, &pseudo, &w, &h);
    assert_int_equal(pseudo, -258);
    st_be32(m + 8, 0xcd); /* E0 4D */
    put(fd, m, 12);
    expect_key(f, KEY_RIGHT, 1);
    st_be32(m + 8, 0x1e);
    put(fd, m, 12);
    m[3] = 0;
    put(fd, m, 12);
    expect_key(f, KEY_A, 1);
    expect_key(f, KEY_A, 0);
    close(fd);
    expect_key(f, KEY_RIGHT, 0);
}

/* The rectangle of the lights, of QEMU's or VMware's kind. */
static void expect_leds(int fd, int32_t encoding, unsigned leds)
{
    uint8_t m[4 + 12 + 4] = {0};
    unsigned bytes = encoding == -261 ? 1 : 4;

    must_get(fd, m, 16 + bytes);
    assert_int_equal(m[0], 0);
    assert_int_equal(ld_be16(m + 2), 1);
    assert_int_equal((int32_t)ld_be32(m + 12), encoding);
    assert_int_equal(bytes == 1 ? m[16] : ld_be32(m + 16), leds);
}

static void test_leds(void **state)
{
    struct fix *f = *state;
    static const int32_t vmware[] = {0x574d5668}, both[] = {-261, 0x574d5668};
    uint8_t b;
    int first = login(f), second = login(f), third = login(f);

    set_encodings(first, both, 2);
    set_encodings(second, vmware, 1);
    assert_int_equal(get(first, &b, 1, 100), 0); /* the guest has not set them */
    assert_int_equal(get(second, &b, 1, 1), 0);
    surface_set_leds(f->surface, INPUT_LED_CAPS);
    expect_leds(first, -261, 4);
    expect_leds(second, 0x574d5668, 4);
    set_encodings(third, both, 1); /* told at once, now that they are known */
    expect_leds(third, -261, 4);
    surface_set_leds(f->surface, INPUT_LED_NUM | 0xf0);
    expect_leds(first, -261, 2);
    expect_leds(second, 0x574d5668, 2);
    expect_leds(third, -261, 2);
    assert_int_equal(get(first, &b, 1, 50), 0);
    close(first);
    close(second);
    close(third);
}

static void test_pointer(void **state)
{
    struct fix *f = *state;
    uint8_t m[6] = {5, 1, 0x7f, 0xff, 0x7f, 0xff};
    int fd = login(f);

    put(fd, m, 6);
    struct input_event ev = event(f);
    assert_int_equal(ev.type, INPUT_POINTER);
    assert_int_equal(ev.value, INPUT_BTN_LEFT);
    assert_int_equal(ev.x, INPUT_ABS_MAX);
    assert_int_equal(ev.y, INPUT_ABS_MAX);
    close(fd);
    ev = event(f);
    assert_int_equal(ev.type, INPUT_POINTER);
    assert_int_equal(ev.value, 0);
}

static void test_resize(void **state)
{
    struct fix *f = *state;
    unsigned w, h;
    int32_t pseudo;

    static const int32_t pseudos[] = {-308, -223};
    close(login(f));
    usleep(200000);
    for (unsigned i = 0; i < 2; i++) {
        paint(f, 320, 200, 0x102030);
        usleep(100000);
        int32_t list[2] = {0, pseudos[i]};
        int fd = login(f);
        usleep(200000);
        set_encodings(fd, list, 2);
        request(fd, false, 320, 200);
        do {
            (void)update(fd, &pseudo, &w, &h);
            if (pseudo)
                request(fd, true, w, h);
        } while (pseudo == -308 && (w != 320 || h != 200));
        paint(f, 500, 300, 1); /* a burst: only the last size is announced */
        paint(f, 640, 480, 2);
        paint(f, 802, 600, 3);
        request(fd, true, 320, 200);
        do {
            (void)update(fd, &pseudo, &w, &h);
            if (!pseudo || w == 320)
                request(fd, true, 320, 200);
        } while (!pseudo || w == 320);
        assert_int_equal(pseudo, pseudos[i]);
        assert_int_equal(w, 804);
        assert_int_equal(h, 600);
        request(fd, false, 804, 600);
        surface_pixels(f->surface)[0] = 3;
        for (pseudo = -1; pseudo;)
            (void)update(fd, &pseudo, &w, &h);
        close(fd);
    }
}

/* From a change of the screen to the end of its update, in ms. */
static int latency(struct fix *f, int fd, unsigned n)
{
    unsigned w, h;
    int32_t pseudo;

    request(fd, true, 320, 200);
    usleep(5000); /* it waits for something to change */
    int64_t begin = clock_now_ns();
    surface_pixels(f->surface)[n] = n;
    surface_damage(f->surface, (struct surface_rect){(uint16_t)n, 0, 1, 1});
    surface_publish(f->surface);
    (void)update(fd, &pseudo, &w, &h);
    return (int)((clock_now_ns() - begin) / NS_PER_MS);
}

static void test_eight_viewers(void **state)
{
    struct fix *f = *state;
    int fd[6], silent = dial(f), half = dial(f), deaf, mumbling;
    char hello[12];
    unsigned w, h;
    int32_t pseudo;

    must_get(silent, hello, 12);
    put(half, "RFB 003", 7);
    for (unsigned i = 0; i < 6; i++) {
        int64_t begin = clock_now_ns();
        fd[i] = login(f);
        assert_in_range(clock_now_ns() - begin, 0, NS_PER_S / 2);
    }
    usleep(200000);
    deaf = login(f); /* asks for everything all the time and reads nothing */
    for (unsigned i = 0; i < 2000; i++) {
        uint8_t m[10] = {3, 0, 0, 0, 0, 0, 1, 64, 0, 200};
        if (send(deaf, m, 10, MSG_DONTWAIT | MSG_NOSIGNAL) != 10)
            break;
    }
    mumbling = login(f); /* half a message */
    put(mumbling, "\6\0\0\0\0\1\0\0abc", 11);
    for (unsigned i = 0; i < 6; i++) {
        request(fd[i], false, 320, 200);
        (void)update(fd[i], &pseudo, &w, &h);
    }
    int worst = 0;
    for (unsigned n = 1; n < 60; n++) {
        int ms = latency(f, fd[n % 6], n);
        worst = MAX(worst, ms);
        for (unsigned i = 0; i < 6; i++) { /* the others get it too */
            if (i == n % 6)
                continue;
            request(fd[i], true, 320, 200);
            (void)update(fd[i], &pseudo, &w, &h);
        }
    }
    print_message("# longest delay %d ms\n", worst);
    assert_in_range(worst, 0, 500);
    for (unsigned i = 0; i < 6; i++)
        close(fd[i]);
    close(silent);
    close(half);
    close(deaf);
    close(mumbling);
}

static void test_login_deadline(void **state)
{
    struct fix *f = *state;
    char hello[12];
    int silent = dial(f);
    int64_t begin = clock_now_ns();

    must_get(silent, hello, 12);
    assert_true(closes(silent, 12000));
    assert_true(clock_now_ns() - begin >= 9 * NS_PER_S);
    close(silent);
}

static void test_flood(void **state)
{
    struct fix *f = *state;

    for (unsigned i = 0; i < 300; i++) {
        int fd = dial(f);
        if (i % 3 == 0)
            (void)!send(fd, "RFB 003.008\n", 12, MSG_NOSIGNAL);
        close(fd);
    }
    int hold[40];
    for (unsigned i = 0; i < 40; i++)
        hold[i] = dial(f);
    usleep(2200000); /* then older logins give way */
    close(login(f));
    for (unsigned i = 0; i < 40; i++)
        close(hold[i]);
}

static void test_status(void **state)
{
    struct fix *f = *state;
    char line[256] = "", want[80];

    int fd = login(f);
    snprintf(want, sizeof(want), "connect uid %u\nviewers 1\n", (unsigned)getuid());
    must_get(f->status, line, strlen(want));
    assert_string_equal(line, want);
    close(fd);
    snprintf(want, sizeof(want), "disconnect uid %u\nviewers 0\n", (unsigned)getuid());
    memset(line, 0, sizeof(line));
    must_get(f->status, line, strlen(want));
    assert_string_equal(line, want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
        T(test_picture), T(test_wrong_password), T(test_strangers), T(test_bad_messages),
        T(test_keysyms_us), T(test_ext_key), T(test_leds), T(test_pointer), T(test_resize),
        T(test_eight_viewers),
        T(test_login_deadline), T(test_flood), T(test_status), cmocka_unit_test(test_keysyms_de_fr),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
