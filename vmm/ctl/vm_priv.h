/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The vm process: one struct vm, its loop, and the dispatcher at the end of the supervisor's socket. Commands run on
 * the loop's thread with the machine lock held. */
#ifndef VMDECK_CTL_VM_PRIV_H
#define VMDECK_CTL_VM_PRIV_H

#include <jansson.h>

#include "vmm/base/clock.h"
#include "vmm/base/loop.h"
#include "vmm/conf/config.h"
#include "vmm/ctl/lines.h"
#include "vmm/vm/vm.h"

struct vm_proc;

/* One command until it is answered. */
struct vm_req {
    struct vm_req *next; /* of those waiting for a pause */
    struct vm_proc *p;
    json_t *id;
    int fd; /* passed with it, or -1 */
};

struct vm_proc {
    struct vm_config cfg;
    struct loop *loop;
    struct vm *vm;
    struct lines *link;
    struct vm_req *pausing; /* answered once the VM is paused */
    uint16_t pointer_x, pointer_y;
    uint32_t buttons;
    bool started, ended, sampling;
};

/* Each frees the request. value is consumed; NULL: an empty object. */
void vm_reply(struct vm_req *r, json_t *value);
void vm_reply_error(struct vm_req *r, const struct err *e);
void vm_proc_event(struct vm_proc *p, const char *name, json_t *data);
/* Tells the supervisor how the VM ended, and leaves the loop. */
void vm_proc_end(struct vm_proc *p, const char *why, int status, const char *text);
/* A line of the supervisor. */
void vm_proc_line(void *opaque, const char *text, size_t len, int fd);
/* Answers commands that waited for this state. */
void vm_proc_paused(struct vm_proc *p);

/* A command: takes the request, answers it now or later. */
typedef void vm_cmd_fn(struct vm_proc *p, struct vm_req *r, const json_t *args);
#define SUP_CMD(name, cname, args, help)
#define VM_CMD(name, cname, args, help) vm_cmd_fn vm_cmd_##cname;
#include "vmm/ctl/cmds.def"
#undef SUP_CMD
#undef VM_CMD

#endif
