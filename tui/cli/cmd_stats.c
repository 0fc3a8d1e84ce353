/* SPDX-License-Identifier: GPL-2.0-or-later */
/* stats: what a running VM has done, and what its vCPUs do right now. */
#include <stdio.h>
#include <string.h>

#include "tui/cli/cli.h"
#include "tui/client/client.h"
#include "vmm/base/clock.h"

#define SAMPLE_MS 1000
#define HOT       10 /* blocks in text; JSON has more */

const struct cli_opt opts_stats[] = {
    {"json", 0, NULL, "Print JSON: the answer of x-stats."},
    {"cpu", 0, NULL, "Each vCPU; of the software CPU also where it spends a second, and its hottest blocks."},
    {0},
};

static double number(const json_t *o, const char *key)
{
    return (double)json_integer_value(json_object_get(o, key));
}

static unsigned long long count(const json_t *o, const char *key)
{
    return (unsigned long long)json_integer_value(json_object_get(o, key));
}

static void put_bytes(double v)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    unsigned u = 0;

    for (; v >= 1024 && u < 4; u++)
        v /= 1024;
    printf(u && v < 100 ? "%.1f %s" : "%.0f %s", v, units[u]);
}

static void label(const char *text)
{
    printf("  %-22s ", text);
}

/* ---- the VM ---- */

static unsigned long long sum(const json_t *cpus, const char *key)
{
    unsigned long long total = 0;
    const json_t *c;
    size_t i;

    json_array_foreach((json_t *)(uintptr_t)cpus, i, c)
    {
        total += count(c, key);
    }
    return total;
}

static void put_exits(unsigned long long all, unsigned long long pio, unsigned long long mmio, unsigned long long halts)
{
    label("exits");
    printf("%llu: %llu port I/O, %llu memory-mapped I/O, %llu halts, %llu others\n", all, pio, mmio, halts,
           all - pio - mmio - halts);
}

static void put_vm(const char *name, const json_t *stats)
{
    const json_t *cpus = json_object_get(stats, "vcpus");
    double up = number(stats, "uptime-ns") / 1e9, cpu = number(stats, "cpu-ns") / 1e9;

    printf("%s: up %.1f s\n", name, up);
    label("CPU time");
    printf("%.1f s on %zu vCPUs, %.0f %% of a core\n", cpu, json_array_size(cpus), up > 0 ? cpu / up * 100 : 0);
    label("disks");
    put_bytes(number(stats, "disk-read-bytes"));
    printf(" read, ");
    put_bytes(number(stats, "disk-write-bytes"));
    printf(" written\n");
    put_exits(sum(cpus, "exits"), sum(cpus, "pio"), sum(cpus, "mmio"), sum(cpus, "halts"));
    label("interrupts");
    printf("%llu\n", sum(cpus, "interrupts"));
}

/* ---- a vCPU ---- */

static void put_translator(const json_t *t)
{
    const json_t *exits = json_object_get(t, "exits"), *v;
    const char *kind, *comma = "";

    label("translated");
    printf("%llu blocks of %llu instructions, ", count(t, "blocks"), count(t, "instructions"));
    put_bytes(number(t, "guest-bytes"));
    printf(" to ");
    put_bytes(number(t, "host-bytes"));
    printf("; %llu moved to other addresses\n", count(t, "moved"));
    label("code memory");
    put_bytes(number(t, "code-used"));
    printf(" of ");
    put_bytes(number(t, "code-size"));
    printf(" hold %llu blocks; %llu flushes threw %llu away\n", count(t, "blocks-now"), count(t, "flushes"),
           count(t, "evicted"));
    label("stores to their pages");
    printf("%llu blocks, %llu of them the same afterwards\n", count(t, "overwritten"), count(t, "revived"));
    if (count(t, "compared")) {
        label("compared");
        printf("%llu instructions in %llu segments, %llu of them again\n", count(t, "compared-instructions"),
               count(t, "compared"), count(t, "compared-again"));
    }
    label("left translated code");
    json_object_foreach((json_t *)(uintptr_t)exits, kind, v)
    {
        printf("%s%s %llu", comma, kind, (unsigned long long)json_integer_value(v));
        comma = ", ";
    }
    printf("\n");
}

static void put_profile(const json_t *p)
{
    const json_t *doing = json_object_get(p, "doing"), *hot = json_object_get(p, "hot"), *v;
    double samples = number(p, "samples");
    const char *what, *comma = "";
    size_t i;

    label("time");
    json_object_foreach((json_t *)(uintptr_t)doing, what, v)
    {
        if (json_integer_value(v) == 0)
            continue;
        printf("%s%s %.1f %%", comma, what, (double)json_integer_value(v) / samples * 100);
        comma = ", ";
    }
    printf(" (%.0f samples)\n", samples);
    json_array_foreach((json_t *)(uintptr_t)hot, i, v)
    {
        if (i == HOT)
            break;
        label(i == 0 ? "hottest blocks" : "");
        printf("%5.1f %%  %s, %llu instructions, %s %llu-bit\n", number(v, "samples") / samples * 100,
               json_string_value(json_object_get(v, "address")), count(v, "instructions"),
               count(v, "cpl") ? "user" : "kernel", count(v, "bits"));
    }
}

static void put_cpu(size_t index, const json_t *c)
{
    const json_t *tlb = json_object_get(c, "tlb"), *translator = json_object_get(c, "translator");
    const json_t *profile = json_object_get(c, "profile");

    printf("vCPU %zu:\n", index);
    put_exits(count(c, "exits"), count(c, "pio"), count(c, "mmio"), count(c, "halts"));
    label("interrupts");
    if (!tlb) {
        printf("%llu; %llu instructions left to the software CPU\n", count(c, "interrupts"), count(c, "fallback"));
        return;
    }
    printf("%llu, and %llu exceptions\n", count(c, "interrupts"), count(c, "exceptions"));
    label("halted");
    printf("%.1f s\n", number(c, "halted-ns") / 1e9);
    label("interpreted");
    printf("%llu instructions\n", count(c, "instructions"));
    if (translator)
        put_translator(translator);
    label("TLB");
    printf("%llu entries, %llu misses, %llu flushes\n", count(tlb, "slots"), count(tlb, "fills"),
           count(tlb, "flushes"));
    if (profile)
        put_profile(profile);
}

/* Without samples where there are none to be had: under KVM, or while the VM is paused. */
static json_t *get(const char *name, bool samples, struct err *e)
{
    json_t *v = NULL;

    if (samples)
        v = client_call_once(name, "x-stats", json_pack("{si}", "sample-ms", SAMPLE_MS), e);
    if (!v && (!samples || e->code == ERR_UNSUPPORTED || e->code == ERR_STATE)) {
        *e = (struct err)ERR_INIT;
        v = client_call_once(name, "x-stats", NULL, e);
    }
    return v;
}

int cmd_stats(const struct cli_args *a, struct err *e)
{
    const char *name = a->words[0];
    bool each = cli_flag(a, "cpu");
    json_t *stats = get(name, each, e);
    const json_t *c;
    size_t i;

    if (!stats)
        return 1;
    if (a->json) {
        cli_print_json(json_pack("{s{ssso}}", "vm", "name", name, "stats", stats));
        return 0;
    }
    put_vm(name, stats);
    json_array_foreach(json_object_get(stats, "vcpus"), i, c)
    {
        if (each)
            put_cpu(i, c);
    }
    json_decref(stats);
    return 0;
}
