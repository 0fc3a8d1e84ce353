/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a client of the control socket may send: framing in pieces of any size, parsing, argument checks. Whatever
 * passes is printed and parsed again to the same text. */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/base/bits.h"
#include "vmm/base/fd.h"
#include "vmm/ctl/lines.h"
#include "vmm/ctl/qmp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const specs[] = {
#define SUP_CMD(name, cname, args, help) args,
#define VM_CMD(name, cname, args, help)  args,
#include "vmm/ctl/cmds.def"
#undef SUP_CMD
#undef VM_CMD
};

struct peer {
    struct lines *lines;
    size_t taken;
};

static void line(void *opaque, const char *text, size_t len, int fd)
{
    struct peer *p = opaque;
    struct err e = ERR_INIT;
    json_t *v = qmp_parse(text, len, &e), *again;
    struct buf one = BUF_INIT, two = BUF_INIT;

    if (fd >= 0 || strlen(text) != len || (!v && e.code == ERR_NONE))
        abort();
    p->taken += len;
    if (v) {
        for (unsigned i = 0; i < ARRAY_LEN(specs); i++)
            (void)!qmp_check_args(json_object_get(v, "arguments"), specs[i], &e);
        qmp_read_error(v, &e);
        qmp_print(v, &one);
        again = qmp_parse(one.data, one.len, &e);
        if (!again)
            abort();
        qmp_print(again, &two);
        if (strcmp(one.data, two.data))
            abort();
        json_decref(again);
    }
    qmp_error(&one, &e, v ? json_object_get(v, "id") : NULL);
    lines_send(p->lines, one.data, one.len, -1);
    buf_free(&one);
    buf_free(&two);
    json_decref(v);
}

static void closed(void *opaque, const char *why)
{
    struct peer *p = opaque;

    (void)why;
    lines_free(p->lines);
    p->lines = NULL;
}

/* The first byte of each piece says how long it is. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct lines_ops ops = {line, closed};
    static struct loop *loop;
    struct err e = ERR_INIT;
    struct peer p = {0};
    char sink[4096];
    int pair[2];

    if (!loop)
        loop = loop_new(&e);
    if (!loop || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return 0;
    fd_set_nonblock(pair[1], true);
    p.lines = lines_new(loop, pair[0], &ops, &p);
    for (size_t at = 0; at < size && p.lines;) {
        size_t n = MIN((size_t)data[at] + 1, size - at - 1);

        at++;
        if (n > 0 && send(pair[1], data + at, n, MSG_NOSIGNAL) < 0)
            break;
        at += n;
        loop_step(loop, 0);
        while (read(pair[1], sink, sizeof(sink)) > 0)
            ;
    }
    close(pair[1]);
    for (unsigned i = 0; p.lines && i < 1000; i++)
        loop_step(loop, 0);
    if (p.lines || p.taken > size)
        abort();
    loop_step(loop, 0); /* closes what was unwatched */
    return 0;
}
