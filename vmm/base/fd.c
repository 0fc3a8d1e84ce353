/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/base/alloc.h"

int fd_memfd(const char *name, uint64_t size, struct err *e)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0) {
        err_errno(e, errno, "cannot create shared memory \"%s\"", name);
        return -1;
    }
    if (ftruncate(fd, (off_t)size) < 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
        err_errno(e, errno, "cannot size shared memory \"%s\"", name);
        close(fd);
        return -1;
    }
    return fd;
}

bool fd_send(int sock, const void *data, size_t len, const int *fds, unsigned nfds, struct err *e)
{
    union {
        struct cmsghdr hdr;
        char space[CMSG_SPACE(sizeof(int) * FD_PASS_MAX)];
    } ctl;
    const char *p = data;

    while (len > 0) {
        struct iovec iov = {.iov_base = (void *)(uintptr_t)p, .iov_len = len};
        struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

        if (nfds > 0) {
            memset(&ctl, 0, sizeof(ctl));
            msg.msg_control = ctl.space;
            msg.msg_controllen = CMSG_SPACE(sizeof(int) * nfds);
            struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
            c->cmsg_level = SOL_SOCKET;
            c->cmsg_type = SCM_RIGHTS;
            c->cmsg_len = CMSG_LEN(sizeof(int) * nfds);
            memcpy(CMSG_DATA(c), fds, sizeof(int) * nfds);
        }
        ssize_t n = sendmsg(sock, &msg, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno == EINTR)
                continue;
            if (errno == EAGAIN) {
                struct pollfd pfd = {.fd = sock, .events = POLLOUT};
                poll(&pfd, 1, -1);
                continue;
            }
            return err_errno(e, errno, "cannot send on socket");
        }
        p += n;
        len -= (size_t)n;
        nfds = 0;
    }
    return true;
}

ssize_t fd_recv(int sock, void *data, size_t size, int fds[FD_PASS_MAX], unsigned *nfds)
{
    union {
        struct cmsghdr hdr;
        char space[CMSG_SPACE(sizeof(int) * FD_PASS_MAX)];
    } ctl;
    struct iovec iov = {.iov_base = data, .iov_len = size};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = ctl.space,
                         .msg_controllen = sizeof(ctl.space)};
    ssize_t n;

    *nfds = 0;
    do
        n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -1;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        unsigned count = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        const unsigned char *src = CMSG_DATA(c);
        for (unsigned i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, src + i * sizeof(int), sizeof(int));
            if (*nfds < FD_PASS_MAX)
                fds[(*nfds)++] = fd;
            else
                close(fd);
        }
    }
    return n;
}

bool fd_write_all(int fd, const void *data, size_t len)
{
    const char *p = data;

    while (len > 0) {
        ssize_t n = write(fd, p, len);
        if (n < 0) {
            if (errno == EINTR)
                continue;
            if (errno == EAGAIN) {
                struct pollfd pfd = {.fd = fd, .events = POLLOUT};
                poll(&pfd, 1, -1);
                continue;
            }
            return false;
        }
        p += n;
        len -= (size_t)n;
    }
    return true;
}

char *fd_read_file(int dirfd, const char *path, size_t max, size_t *len, struct err *e)
{
    struct stat st;
    char *data = NULL;
    size_t n = 0, cap = 0;
    int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);

    if (fd < 0) {
        err_errno(e, errno, "cannot read \"%s\"", path);
        return NULL;
    }
    if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) {
        err_errno(e, EISDIR, "cannot read \"%s\"", path);
        close(fd);
        return NULL;
    }
    for (;;) {
        if (n == cap) {
            cap = cap ? cap * 2 : 4096;
            char *grown = try_realloc(data, cap + 1);
            if (!grown) {
                err_set(e, ERR_NOMEM, "cannot read \"%s\": out of memory", path);
                goto fail;
            }
            data = grown;
        }
        ssize_t got = read(fd, data + n, cap - n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            err_errno(e, errno, "cannot read \"%s\"", path);
            goto fail;
        }
        if (got == 0)
            break;
        n += (size_t)got;
        if (n > max) {
            err_set(e, ERR_LIMIT, "cannot read \"%s\": larger than %zu bytes", path, max);
            goto fail;
        }
    }
    close(fd);
    data[n] = '\0';
    if (len)
        *len = n;
    return data;
fail:
    x_free(data);
    close(fd);
    return NULL;
}

bool fd_write_file_atomic(const char *path, const void *data, size_t len, mode_t mode, struct err *e)
{
    char *tmp = x_asprintf("%s.tmp.%d", path, (int)getpid());
    char *dir = x_strdup(path);
    char *slash = strrchr(dir, '/');
    int fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    bool ok = false;

    if (fd < 0) {
        err_errno(e, errno, "cannot write \"%s\"", tmp);
        goto out;
    }
    if (!fd_write_all(fd, data, len) || fsync(fd) < 0 || rename(tmp, path) < 0) {
        err_errno(e, errno, "cannot write \"%s\"", path);
        unlink(tmp);
        goto out;
    }
    if (slash == dir)
        slash++;
    if (slash)
        *slash = '\0';
    int dfd = open(slash ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dfd >= 0) {
        fsync(dfd);
        close(dfd);
    }
    ok = true;
out:
    if (fd >= 0)
        close(fd);
    x_free(tmp);
    x_free(dir);
    return ok;
}

bool fd_set_nonblock(int fd, bool on)
{
    int fl = fcntl(fd, F_GETFL);

    return fl >= 0 && fcntl(fd, F_SETFL, on ? fl | O_NONBLOCK : fl & ~O_NONBLOCK) == 0;
}

bool fd_set_cloexec(int fd, bool on)
{
    return fcntl(fd, F_SETFD, on ? FD_CLOEXEC : 0) == 0;
}

void fd_close(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}
