/* SPDX-License-Identifier: GPL-2.0-or-later */
/* validate, doctor */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "tui/cli/cli.h"
#include "tui/client/client.h"
#include "vmm/accel/accel.h"
#include "vmm/base/alloc.h"
#include "vmm/base/bits.h"
#include "vmm/base/fd.h"
#include "vmm/cpu/cpuid.h"
#include "vmm/ctl/paths.h"

#define MAX_YAML (1024 * 1024)

/* ---- validate ---- */

/* A word with a slash or dot-yaml is a file, else the name of a VM. */
static char *file_of(const char *word, struct err *e)
{
    size_t n = strlen(word);

    if (strchr(word, '/') || (n > 5 && !strcmp(word + n - 5, ".yaml")) || access(word, F_OK) == 0)
        return x_strdup(word);
    char *dir = client_vm_dir(word, e), *path = dir ? x_asprintf("%s/%s", dir, PATH_CONFIG) : NULL;
    x_free(dir);
    return path;
}

/* What the name is when the file has none: that of its folder. */
static char *default_name(const char *path)
{
    char *full = realpath(path, NULL), *name = NULL;
    char *slash = full ? strrchr(full, '/') : NULL;

    if (slash) {
        *slash = '\0';
        name = x_strdup(strrchr(full, '/') ? strrchr(full, '/') + 1 : full);
    }
    char *libc_full = full;
    free(libc_full);
    struct err ignored = ERR_INIT;
    if (name && conf_check_name(name, &ignored))
        return name;
    x_free(name);
    return x_strdup("vm");
}

static bool validate(const char *path, bool json, json_t *out, struct err *e)
{
    struct conf_diags diags = {0};
    struct vm_config cfg;
    struct buf text = BUF_INIT;
    size_t len;
    char *name = default_name(path), *data = fd_read_file(AT_FDCWD, path, MAX_YAML, &len, e);
    bool ok = false;

    if (data) {
        ok = config_parse(data, len, name, &cfg, &diags, e);
        conf_diags_format(&diags, path, data, &text);
        if (!json)
            fputs(buf_str(&text), stdout);
        for (unsigned i = 0; i < diags.count; i++)
            json_array_append_new(out, json_pack("{sssisiss}", "file", path, "line", (int)diags.list[i].line, "column",
                                                 (int)diags.list[i].column, "message", diags.list[i].message));
        config_fini(&cfg);
    }
    if (data && diags.count > 0) /* shown above */
        *e = (struct err)ERR_INIT;
    conf_diags_free(&diags);
    buf_free(&text);
    x_free(data);
    x_free(name);
    return ok;
}

int cmd_validate(const struct cli_args *a, struct err *e)
{
    json_t *out = json_array();
    bool ok = true;

    for (unsigned i = 0; i < a->word_count && e->code == ERR_NONE; i++) {
        char *path = file_of(a->words[i], e);

        if (!path || !validate(path, a->json, out, e))
            ok = false;
        else if (!a->json)
            printf("%s: correct\n", path);
        x_free(path);
    }
    if (a->json && e->code == ERR_NONE)
        cli_print_json(json_pack("{sbsO}", "valid", ok, "errors", out));
    json_decref(out);
    return ok ? 0 : err_exit_status(ERR_INVALID);
}

/* ---- doctor ---- */

struct finding {
    const char *topic;
    bool ok;
    char text[256], hint[200];
};

static void report(const struct cli_args *a, json_t *out, const struct finding *f)
{
    if (a->json)
        json_array_append_new(out, json_pack("{sssbssss}", "topic", f->topic, "ok", f->ok, "text", f->text, "hint",
                                             f->hint));
    else
        printf("%-12s %-4s %s\n", f->topic, f->ok ? "ok" : "-", f->text);
    if (!a->json && f->hint[0])
        printf("%-12s      %s\n", "", f->hint);
}

static void check_kvm(struct finding *f)
{
    struct accel_probe p;

    accel_probe_kvm(&p);
    f->ok = p.kvm_fast;
    if (p.kvm_fast)
        snprintf(f->text, sizeof(f->text), "hardware, %.0f million instructions/s in the probe", p.kvm_mips);
    else
        snprintf(f->text, sizeof(f->text), "%s", p.reason);
    str_copy(f->hint, sizeof(f->hint), p.hint);
}

static void check_default(struct finding *f)
{
    struct accel_probe p;

    accel_probe_kvm(&p);
    f->ok = true;
    snprintf(f->text, sizeof(f->text), "accel: auto takes %s", p.kvm_fast ? "kvm" : "the software CPU");
}

static void check_models(struct finding *f)
{
    static const char *const models[] = {"x86-64-v2", "x86-64-v3", "max"};

    for (unsigned i = 0; i < ARRAY_LEN(models); i++) {
        enum cpu_model model;
        size_t n = strlen(f->text);

        if (cpu_model_parse(models[i], &model))
            snprintf(f->text + n, sizeof(f->text) - n, "%s%s", n ? ", " : "", models[i]);
    }
    f->ok = true;
}

static void check_firmware(struct finding *f)
{
    f->ok = access("/usr/share/seabios/bios-256k.bin", R_OK) == 0 &&
            access("/usr/share/seabios/vgabios-stdvga.bin", R_OK) == 0;
    str_copy(f->text, sizeof(f->text), f->ok ? "SeaBIOS in /usr/share/seabios" : "no SeaBIOS: only direct boot works");
    if (!f->ok)
        str_copy(f->hint, sizeof(f->hint), "sudo apt install seabios");
}

static void check_memory(struct finding *f)
{
    long pages = sysconf(_SC_PHYS_PAGES), free_pages = sysconf(_SC_AVPHYS_PAGES), size = sysconf(_SC_PAGESIZE);

    f->ok = true;
    snprintf(f->text, sizeof(f->text), "%ld MiB, %ld MiB free; %ld processors", pages / 1024 * size / 1024,
             free_pages / 1024 * size / 1024, sysconf(_SC_NPROCESSORS_ONLN));
}

static void check_limits(struct finding *f)
{
    struct rlimit files, locked;

    getrlimit(RLIMIT_NOFILE, &files);
    getrlimit(RLIMIT_MEMLOCK, &locked);
    f->ok = files.rlim_cur >= 256;
    snprintf(f->text, sizeof(f->text), "%llu open files", (unsigned long long)files.rlim_cur);
    if (!f->ok)
        str_copy(f->hint, sizeof(f->hint), "raise it: ulimit -n 1024");
}

static void check_kernel(struct finding *f)
{
    struct utsname u;

    uname(&u);
    f->ok = true;
    snprintf(f->text, sizeof(f->text), "%.60s %.60s", u.sysname, u.release);
}

static void check_folders(struct finding *f)
{
    struct err e = ERR_INIT;
    char *vms = client_vms_dir(&e), *run = vms ? client_run_dir("x", &e) : NULL;

    f->ok = vms && run;
    if (f->ok)
        snprintf(f->text, sizeof(f->text), "VMs in %.100s, sockets in %.*s", vms, (int)(strlen(run) - 2), run);
    else
        str_copy(f->text, sizeof(f->text), e.msg);
    x_free(vms);
    x_free(run);
}

/* libvncserver has no such function; its file has the version in its name: libvncserver.so.0.9.14. */
static void add_vncserver(struct finding *f)
{
    void *symbol = dlsym(RTLD_DEFAULT, "rfbGetScreen");
    size_t n = strlen(f->text);
    Dl_info info;

    if (!symbol || !dladdr(symbol, &info))
        return;
    char *libc_path = realpath(info.dli_fname, NULL);
    const char *version = libc_path ? strstr(libc_path, ".so.") : NULL;
    if (version)
        snprintf(f->text + n, sizeof(f->text) - n, ", libvncserver %s", version + 4);
    free(libc_path);
}

/* Versions at run time, by the libraries' own functions, without their headers. */
static void check_libraries(struct finding *f)
{
    static const struct {
        const char *name, *symbol;
    } libs[] = {{"libslirp", "slirp_version_string"}, {"libuv", "uv_version_string"},
                {"jansson", "jansson_version_str"},   {"terminal", "curses_version"},
                {"libyaml", "yaml_get_version_string"}};

    f->ok = true;
    for (unsigned i = 0; i < ARRAY_LEN(libs); i++) {
        union {
            void *symbol;
            const char *(*version)(void);
        } u = {.symbol = dlsym(RTLD_DEFAULT, libs[i].symbol)};
        size_t n = strlen(f->text);

        if (u.symbol)
            snprintf(f->text + n, sizeof(f->text) - n, "%s%s %s", n ? ", " : "", libs[i].name, u.version());
    }
    add_vncserver(f);
}

int cmd_doctor(const struct cli_args *a, struct err *e)
{
    static const struct {
        const char *topic;
        void (*check)(struct finding *f);
    } checks[] = {
        {"version", NULL},           {"kernel", check_kernel},       {"kvm", check_kvm},
        {"accel", check_default},    {"cpu models", check_models},   {"firmware", check_firmware},
        {"memory", check_memory},    {"limits", check_limits},       {"folders", check_folders},
        {"libraries", check_libraries},
    };
    json_t *out = json_array();

    (void)e;
    for (unsigned i = 0; i < ARRAY_LEN(checks); i++) {
        struct finding f = {.topic = checks[i].topic, .ok = true};

        if (checks[i].check)
            checks[i].check(&f);
        else
            str_copy(f.text, sizeof(f.text), "vmdeck " VMDECK_VERSION);
        report(a, out, &f);
    }
    if (a->json)
        cli_print_json(json_pack("{sO}", "findings", out));
    json_decref(out);
    return 0;
}
