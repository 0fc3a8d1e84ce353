/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/ctl/relay.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include "vmm/base/alloc.h"
#include "vmm/base/fd.h"
#include "vmm/base/thread.h"

#define ESCAPE 0x1d /* Ctrl-] */

struct relay {
    int sock, stop_fd;
    bool tty, escaped;
    struct termios saved;
    void (*quit)(void *opaque);
    void *opaque;
    pthread_t in, out;
    bool in_started, out_started;
};

/* Takes the escapes out of what was typed; returns what is left of n. */
static size_t filter(struct relay *r, unsigned char *p, size_t n)
{
    size_t kept = 0;

    for (size_t i = 0; i < n; i++) {
        if (r->escaped) {
            r->escaped = false;
            if (p[i] == 'x' || p[i] == 'X')
                r->quit(r->opaque);
            else if (p[i] == ESCAPE)
                p[kept++] = ESCAPE;
        } else if (p[i] == ESCAPE) {
            r->escaped = true;
        } else {
            p[kept++] = p[i];
        }
    }
    return kept;
}

static void *copy_in(void *arg)
{
    struct relay *r = arg;
    unsigned char data[4096];

    for (;;) {
        struct pollfd pfd[] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = r->stop_fd, .events = POLLIN}};

        if (poll(pfd, 2, -1) < 0 && errno != EINTR)
            break;
        if (pfd[1].revents)
            return NULL;
        if (!pfd[0].revents)
            continue;
        ssize_t n = read(STDIN_FILENO, data, sizeof(data));
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n <= 0)
            break;
        size_t len = r->tty ? filter(r, data, (size_t)n) : (size_t)n;
        if (len > 0 && send(r->sock, data, len, MSG_NOSIGNAL) < 0)
            break;
    }
    shutdown(r->sock, SHUT_WR);
    return NULL;
}

static void *copy_out(void *arg)
{
    struct relay *r = arg;
    unsigned char data[65536];
    bool open = true;
    ssize_t n;

    while ((n = read(r->sock, data, sizeof(data))) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            break;
        if (open) /* a reader that went away does not stop the guest */
            open = fd_write_all(STDOUT_FILENO, data, (size_t)n);
    }
    return NULL;
}

static void set_raw(struct relay *r)
{
    struct termios t;

    r->tty = tcgetattr(STDIN_FILENO, &r->saved) == 0;
    if (!r->tty)
        return;
    t = r->saved;
    cfmakeraw(&t);
    tcsetattr(STDIN_FILENO, TCSADRAIN, &t);
}

struct relay *relay_start(int sock, void (*quit)(void *opaque), void *opaque, struct err *e)
{
    struct relay *r = X_NEW(struct relay);

    r->sock = sock;
    r->quit = quit;
    r->opaque = opaque;
    r->stop_fd = eventfd(0, EFD_CLOEXEC);
    if (r->stop_fd < 0) {
        err_errno(e, errno, "cannot read standard input");
        relay_end(r);
        return NULL;
    }
    set_raw(r);
    r->in_started = thread_start(&r->in, "stdin", copy_in, r, e);
    r->out_started = r->in_started && thread_start(&r->out, "stdout", copy_out, r, e);
    if (!r->out_started) {
        shutdown(sock, SHUT_RDWR);
        relay_end(r);
        return NULL;
    }
    return r;
}

void relay_end(struct relay *r)
{
    if (!r)
        return;
    if (r->out_started)
        pthread_join(r->out, NULL);
    if (r->in_started) {
        uint64_t one = 1;

        shutdown(r->sock, SHUT_RDWR); /* copy_in may be sending */
        if (write(r->stop_fd, &one, sizeof(one)) == sizeof(one))
            pthread_join(r->in, NULL);
    }
    if (r->tty)
        tcsetattr(STDIN_FILENO, TCSADRAIN, &r->saved);
    fd_close(&r->stop_fd);
    close(r->sock);
    x_free(r);
}
