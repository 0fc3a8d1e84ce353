/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The terminal UI over a client that only pretends: folders and vm.yaml are real (below
 * XDG_DATA_HOME), running VMs are not. Every figure is fixed, so that screens can be compared byte
 * for byte.
 *
 * FAKE_RUNNING="web db:paused old:crashed" gives states; FAKE_SLOW=1 makes starting and stopping
 * take a second; FAKE_GRAPHICS=name has that VM in a graphics mode. "fakedeck console NAME" is
 * "vmdeck console NAME --screen". */
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tui/client/client.h"
#include "tui/screens/tui.h"
#include "vmm/accel/accel.h"
#include "vmm/base/alloc.h"
#include "vmm/base/bits.h"
#include "vmm/base/fd.h"

struct client {
    char name[64];
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct fake {
    char name[64];
    enum vm_list_state state;
    char typed[1024];
    uint64_t frame;
} fakes[64];
static unsigned fake_count;

static struct fake *fake_of(const char *name)
{
    for (unsigned i = 0; i < fake_count; i++)
        if (!strcmp(fakes[i].name, name))
            return &fakes[i];
    struct fake *f = &fakes[fake_count++ % 64];

    *f = (struct fake){.state = LIST_OFF, .frame = 1};
    str_copy(f->name, sizeof(f->name), name);
    return f;
}

static void read_environment(void)
{
    const char *p = getenv("FAKE_RUNNING");

    while (p && *p) {
        size_t len = strcspn(p, " :");
        char name[64] = "", state[16] = "";

        snprintf(name, sizeof(name), "%.*s", (int)len, p);
        p += len;
        if (*p == ':') {
            len = strcspn(++p, " ");
            snprintf(state, sizeof(state), "%.*s", (int)len, p);
            p += len;
        }
        p += strspn(p, " ");
        fake_of(name)->state = !strcmp(state, "paused")    ? LIST_PAUSED
                               : !strcmp(state, "crashed") ? LIST_CRASHED
                                                           : LIST_RUNNING;
    }
}

static void slow(void)
{
    if (getenv("FAKE_SLOW"))
        sleep(1);
}

const char *vm_list_state_name(enum vm_list_state s)
{
    static const char *const names[] = {"off",    "starting", "running",
                                        "paused", "crashed",  "invalid"};

    return names[s];
}

char *client_vms_dir(struct err *e)
{
    (void)e;
    return x_asprintf("%s/vmdeck/vms", getenv("XDG_DATA_HOME"));
}

char *client_vm_dir(const char *name, struct err *e)
{
    char *vms = client_vms_dir(e), *dir = x_asprintf("%s/%s", vms, name);

    x_free(vms);
    if (access(dir, F_OK) == 0)
        return dir;
    x_free(dir);
    err_set(e, ERR_NOENT, "no VM \"%s\"", name);
    return NULL;
}

char *client_run_dir(const char *name, struct err *e)
{
    (void)e;
    return x_strdup(name);
}

static void fill(struct vm_entry *vm, const char *name)
{
    struct vm_config c;
    struct err e = ERR_INIT;

    vm->name = x_strdup(name);
    vm->dir = client_vm_dir(name, &e);
    vm->state = fake_of(name)->state;
    if (!config_load(vm->dir, name, &c, &e)) {
        vm->state = LIST_INVALID;
        vm->problem = x_strdup(e.msg);
    }
    vm->cpus = c.cpus;
    vm->memory = c.memory;
    for (unsigned i = 0; i < c.disk_count; i++)
        vm->disk_size += c.disks[i].size;
    vm->disk_used = vm->disk_size / 4;
    if (vm->state == LIST_CRASHED)
        vm->problem = x_strdup("the vm process was killed by signal 9");
    if (vm->state == LIST_RUNNING || vm->state == LIST_PAUSED) {
        vm->pid = 4242;
        vm->memory_used = c.memory / 2;
        vm->cpu_percent = vm->state == LIST_RUNNING ? 12 : 0;
        vm->uptime_s = 7261;
        vm->accel = x_strdup("software");
        vm->vnc = x_strdup("127.0.0.1:5901");
        vm->viewers = vm->state == LIST_RUNNING ? 2 : 0;
    }
    config_fini(&c);
}

static int visible(const struct dirent *d)
{
    return d->d_name[0] != '.';
}

bool client_list(struct vm_list *out, struct err *e)
{
    char *vms = client_vms_dir(e);
    struct dirent **names = NULL;
    int n = scandir(vms, &names, visible, alphasort);

    x_free(vms);
    pthread_mutex_lock(&mutex);
    out->count = n < 0 ? 0 : (unsigned)n;
    out->vms = x_calloc(out->count + 1, sizeof(*out->vms));
    for (int i = 0; i < n; i++) {
        fill(&out->vms[i], names[i]->d_name);
        x_free(names[i]);
    }
    pthread_mutex_unlock(&mutex);
    x_free(names);
    return true;
}

void client_list_free(struct vm_list *l)
{
    for (unsigned i = 0; i < l->count; i++) {
        x_free(l->vms[i].name);
        x_free(l->vms[i].dir);
        x_free(l->vms[i].problem);
        x_free(l->vms[i].accel);
        x_free(l->vms[i].vnc);
    }
    x_free(l->vms);
}

static bool set_state(const char *name, enum vm_list_state state)
{
    pthread_mutex_lock(&mutex);
    fake_of(name)->state = state;
    pthread_mutex_unlock(&mutex);
    return true;
}

static enum vm_list_state state_of(const char *name)
{
    pthread_mutex_lock(&mutex);
    enum vm_list_state s = fake_of(name)->state;
    pthread_mutex_unlock(&mutex);
    return s;
}

static bool live(const char *name, struct err *e)
{
    enum vm_list_state s = state_of(name);

    return s == LIST_RUNNING || s == LIST_PAUSED ||
           err_set(e, ERR_STATE, "\"%s\" is %s", name, vm_list_state_name(s));
}

struct client *client_connect(const char *name, struct err *e)
{
    if (!live(name, e))
        return NULL;
    struct client *c = X_NEW(struct client);

    str_copy(c->name, sizeof(c->name), name);
    return c;
}

void client_close(struct client *c)
{
    x_free(c);
}

json_t *client_call_once(const char *name, const char *command, json_t *args, struct err *e)
{
    json_decref(args);
    if (!live(name, e))
        return NULL;
    if (!strcmp(command, "stop"))
        set_state(name, LIST_PAUSED);
    if (!strcmp(command, "cont"))
        set_state(name, LIST_RUNNING);
    return json_object();
}

bool client_create(const struct vm_config *c, struct err *e)
{
    struct buf text = BUF_INIT;
    char *vms = client_vms_dir(e), *dir = x_asprintf("%s/%s", vms, c->name),
         *file = x_asprintf("%s/vm.yaml", dir);
    bool ok = true;

    slow();
    if (mkdir(dir, 0700) < 0)
        ok = err_set(e, ERR_EXISTS, "cannot create \"%s\": the folder exists", c->name);
    config_emit(c, &text);
    ok = ok && fd_write_file_atomic(file, text.data, text.len, 0600, e);
    buf_free(&text);
    x_free(vms);
    x_free(dir);
    x_free(file);
    return ok;
}

bool client_start(const char *name, const char *set, struct err *e)
{
    (void)set;
    slow();
    if (!strcmp(name, "broken")) {
        err_set(e, ERR_BUSY, "cannot start \"broken\": disk \"a.raw\": locked by process 41");
        return err_hint(e, "stop that VM, or set readonly: true for this disk");
    }
    return set_state(name, LIST_RUNNING);
}

bool client_stop(const char *name, int timeout_s, bool force_after, struct err *e)
{
    (void)timeout_s;
    (void)force_after;
    slow();
    return live(name, e) && set_state(name, LIST_OFF);
}

bool client_kill(const char *name, struct err *e)
{
    (void)e;
    return set_state(name, LIST_OFF);
}

bool client_remove(const char *name, struct err *e)
{
    char *dir = client_vm_dir(name, e),
         *gone = x_asprintf("%s/../../.gone-%s", dir ? dir : "", name);
    bool ok = dir && rename(dir, gone) == 0;

    x_free(gone);
    x_free(dir);
    return ok;
}

static void cell_text(struct text_screen *t, unsigned row, unsigned col, const char *s,
                      uint8_t attr)
{
    for (; *s && col < 132; s++, col++)
        t->cells[row][col] = (uint16_t)((uint8_t)*s | attr << 8);
}

bool client_text_screen(struct client *c, uint64_t since, struct text_screen *out, struct err *e)
{
    const char *graphics = getenv("FAKE_GRAPHICS");

    if (!live(c->name, e))
        return false;
    pthread_mutex_lock(&mutex);
    struct fake *f = fake_of(c->name);

    if (f->frame != since) {
        memset(out, 0, sizeof(*out));
        out->frame = f->frame;
        out->mode = graphics && !strcmp(graphics, c->name) ? 2 : 1;
        out->width = 1024;
        out->height = 768;
        out->cols = 80;
        out->rows = 25;
        for (unsigned y = 0; y < 25; y++)
            cell_text(
                out, y, 0,
                "                                                                                ",
                7);
        cell_text(out, 0, 0, "\xc9\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xbb", 0x1f);
        cell_text(out, 1, 0, "\xba Setup   \xba", 0x1f);
        cell_text(out, 2, 0, "\xc8\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xbc", 0x1f);
        cell_text(out, 4, 0, "login: ", 0x0a);
        cell_text(out, 4, 7, f->typed, 7);
        cell_text(out, 24, 0, "last row of the guest", 0x4f);
        out->cursor_row = 4;
        out->cursor_col = 7 + (unsigned)strlen(f->typed);
        out->cursor_visible = true;
    }
    pthread_mutex_unlock(&mutex);
    return true;
}

bool client_screenshot(const char *name, const char *path, struct err *e)
{
    (void)path;
    return live(name, e);
}

static void add_typed(const char *name, const char *s)
{
    pthread_mutex_lock(&mutex);
    struct fake *f = fake_of(name);
    size_t len = strlen(f->typed);

    if (len + strlen(s) < 60)
        str_copy(f->typed + len, sizeof(f->typed) - len, s);
    f->frame++;
    pthread_mutex_unlock(&mutex);
}

bool client_send_key(struct client *c, const char *combo, struct err *e)
{
    char text[64];

    (void)e;
    snprintf(text, sizeof(text), "<%s>", combo);
    add_typed(c->name, text);
    return true;
}

bool client_type(struct client *c, const char *utf8, const char *layout, struct err *e)
{
    (void)layout;
    (void)e;
    add_typed(c->name, utf8);
    return true;
}

/* Echoes, as a guest's tty does. */
static void *echo(void *arg)
{
    int fd = (int)(intptr_t)arg;
    static const char banner[] = "\033[1;32mDebian\033[0m GNU/Linux ttyS0\r\n\r\nserial login: ";
    char buf[256];
    ssize_t n;

    if (write(fd, banner, sizeof(banner) - 1) < 0)
        return NULL;
    while ((n = read(fd, buf, sizeof(buf))) > 0)
        for (ssize_t i = 0; i < n; i++)
            if (write(fd, buf[i] == '\r' ? "\r\n" : &buf[i], buf[i] == '\r' ? 2 : 1) < 0)
                break;
    close(fd);
    return NULL;
}

int client_serial(const char *name, unsigned port, struct err *e)
{
    int fds[2];
    pthread_t t;

    (void)port;
    if (!live(name, e))
        return -1;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
        return -1;
    pthread_create(&t, NULL, echo, (void *)(intptr_t)fds[1]);
    pthread_detach(t);
    return fds[0];
}

void accel_probe_kvm(struct accel_probe *out)
{
    *out = (struct accel_probe){.kvm_present = true};
    str_copy(out->reason, sizeof(out->reason), "/dev/kvm: permission denied");
    str_copy(out->hint, sizeof(out->hint), "add yourself to the group kvm");
}

/* In place of the C library's. */
int gethostname(char *name, size_t len)
{
    snprintf(name, len, "laptop");
    return 0;
}

int main(int argc, char **argv)
{
    struct err e = ERR_INIT;

    read_environment();
    if (argc == 3 && !strcmp(argv[1], "console")) {
        tui_console(argv[2], &e);
        fprintf(stderr, "%s\n", e.msg);
        return 1;
    }
    for (int i = 1; i + 1 < argc; i += 2) {
        if (!tui_option(argv[i] + 2, argv[i + 1], &e)) {
            fprintf(stderr, "%s\n", e.msg);
            return 2;
        }
    }
    return tui_main();
}
