/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The supervisor of one VM: opens every file, starts the processes vm, net and vnc with just their descriptors,
 * restarts net and vnc when they die, serves the control socket, records how the VM ended. It parses nothing that comes
 * from the guest. */
#ifndef VMDECK_CTL_SUP_H
#define VMDECK_CTL_SUP_H

#include <stdbool.h>

#include "vmm/base/err.h"
#include "vmm/conf/config.h"
#include "vmm/ctl/spawn.h"

struct sup_opts {
    const char *name;
    const char *dir;     /* the VM's folder; relative paths start there */
    const char *run_dir; /* made, and removed at the end */
    bool foreground;     /* standard input and output are the terminal; notes go to standard error */
    bool ephemeral;      /* no folder: dir is run_dir, nothing is recorded */
    const struct vm_config *cfg; /* NULL: dir/vm.yaml */
    const char *set;     /* KEY=VALUE of vm.yaml for this run, or NULL */
    /* The VM runs. May be NULL. */
    void (*started)(void *opaque);
    void *opaque;
};

/* Runs a VM until its end. SIGTERM, SIGINT or SIGHUP presses its power button; a second one, or
 * machine.shutdown_timeout, powers it off. Returns the exit status: 0 after power-off by the guest,
 * that of debug exit, 128 + signal when a signal had to power it off; -1 with e when it could not
 * start or broke down. Nothing is left behind on failure. */
int sup_run(const struct sup_opts *o, struct err *e);

/* main of the hidden roles; they return the exit status. */
int sup_main(const struct spawn_args *args); /* words name, dir, run, set; descriptor status */
int vm_main(const struct spawn_args *args);
int net_main(const struct spawn_args *args);
int vnc_main(const struct spawn_args *args);

/* The descriptor "status" of a process: one byte when it is ready, or a line with an error. */
void status_ready(int fd);
void status_error(int fd, const struct err *e);
/* Reads it; closes fd. False also when the process died without a word or took too long. */
bool status_wait(int fd, int timeout_ms, struct err *e);

#endif
