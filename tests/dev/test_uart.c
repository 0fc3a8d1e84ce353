/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The UART with the console multiplexer behind it, over real pipes and sockets. */
#include "tests/lib/devtest.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/base/fd.h"
#include "vmm/chr/chr.h"

#define COM1 0x3f8

struct fix {
    struct devtest t;
    struct loop *loop;
    struct chr *chr;
    struct dev *dev;
    int to_guest, from_guest; /* our ends; from_guest is non-blocking */
};

static int setup(void **state)
{
    struct fix *f = test_calloc(1, sizeof(*f));
    struct err e = ERR_INIT;
    int in[2], out[2];

    dt_init(&f->t);
    f->loop = loop_new(&e);
    assert_int_equal(pipe2(in, O_CLOEXEC), 0);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    f->to_guest = in[1];
    f->from_guest = out[0];
    fd_set_nonblock(f->from_guest, true);
    f->chr = chr_new(f->loop);
    chr_set_primary(f->chr, in[0], out[1]);
    f->dev = dt_new(&f->t, "uart");
    dev_set_ptr(f->dev, "chr", f->chr);
    dt_realize(f->dev);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fix *f = *state;

    dev_free(f->dev);
    close(f->from_guest);
    chr_free(f->chr);
    close(f->to_guest);
    loop_step(f->loop, 0);
    loop_free(f->loop);
    dt_fini(&f->t);
    test_free(f);
    return 0;
}

static void type(struct fix *f, const char *s, size_t n)
{
    assert_int_equal(write(f->to_guest, s, n), n);
    loop_step(f->loop, 1000);
}

/* Reads exactly n bytes of the guest's output. */
static void expect_output(int fd, const char *want, size_t n)
{
    char got[65536];

    for (size_t done = 0; done < n;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        assert_int_equal(poll(&p, 1, 5000), 1);
        ssize_t k = read(fd, got, n - done < sizeof(got) ? n - done : sizeof(got));
        assert_true(k > 0);
        assert_memory_equal(got, want + done, (size_t)k);
        done += (size_t)k;
    }
}

static void test_registers(void **state)
{
    struct devtest *t = &((struct fix *)*state)->t;

    assert_int_equal(dt_inb(t, COM1 + 5), 0x60);
    assert_int_equal(dt_inb(t, COM1 + 6), 0xb0);
    dt_outb(t, COM1 + 7, 0x5a);
    assert_int_equal(dt_inb(t, COM1 + 7), 0x5a);
    dt_outb(t, COM1 + 3, 0x80);
    dt_outw(t, COM1, 0x0102);
    assert_int_equal(dt_inb(t, COM1), 2);
    assert_int_equal(dt_inb(t, COM1 + 1), 1);
    dt_outb(t, COM1 + 3, 3);
    assert_int_equal(dt_inb(t, COM1 + 2), 1);
    dt_outb(t, COM1 + 2, 1);
    assert_int_equal(dt_inb(t, COM1 + 2), 0xc1); /* a 16550A */
    dt_outb(t, COM1 + 1, 0xff);
    assert_int_equal(dt_inb(t, COM1 + 1), 0x0f);
}

static void test_transmit(void **state)
{
    struct fix *f = *state;
    struct devtest *t = &f->t;
    const char text[] = "every byte\0\xff\n";

    dt_outb(t, COM1 + 4, 0x0b);
    dt_outb(t, COM1 + 1, 2);
    assert_int_equal(t->gsi[4], 1); /* empty at once */
    assert_int_equal(dt_inb(t, COM1 + 2), 2);
    assert_int_equal(t->gsi[4], 0); /* reading acknowledges */
    for (size_t i = 0; i < sizeof(text); i++) {
        dt_outb(t, COM1, (uint8_t)text[i]);
        assert_int_equal(t->gsi[4], 1);
    }
    assert_int_equal(t->gsi_rises[4], 1 + sizeof(text));
    expect_output(f->from_guest, text, sizeof(text));
}

static void test_slow_reader(void **state)
{
    struct fix *f = *state;
    struct devtest *t = &f->t;
    enum { TOTAL = 400000 };
    char *sent = test_malloc(TOTAL);
    size_t n = 0, got = 0;

    for (size_t i = 0; i < TOTAL; i++)
        sent[i] = (char)(i * 7 + i / 251);
    /* a guest that polls the line status, and a reader that starts late */
    while (n < TOTAL) {
        if (dt_inb(t, COM1 + 5) & 0x20) {
            dt_outb(t, COM1, (uint8_t)sent[n++]);
            continue;
        }
        char chunk[8192];
        ssize_t k = read(f->from_guest, chunk, sizeof(chunk));
        if (k > 0) {
            assert_memory_equal(chunk, sent + got, (size_t)k);
            got += (size_t)k;
        }
        loop_step(f->loop, 1);
    }
    expect_output(f->from_guest, sent + got, TOTAL - got);
    test_free(sent);
}

static void test_gone_reader(void **state)
{
    struct fix *f = *state;

    signal(SIGPIPE, SIG_IGN);
    close(f->from_guest);
    f->from_guest = -1;
    for (unsigned i = 0; i < 300000; i++) /* the guest is not stopped by it for ever */
        dt_outb(&f->t, COM1, 'x');
    for (unsigned i = 0; i < 100 && !(dt_inb(&f->t, COM1 + 5) & 0x20); i++)
        loop_step(f->loop, 20);
    assert_int_equal(dt_inb(&f->t, COM1 + 5) & 0x20, 0x20);
}

static void test_receive_fifo(void **state)
{
    struct fix *f = *state;
    struct devtest *t = &f->t;
    const char text[] = "0123456789abcdefghijklmnopqrstuvwxyz";

    dt_outb(t, COM1 + 2, 0x81); /* FIFO, trigger at 8 */
    dt_outb(t, COM1 + 4, 0x0b);
    dt_outb(t, COM1 + 1, 1);
    type(f, text, 3);
    assert_int_equal(dt_inb(t, COM1 + 5), 0x61);
    assert_int_equal(t->gsi[4], 0);
    dt_advance(t, 100 * NS_PER_MS); /* four characters */
    assert_int_equal(t->gsi[4], 1);
    assert_int_equal(dt_inb(t, COM1 + 2), 0xcc);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(dt_inb(t, COM1), text[i]);
    assert_int_equal(t->gsi[4], 0);
    type(f, text, 36); /* more than the FIFO holds */
    assert_int_equal(t->gsi[4], 1);
    assert_int_equal(dt_inb(t, COM1 + 2), 0xc4);
    for (unsigned i = 0; i < 36; i++) {
        assert_int_equal(dt_inb(t, COM1 + 5) & 1, 1);
        assert_int_equal(dt_inb(t, COM1), text[i]);
    }
    assert_int_equal(dt_inb(t, COM1 + 5), 0x60);
}

static void test_loopback(void **state)
{
    struct devtest *t = &((struct fix *)*state)->t;

    dt_outb(t, COM1 + 4, 0x1a); /* loop, RTS, OUT2 */
    assert_int_equal(dt_inb(t, COM1 + 6) & 0xf0, 0x90);
    dt_outb(t, COM1, 0xa5);
    assert_int_equal(dt_inb(t, COM1 + 5) & 1, 1);
    assert_int_equal(dt_inb(t, COM1), 0xa5);
    dt_outb(t, COM1, 1);
    dt_outb(t, COM1, 2); /* no FIFO: overrun */
    assert_int_equal(dt_inb(t, COM1 + 5) & 2, 2);
    assert_int_equal(dt_inb(t, COM1 + 5) & 2, 0);
    dt_inb(t, COM1 + 6);
    dt_outb(t, COM1 + 4, 0x10);
    assert_int_equal(dt_inb(t, COM1 + 6), 0x09); /* CTS and DCD fell */
}

static void test_clients(void **state)
{
    struct fix *f = *state;
    int a[2], b[2];
    char buf[16];

    for (const char *p = "past "; *p; p++)
        dt_outb(&f->t, COM1, (uint8_t)*p);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, a), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, b), 0);
    chr_attach(f->chr, a[0]);
    chr_attach(f->chr, b[0]);
    dt_outb(&f->t, COM1, '!');
    loop_step(f->loop, 1000);
    expect_output(a[1], "past !", 6);
    expect_output(b[1], "past !", 6);
    assert_int_equal(write(b[1], "k", 1), 1);
    for (unsigned i = 0; i < 10 && !(dt_inb(&f->t, COM1 + 5) & 1); i++)
        loop_step(f->loop, 100);
    assert_int_equal(dt_inb(&f->t, COM1), 'k');
    close(a[1]); /* one goes away */
    for (unsigned i = 0; i < 5; i++)
        loop_step(f->loop, 10);
    /* the other never reads: it loses bytes, nobody else does */
    for (unsigned i = 0; i < 1000000; i++)
        dt_outb(&f->t, COM1, 'y');
    loop_step(f->loop, 10);
    assert_int_equal(chr_scrollback(f->chr, (uint8_t *)buf, sizeof(buf)), sizeof(buf));
    assert_memory_equal(buf, "yyyyyyyyyyyyyyyy", 16);
    close(b[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_registers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_transmit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_slow_reader, setup, teardown),
        cmocka_unit_test_setup_teardown(test_gone_reader, setup, teardown),
        cmocka_unit_test_setup_teardown(test_receive_fifo, setup, teardown),
        cmocka_unit_test_setup_teardown(test_loopback, setup, teardown),
        cmocka_unit_test_setup_teardown(test_clients, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
