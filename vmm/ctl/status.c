/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "vmm/base/clock.h"
#include "vmm/base/fd.h"
#include "vmm/ctl/qmp.h"
#include "vmm/ctl/sup.h"

#define MAX_REPORT 8192

void status_ready(int fd)
{
    if (fd >= 0)
        fd_write_all(fd, "\n", 1);
}

void status_error(int fd, const struct err *e)
{
    struct buf text = BUF_INIT;

    if (fd < 0)
        return;
    qmp_error(&text, e, NULL);
    buf_puts(&text, "\n");
    fd_write_all(fd, text.data, text.len);
    buf_free(&text);
}

/* What the text says, once it is complete. */
static bool judge(const struct buf *text, struct err *e)
{
    struct err parse = ERR_INIT;
    json_t *v;

    if (text->len == 0)
        return err_set(e, ERR_FAILED, "the process died at its start");
    if (text->data[0] != '{')
        return true;
    v = qmp_parse(text->data, text->len, &parse);
    if (v)
        qmp_read_error(json_object_get(v, "error"), e);
    else
        *e = parse;
    json_decref(v);
    return false;
}

bool status_wait(int fd, int timeout_ms, struct err *e)
{
    int64_t until = clock_now_ns() + timeout_ms * NS_PER_MS;
    struct buf text = BUF_INIT;
    bool complete = false, ok;

    while (!complete) {
        int64_t left = (until - clock_now_ns()) / NS_PER_MS;
        struct pollfd pfd = {.fd = fd, .events = POLLIN};
        char data[1024];

        if (left <= 0 || poll(&pfd, 1, (int)left) == 0)
            break;
        ssize_t n = read(fd, data, sizeof(data));
        if (n < 0 && errno == EINTR)
            continue;
        if (n > 0)
            buf_add(&text, data, (size_t)n);
        complete = n <= 0 || text.data[0] != '{' || text.data[text.len - 1] == '\n' || text.len > MAX_REPORT;
    }
    close(fd);
    ok = complete ? judge(&text, e)
                  : err_set(e, ERR_TIMEOUT, "no answer within %d s", timeout_ms / 1000);
    buf_free(&text);
    return ok;
}
