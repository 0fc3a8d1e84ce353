/* SPDX-License-Identifier: GPL-2.0-or-later */
/* state.json in a VM's folder: what became of its last run. "running" without a supervisor that holds the lock means
 * that the supervisor or the host died. */
#ifndef VMDECK_CTL_STATE_H
#define VMDECK_CTL_STATE_H

#include <stdbool.h>
#include <sys/types.h>

#include "vmm/base/err.h"

enum vm_end { VM_END_NONE, VM_END_RUNNING, VM_END_OFF, VM_END_CRASHED };

struct vm_last {
    enum vm_end end;
    char reason[160]; /* "poweroff", "vm process killed by signal 9 (Killed)" */
    int status;       /* of debug exit */
};

/* VM_END_NONE when there is no such file or it makes no sense. */
void state_read(const char *dir, struct vm_last *out);
bool state_write(const char *dir, const struct vm_last *last, struct err *e);

/* The lock of a runtime folder. Taking it writes our pid into it; the descriptor holds it. -1 with ERR_BUSY
 * when somebody has it. */
int state_lock(const char *run_dir, struct err *e);
/* Pid of the holder, 0 when nobody holds it. */
pid_t state_holder(const char *run_dir);

#endif
