/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pages to read: log, host, how to connect a viewer. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "tui/screens/deck.h"
#include "tui/screens/screens.h"
#include "tui/ui/app.h"
#include "tui/ui/pager.h"
#include "vmm/base/alloc.h"
#include "vmm/base/bits.h"
#include "vmm/base/fd.h"

#define TAIL_BYTES (256 * 1024)

/* A page whose text a job makes; each page has one at a time. */
struct page {
    char name[64];
    bool asking;
};
struct page_job {
    char name[64];
    unsigned view; /* 0: opens a page */
    void (*fill)(const char *name, struct buf *out);
    bool live, follow;
    const char *title;
    struct buf text;
};

static void page_refresh_log(struct view *v, void *opaque);

static void page_work(void *arg)
{
    struct page_job *j = arg;

    j->fill(j->name, &j->text);
}

static void page_done(void *arg)
{
    struct page_job *j = arg;
    struct view *v = j->view ? view_find(j->view) : NULL;
    char title[128];

    if (v) {
        pager_set(v, buf_str(&j->text));
    } else if (!j->view) {
        struct page *p = X_NEW(struct page);

        str_copy(p->name, sizeof(p->name), j->name);
        snprintf(title, sizeof(title), "%s %s", j->title, j->name);
        v = pager_open(title, buf_str(&j->text), j->live ? page_refresh_log : NULL, p);
        if (j->follow)
            pager_follow(v);
    }
    buf_free(&j->text);
    x_free(j);
}

static void ask(const char *title, const char *name, void (*fill)(const char *, struct buf *),
                bool live, unsigned view)
{
    struct page_job *j = X_NEW(struct page_job);

    str_copy(j->name, sizeof(j->name), name);
    j->title = title;
    j->fill = fill;
    j->live = j->follow = live;
    j->view = view;
    job_run(page_work, page_done, j);
}

/* ---- log ---- */

static void add_tail(int dir, const char *file, struct buf *out)
{
    int fd = openat(dir, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat st;
    char *data;
    ssize_t n;

    if (fd < 0)
        return;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
        off_t from = st.st_size > TAIL_BYTES ? st.st_size - TAIL_BYTES : 0;

        data = x_alloc(TAIL_BYTES);
        n = pread(fd, data, TAIL_BYTES, from);
        buf_printf(out, "== %s%s\n", file, from ? " (its end)" : "");
        for (ssize_t i = 0; i < n; i++)
            if (data[i] && data[i] != '\r')
                buf_add(out, &data[i], 1);
        if (n > 0 && data[n - 1] != '\n')
            buf_puts(out, "\n");
        x_free(data);
    }
    close(fd);
}

static int is_visible(const struct dirent *d)
{
    return d->d_name[0] != '.';
}

static void fill_log(const char *name, struct buf *out)
{
    struct err e = ERR_INIT;
    char *dir = client_vm_dir(name, &e);
    char *path = dir ? x_asprintf("%s/log", dir) : NULL;
    struct dirent **files = NULL;
    int fd = path ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    int n = fd >= 0 ? scandir(path, &files, is_visible, alphasort) : -1;

    for (int i = 0; i < n; i++) {
        add_tail(fd, files[i]->d_name, out);
        x_free(files[i]);
    }
    x_free(files);
    if (!out->len)
        buf_printf(out, "%s\n", dir ? "No log yet: the VM has not been started." : e.msg);
    fd_close(&fd);
    x_free(path);
    x_free(dir);
}

static void page_refresh_log(struct view *v, void *opaque)
{
    struct page *p = opaque;

    ask("Log of", p->name, fill_log, true, view_id(v));
}

void screen_log_open(const char *name)
{
    ask("Log of", name, fill_log, true, 0);
}

/* ---- host ---- */

static void cpu_name(char *out, size_t size)
{
    FILE *f = fopen("/proc/cpuinfo", "re");
    char line[256];

    str_copy(out, size, "unknown");
    while (f && fgets(line, sizeof(line), f)) {
        const char *colon = strchr(line, ':');

        if (strncmp(line, "model name", 10) || !colon)
            continue;
        line[strcspn(line, "\n")] = '\0';
        str_copy(out, size, colon + 2);
        break;
    }
    if (f)
        fclose(f);
}

static void fill_host(const char *name, struct buf *out)
{
    struct utsname un;
    struct statvfs vfs;
    struct err e;
    char cpu[128], a[16], b[16];
    char *vms = client_vms_dir(&e);

    (void)name;
    uname(&un);
    cpu_name(cpu, sizeof(cpu));
    const char *verdict = deck_verdict()[0] ? deck_verdict() : "still measuring",
               *hint = strstr(verdict, " - ");

    buf_printf(out, "Acceleration  %.*s\n",
               (int)(hint ? (size_t)(hint - verdict) : strlen(verdict)), verdict);
    if (hint)
        buf_printf(out, "              %s\n", hint + 3);
    buf_printf(out, "Host          %s, %s %s\n", un.nodename, un.sysname, un.release);
    buf_printf(out, "Processor     %ld x %s\n", sysconf(_SC_NPROCESSORS_ONLN), cpu);
    deck_human((uint64_t)sysconf(_SC_AVPHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE), a);
    deck_human((uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE), b);
    buf_printf(out, "Memory        %s free of %s\n", a, b);
    if (vms) {
        buf_printf(out, "VMs           %s\n", vms);
        if (statvfs(vms, &vfs) == 0) {
            deck_human((uint64_t)vfs.f_bavail * vfs.f_frsize, a);
            deck_human((uint64_t)vfs.f_blocks * vfs.f_frsize, b);
            buf_printf(out, "Disk space    %s free of %s\n", a, b);
        }
    }
    buf_printf(out, "Terminal      %s, %d colours, %s\n", getenv("TERM") ? getenv("TERM") : "?",
               ui_colors(), ui_ascii() ? "ASCII" : "UTF-8");
    buf_printf(out, "vmdeck        %s\n\n'vmdeck doctor' tells more.\n", VMDECK_VERSION);
    x_free(vms);
}

void screen_host_open(void)
{
    ask("Host", "", fill_host, false, 0);
}

/* ---- viewer ---- */

void screen_viewer_open(const char *name)
{
    const struct vm_entry *vm = deck_find(name);
    struct buf text = BUF_INIT;
    char title[96];

    if (!vm || !vm->vnc) {
        app_toast(ROLE_WARN, "%s has no VNC server: see display.vnc in its configuration (e)",
                  name);
        return;
    }
    snprintf(title, sizeof(title), "Viewer for %s", name);
    if (vm->vnc[0] == '/') {
        buf_printf(&text, "On this host:\n    vncviewer %s\n\n", vm->vnc);
    } else {
        const char *colon = strrchr(vm->vnc, ':');

        buf_printf(&text, "On this host:\n    vncviewer %.*s::%s\n\n",
                   (int)(colon ? colon - vm->vnc : 0), vm->vnc, colon ? colon + 1 : "");
        buf_printf(&text,
                   "From another machine, through SSH:\n    ssh -L 5900:%s USER@THISHOST\n"
                   "    vncviewer localhost::5900\n\n",
                   vm->vnc);
    }
    buf_printf(&text,
               "Password:\n    cat %s/vnc.pass\n    (or display.vnc.password_file in vm.yaml)\n\n",
               vm->dir ? vm->dir : ".");
    buf_puts(&text,
             "VNC is not encrypted: keep it on 127.0.0.1 and use SSH. Any VNC viewer works;\n"
             "in Debian: tigervnc-viewer, remmina, gtk-vnc. macOS: open vnc://...\n");
    pager_open(title, buf_str(&text), NULL, NULL);
    buf_free(&text);
}
