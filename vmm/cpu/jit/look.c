/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Translated code seen from outside: which block a host address belongs to, how much there is, and perf's map. */
#include <stdio.h>
#include <unistd.h>

#include "vmm/cpu/jit/jit_priv.h"
#include "vmm/cpu/jit/verify.h"

/* The last block whose hot or cold code begins at or before host. */
static const struct jit_block *last_before(const struct jit *j, const uint8_t *host, bool cold)
{
    uint32_t low = 0, high = j->block_count;

    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        const struct jit_block *b = j->blocks[mid];

        if ((cold ? b->cold : b->entry) <= host)
            low = mid + 1;
        else
            high = mid;
    }
    return low ? j->blocks[low - 1] : NULL;
}

const struct jit_block *jit_block_at(const struct jit *j, const void *host)
{
    const uint8_t *at = host;
    bool cold = at >= j->rx + j->hot_end;
    const struct jit_block *b = last_before(j, at, cold);

    if (!b)
        return NULL;
    return cold ? (size_t)(at - b->cold) < b->cold_size ? b : NULL : (size_t)(at - b->entry) < b->hot_size ? b : NULL;
}

bool jit_locate(const struct cpu *c, uintptr_t host, struct cpu_hot *out)
{
    const struct jit *j = c->jit;

    if (!j || host - (uintptr_t)j->rx >= j->size)
        return false;
    const struct jit_block *b = jit_block_at(j, (const void *)host);
    *out = (struct cpu_hot){0};
    if (b)
        *out = (struct cpu_hot){.rip = b->rip, .instructions = b->insn_count, .cpl = b->mode & JM_USER ? 3 : 0,
                                .bits = b->mode & MODE_CODE64 ? 64 : 32};
    return true;
}

void jit_get_stats(const struct cpu *c, struct cpu_jit_stats *out)
{
    const struct jit *j = c->jit;

    if (!j)
        return;
    out->blocks_now = j->block_count;
    out->code_used = j->hot + (j->cold - j->hot_end);
    out->code_size = j->size;
    if (c->verify)
        verify_get_stats(c->verify, out);
}

/* ---- perf's map: lines of address, size and name ---- */

static int map_fd(const struct jit *j)
{
    const struct cpu_tuning *t = &j->cpu->set->tuning;

    return t->perf_map ? t->perf_map_fd : 0;
}

static void map_line(int fd, const void *host, size_t size, const struct jit_block *b, const char *suffix)
{
    if (b)
        dprintf(fd, "%lx %zx guest_%s_0x%llx%s\n", (unsigned long)(uintptr_t)host, size,
                b->mode & JM_USER ? "user" : "kernel", (unsigned long long)b->rip, suffix);
    else
        dprintf(fd, "%lx %zx vmdeck_stubs\n", (unsigned long)(uintptr_t)host, size);
}

void jit_map_block(const struct jit *j, const struct jit_block *b)
{
    int fd = map_fd(j);

    if (fd <= 0)
        return;
    if (!b) {
        map_line(fd, j->rx, j->start, NULL, "");
        return;
    }
    map_line(fd, b->entry, b->hot_size, b, "");
    map_line(fd, b->cold, b->cold_size, b, "_cold");
}

/* Only a lone vCPU can take back what it has written; of several, what is wrong stays in the file. */
void jit_map_flush(const struct jit *j)
{
    int fd = map_fd(j);

    if (fd <= 0)
        return;
    if (j->cpu->set->cfg.count == 1 && ftruncate(fd, 0) < 0)
        return;
    jit_map_block(j, NULL);
}
