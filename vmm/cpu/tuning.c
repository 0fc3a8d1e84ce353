/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/cpu/cpu_priv.h"

/* Code memory of all vCPUs together, and the least that one has. */
#define CODE_MEMORY     (128 * MIB)
#define CODE_MEMORY_MIN (16 * MIB)
#define CODE_MEMORY_LEAST (512 * KIB) /* asked for by a test */

static bool is_power(unsigned long n)
{
    return n && !(n & (n - 1));
}

static void apply(struct cpu_tuning *t, const char *key, const char *text)
{
    unsigned long value = strtoul(text, NULL, 0);

    if (strcmp(key, "interpret") == 0)
        t->interpret = true;
    else if (strcmp(key, "verify") == 0)
        t->verify = true;
    else if (strcmp(key, "wrong") == 0)
        snprintf(t->wrong, sizeof(t->wrong), "%s", text);
    else if (strcmp(key, "perfmap") == 0)
        t->perf_map = true;
    else if (strcmp(key, "evict") == 0)
        t->evict = true;
    else if (strcmp(key, "heat") == 0 && value >= 1 && value <= 100)
        t->heat = (unsigned)value;
    else if (strcmp(key, "code") == 0 && value >= CODE_MEMORY_LEAST && value <= CODE_MEMORY)
        t->code_memory = ALIGN_UP((size_t)value, (size_t)PAGE_SIZE);
    else if (strcmp(key, "tlb") == 0 && is_power(value) && value >= 16 && value <= TLB_MAX)
        t->tlb_min = t->tlb_max = (unsigned)value;
}

struct cpu_tuning cpu_tuning_default(unsigned vcpus)
{
    struct cpu_tuning t = {.heat = 16, .code_memory = MAX(CODE_MEMORY / vcpus, CODE_MEMORY_MIN),
                           .tlb_min = 1024, .tlb_max = TLB_MAX};
    const char *env = getenv("VMDECK_CPU");
    char item[64];

    for (size_t n; env && *env; env += n + (env[n] == ',')) {
        n = strcspn(env, ",");
        if (n >= sizeof(item))
            continue;
        memcpy(item, env, n);
        item[n] = 0;
        char *eq = strchr(item, '=');
        if (eq)
            *eq++ = 0;
        apply(&t, item, eq ? eq : "");
    }
    return t;
}
