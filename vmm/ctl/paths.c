/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/ctl/paths.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "vmm/base/alloc.h"
#include "vmm/base/buf.h"

bool path_make(const char *path, struct err *e)
{
    char *p = x_strdup(path);
    bool ok = true;

    for (char *s = p + 1; ok; s++) {
        char c = *s;

        if (c != '/' && c != '\0')
            continue;
        *s = '\0';
        if (mkdir(p, 0700) < 0 && errno != EEXIST)
            ok = err_errno(e, errno, "cannot make folder \"%s\"", p);
        *s = c;
        if (c == '\0')
            break;
    }
    x_free(p);
    return ok;
}

/* $name when it is an absolute path, else ~/fallback. */
static char *base_dir(const char *name, const char *fallback, struct err *e)
{
    const char *value = getenv(name), *home = getenv("HOME");

    if (value && value[0] == '/')
        return x_strdup(value);
    if (!home || home[0] != '/') {
        struct passwd *pw = getpwuid(getuid());
        home = pw ? pw->pw_dir : NULL;
    }
    if (!home || home[0] != '/') {
        err_set(e, ERR_FAILED, "cannot find the home folder");
        err_hint(e, "set HOME, or %s", name);
        return NULL;
    }
    return x_asprintf("%s/%s", home, fallback);
}

static char *made(char *base, const char *below, struct err *e)
{
    if (!base)
        return NULL;
    char *path = x_asprintf("%s/%s", base, below);
    x_free(base);
    if (!path_make(path, e)) {
        x_free(path);
        return NULL;
    }
    return path;
}

char *path_vms_dir(struct err *e)
{
    return made(base_dir("XDG_DATA_HOME", ".local/share", e), "vmdeck/vms", e);
}

/* Ours alone, as the XDG specification demands. */
static bool is_private(const char *dir)
{
    struct stat st;

    return dir && dir[0] == '/' && stat(dir, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid() &&
           (st.st_mode & 0077) == 0;
}

char *path_run_root(struct err *e)
{
    const char *run = getenv("XDG_RUNTIME_DIR");

    if (is_private(run))
        return made(x_strdup(run), "vmdeck", e);
    return made(base_dir("XDG_STATE_HOME", ".local/state", e), "vmdeck/run", e);
}

char *path_run_dir(const char *name, struct err *e)
{
    char *root = path_run_root(e);

    if (!root)
        return NULL;
    char *path = x_asprintf("%s/%s", root, name);
    x_free(root);
    return path;
}

static bool remove_below(int dirfd, const char *name)
{
    int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *d;
    bool ok = true;

    if (!dir)
        return false;
    while (ok && (d = readdir(dir))) {
        if (!strcmp(d->d_name, ".") || !strcmp(d->d_name, ".."))
            continue;
        if (unlinkat(fd, d->d_name, 0) == 0)
            continue;
        ok = (errno == EISDIR || errno == EPERM) && remove_below(fd, d->d_name);
    }
    int saved = errno;
    closedir(dir);
    if (ok && unlinkat(dirfd, name, AT_REMOVEDIR) < 0)
        return false;
    errno = saved;
    return ok;
}

bool path_remove_tree(const char *path, struct err *e)
{
    return remove_below(AT_FDCWD, path) || err_errno(e, errno, "cannot remove \"%s\"", path);
}

/* Through /proc/self/fd, since sun_path holds only 107 bytes. */
static bool socket_address(int dirfd, const char *name, struct sockaddr_un *sa)
{
    memset(sa, 0, sizeof(*sa));
    sa->sun_family = AF_UNIX;
    return (size_t)snprintf(sa->sun_path, sizeof(sa->sun_path), "/proc/self/fd/%d/%s", dirfd, name) <
           sizeof(sa->sun_path);
}

static int with_socket(const char *dir, const char *name, bool server, struct err *e)
{
    const char *what = server ? "listen on" : "connect to";
    struct sockaddr_un sa;
    int dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = dirfd >= 0 && s >= 0;

    if (ok && !socket_address(dirfd, name, &sa)) {
        errno = ENAMETOOLONG;
        ok = false;
    }
    if (ok && server) {
        unlinkat(dirfd, name, 0);
        mode_t mask = umask(0177);
        ok = bind(s, (struct sockaddr *)&sa, sizeof(sa)) == 0 && listen(s, 32) == 0;
        umask(mask);
    } else if (ok) {
        ok = connect(s, (struct sockaddr *)&sa, sizeof(sa)) == 0;
    }
    if (!ok)
        err_errno(e, errno, "cannot %s \"%s/%s\"", what, dir, name);
    if (dirfd >= 0)
        close(dirfd);
    if (ok)
        return s;
    if (s >= 0)
        close(s);
    return -1;
}

int path_listen(const char *dir, const char *name, struct err *e)
{
    return with_socket(dir, name, true, e);
}

int path_connect(const char *dir, const char *name, struct err *e)
{
    return with_socket(dir, name, false, e);
}
