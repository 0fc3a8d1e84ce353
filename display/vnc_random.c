/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libvncserver fills its authentication challenge from random() seeded with time and process id. It
 * calls this function through the dynamic symbol table, so the program's own definition wins (linked
 * with -rdynamic; vnc_server.c checks that at start). */
#include <sys/random.h>

#include "display/vnc_priv.h"

#define CHALLENGE_SIZE 16

void rfbRandomBytes(unsigned char *bytes);

static _Atomic unsigned calls;

unsigned vnc_random_calls(void)
{
    return calls;
}

void rfbRandomBytes(unsigned char *bytes)
{
    size_t done = 0;

    calls++;
    while (done < CHALLENGE_SIZE) { /* it fails only when interrupted */
        ssize_t n = getrandom(bytes + done, CHALLENGE_SIZE - done, 0);
        if (n > 0)
            done += (size_t)n;
    }
}
