/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the screens know of VMs: the latest list, the operations under way, the host. UI thread
 * only; all calls that may block run as jobs. */
#ifndef VMDECK_SCREENS_DECK_H
#define VMDECK_SCREENS_DECK_H

#include <stdbool.h>

#include "tui/client/client.h"

/* Asks for a new list now; once a second it happens anyway (deck_tick). */
void deck_refresh(void);
void deck_tick(void);
void deck_fini(void);
/* False until the first list has come. */
bool deck_ready(void);
const struct vm_list *deck_list(void);
/* Why the last attempt failed, or NULL. */
const char *deck_error(void);
/* Valid until the next list. */
const struct vm_entry *deck_find(const char *name);
unsigned deck_running(void);

enum deck_op {
    OP_START,
    OP_RESUME,
    OP_PAUSE,
    OP_STOP,
    OP_KILL,
    OP_RESET,
    OP_REMOVE,
    OP_SCREENSHOT
};
/* Does it in the background; tells the result, and refreshes. */
void deck_do(const char *name, enum deck_op op);
/* "starting" while an operation on the VM runs, else NULL. */
const char *deck_busy(const char *name);

/* One line about acceleration, "" until known. deck_probe starts finding out. */
void deck_probe(void);
const char *deck_verdict(void);
/* "kvm", "software" or "" until known. */
const char *deck_accel(void);

/* 1.5G, 512M */
void deck_human(uint64_t bytes, char out[16]);

#endif
