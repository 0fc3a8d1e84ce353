/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the CLI and the TUI know of VMs: the folders, and the control socket of each running one. Nothing here
 * draws or prints. Functions may block for as long as their timeout says; the TUI calls them on a
 * worker thread. */
#ifndef VMDECK_TUI_CLIENT_CLIENT_H
#define VMDECK_TUI_CLIENT_CLIENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "vmm/base/err.h"
#include "vmm/conf/config.h"

enum vm_list_state { LIST_OFF, LIST_STARTING, LIST_RUNNING, LIST_PAUSED, LIST_CRASHED, LIST_INVALID };
const char *vm_list_state_name(enum vm_list_state s);

struct vm_entry {
    char *name, *dir;
    enum vm_list_state state;
    char *problem; /* why crashed or invalid, or NULL */
    pid_t pid;     /* supervisor, 0 when off */
    uint32_t cpus;
    uint64_t memory, memory_used;  /* configured; resident of the vm process, 0 when off */
    uint64_t disk_size, disk_used; /* sums over the disks: virtual, allocated */
    double cpu_percent; /* since the previous list of the same process; 100 = one core */
    int64_t uptime_s;
    char *accel; /* "kvm" or "software" while running */
    char *vnc;   /* "127.0.0.1:5901" or the socket's path, or NULL */
    unsigned viewers;
};
struct vm_list {
    struct vm_entry *vms; /* sorted by name */
    unsigned count;
};
bool client_list(struct vm_list *out, struct err *e);
void client_list_free(struct vm_list *l);

/* Folders: ${XDG_DATA_HOME:-~/.local/share}/vmdeck/vms, ${XDG_RUNTIME_DIR}/vmdeck (or a private folder below
 * ~/.local/state/vmdeck/run). Made 0700 when missing. Heap strings. */
char *client_vms_dir(struct err *e);
char *client_vm_dir(const char *name, struct err *e); /* ERR_NOENT when there is no such VM */
char *client_run_dir(const char *name, struct err *e);

/* One QMP-style command on a fresh or kept connection. args is consumed (may be NULL). Returns the "return" value
 * (new reference) or NULL with e. */
struct client;
struct client *client_connect(const char *name, struct err *e);
void client_close(struct client *c);
json_t *client_call(struct client *c, const char *command, json_t *args, int timeout_ms, struct err *e);
/* Same with a descriptor attached to the command (-1: none). */
json_t *client_call_fd(struct client *c, const char *command, json_t *args, int fd, int timeout_ms,
                       struct err *e);
/* connect, call, close. */
json_t *client_call_once(const char *name, const char *command, json_t *args, struct err *e);

/* Makes the folder with vm.yaml and missing disks; nothing is left behind on failure. c->name is the name. */
bool client_create(const struct vm_config *c, struct err *e);
/* Starts the supervisor and waits until the VM runs or the start failed (its error is returned). set: KEY=VALUE of
 * vm.yaml for this run, or NULL. */
bool client_start(const char *name, const char *set, struct err *e);
bool client_stop(const char *name, int timeout_s, bool force_after, struct err *e); /* ACPI */
bool client_kill(const char *name, struct err *e);
bool client_remove(const char *name, struct err *e); /* ERR_STATE while it runs */
/* Text screen: UTF-8 rows; mode 0 blank, 1 text, 2 graphics. */
struct text_screen {
    int mode;
    unsigned cols, rows, cursor_col, cursor_row, width, height;
    bool cursor_visible;
    uint64_t frame;
    uint16_t cells[60][132]; /* ch | attr << 8, CP437 */
};
/* Leaves out alone when the frame is still since; returns true with out->frame == since then. */
bool client_text_screen(struct client *c, uint64_t since, struct text_screen *out, struct err *e);
bool client_screenshot(const char *name, const char *path, struct err *e);
/* "ctrl-alt-delete", "ret", "f12", also several with '+' or '-'. */
bool client_send_key(struct client *c, const char *combo, struct err *e);
/* Types text with a layout ("us"), back-pressured. */
bool client_type(struct client *c, const char *utf8, const char *layout, struct err *e);
/* A stream socket of serial port n with scrollback replayed first; caller closes. -1 on error. */
int client_serial(const char *name, unsigned port, struct err *e);

#endif
