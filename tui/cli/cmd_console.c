/* SPDX-License-Identifier: GPL-2.0-or-later */
/* console, logs */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "tui/cli/cli.h"
#include "tui/client/client.h"
#include "tui/screens/tui.h"
#include "vmm/base/alloc.h"
#include "vmm/base/fd.h"
#include "vmm/ctl/paths.h"

#define ESCAPE 0x1d /* Ctrl-] */

const struct cli_opt opts_console[] = {
    {"serial", 0, NULL, "The serial port (the default)."},
    {"port", 0, "N", "Which one: 1 for COM1, 2 for COM2."},
    {"screen", 0, NULL, "The text screen and the keyboard instead."},
    {0},
};
const struct cli_opt opts_logs[] = {
    {"serial", 0, NULL, "What the guest wrote to COM1."},
    {"firmware", 0, NULL, "What the firmware wrote to its debug port."},
    {"follow", 'f', NULL, "Go on with what is added."},
    {"lines", 'n', "N", "Only the last N lines."},
    {0},
};

/* ---- console ---- */

struct console {
    int sock;
    bool tty, escaped, leave;
};

static size_t filter(struct console *c, unsigned char *p, size_t n)
{
    size_t kept = 0;

    for (size_t i = 0; i < n && !c->leave; i++) {
        if (c->escaped) {
            c->escaped = false;
            if (p[i] == 'q' || p[i] == 'Q' || p[i] == '.')
                c->leave = true;
            else if (p[i] == ESCAPE)
                p[kept++] = ESCAPE;
        } else if (p[i] == ESCAPE) {
            c->escaped = true;
        } else {
            p[kept++] = p[i];
        }
    }
    return kept;
}

/* False at the end of input. */
static bool copy_in(struct console *c)
{
    unsigned char data[4096];
    ssize_t n = read(STDIN_FILENO, data, sizeof(data));

    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return true;
    if (n <= 0) {
        shutdown(c->sock, SHUT_WR);
        return false;
    }
    size_t len = c->tty ? filter(c, data, (size_t)n) : (size_t)n;
    if (len > 0 && !fd_write_all(c->sock, data, len))
        return false;
    return true;
}

/* False when the VM has ended or nobody reads. */
static bool copy_out(struct console *c)
{
    unsigned char data[65536];
    ssize_t n = read(c->sock, data, sizeof(data));

    if (n < 0 && errno == EINTR)
        return true;
    return n > 0 && fd_write_all(STDOUT_FILENO, data, (size_t)n);
}

static void copy(struct console *c)
{
    bool in = true;

    while (!c->leave) {
        struct pollfd pfd[] = {{.fd = c->sock, .events = POLLIN}, {.fd = in ? STDIN_FILENO : -1, .events = POLLIN}};

        if (poll(pfd, 2, -1) < 0 && errno != EINTR)
            return;
        if (pfd[0].revents && !copy_out(c))
            return;
        if (pfd[1].revents)
            in = copy_in(c);
    }
}

/* A VM that does not run is said so before the terminal changes. */
static int console_screen(const char *name, struct err *e)
{
    struct client *c = client_connect(name, e);

    if (c) {
        client_close(c);
        tui_console(name, e); /* returns only on failure */
    }
    return 1;
}

int cmd_console(const struct cli_args *a, struct err *e)
{
    struct console c = {.tty = isatty(STDIN_FILENO)};
    struct termios saved, raw;
    long port = 1;

    if (cli_flag(a, "screen") && (cli_flag(a, "serial") || cli_value(a, "port"))) {
        err_set(e, ERR_USAGE, "--screen and a serial port exclude each other");
        return 1;
    }
    if (cli_flag(a, "screen"))
        return console_screen(a->words[0], e);
    if (!cli_number(a, "port", 1, 2, &port, e))
        return 1;
    c.sock = client_serial(a->words[0], (unsigned)port - 1, e);
    if (c.sock < 0)
        return 1;
    c.tty = c.tty && tcgetattr(STDIN_FILENO, &saved) == 0;
    if (c.tty) {
        fprintf(stderr, "Serial port %ld of \"%s\". Ctrl-] q leaves.\n", port, a->words[0]);
        raw = saved;
        cfmakeraw(&raw);
        tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
    }
    copy(&c);
    if (c.tty) {
        tcsetattr(STDIN_FILENO, TCSADRAIN, &saved);
        fprintf(stderr, "\n%s\n", c.leave ? "Left the console; the VM goes on." : "The VM has ended.");
    }
    close(c.sock);
    return 0;
}

/* ---- logs ---- */

/* What a guest wrote must not drive the terminal. */
static void put(unsigned char *p, size_t n)
{
    if (isatty(STDOUT_FILENO))
        for (size_t i = 0; i < n; i++)
            if ((p[i] < 0x20 && !strchr("\n\r\t", p[i])) || p[i] == 0x7f)
                p[i] = '.';
    fwrite(p, 1, n, stdout);
    fflush(stdout);
}

/* Where the last `lines` lines begin. */
static off_t tail_offset(int fd, long lines)
{
    off_t at = lseek(fd, 0, SEEK_END), end = at;
    char block[4096];

    while (at > 0) {
        off_t from = at > (off_t)sizeof(block) ? at - (off_t)sizeof(block) : 0;
        ssize_t n = pread(fd, block, (size_t)(at - from), from);

        for (ssize_t i = n; i-- > 0;)
            if (block[i] == '\n' && from + i + 1 < end && lines-- == 0)
                return from + i + 1;
        at = from;
    }
    return lines == 0 ? end : 0;
}

static void copy_rest(int fd, off_t *at)
{
    unsigned char data[16384];
    struct stat st;
    ssize_t n;

    if (fstat(fd, &st) == 0 && st.st_size < *at)
        *at = 0; /* it started anew */
    while ((n = pread(fd, data, sizeof(data), *at)) > 0) {
        put(data, (size_t)n);
        *at += n;
    }
}

int cmd_logs(const struct cli_args *a, struct err *e)
{
    const char *file = cli_flag(a, "serial") ? PATH_SERIAL : cli_flag(a, "firmware") ? PATH_FIRMWARE : PATH_LOG;
    char *dir = client_vm_dir(a->words[0], e), *path = dir ? x_asprintf("%s/%s", dir, file) : NULL;
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1, watch = -1;
    char events[4096];
    long lines = -1;
    off_t at = 0;

    if (path && fd < 0) {
        err_errno(e, errno, "cannot read \"%s\"", path);
        if (e->code == ERR_NOENT)
            err_set(e, ERR_NOENT, "\"%s\" has not run yet: there is no such log", a->words[0]);
    }
    if (fd >= 0 && cli_number(a, "lines", 0, 1000000, &lines, e)) {
        if (lines >= 0)
            at = tail_offset(fd, lines);
        if (cli_flag(a, "follow")) {
            watch = inotify_init1(IN_CLOEXEC);
            if (watch < 0 || inotify_add_watch(watch, path, IN_MODIFY) < 0)
                err_errno(e, errno, "cannot follow \"%s\"", path);
        }
        do
            copy_rest(fd, &at);
        while (watch >= 0 && e->code == ERR_NONE && read(watch, events, sizeof(events)) > 0);
    }
    fd_close(&watch);
    fd_close(&fd);
    x_free(path);
    x_free(dir);
    return 0;
}
