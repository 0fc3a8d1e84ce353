/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Parts of the vnc process: the relay thread (vnc.c, vnc_conn.c, vnc_input.c) and the library's thread
 * (vnc_server.c). They share struct vnc_link and a socketpair per viewer. */
#ifndef VMDECK_DISPLAY_VNC_PRIV_H
#define VMDECK_DISPLAY_VNC_PRIV_H

#include <stddef.h>
#include <stdint.h>

#include "display/input.h"
#include "display/keymap.h"
#include "display/surface.h"
#include "display/vnc.h"

/* ---- vnc_server.c: the library's thread ---- */

enum vnc_auth { VNC_AUTH_PENDING, VNC_AUTH_OK, VNC_AUTH_WRONG };

/* One viewer as both threads know it; freed by the last of them. */
struct vnc_link {
    _Atomic int refs;
    _Atomic int auth; /* enum vnc_auth, set by the library's thread before it answers the viewer */
};
struct vnc_link *vnc_link_new(void); /* one reference */
void vnc_link_put(struct vnc_link *link);

struct vnc_server;

struct vnc_server *vnc_server_new(const struct vnc_cfg *cfg, struct surface *surface, struct err *e);
void vnc_server_free(struct vnc_server *srv);
/* Relay thread: a viewer whose protocol version is already in the socket. Takes sock; takes its own
 * reference to link. */
void vnc_server_add(struct vnc_server *srv, int sock, struct vnc_link *link);
/* Size of the desktop as viewers know it, any thread. */
void vnc_server_size(const struct vnc_server *srv, unsigned *width, unsigned *height);

/* vnc_random.c; how often the library or anybody has asked for random bytes */
unsigned vnc_random_calls(void);

/* ---- vnc_input.c: relay thread ---- */

#define VNC_INPUT_QUEUE 512

struct vnc_input {
    int fd;
    const struct keymap *km;
    uint8_t held[KEYMAP_CODES]; /* viewers that hold the key down */
    bool caps;                  /* Caps Lock as far as we have toggled it */
    struct input_event queue[VNC_INPUT_QUEUE];
    unsigned head, count;
};

/* What one viewer holds. */
struct vnc_keys {
    uint32_t down[KEYMAP_CODES / 32];
    bool level3;        /* AltGr as a keysym of its own */
    int64_t ctrl_ns;    /* when Control_L went down */
    uint8_t buttons;
    uint16_t x, y;
    bool warned;
};

void vnc_input_keysym(struct vnc_input *in, struct vnc_keys *k, bool down, uint32_t keysym);
void vnc_input_xt(struct vnc_input *in, struct vnc_keys *k, bool down, uint32_t xt);
/* x, y already scaled to 0..INPUT_ABS_MAX. */
void vnc_input_pointer(struct vnc_input *in, struct vnc_keys *k, uint8_t mask, uint16_t x, uint16_t y);
/* The viewer went away: releases what it holds. */
void vnc_input_leave(struct vnc_input *in, struct vnc_keys *k, bool last);
/* Sends what is queued; false when the VM is gone. */
bool vnc_input_flush(struct vnc_input *in);

/* ---- vnc_conn.c: relay thread ---- */

struct vnc_peer { /* who fails to log in */
    char name[64];
    unsigned failures;
    int64_t next_try; /* the next answer is looked at no earlier */
    int64_t used;
};

struct vnc_relay;
struct vnc_conn;

struct vnc_conn *vnc_conn_new(struct vnc_relay *relay, int fd, const char *peer);
/* reason: for the status record, NULL when nobody needs to know. */
void vnc_conn_free(struct vnc_conn *c, const char *reason);
int vnc_conn_fd(const struct vnc_conn *c);
int vnc_conn_library_fd(const struct vnc_conn *c); /* -1 before the version is known */
/* Events (poll) to wait for on each. */
short vnc_conn_events(const struct vnc_conn *c);
short vnc_conn_library_events(const struct vnc_conn *c);
/* Does all that can be done now. False: free it, *reason says why (may be NULL). */
bool vnc_conn_step(struct vnc_conn *c, int64_t now, const char **reason);
/* Time of the next vnc_conn_step without an event, INT64_MAX for never. */
int64_t vnc_conn_deadline(const struct vnc_conn *c);
bool vnc_conn_is_viewer(const struct vnc_conn *c); /* authenticated */
int64_t vnc_conn_since(const struct vnc_conn *c);

/* ---- vnc.c ---- */

#define VNC_PEERS 32

struct vnc_relay {
    struct vnc_server *server;
    struct vnc_input input;
    int status_fd;
    unsigned viewers;
    struct vnc_peer peers[VNC_PEERS];
};

struct vnc_peer *vnc_peer_find(struct vnc_relay *relay, const char *name, int64_t now);
void vnc_status(struct vnc_relay *relay, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
