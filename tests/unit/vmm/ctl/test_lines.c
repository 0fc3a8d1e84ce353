/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Framing: split and joined lines, limits in both directions, descriptors, freeing inside callbacks. */
#include "tests/lib/test.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/base/alloc.h"
#include "vmm/base/buf.h"
#include "vmm/base/fd.h"
#include "vmm/ctl/lines.h"

struct end {
    struct loop *loop;
    struct lines *lines;
    int peer;
    struct buf got; /* lines, each followed by '|' */
    unsigned fds, closed;
    char why[64];
    bool free_on_line;
};

static void on_line(void *opaque, const char *text, size_t len, int fd)
{
    struct end *t = opaque;

    assert_int_equal(strlen(text), len);
    buf_add(&t->got, text, len);
    buf_puts(&t->got, "|");
    if (fd >= 0) {
        t->fds++;
        close(fd);
    }
    if (t->free_on_line) {
        lines_free(t->lines);
        t->lines = NULL;
    }
}

static void on_closed(void *opaque, const char *why)
{
    struct end *t = opaque;

    t->closed++;
    str_copy(t->why, sizeof(t->why), why ? why : "end");
    lines_free(t->lines);
    t->lines = NULL;
}

static const struct lines_ops ops = {on_line, on_closed};

static int setup(void **state)
{
    struct err e = ERR_INIT;
    struct end *t = X_NEW(struct end);
    int pair[2];

    t->loop = loop_new(&e);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    t->peer = pair[1];
    fd_set_nonblock(t->peer, true);
    t->lines = lines_new(t->loop, pair[0], &ops, t);
    assert_non_null(t->lines);
    *state = t;
    return 0;
}

static int teardown(void **state)
{
    struct end *t = *state;

    lines_free(t->lines);
    fd_close(&t->peer);
    loop_free(t->loop);
    buf_free(&t->got);
    x_free(t);
    return 0;
}

static void turn(struct end *t)
{
    for (unsigned i = 0; i < 200; i++)
        loop_step(t->loop, 0);
}

static void feed(struct end *t, const char *text)
{
    assert_int_equal(write(t->peer, text, strlen(text)), strlen(text));
    turn(t);
}

static void splits_and_joins(void **state)
{
    struct end *t = *state;

    feed(t, "one");
    assert_string_equal(buf_str(&t->got), "");
    feed(t, "\ntwo\r\n\n\r\nthr");
    assert_string_equal(buf_str(&t->got), "one|two|");
    feed(t, "ee\n");
    assert_string_equal(buf_str(&t->got), "one|two|three|");
    fd_close(&t->peer);
    turn(t);
    assert_int_equal(t->closed, 1);
    assert_string_equal(t->why, "end");
}

static void a_last_line_without_end_is_none(void **state)
{
    struct end *t = *state;

    feed(t, "whole\nhalf");
    fd_close(&t->peer);
    turn(t);
    assert_string_equal(buf_str(&t->got), "whole|");
    assert_int_equal(t->closed, 1);
}

static void nul_closes(void **state)
{
    struct end *t = *state;

    assert_int_equal(write(t->peer, "a\0b\n", 4), 4);
    turn(t);
    assert_int_equal(t->closed, 1);
    assert_string_equal(t->why, "a NUL byte in a line");
    assert_string_equal(buf_str(&t->got), "");
}

/* Writes while the loop reads; stops when the connection closes. */
static size_t pour(struct end *t, size_t n, char c)
{
    char block[4096];
    size_t sent = 0;

    memset(block, c, sizeof(block));
    while (sent < n && !t->closed) {
        size_t len = n - sent < sizeof(block) ? n - sent : sizeof(block);
        ssize_t rc = send(t->peer, block, len, MSG_NOSIGNAL);
        if (rc > 0)
            sent += (size_t)rc;
        else
            loop_step(t->loop, 0);
    }
    turn(t);
    return sent;
}

static void line_length_is_bounded(void **state)
{
    struct end *t = *state;

    pour(t, LINES_MAX_LINE, 'x'); /* the longest line there is */
    feed(t, "\n");
    assert_int_equal(t->got.len, LINES_MAX_LINE + 1);
    assert_int_equal(t->closed, 0);
    pour(t, LINES_MAX_LINE + 200000, 'y');
    assert_int_equal(t->closed, 1);
    assert_string_equal(t->why, "a line is longer than 1 MiB");
}

static void queue_is_bounded(void **state)
{
    struct end *t = *state;
    char text[1000];

    memset(text, 'z', sizeof(text));
    for (unsigned i = 0; i < 10000 && !t->closed; i++) {
        lines_send(t->lines, text, sizeof(text), -1);
        assert_true(lines_queued(t->lines) <= LINES_MAX_QUEUE);
    }
    assert_int_equal(t->closed, 0); /* never from inside lines_send */
    turn(t);
    assert_int_equal(t->closed, 1);
    assert_string_equal(t->why, "the peer reads too slowly");
}

static void output_arrives_whole(void **state)
{
    struct end *t = *state;
    size_t total = 0;
    char data[8192];

    for (unsigned i = 0; i < 1000; i++)
        lines_send(t->lines, "0123456789", 10, -1);
    while (total < 11000) {
        loop_step(t->loop, 0);
        ssize_t n = read(t->peer, data, sizeof(data));
        for (ssize_t i = 0; i < n; i++)
            assert_int_equal(data[i], "0123456789\n"[(total + (size_t)i) % 11]);
        if (n > 0)
            total += (size_t)n;
    }
    assert_int_equal(lines_queued(t->lines), 0);
}

static void descriptors_go_with_their_lines(void **state)
{
    struct end *t = *state;
    struct err e = ERR_INIT;
    int fds[FD_PASS_MAX], null_fd = open("/dev/null", O_RDONLY);
    unsigned nfds, got = 0;
    char data[64];

    /* in: one a line, the rest closed */
    assert_ok(fd_send(t->peer, "with\n", 5, (int[]){null_fd, null_fd, null_fd}, 3, &e));
    feed(t, "without\n");
    assert_string_equal(buf_str(&t->got), "with|without|");
    assert_int_equal(t->fds, 1);

    /* out: each with the first byte of its own line */
    lines_send(t->lines, "a", 1, -1);
    lines_send(t->lines, "b", 1, dup(null_fd));
    lines_send(t->lines, "c", 1, dup(null_fd));
    for (unsigned i = 0; i < 3; i++) {
        turn(t);
        ssize_t n = fd_recv(t->peer, data, 2, fds, &nfds);
        assert_int_equal(n, 2);
        assert_int_equal(nfds, i > 0);
        for (unsigned k = 0; k < nfds; k++, got++)
            close(fds[k]);
    }
    assert_int_equal(got, 2);
    close(null_fd);
}

static void may_be_freed_inside_a_callback(void **state)
{
    struct end *t = *state;

    t->free_on_line = true;
    feed(t, "one\ntwo\nthree\n");
    assert_string_equal(buf_str(&t->got), "one|");
    assert_int_equal(t->closed, 0);
}

static void pause_holds_lines_back(void **state)
{
    struct end *t = *state;

    lines_pause(t->lines, true);
    feed(t, "one\ntwo\n");
    assert_string_equal(buf_str(&t->got), "");
    lines_pause(t->lines, false);
    turn(t);
    assert_string_equal(buf_str(&t->got), "one|two|");
}

static void drain_delivers_last_words(void **state)
{
    struct end *t = *state;

    assert_int_equal(write(t->peer, "last\n", 5), 5);
    fd_close(&t->peer);
    lines_drain(t->lines);
    assert_string_equal(buf_str(&t->got), "last|");
    assert_int_equal(t->closed, 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(splits_and_joins), T(a_last_line_without_end_is_none), T(nul_closes), T(line_length_is_bounded),
        T(queue_is_bounded), T(output_arrives_whole), T(descriptors_go_with_their_lines),
        T(may_be_freed_inside_a_callback), T(pause_holds_lines_back), T(drain_delivers_last_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
