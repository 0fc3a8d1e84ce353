/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The system tests of tests/cpu/asm under KVM, with the software CPU executing what KVM does not. TAP.
 *
 * With the processor's virtualization each of them must pass. A KVM that emulates the processor, which is measured,
 * is not complete (no limit of the real-mode IDT, no breakpoints, no virtual-8086 mode, interrupts late, ...): what
 * fails there is skipped, and the line says what happened and where. */
#include "tests/lib/test.h"

#include <fcntl.h>
#include <stdio.h>

#include "tests/lib/asmrun.h"

static struct accel_probe probe;
static bool failed;

static const char *describe(const struct asm_result *r, char *buf, size_t size)
{
    switch (r->outcome) {
    case ASM_TIMEOUT: return "no end";
    case ASM_SHUTDOWN: return "triple fault";
    case ASM_ERROR: return "error";
    default: snprintf(buf, size, "result %d", r->outcome); return buf;
    }
}

static void run(const char *name, unsigned cpus, enum cpu_model model, int expected)
{
    struct asm_host host = {.ops = &accel_kvm, .kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC),
                            .timeout = probe.kvm_fast ? 30 : 10};
    struct asm_result r;
    char word[32];

    asm_run(&host, name, cpus, model, &r);
    for (char *p = r.text; *p; p++)
        if (*p == '\n')
            *p = ' ';
    bool ok = r.outcome == expected;
    bool excused = !ok && !probe.kvm_fast && r.outcome != ASM_ERROR;
    printf("%sok - asm/%s with %u vCPUs under KVM", ok || excused ? "" : "not ", name, cpus);
    if (excused)
        printf(" # SKIP %s", probe.reason);
    if (!ok)
        printf(": %s at %x:%llx: %s", describe(&r, word, sizeof(word)), r.cs, (unsigned long long)r.rip, r.text);
    printf(" (%llu instructions in software)\n", (unsigned long long)r.fallback);
    failed |= !ok && !excused;
    fflush(stdout);
}

int main(void)
{
    accel_probe_kvm(&probe);
    if (!probe.kvm_usable) {
        printf("ok - asm under KVM # SKIP %s\n", probe.reason);
        return 0;
    }
#define RUN(name, cpus, model, expected) run(#name, cpus, model, expected);
    ASM_TESTS(RUN)
    return failed;
}
