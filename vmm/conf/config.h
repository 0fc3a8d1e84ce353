/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The configuration of one VM as typed values, filled from vm.yaml through the schema table
 * (schema.def) or from command line options. All strings are heap memory of the config, NULL when
 * absent. config_init gives the defaults of the schema. */
#ifndef VMDECK_CONF_CONFIG_H
#define VMDECK_CONF_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/base/buf.h"
#include "vmm/base/err.h"

#define CONF_DISKS    8
#define CONF_CDROMS   2
#define CONF_NETWORKS 4
#define CONF_FORWARDS 32
#define CONF_MODULES  16

enum conf_accel { ACCEL_AUTO, ACCEL_KVM, ACCEL_SOFTWARE };
enum conf_disk_bus { DISK_VIRTIO, DISK_IDE };
enum conf_net_mode { NET_USER, NET_NONE };
enum conf_serial_mode { SERIAL_CONSOLE, SERIAL_STDIO, SERIAL_FILE, SERIAL_NONE };
enum conf_pointer { POINTER_TABLET, POINTER_MOUSE };
enum conf_rtc { RTC_UTC, RTC_LOCALTIME };

struct conf_disk {
    char *id;      /* "disk0" */
    char *path;    /* relative paths: to the VM's folder */
    uint64_t size; /* bytes; 0: as the file is. Made on creation when the file does not exist */
    enum conf_disk_bus bus;
    bool readonly;
};

struct conf_cdrom {
    char *id;
    char *path; /* NULL: empty drive */
};

struct conf_forward {
    bool udp;
    char *host; /* IPv4 address, "127.0.0.1" by default */
    uint16_t host_port, guest_port;
};

struct conf_network {
    char *id;
    enum conf_net_mode mode;
    char *mac; /* "52:54:00:.." once chosen; NULL: auto */
    struct conf_forward forwards[CONF_FORWARDS];
    unsigned forward_count;
};

struct conf_vnc {
    bool enabled;
    char *listen;        /* "127.0.0.1" */
    uint16_t port;       /* 0: auto from 5900 up */
    bool tcp;            /* listen on TCP */
    bool socket;         /* Unix socket vnc.sock in the runtime folder */
    char *socket_path;   /* another place for it (run --vnc unix:F) */
    char *password_file; /* made with a random password when absent */
};

struct conf_serial {
    enum conf_serial_mode mode;
    char *path; /* SERIAL_FILE */
};

struct vm_config {
    uint32_t version;
    char *name, *uuid, *description;
    enum conf_accel accel;
    char *cpu_model; /* "x86-64-v3" */
    bool cpu_verify; /* software CPU: translator and interpreter in lock step */
    uint32_t cpus;
    uint64_t memory;                /* bytes, multiple of 1 MiB */
    char *kernel, *initrd, *append; /* direct boot when kernel is set */
    char *modules[CONF_MODULES];    /* multiboot modules, "path args" */
    unsigned module_count;
    struct conf_disk disks[CONF_DISKS];
    unsigned disk_count;
    struct conf_cdrom cdroms[CONF_CDROMS];
    unsigned cdrom_count;
    struct conf_network networks[CONF_NETWORKS];
    unsigned network_count;
    char *boot_order; /* "disk,cdrom" : classes in order */
    struct conf_vnc vnc;
    enum conf_pointer pointer;
    char *keyboard_layout; /* "us" */
    struct conf_serial serial[2];
    enum conf_rtc rtc;
    uint32_t shutdown_timeout; /* seconds */
    bool debug_exit;
    bool protected_; /* refuses rm */
};

/* Keys are named by path: "memory", "disks[0].path", "display.vnc.port". See schema.def. */

/* The schema's defaults; that includes one network in mode user and COM1 as console. */
void config_init(struct vm_config *c);
void config_no_networks(struct vm_config *c);
void config_fini(struct vm_config *c);

/* Diagnostics of a file: all of them, in order of position. */
struct conf_diag {
    unsigned line, column; /* from 1 */
    char message[256];     /* "memory: 8000 needs a unit (try 8000MiB or 8GiB)" */
    unsigned width;        /* of the offending text, for the underline */
};
struct conf_diags {
    struct conf_diag *list;
    unsigned count, cap;
};
void conf_diags_free(struct conf_diags *d);
/* gcc style: "file:line:col: error: message", the line and a caret under it. */
void conf_diags_format(const struct conf_diags *d, const char *file, const char *text,
                       struct buf *out);

/* Parses and checks the text of a vm.yaml. default_name: the folder's name. False with diags filled
 * (and e set to a summary); c is then as after config_init. */
bool config_parse(const char *text, size_t len, const char *default_name, struct vm_config *c,
                  struct conf_diags *diags, struct err *e);
/* The whole config as YAML with the schema's order; only keys that differ from the default. */
void config_emit(const struct vm_config *c, struct buf *out);
/* Edits one scalar ("memory", "cpus", "disks[0].path", "display.vnc.port"): changes only that
 * value's bytes, or adds the key in its place; comments, order and layout of the rest stay. value
 * is given as a person would type it. NULL or "" writes null, the default. A list of scalars takes
 * "a, b". With an index equal to the count an entry is appended; with path of an entry ("disks[1]")
 * and NULL, that entry goes away. The result is parsed again before it is returned in out; diags
 * then speak of the new text. */
bool config_edit(const char *text, size_t len, const char *path, const char *value, struct buf *out,
                 struct conf_diags *diags, struct err *e);
/* Value of a scalar as text, for forms and `info`; a list of scalars reads as "a, b". False: no
 * such key. */
bool config_get(const struct vm_config *c, const char *path, struct buf *out);
/* Sets one value as typed by a person; "" is the default. An index equal to the count appends to
 * that list. Checks the value by itself; config_validate checks what holds between values. */
bool config_set(struct vm_config *c, const char *path, const char *value, struct err *e);
/* Only checks a value against the key's type and range; indexes in path do not matter and may be
 * left out
 * ("disks[].bus"). */
bool config_check(const char *path, const char *value, struct err *e);
/* What holds between values (unique ids and forwards, kernel for initrd, ...). */
bool config_validate(const struct vm_config *c, struct err *e);
/* Reads and parses dir/vm.yaml; the error holds the first diagnostics as text. */
bool config_load(const char *dir, const char *default_name, struct vm_config *c, struct err *e);
/* A path of the config as an absolute one: "~/" is the home, others start at the VM's folder. */
char *config_path(const char *dir, const char *path);

/* The schema for help, forms and the man page. */
struct conf_key {
    const char *path;    /* "disks[].bus" */
    const char *type;    /* "size", "choice", "text", "boolean", "number", "path", "list", ... */
    const char *def;     /* default as text, "" for none; '#' stands for the index in the list */
    const char *choices; /* "virtio|ide", or NULL */
    const char *help;
    uint64_t min, max; /* of numbers and sizes; of the length of text */
    bool required;
};
const struct conf_key *conf_keys(unsigned *count);
/* vmdeck.yaml(5) in troff. */
void conf_man_page(struct buf *out);

/* "512MiB" and the like; plain numbers are refused. */
bool conf_parse_size(const char *s, uint64_t *out, struct err *e);
void conf_format_size(uint64_t bytes, struct buf *out);
/* [a-z0-9][a-z0-9._-]{0,62} */
bool conf_check_name(const char *name, struct err *e);

#endif
