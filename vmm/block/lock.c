/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Image locks: open file description locks on single bytes, in the layout that QEMU uses for its
 * own. Byte 100 + p is held (shared) for a permission p that is used, byte 200 + p for a permission
 * that others may not have. Before, the opposite bytes are tested: someone who holds 200 + p
 * forbids p, someone who holds 100 + p uses it. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "vmm/block/blk.h"

#define BYTE_PERM    100
#define BYTE_UNSHARE 200

enum perm { PERM_READ = 0, PERM_WRITE = 1, PERM_RESIZE = 3 };

static bool hold(int fd, int byte)
{
    struct flock fl = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};

    return fcntl(fd, F_OFD_SETLK, &fl) == 0;
}

static bool held_by_other(int fd, int byte)
{
    struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};

    return fcntl(fd, F_OFD_GETLK, &fl) == 0 && fl.l_type != F_UNLCK;
}

static void drop_all(int fd)
{
    struct flock fl = {.l_type = F_UNLCK, .l_whence = SEEK_SET, .l_start = BYTE_PERM, .l_len = 200};

    fcntl(fd, F_OFD_SETLK, &fl);
}

bool blk_lock(int fd, bool readonly, const char *path, struct err *e)
{
    static const enum perm writer[] = {PERM_READ, PERM_WRITE, PERM_RESIZE}, reader[] = {PERM_READ};
    static const enum perm exclusive[] = {PERM_WRITE, PERM_RESIZE};
    const enum perm *use = readonly ? reader : writer;
    unsigned count = readonly ? 1 : 3;
    bool busy = false;

    for (unsigned i = 0; i < count; i++)
        if (!hold(fd, BYTE_PERM + (int)use[i]))
            goto failed;
    for (unsigned i = 0; i < 2; i++)
        if (!hold(fd, BYTE_UNSHARE + (int)exclusive[i]))
            goto failed;
    for (unsigned i = 0; i < count; i++)
        busy |= held_by_other(fd, BYTE_UNSHARE + (int)use[i]);
    for (unsigned i = 0; i < 2; i++)
        busy |= held_by_other(fd, BYTE_PERM + (int)exclusive[i]);
    if (!busy)
        return true;
    drop_all(fd);
    err_set(e, ERR_BUSY, "image \"%s\" is in use by another VM or by an image tool", path);
    return err_hint(e, "stop the other user, or set readonly: true for this disk in both");
failed:
    if (errno == EINVAL || errno == EOPNOTSUPP || errno == ENOLCK)
        return true; /* no such locks on this file system; the folder's own lock remains */
    return err_errno(e, errno, "cannot lock image \"%s\"", path);
}
