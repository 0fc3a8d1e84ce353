/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Everything that a VM needs from the host, opened in one place, so that what is missing, locked, forbidden or in use
 * is one error before anything has started. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "vmm/base/alloc.h"
#include "vmm/base/bits.h"
#include "vmm/base/fd.h"
#include "vmm/base/log.h"
#include "vmm/block/blk.h"
#include "vmm/ctl/paths.h"
#include "vmm/ctl/sup_priv.h"

#define VNC_FIRST_PORT 5900
#define VNC_LAST_PORT  5999

static const char *const firmware_dirs[] = {"/usr/share/seabios", "/usr/share/qemu",
                                            "/usr/lib/seabios", VMDECK_DATADIR "/firmware"};

/* ---- memory and accelerator ---- */

/* Bytes that programs can still get, 0 when unknown. */
static uint64_t available_memory(void)
{
    struct err e = ERR_INIT;
    size_t len;
    char *text = fd_read_file(AT_FDCWD, "/proc/meminfo", 65536, &len, &e);
    static const char *const keys[] = {"MemAvailable:", "SwapFree:"};
    uint64_t sum = 0;

    for (unsigned i = 0; text && i < ARRAY_LEN(keys); i++) {
        const char *p = strstr(text, keys[i]);
        if (p)
            sum += strtoull(p + strlen(keys[i]), NULL, 10) * KIB;
    }
    x_free(text);
    return sum;
}

static bool check_memory(const struct sup *s, struct err *e)
{
    uint64_t have = available_memory();
    struct buf want_text = BUF_INIT, have_text = BUF_INIT;

    if (have == 0 || s->cfg.memory <= have)
        return true;
    conf_format_size(s->cfg.memory, &want_text);
    conf_format_size(ALIGN_DOWN(have, MIB), &have_text);
    err_set(e, ERR_NOMEM, "memory: %s wanted, %s available on this host", buf_str(&want_text),
            buf_str(&have_text));
    err_hint(e, "lower memory, or stop other programs");
    buf_free(&want_text);
    buf_free(&have_text);
    return false;
}

static bool choose_accel(struct sup *s, struct err *e)
{
    struct accel_probe probe;

    s->accel = "software";
    if (s->cfg.accel == ACCEL_SOFTWARE || s->cfg.cpu_verify)
        return true;
    accel_probe_kvm(&probe);
    if (!probe.kvm_usable && s->cfg.accel == ACCEL_KVM) {
        err_set(e, probe.kvm_present ? ERR_PERM : ERR_UNSUPPORTED, "accel: kvm cannot be used: %s", probe.reason);
        err_hint(e, "%s%saccel: software needs nothing", probe.hint, probe.hint[0] ? "; " : "");
        return false;
    }
    if (s->cfg.accel == ACCEL_AUTO && !probe.kvm_fast) {
        snprintf(s->accel_note, sizeof(s->accel_note), "accel: software, since %s", probe.reason);
        return true;
    }
    s->files.kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (s->files.kvm < 0)
        return err_errno(e, errno, "cannot open /dev/kvm");
    s->accel = "kvm";
    return true;
}

/* ---- images, kernels, firmware ---- */

/* A regular file or a block device; what: "disk \"disk0\"". */
static int open_image(const struct sup *s, const char *what, const char *path, bool readonly, struct err *e)
{
    char *full = config_path(s->opts->dir, path);
    int fd = open(full, (readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOCTTY);
    struct stat st;

    if (fd < 0) {
        err_errno(e, errno, "%s: cannot open \"%s\"", what, full);
        if (e->code == ERR_NOENT && readonly) /* an empty one is of no use */
            err_hint(e, "correct the path");
        else if (e->code == ERR_NOENT)
            err_hint(e, "correct the path, or make the image: truncate -s 10G %s", full);
        else if (e->code == ERR_PERM && !readonly)
            err_hint(e, "change the file's owner or mode, or set readonly: true for it");
    } else if (fstat(fd, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)) {
        err_set(e, ERR_INVALID, "%s: \"%s\" is neither a file nor a block device", what, full);
        fd_close(&fd);
    } else if (!blk_lock(fd, readonly, full, e)) {
        err_wrap(e, "%s", what);
        fd_close(&fd);
    }
    x_free(full);
    return fd;
}

static bool open_images(struct sup *s, struct err *e)
{
    char what[64];

    for (unsigned i = 0; i < s->cfg.disk_count; i++) {
        const struct conf_disk *d = &s->cfg.disks[i];
        snprintf(what, sizeof(what), "disk \"%.32s\"", d->id);
        s->files.disks[i] = open_image(s, what, d->path, d->readonly, e);
        if (s->files.disks[i] < 0)
            return false;
    }
    for (unsigned i = 0; i < s->cfg.cdrom_count; i++) {
        const struct conf_cdrom *c = &s->cfg.cdroms[i];
        if (!c->path)
            continue;
        snprintf(what, sizeof(what), "cdrom \"%.32s\"", c->id);
        s->files.cdroms[i] = open_image(s, what, c->path, true, e);
        if (s->files.cdroms[i] < 0)
            return false;
    }
    return true;
}

static int open_plain(const struct sup *s, const char *what, const char *path, struct err *e)
{
    char *full = config_path(s->opts->dir, path);
    int fd = open(full, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    struct stat st;

    if (fd < 0) {
        err_errno(e, errno, "%s: cannot open \"%s\"", what, full);
        err_hint(e, "correct the path");
    } else if (fstat(fd, &st) == 0 && !S_ISREG(st.st_mode)) {
        err_set(e, ERR_INVALID, "%s: \"%s\" is not a file", what, full);
        fd_close(&fd);
    }
    x_free(full);
    return fd;
}

static bool open_boot_files(struct sup *s, struct err *e)
{
    const struct vm_config *c = &s->cfg;

    if (c->kernel && (s->files.kernel = open_plain(s, "kernel", c->kernel, e)) < 0)
        return false;
    if (c->initrd && (s->files.initrd = open_plain(s, "initrd", c->initrd, e)) < 0)
        return false;
    for (unsigned i = 0; i < c->module_count; i++) {
        /* "path args": the path ends at the first space */
        char *path = x_strndup(c->modules[i], strcspn(c->modules[i], " "));
        s->files.modules[i] = open_plain(s, "module", path, e);
        x_free(path);
        if (s->files.modules[i] < 0)
            return false;
    }
    return true;
}

static int open_firmware_file(const char *const names[], unsigned count)
{
    for (unsigned n = 0; n < count; n++)
        for (unsigned i = 0; i < ARRAY_LEN(firmware_dirs); i++) {
            char *path = x_asprintf("%s/%s", firmware_dirs[i], names[n]);
            int fd = open(path, O_RDONLY | O_CLOEXEC);
            x_free(path);
            if (fd >= 0)
                return fd;
        }
    return -1;
}

static bool open_firmware(struct sup *s, struct err *e)
{
    static const char *const bios[] = {"bios-256k.bin", "bios.bin"};
    static const char *const vga[] = {"vgabios-stdvga.bin"};

    s->files.bios = open_firmware_file(bios, ARRAY_LEN(bios));
    s->files.vgabios = open_firmware_file(vga, ARRAY_LEN(vga));
    if (s->cfg.kernel || (s->files.bios >= 0 && s->files.vgabios >= 0))
        return true;
    err_set(e, ERR_NOENT, "firmware: no SeaBIOS in %s", firmware_dirs[0]);
    return err_hint(e, "install it: sudo apt install seabios");
}

/* ---- serial ports ---- */

static int open_log(const struct sup *s, const char *name, int flags, struct err *e)
{
    char *path = x_asprintf("%s/%s", s->opts->dir, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | flags, 0600);

    if (fd < 0)
        err_errno(e, errno, "cannot open log \"%s\"", path);
    x_free(path);
    return fd;
}

static bool open_serial_file(struct sup *s, unsigned i, struct err *e)
{
    char *path = config_path(s->opts->dir, s->cfg.serial[i].path);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0600);

    if (fd < 0)
        err_errno(e, errno, "serial port %u: cannot open \"%s\"", i + 1, path);
    s->files.serial_out[i] = fd;
    x_free(path);
    return fd >= 0;
}

static void quit_posted(void *opaque)
{
    sup_quit(opaque);
}

/* The user typed the escape (thread of the relay). */
static void escaped(void *opaque)
{
    struct sup *s = opaque;

    loop_post(s->loop, quit_posted, s);
}

static bool open_stdio(struct sup *s, unsigned i, struct err *e)
{
    int pair[2];

    if (!s->opts->foreground || s->relay) {
        err_set(e, ERR_INVALID, "serial port %u: mode stdio needs a terminal of its own", i + 1);
        return err_hint(e, "use mode console, or run the VM in the foreground: vmdeck run %s", s->opts->name);
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return err_errno(e, errno, "cannot make a socket pair");
    s->relay = relay_start(pair[0], escaped, s, e);
    if (!s->relay) {
        close(pair[1]);
        return false;
    }
    s->files.serial_in[i] = pair[1];
    s->files.serial_out[i] = fcntl(pair[1], F_DUPFD_CLOEXEC, 0);
    return s->files.serial_out[i] >= 0 || err_errno(e, errno, "cannot duplicate a descriptor");
}

static bool open_serial(struct sup *s, struct err *e)
{
    for (unsigned i = 0; i < 2; i++) {
        if (s->cfg.serial[i].mode == SERIAL_FILE && !open_serial_file(s, i, e))
            return false;
        if (s->cfg.serial[i].mode == SERIAL_STDIO && !open_stdio(s, i, e))
            return false;
    }
    if (s->opts->ephemeral)
        return true;
    s->serial_log = open_log(s, PATH_SERIAL, O_APPEND, e);
    s->files.debugcon = open_log(s, PATH_FIRMWARE, O_TRUNC, e);
    return s->serial_log >= 0 && s->files.debugcon >= 0;
}

/* ---- VNC ---- */

static bool make_password(struct sup *s, const char *path, struct err *e)
{
    static const char letters[] = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";
    uint8_t random[256];
    unsigned n = 0;

    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
        return err_errno(e, errno, "cannot get random bytes");
    for (unsigned i = 0; i < sizeof(random) && n < 8; i++)
        if (random[i] < 256 / (sizeof(letters) - 1) * (sizeof(letters) - 1)) /* no bias */
            s->vnc_password[n++] = letters[random[i] % (sizeof(letters) - 1)];
    s->vnc_password[n] = '\0';
    char *text = x_asprintf("%s\n", s->vnc_password);
    bool ok = fd_write_file_atomic(path, text, strlen(text), 0600, e);
    x_free(text);
    return ok;
}

static bool open_password(struct sup *s, struct err *e)
{
    struct err missing = ERR_INIT;
    size_t len;

    s->vnc_password_file = config_path(s->opts->dir, s->cfg.vnc.password_file ? s->cfg.vnc.password_file : "vnc.pass");
    char *text = fd_read_file(AT_FDCWD, s->vnc_password_file, 4096, &len, &missing);
    if (!text && missing.code == ERR_NOENT)
        return make_password(s, s->vnc_password_file, e);
    if (!text) {
        *e = missing;
        return err_wrap(e, "VNC password");
    }
    text[strcspn(text, "\r\n")] = '\0';
    str_copy(s->vnc_password, sizeof(s->vnc_password), text);
    x_free(text);
    if (s->vnc_password[0])
        return true;
    err_set(e, ERR_INVALID, "VNC password: \"%s\" is empty", s->vnc_password_file);
    return err_hint(e, "write a password into it, or remove it for a random one");
}

/* -1 with errno. */
static int listen_tcp(struct in_addr host, uint16_t port)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr = host, .sin_port = htons(port)};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0 && listen(fd, 32) == 0)
        return fd;
    int errnum = errno;
    close(fd);
    errno = errnum;
    return -1;
}

static bool open_vnc_tcp(struct sup *s, struct err *e)
{
    const struct conf_vnc *v = &s->cfg.vnc;
    const char *host = v->listen ? v->listen : "127.0.0.1";
    uint16_t first = v->port ? v->port : VNC_FIRST_PORT, last = v->port ? v->port : VNC_LAST_PORT;
    struct in_addr addr;

    if (inet_pton(AF_INET, host, &addr) != 1)
        return err_set(e, ERR_INVALID, "VNC: \"%s\" is not an IPv4 address", host);
    for (uint32_t port = first; port <= last; port++) {
        s->vnc_tcp = listen_tcp(addr, (uint16_t)port);
        s->vnc_port = (uint16_t)port;
        if (s->vnc_tcp >= 0)
            return true;
        if (errno != EADDRINUSE)
            break;
    }
    err_errno(e, errno, "VNC: cannot listen on %s:%u", host, s->vnc_port);
    if (e->code == ERR_BUSY)
        err_hint(e, "choose another port, or auto");
    return false;
}

static bool open_vnc_unix(struct sup *s, struct err *e)
{
    const char *path = s->cfg.vnc.socket_path;
    char *full = path ? config_path(s->opts->dir, path) : x_asprintf("%s/%s", s->opts->run_dir, PATH_VNC);
    char *slash = strrchr(full, '/');
    struct stat st;

    *slash = '\0';
    const char *dir = slash == full ? "/" : full, *name = slash + 1;
    char *shown = x_asprintf("%s/%s", slash == full ? "" : full, name);
    if (lstat(shown, &st) == 0) {
        struct err ignored = ERR_INIT;
        int fd = S_ISSOCK(st.st_mode) ? path_connect(dir, name, &ignored) : -1;
        bool used = fd >= 0 || !S_ISSOCK(st.st_mode);

        fd_close(&fd);
        if (used) {
            err_set(e, ERR_BUSY, "VNC: \"%s\" is in use", shown);
            err_hint(e, "choose another path");
            goto out; /* somebody else's */
        }
    }
    s->vnc_unix = path_listen(dir, name, e);
    if (s->vnc_unix < 0) {
        err_wrap(e, "VNC");
        goto out;
    }
    s->vnc_socket = shown;
    shown = NULL;
out:
    x_free(shown);
    x_free(full);
    return s->vnc_unix >= 0;
}

static bool open_vnc(struct sup *s, struct err *e)
{
    int pair[2];

    if (!s->cfg.vnc.enabled)
        return true;
    if (s->cfg.vnc.tcp && !open_vnc_tcp(s, e))
        return false;
    if (s->cfg.vnc.socket && !open_vnc_unix(s, e))
        return false;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return err_errno(e, errno, "cannot make a socket pair");
    s->input_vm = pair[0];
    s->input_vnc = pair[1];
    return open_password(s, e);
}

/* ---- all ---- */

static bool open_surface(struct sup *s, struct err *e)
{
    char path[40];

    s->surface = surface_new(e);
    if (!s->surface)
        return false;
    /* a description of its own, so that readers cannot write */
    snprintf(path, sizeof(path), "/proc/self/fd/%d", surface_fd(s->surface));
    s->surface_ro = open(path, O_RDONLY | O_CLOEXEC);
    return s->surface_ro >= 0 || err_errno(e, errno, "cannot open the display surface");
}

static bool open_networks(struct sup *s, struct err *e)
{
    for (unsigned i = 0; i < s->cfg.network_count; i++) {
        int pair[2];

        if (s->cfg.networks[i].mode != NET_USER)
            continue;
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
            return err_errno(e, errno, "cannot make a socket pair");
        s->net_vm[i] = pair[0];
        s->net_net[i] = pair[1];
    }
    return true;
}

static bool open_config(struct sup *s, struct err *e)
{
    struct buf text = BUF_INIT;

    config_emit(&s->cfg, &text);
    s->config_fd = fd_memfd("vmdeck-config", text.len, e);
    bool ok = s->config_fd >= 0 &&
              (pwrite(s->config_fd, text.data, text.len, 0) == (ssize_t)text.len ||
               err_errno(e, errno, "cannot pass the configuration on"));
    buf_free(&text);
    return ok;
}

bool sup_open(struct sup *s, struct err *e)
{
    return check_memory(s, e) && choose_accel(s, e) && open_images(s, e) && open_boot_files(s, e) &&
           open_firmware(s, e) && open_vnc(s, e) && open_networks(s, e) && open_surface(s, e) &&
           open_config(s, e) && open_serial(s, e);
}

static void close_all(int *fds, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        fd_close(&fds[i]);
}

void sup_close_files(struct sup *s)
{
    struct vm_fds *f = &s->files;

    fd_close(&f->kvm);
    fd_close(&f->kernel);
    fd_close(&f->initrd);
    fd_close(&f->bios);
    fd_close(&f->vgabios);
    fd_close(&f->debugcon);
    fd_close(&s->serial_log);
    fd_close(&s->config_fd);
    close_all(f->disks, CONF_DISKS);
    close_all(f->cdroms, CONF_CDROMS);
    close_all(f->modules, CONF_MODULES);
    close_all(f->serial_in, 2);
    close_all(f->serial_out, 2);
}

void sup_close(struct sup *s)
{
    sup_close_files(s);
    close_all(s->net_vm, CONF_NETWORKS);
    close_all(s->net_net, CONF_NETWORKS);
    fd_close(&s->input_vm);
    fd_close(&s->input_vnc);
    fd_close(&s->vnc_tcp);
    fd_close(&s->vnc_unix);
    fd_close(&s->surface_ro);
    if (s->vnc_socket)
        unlink(s->vnc_socket);
    x_free(s->vnc_socket);
    x_free(s->vnc_password_file);
    explicit_bzero(s->vnc_password, sizeof(s->vnc_password));
    surface_free(s->surface);
    relay_end(s->relay);
}
