/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Console multiplexer of one serial port: bytes of the guest go to every attached stream, to a log and to a
 * scrollback; bytes from any stream go to the guest. A slow reader never stops the guest: what it cannot
 * take in time is dropped for that reader alone, except for the primary stream (stdio), which is flow
 * controlled. Loop thread and vCPU threads, machine lock. */
#ifndef VMDECK_CHR_CHR_H
#define VMDECK_CHR_CHR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/base/err.h"
#include "vmm/base/loop.h"

#define CHR_SCROLLBACK (256 * 1024)

struct chr;

struct chr *chr_new(struct loop *loop);
/* Waits, but not for ever, until the primary stream has taken what the guest wrote. */
void chr_free(struct chr *c);
/* Device side. rx: bytes for the guest; returns how many it took, the rest is kept until chr_rx_ready. */
void chr_set_device(struct chr *c, size_t (*rx)(void *opaque, const uint8_t *p, size_t n), void *opaque);
void chr_rx_ready(struct chr *c);
/* Bytes from the guest. False: the primary stream is full and took none; the device keeps its transmitter
 * busy until tx_ready is called. */
bool chr_write(struct chr *c, const uint8_t *p, size_t n);
void chr_set_tx_ready(struct chr *c, void (*fn)(void *opaque), void *opaque);
/* Primary stream: stdio or a file. in may be -1, in and out may be equal. They become the chr's. End of
 * file on in just ends input. */
void chr_set_primary(struct chr *c, int in, int out);
/* Every byte is appended to log_fd as well, to at most max bytes, then the file starts anew. */
void chr_set_log(struct chr *c, int log_fd, uint64_t max);
/* One more stream (a client's socket), which gets the scrollback first. Closed by us at end of file. */
void chr_attach(struct chr *c, int fd);
/* The last bytes of the guest, oldest first, at most max; returns how many. */
size_t chr_scrollback(const struct chr *c, uint8_t *dst, size_t max);

#endif
