/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest's time stamp counter: nanoseconds of the set's clock plus an offset, that is, a TSC of
 * exactly 1 GHz. All vCPUs read one source, so they agree without synchronisation; guest time that is
 * paused stands still here as in every timer; and a VM may move to a host with another frequency. */
#include "vmm/cpu/cpu_priv.h"

static int64_t now(const struct cpu *c)
{
    return c->set->cfg.clock ? clock_now(c->set->cfg.clock) : clock_now_ns();
}

uint64_t cpu_tsc(struct cpu *c)
{
    return (uint64_t)(now(c) + c->tsc_offset);
}

/* States are loaded one vCPU after another, while the clock goes on: offsets that differ by less than a
 * second were meant to be the same, and a guest that saw them differ would distrust its TSC. */
void cpu_tsc_set(struct cpu *c, uint64_t tsc)
{
    struct cpu_set *set = c->set;
    int64_t offset = (int64_t)(tsc - (uint64_t)now(c));
    uint64_t apart = (uint64_t)offset - (uint64_t)set->tsc_offset;

    if (set->cfg.count == 1 || apart + NS_PER_S > 2 * NS_PER_S)
        set->tsc_offset = offset;
    c->tsc_offset = set->tsc_offset;
}
