/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Stand-ins until the vector files are here; weak, so that those win. */
#include "vmm/cpu/cpu_priv.h"

static char nothing;

__attribute__((weak)) bool vec_decode(struct cpu *c, struct insn *i, const void *zinsn, const void *zops)
{
    (void)c;
    (void)i;
    (void)zinsn;
    (void)zops;
    return false;
}

__attribute__((weak)) struct vec_ctx *vec_ctx_new(struct err *e)
{
    (void)e;
    return (struct vec_ctx *)&nothing;
}

__attribute__((weak)) void vec_ctx_free(struct vec_ctx *v)
{
    (void)v;
}
