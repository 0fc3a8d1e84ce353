/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The options of run and create. Relative paths start at the current folder, so they are made absolute here. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tui/cli/cli.h"
#include "vmm/base/alloc.h"
#include "vmm/base/bits.h"

const struct cli_opt vm_opts[] = {
    {"kernel", 0, "FILE", "Start this kernel without firmware: Linux bzImage, PVH ELF or multiboot."},
    {"initrd", 0, "FILE", "Initial RAM disk of the kernel."},
    {"append", 0, "TEXT", "Command line of the kernel."},
    {"module", 0, "\"FILE ARGS\"", "Multiboot module with its arguments; may be repeated."},
    {"disk", 0, "FILE[,bus=virtio|ide][,readonly][,size=SIZE]", "Hard disk, a raw image; may be repeated. With size a "
                                                               "missing image is made; a size alone makes one in "
                                                               "the VM's folder."},
    {"cdrom", 0, "FILE", "CD-ROM image; may be repeated."},
    {"memory", 'm', "SIZE", "Guest memory: 512MiB, 2GiB."},
    {"cpus", 'c', "N", "Number of vCPUs."},
    {"accel", 0, "auto|kvm|software", "What executes the guest."},
    {"cpu", 0, "MODEL", "x86-64-v2, x86-64-v3 or max."},
    {"cpu-verify", 0, NULL, "Compare the software CPU's translations with its interpreter; slow, for one vCPU."},
    {"serial", 0, "stdio|console|none|file:FILE", "Where COM1 goes."},
    {"vnc", 0, "auto|off|HOST:PORT|unix:FILE", "Where VNC listens."},
    {"forward", 'p', "[HOST:]PORT:GUESTPORT[/udp]", "Lead a host port into the guest; may be repeated."},
    {"no-net", 0, NULL, "No network card."},
    {"debug-exit", 0, NULL, "Give the guest an exit port at 0xf4; the exit status is (value << 1) | 1."},
    {"set", 0, "KEY=VALUE", "Any other key of vm.yaml (see: vmdeck help yaml); may be repeated."},
    {0},
};

static void set_text(char **where, char *text)
{
    x_free(*where);
    *where = text;
}

static char *absolute(const char *path)
{
    char cwd[4096];

    if (path[0] == '/' || !getcwd(cwd, sizeof(cwd)))
        return x_strdup(path);
    return x_asprintf("%s/%s", cwd, path);
}

/* ---- disks ---- */

static bool disk_word(struct conf_disk *d, const char *word, struct err *e)
{
    if (!strcmp(word, "readonly"))
        d->readonly = true;
    else if (!strcmp(word, "bus=virtio"))
        d->bus = DISK_VIRTIO;
    else if (!strcmp(word, "bus=ide"))
        d->bus = DISK_IDE;
    else if (!strncmp(word, "size=", 5))
        return conf_parse_size(word + 5, &d->size, e) || err_wrap(e, "--disk");
    else {
        err_set(e, ERR_USAGE, "--disk: unknown \"%s\"", word);
        return err_hint(e, "use bus=virtio, bus=ide, readonly or size=SIZE");
    }
    return true;
}

static bool add_disk(struct vm_config *c, const char *value, struct err *e)
{
    struct err ignored = ERR_INIT;
    struct stat st;

    if (c->disk_count == CONF_DISKS)
        return err_set(e, ERR_USAGE, "--disk: at most %d disks", CONF_DISKS);
    struct conf_disk *d = &c->disks[c->disk_count];
    char *words = x_strdup(value), *save = NULL;
    bool ok = true;
    memset(d, 0, sizeof(*d));
    char *path = strtok_r(words, ",", &save);
    for (char *w; ok && (w = strtok_r(NULL, ",", &save));)
        ok = disk_word(d, w, e);
    if (!path) {
        ok = ok && err_set(e, ERR_USAGE, "--disk needs a file");
    } else if (ok) {
        d->id = x_asprintf("disk%u", c->disk_count);
        if (stat(path, &st) < 0 && conf_parse_size(path, &d->size, &ignored))
            d->path = x_asprintf("disks/%s.raw", d->id);
        else
            d->path = absolute(path);
        c->disk_count++;
    }
    x_free(words);
    return ok;
}

static bool add_cdrom(struct vm_config *c, const char *value, struct err *e)
{
    if (c->cdrom_count == CONF_CDROMS)
        return err_set(e, ERR_USAGE, "--cdrom: at most %d drives", CONF_CDROMS);
    struct conf_cdrom *d = &c->cdroms[c->cdrom_count];
    d->id = x_asprintf("cdrom%u", c->cdrom_count);
    d->path = absolute(value);
    c->cdrom_count++;
    return true;
}

static bool add_module(struct vm_config *c, const char *value, struct err *e)
{
    if (c->module_count == CONF_MODULES)
        return err_set(e, ERR_USAGE, "--module: at most %d modules", CONF_MODULES);
    c->modules[c->module_count++] = absolute(value);
    return true;
}

/* ---- ports ---- */

static bool parse_port(const char *text, const char *end, uint16_t *out)
{
    unsigned long n = 0;

    if (text == end)
        return false;
    for (const char *p = text; p < end; p++) {
        if (*p < '0' || *p > '9')
            return false;
        n = n * 10 + (unsigned long)(*p - '0');
        if (n > 65535)
            return false;
    }
    *out = (uint16_t)n;
    return n > 0;
}

static bool add_forward(struct vm_config *c, const char *value, struct err *e)
{
    struct conf_network *n = &c->networks[0];
    const char *end = value + strlen(value), *slash = strchr(value, '/');
    struct conf_forward f = {0};

    if (c->network_count == 0 || n->mode != NET_USER) {
        err_set(e, ERR_USAGE, "--forward needs a network card");
        return err_hint(e, "leave --no-net out");
    }
    if (n->forward_count == CONF_FORWARDS)
        return err_set(e, ERR_USAGE, "--forward: at most %d forwards", CONF_FORWARDS);
    if (slash) {
        f.udp = !strcmp(slash, "/udp");
        if (!f.udp && strcmp(slash, "/tcp"))
            return err_set(e, ERR_USAGE, "--forward: \"%s\" is neither /tcp nor /udp", slash);
        end = slash;
    }
    const char *guest = memrchr(value, ':', (size_t)(end - value));
    const char *port = guest ? memrchr(value, ':', (size_t)(guest - value)) : NULL;
    const char *host_end = port ? port : value;
    port = port ? port + 1 : value;
    if (!guest || !parse_port(guest + 1, end, &f.guest_port) || !parse_port(port, guest, &f.host_port)) {
        err_set(e, ERR_USAGE, "--forward: cannot understand \"%s\"", value);
        return err_hint(e, "write [HOST:]PORT:GUESTPORT, as in 127.0.0.1:2222:22");
    }
    f.host = host_end > value ? x_strndup(value, (size_t)(host_end - value)) : x_strdup("127.0.0.1");
    n->forwards[n->forward_count++] = f;
    return true;
}

static bool set_vnc(struct vm_config *c, const char *value, struct err *e)
{
    struct conf_vnc *v = &c->vnc;
    const char *colon = strrchr(value, ':');

    v->enabled = strcmp(value, "off") != 0;
    if (!v->enabled)
        return true;
    if (!strcmp(value, "auto")) {
        v->tcp = true;
        v->port = 0;
        return true;
    }
    if (!strncmp(value, "unix:", 5) && value[5]) {
        v->tcp = false;
        v->socket = true;
        set_text(&v->socket_path, absolute(value + 5));
        return true;
    }
    if (!colon || !parse_port(colon + 1, value + strlen(value), &v->port)) {
        err_set(e, ERR_USAGE, "--vnc: cannot understand \"%s\"", value);
        return err_hint(e, "write auto, off, HOST:PORT as in 127.0.0.1:5901, or unix:FILE");
    }
    v->tcp = true;
    if (colon > value)
        set_text(&v->listen, x_strndup(value, (size_t)(colon - value)));
    return true;
}

static bool set_serial(struct vm_config *c, const char *value, struct err *e)
{
    struct conf_serial *s = &c->serial[0];

    if (!strcmp(value, "stdio"))
        s->mode = SERIAL_STDIO;
    else if (!strcmp(value, "console"))
        s->mode = SERIAL_CONSOLE;
    else if (!strcmp(value, "none"))
        s->mode = SERIAL_NONE;
    else if (!strncmp(value, "file:", 5) && value[5]) {
        s->mode = SERIAL_FILE;
        set_text(&s->path, absolute(value + 5));
    } else {
        err_set(e, ERR_USAGE, "--serial: cannot understand \"%s\"", value);
        return err_hint(e, "write stdio, console, none or file:FILE");
    }
    return true;
}

static bool set_accel(struct vm_config *c, const char *value, struct err *e)
{
    static const char *const names[] = {"auto", "kvm", "software"};

    for (unsigned i = 0; i < ARRAY_LEN(names); i++)
        if (!strcmp(value, names[i])) {
            c->accel = (enum conf_accel)i;
            return true;
        }
    return err_set(e, ERR_USAGE, "--accel: \"%s\" is none of auto, kvm, software", value);
}

/* ---- all ---- */

/* Empties the lists that the options replace. */
static void clear_lists(const struct cli_args *a, struct vm_config *c)
{
    if (cli_flag(a, "disk")) {
        for (unsigned i = 0; i < c->disk_count; i++) {
            x_free(c->disks[i].id);
            x_free(c->disks[i].path);
        }
        memset(c->disks, 0, sizeof(c->disks));
        c->disk_count = 0;
    }
    if (cli_flag(a, "cdrom")) {
        for (unsigned i = 0; i < c->cdrom_count; i++) {
            x_free(c->cdroms[i].id);
            x_free(c->cdroms[i].path);
        }
        memset(c->cdroms, 0, sizeof(c->cdroms));
        c->cdrom_count = 0;
    }
    if (cli_flag(a, "no-net"))
        config_no_networks(c);
}

static bool apply_one(const struct cli_args *a, const char *name, const char *value, struct vm_config *c,
                      struct err *e)
{
    long n = (long)c->cpus;

    if (!strcmp(name, "kernel"))
        set_text(&c->kernel, absolute(value));
    else if (!strcmp(name, "initrd"))
        set_text(&c->initrd, absolute(value));
    else if (!strcmp(name, "append"))
        set_text(&c->append, x_strdup(value));
    else if (!strcmp(name, "module"))
        return add_module(c, value, e);
    else if (!strcmp(name, "disk"))
        return add_disk(c, value, e);
    else if (!strcmp(name, "cdrom"))
        return add_cdrom(c, value, e);
    else if (!strcmp(name, "memory"))
        return conf_parse_size(value, &c->memory, e) || err_wrap(e, "--memory");
    else if (!strcmp(name, "cpus")) {
        if (!cli_number(a, "cpus", 1, 64, &n, e))
            return false;
        c->cpus = (uint32_t)n;
    } else if (!strcmp(name, "accel"))
        return set_accel(c, value, e);
    else if (!strcmp(name, "cpu"))
        set_text(&c->cpu_model, x_strdup(value));
    else if (!strcmp(name, "serial"))
        return set_serial(c, value, e);
    else if (!strcmp(name, "vnc"))
        return set_vnc(c, value, e);
    else if (!strcmp(name, "forward"))
        return add_forward(c, value, e);
    else if (!strcmp(name, "cpu-verify"))
        c->cpu_verify = true;
    else if (!strcmp(name, "debug-exit"))
        c->debug_exit = true;
    return true;
}

/* Through the text of a file: --set, and every rule of the schema. */
static bool check(const struct cli_args *a, struct vm_config *c, struct err *e)
{
    struct conf_diags diags = {0};
    struct buf text = BUF_INIT;
    bool ok = true;

    config_emit(c, &text);
    for (unsigned i = 0; ok && i < a->value_count; i++) {
        const char *value = a->values[i].value, *eq;
        struct buf edited = BUF_INIT;

        if (strcmp(a->values[i].opt->name, "set"))
            continue;
        eq = strchr(value, '=');
        if (!eq) {
            ok = err_set(e, ERR_USAGE, "--set: \"%s\" has no =", value);
            break;
        }
        char *key = x_strndup(value, (size_t)(eq - value));
        ok = config_edit(text.data, text.len, key, eq + 1, &edited, &diags, e);
        if (!ok && e->code == ERR_NOENT) {
            err_set(e, ERR_USAGE, "--set: there is no key \"%s\"", key);
            err_hint(e, "see: vmdeck help yaml");
        }
        x_free(key);
        buf_free(&text);
        text = edited;
    }
    if (ok) {
        char *name = c->name ? x_strdup(c->name) : x_strdup("ephemeral");

        config_fini(c);
        ok = config_parse(buf_str(&text), text.len, name, c, &diags, e);
        x_free(name);
    }
    if (!ok && diags.count > 0)
        err_set(e, ERR_INVALID, "%s", diags.list[0].message);
    conf_diags_free(&diags);
    buf_free(&text);
    return ok;
}

bool vm_opts_apply(const struct cli_args *a, struct vm_config *c, struct err *e)
{
    clear_lists(a, c);
    for (unsigned i = 0; i < a->value_count; i++)
        if (!apply_one(a, a->values[i].opt->name, a->values[i].value, c, e))
            return false;
    return check(a, c, e);
}
