/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The vnc process of one VM: exports a surface over RFB and sends viewers' keys and pointers to the VM.
 *
 * libvncserver does the encodings and nothing else: it never sees a viewer's socket. Our own relay
 * accepts, greets and times out connections, checks every message before the library gets it whole, and
 * buffers what the library sends, so that no viewer can hold up another (vnc_conn.c). Input is taken out
 * by the relay and does not pass through the library at all (vnc_input.c). */
#ifndef VMDECK_DISPLAY_VNC_H
#define VMDECK_DISPLAY_VNC_H

#include <stdbool.h>

#include "vmm/base/err.h"

#define VNC_LISTEN_MAX 4
#define VNC_PASSWORD_MAX 8 /* what VNC authentication looks at */

/* The descriptors become vnc_run's. */
struct vnc_cfg {
    int surface_fd; /* read-only is enough */
    int input_fd;   /* SOCK_SEQPACKET, takes struct input_event */
    int listen_fds[VNC_LISTEN_MAX]; /* bound and listening stream sockets, TCP or Unix */
    unsigned listen_count;
    const char *password; /* 1 to 8 characters count; never empty */
    const char *layout;   /* the guest's, for viewers that send keysyms */
    const char *name;     /* of the VM, shown by viewers */
    /* Socket or pipe for records of one line each, -1: none. "viewers N", "connect PEER",
     * "disconnect PEER", "wrong-password PEER", "refused PEER: REASON"; PEER is "127.0.0.1" or "uid 1000". */
    int status_fd;
};

/* Serves until the input socket or a socket in status_fd is closed at the other end. Returns the exit
 * status of the process: 0, or 1 after an error was logged. One call per process: the library has globals. */
int vnc_run(const struct vnc_cfg *cfg);

#endif
