/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The list: folders, what became of them, and what their sockets say. */
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tui/client/client_priv.h"
#include "vmm/base/alloc.h"
#include "vmm/base/bits.h"
#include "vmm/base/clock.h"
#include "vmm/base/fd.h"
#include "vmm/ctl/paths.h"
#include "vmm/ctl/state.h"

#define LIST_TIMEOUT_MS 1000
#define MAX_YAML        (1024 * 1024)

const char *vm_list_state_name(enum vm_list_state s)
{
    static const char *const names[] = {"off", "starting", "running", "paused", "crashed", "invalid"};

    return names[s];
}

/* ---- CPU load: CPU time since the previous list of this process ---- */

struct sample {
    char *name;
    pid_t pid;
    uint64_t cpu_ns;
    int64_t at_ns;
};

static struct sample *samples;
static unsigned sample_count;
static pthread_mutex_t sample_mutex = PTHREAD_MUTEX_INITIALIZER;

static struct sample *find_sample(const char *name)
{
    for (unsigned i = 0; i < sample_count; i++)
        if (!strcmp(samples[i].name, name))
            return &samples[i];
    samples = x_realloc(samples, (sample_count + 1) * sizeof(*samples));
    samples[sample_count] = (struct sample){.name = x_strdup(name)};
    return &samples[sample_count++];
}

static double cpu_percent(const char *name, pid_t pid, uint64_t cpu_ns)
{
    int64_t now = clock_now_ns();
    double percent = 0;

    pthread_mutex_lock(&sample_mutex);
    struct sample *s = find_sample(name);
    if (s->pid == pid && now > s->at_ns && cpu_ns >= s->cpu_ns)
        percent = 100.0 * (double)(cpu_ns - s->cpu_ns) / (double)(now - s->at_ns);
    s->pid = pid;
    s->cpu_ns = cpu_ns;
    s->at_ns = now;
    pthread_mutex_unlock(&sample_mutex);
    return percent;
}

/* ---- one VM ---- */

static void fill_config(struct vm_entry *v)
{
    struct conf_diags diags = {0};
    struct err e = ERR_INIT;
    struct vm_config cfg;
    char *path = x_asprintf("%s/%s", v->dir, PATH_CONFIG);
    size_t len;
    char *text = fd_read_file(AT_FDCWD, path, MAX_YAML, &len, &e);

    if (!text)
        config_init(&cfg);
    if (!text || !config_parse(text, len, v->name, &cfg, &diags, &e)) {
        v->state = LIST_INVALID;
        v->problem = diags.count ? x_asprintf("%s:%u:%u: %s", PATH_CONFIG, diags.list[0].line,
                                              diags.list[0].column, diags.list[0].message)
                                 : x_strdup(e.msg);
    } else {
        v->cpus = cfg.cpus;
        v->memory = cfg.memory;
        for (unsigned i = 0; i < cfg.disk_count; i++) {
            char *image = config_path(v->dir, cfg.disks[i].path);
            struct stat st;

            if (stat(image, &st) == 0) {
                v->disk_size += (uint64_t)st.st_size;
                v->disk_used += (uint64_t)st.st_blocks * 512;
            }
            x_free(image);
        }
    }
    conf_diags_free(&diags);
    config_fini(&cfg);
    x_free(text);
    x_free(path);
}

static uint64_t number(const json_t *v, const char *key)
{
    json_int_t n = json_integer_value(json_object_get(v, key));

    return n < 0 ? 0 : (uint64_t)n;
}

static void fill_info(struct vm_entry *v, const json_t *info)
{
    const char *status = json_string_value(json_object_get(info, "status"));
    const char *accel = json_string_value(json_object_get(info, "accel"));
    const json_t *vnc = json_object_get(info, "vnc");
    const char *host = json_string_value(json_object_get(vnc, "host"));
    const char *service = json_string_value(json_object_get(vnc, "service"));
    const char *socket = json_string_value(json_object_get(vnc, "x-socket"));

    v->state = status && !strcmp(status, "paused") ? LIST_PAUSED
               : status && !strcmp(status, "prelaunch") ? LIST_STARTING
                                                        : LIST_RUNNING;
    v->memory = number(info, "memory");
    v->cpus = (uint32_t)number(info, "cpus");
    v->memory_used = number(info, "memory-used");
    v->uptime_s = (int64_t)(number(info, "uptime-ns") / NS_PER_S);
    v->accel = x_strdup(accel ? accel : "");
    v->viewers = (unsigned)number(vnc, "x-viewers");
    if (host && service)
        v->vnc = x_asprintf("%s:%s", host, service);
    else if (socket)
        v->vnc = x_strdup(socket);
    v->cpu_percent = cpu_percent(v->name, v->pid, number(info, "cpu-ns"));
}

static void fill_running(struct vm_entry *v, const char *run_dir)
{
    struct err e = ERR_INIT;
    struct client *c = client_connect_dir(v->name, run_dir, &e);
    json_t *info = c ? client_call(c, "x-info", NULL, LIST_TIMEOUT_MS, &e) : NULL;

    v->state = LIST_STARTING;
    if (info)
        fill_info(v, info);
    json_decref(info);
    client_close(c);
}

static void fill_last(struct vm_entry *v)
{
    struct vm_last last;

    state_read(v->dir, &last);
    if (last.end == VM_END_CRASHED || last.end == VM_END_RUNNING) {
        v->state = LIST_CRASHED;
        v->problem = x_strdup(last.reason[0] ? last.reason : "the supervisor was killed");
    }
}

static void fill(struct vm_entry *v, const char *run_root)
{
    char *run_dir = x_asprintf("%s/%s", run_root, v->name);

    v->state = LIST_OFF;
    fill_config(v);
    v->pid = state_holder(run_dir);
    if (v->pid) {
        x_free(v->problem); /* of a file that was changed meanwhile */
        v->problem = NULL;
        fill_running(v, run_dir);
    } else if (v->state == LIST_OFF) {
        fill_last(v);
    }
    x_free(run_dir);
}

/* ---- all ---- */

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct vm_entry *)a)->name, ((const struct vm_entry *)b)->name);
}

bool client_list(struct vm_list *out, struct err *e)
{
    char *root = path_vms_dir(e), *run_root = root ? path_run_root(e) : NULL;
    DIR *dir = run_root ? opendir(root) : NULL;
    struct dirent *d;

    memset(out, 0, sizeof(*out));
    while (dir && (d = readdir(dir))) {
        struct err ignored = ERR_INIT;
        struct stat st;

        if (!conf_check_name(d->d_name, &ignored) || fstatat(dirfd(dir), d->d_name, &st, 0) < 0 ||
            !S_ISDIR(st.st_mode))
            continue;
        out->vms = x_realloc(out->vms, (out->count + 1) * sizeof(*out->vms));
        struct vm_entry *v = &out->vms[out->count++];
        *v = (struct vm_entry){.name = x_strdup(d->d_name), .dir = x_asprintf("%s/%s", root, d->d_name)};
        fill(v, run_root);
    }
    bool ok = dir != NULL;
    if (dir)
        closedir(dir);
    else if (run_root)
        err_set(e, ERR_IO, "cannot read \"%s\"", root);
    if (out->count > 1)
        qsort(out->vms, out->count, sizeof(*out->vms), by_name);
    x_free(root);
    x_free(run_root);
    return ok;
}

void client_list_free(struct vm_list *l)
{
    for (unsigned i = 0; i < l->count; i++) {
        struct vm_entry *v = &l->vms[i];
        x_free(v->name);
        x_free(v->dir);
        x_free(v->problem);
        x_free(v->accel);
        x_free(v->vnc);
    }
    x_free(l->vms);
    memset(l, 0, sizeof(*l));
}
