/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The supervisor's inside, shared by its files. Everything runs on the loop's thread. */
#ifndef VMDECK_CTL_SUP_PRIV_H
#define VMDECK_CTL_SUP_PRIV_H

#include <jansson.h>
#include <sys/types.h>

#include "display/surface.h"
#include "vmm/base/clock.h"
#include "vmm/base/loop.h"
#include "vmm/ctl/lines.h"
#include "vmm/ctl/relay.h"
#include "vmm/ctl/state.h"
#include "vmm/ctl/sup.h"
#include "vmm/vm/vm.h"

#define SUP_CLIENTS  16
#define SUP_REQUESTS 64

struct sup;

/* One child process. */
struct sup_proc {
    struct sup *sup;
    char role[8];     /* "vm", "net", "vnc" */
    unsigned index;   /* of the network card */
    pid_t pid;        /* 0 when there is none */
    int pidfd;
    struct loop_fd *watch;
    int64_t started_ns;
    unsigned failures; /* in a row */
    struct timer restart;
};

/* One connection to the control socket. */
struct sup_client {
    struct sup *sup;
    struct lines *lines; /* NULL: free slot */
    unsigned serial;     /* tells a slot's users apart */
    bool negotiated;
    unsigned pending; /* forwarded commands without an answer */
};

/* One command forwarded to the vm process; its id there is the index. */
struct sup_request {
    bool used;
    struct sup_client *client; /* NULL: our own, the answer is dropped */
    unsigned client_serial;
    json_t *id;
    char *created; /* a file that goes again when the command fails */
};

struct sup {
    const struct sup_opts *opts;
    struct vm_config cfg;
    struct loop *loop;
    int lock_fd, log_fd, signal_fd;
    struct loop_fd *signal_watch;

    /* sup_open.c */
    struct vm_fds files;
    int serial_log, config_fd;
    const char *accel; /* "kvm" or "software" */
    char accel_note[512]; /* why software, with auto */
    struct surface *surface;
    int surface_ro;
    int input_vm, input_vnc;
    int net_vm[CONF_NETWORKS], net_net[CONF_NETWORKS];
    int vnc_tcp, vnc_unix;
    char *vnc_socket;        /* path of the Unix socket, ours to unlink */
    char vnc_password[9];
    char *vnc_password_file;
    uint16_t vnc_port;
    struct relay *relay; /* standard input and output */

    /* sup_proc.c */
    struct sup_proc vm, vnc, net[CONF_NETWORKS];
    struct lines *link;     /* to vm */
    struct lines *vnc_link; /* from vnc: viewers come and go */
    unsigned viewers;

    /* sup_server.c */
    int control;
    struct loop_fd *control_watch;
    struct sup_client clients[SUP_CLIENTS];
    struct sup_request requests[SUP_REQUESTS];

    /* run state, as the vm process reports it */
    const char *status; /* QMP's name: "prelaunch", "running", "paused", "shutdown", "internal-error" */
    int64_t started_ns;
    bool ended, quitting;
    int signal; /* that asked to end */
    enum vm_stop why;
    int exit_status;
    char why_text[512];
    struct timer quit_timer, shutdown_timer;
};

/* sup_open.c */
bool sup_open(struct sup *s, struct err *e);
/* Closes what only vm needs, once it has it. */
void sup_close_files(struct sup *s);
void sup_close(struct sup *s);

/* sup_proc.c */
bool sup_start_processes(struct sup *s, struct err *e);
void sup_end_processes(struct sup *s);

/* sup_server.c */
bool sup_server_start(struct sup *s, struct err *e);
void sup_server_stop(struct sup *s);
void sup_event(struct sup *s, const char *name, json_t *data); /* to every client */
/* A line of the vm process. */
void sup_vm_line(void *opaque, const char *text, size_t len, int fd);
void sup_vm_closed(void *opaque, const char *why);
/* Sends a command of our own to vm. */
void sup_tell_vm(struct sup *s, const char *command);

/* sup.c */
void sup_quit(struct sup *s); /* end the VM at once */
void sup_finish(struct sup *s); /* leave the loop */

/* The descriptor that goes to the vm process with this command: the client's (taken from *fd), one opened
 * here, or -1 for none; -2 with e. */
int sup_attach_fd(const char *name, json_t *args, int *fd, struct err *e);

/* sup_cmd.c: command(sup, client, args, e) returns a new value or NULL with e. */
typedef json_t *sup_cmd_fn(struct sup *s, struct sup_client *c, const json_t *args, struct err *e);
#define SUP_CMD(name, cname, args, help) sup_cmd_fn sup_cmd_##cname;
#define VM_CMD(name, cname, args, help)
#include "vmm/ctl/cmds.def"
#undef SUP_CMD
#undef VM_CMD

#endif
