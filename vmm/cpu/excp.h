/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One attempt at delivering an event, for excp.c and the INT instructions. */
#ifndef VMDECK_CPU_EXCP_H
#define VMDECK_CPU_EXCP_H

#include "vmm/cpu/cpu_priv.h"

struct event {
    uint64_t ret;     /* RIP to push */
    uint32_t error;
    uint8_t vector;
    uint8_t kind;     /* enum event_kind */
    uint8_t ext;      /* EXT bit of the error codes of faults met on the way */
    bool has_error;
    bool check_dpl;   /* INT n, INT3, INTO: the gate's DPL must allow them */
    bool is_int_n;    /* CD: subject to IOPL and redirection in virtual-8086 mode */
};

/* Raises, with nothing changed, when it cannot be delivered. */
void excp_deliver_once(struct cpu *c, const struct event *ev);

#endif
