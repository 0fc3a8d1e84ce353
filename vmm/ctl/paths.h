/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where VMs live: a folder each below ${XDG_DATA_HOME:-~/.local/share}/vmdeck/vms, and while one runs a runtime
 * folder below ${XDG_RUNTIME_DIR}/vmdeck, or ${XDG_STATE_HOME:-~/.local/state}/vmdeck/run without a private one.
 * Strings are the caller's (x_free). */
#ifndef VMDECK_CTL_PATHS_H
#define VMDECK_CTL_PATHS_H

#include <stdbool.h>

#include "vmm/base/err.h"

/* In a VM's folder. */
#define PATH_CONFIG   "vm.yaml"
#define PATH_STATE    "state.json"
#define PATH_LOG      "log/vmdeck.log"
#define PATH_SERIAL   "log/serial.log"
#define PATH_FIRMWARE "log/firmware.log"
/* In its runtime folder. */
#define PATH_LOCK    "lock"
#define PATH_CONTROL "control.sock"
#define PATH_VNC     "vnc.sock"

/* Made, with mode 0700, when missing. */
char *path_vms_dir(struct err *e);
char *path_run_root(struct err *e);
/* Only the name of it; neither made nor checked. */
char *path_run_dir(const char *name, struct err *e);
/* mkdir -p. */
bool path_make(const char *path, struct err *e);
/* rm -r below path and path itself; follows no symbolic link. */
bool path_remove_tree(const char *path, struct err *e);
/* A stream socket bound to, or connected with, dir/name however long dir is. -1 on error. */
int path_listen(const char *dir, const char *name, struct err *e);
int path_connect(const char *dir, const char *name, struct err *e);

#endif
