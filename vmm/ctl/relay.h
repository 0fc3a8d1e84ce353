/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Joins standard input and output to a socket, byte for byte and unbuffered, by two blocking threads: whatever
 * kind of file they are, no flag of theirs is changed (they may be shared with a shell).
 *
 * When standard input is a terminal it is put into raw mode until the end, and Ctrl-] followed by x calls quit,
 * Ctrl-] twice sends one. */
#ifndef VMDECK_CTL_RELAY_H
#define VMDECK_CTL_RELAY_H

#include <stdbool.h>

#include "vmm/base/err.h"

struct relay;

/* sock becomes the relay's. quit is called on a thread of the relay. */
struct relay *relay_start(int sock, void (*quit)(void *opaque), void *opaque, struct err *e);
/* Once the peer has closed its end: waits until all it sent is written, restores the terminal. */
void relay_end(struct relay *r);

#endif
