/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The system tests of tests/cpu/asm with the vCPU's state handed to KVM and taken back before each instruction, which
 * the software CPU executes: what happens, now and then, to an instruction that KVM cannot run. Modes, hidden parts
 * of segments, shadows and pending events must survive; the tests notice. No instruction runs in KVM, so that it is
 * nearly the same with a KVM that emulates: where such a one does not keep a mode, the test ends with a skip. TAP. */
#include "tests/lib/test.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/asmrun.h"
#include "vmm/base/alloc.h"
#include "vmm/base/bits.h"
#include "vmm/base/fd.h"
#include "vmm/cpu/cpu.h"

#define RAM_SIZE  (16 * MIB)
#define LOAD_AT   0x7c00
#define PORT_TEXT 0xe9
#define PORT_EXIT 0xf4
#define STEPS_MAX 2000000

struct machine {
    struct mem *mem;
    struct bus *bus;
    struct clock *clock;
    struct cpu_set *set;
    struct accel *kvm;
    int outcome; /* ASM_TIMEOUT while it runs */
    char text[128];
    size_t len;
};

static uint64_t pio_read(void *opaque, uint16_t port, unsigned size)
{
    (void)opaque, (void)port;
    return mask_bytes(size);
}

static void pio_write(void *opaque, uint16_t port, uint64_t value, unsigned size)
{
    struct machine *m = opaque;

    (void)size;
    if (port == PORT_TEXT && m->len + 1 < sizeof(m->text))
        m->text[m->len++] = (char)value;
    else if (port == PORT_EXIT)
        m->outcome = (uint8_t)value;
}

static uint64_t mmio_read(void *opaque, uint64_t gpa, unsigned size)
{
    (void)opaque, (void)gpa;
    return mask_bytes(size);
}

static void mmio_write(void *opaque, uint64_t gpa, uint64_t value, unsigned size)
{
    (void)opaque, (void)gpa, (void)value, (void)size;
}

static const struct cpu_io_ops io_ops = {
    .pio_read = pio_read, .pio_write = pio_write, .mmio_read = mmio_read, .mmio_write = mmio_write};

static bool load(struct machine *m, const char *name, struct err *e)
{
    char exe[PATH_MAX] = "", path[PATH_MAX];
    size_t len = 0;

    if (readlink("/proc/self/exe", exe, sizeof(exe) - 1) <= 0)
        return err_set(e, ERR_IO, "no path");
    *strrchr(exe, '/') = 0;
    if (snprintf(path, sizeof(path), "%s/asm/%s.bin", exe, name) >= (int)sizeof(path))
        return err_set(e, ERR_LIMIT, "path too long");
    char *image = fd_read_file(AT_FDCWD, path, MIB, &len, e);
    bool ok = image && mem_write(m->mem, LOAD_AT, image, len);
    x_free(image);
    return ok;
}

/* False when KVM did not take the state as it is. */
static bool hand_over(struct accel *kvm, struct x86_state *s, struct err *e)
{
    uint64_t rflags = s->rflags, cr0 = s->cr0, cr4 = s->cr4, efer = s->efer;

    if (!accel_kvm.set_state(kvm, 0, s, e) || !accel_kvm.get_state(kvm, 0, s, e))
        return false;
    if (s->rflags == rflags && s->cr0 == cr0 && s->cr4 == cr4 && s->efer == efer)
        return true;
    return err_set(e, ERR_UNSUPPORTED, "KVM does not keep RFLAGS %#llx, CR0 %#llx, CR4 %#llx, EFER %#llx",
                   (unsigned long long)rflags, (unsigned long long)cr0, (unsigned long long)cr4,
                   (unsigned long long)efer);
}

static bool step(struct machine *m, struct x86_state *s, struct err *e)
{
    struct cpu *c = cpu_get(m->set, 0);

    if (!hand_over(m->kvm, s, e))
        return false;
    cpu_set_state(c, s);
    if (!cpu_step(c))
        m->outcome = ASM_SHUTDOWN;
    cpu_get_state(c, s);
    return true;
}

/* cpu_step takes no interrupts; a KVM may lack compacted XSAVE areas and IA32_XSS. */
static bool left_out(const char *name)
{
    return strcmp(name, "apic") == 0 || strcmp(name, "nmi") == 0 || strcmp(name, "xsave") == 0;
}

static bool run(const struct accel_probe *probe, const char *name, int expected)
{
    enum cpu_model model = CPU_X86_64_V2; /* has nothing that a KVM may lack */
    struct machine m = {.outcome = ASM_TIMEOUT};
    struct x86_state *s = x_alloc(sizeof(*s));
    struct err e = ERR_INIT;
    unsigned steps = 0;

    m.mem = mem_new(RAM_SIZE, &e);
    m.bus = bus_new(m.mem);
    m.clock = clock_new(NULL, NULL, true);
    m.set = cpu_set_new(&(struct cpu_set_cfg){.mem = m.mem, .io = &io_ops, .io_opaque = &m, .count = 1, .model = model}, &e);
    m.kvm = accel_kvm.create(&(struct accel_cfg){.bus = m.bus, .clock = m.clock, .cpus = 1, .model = model,
                                                 .kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC)},
                             &e);
    bool ok = m.set && m.kvm && accel_kvm.vcpu_init(m.kvm, 0, &e) && load(&m, name, &e);
    x86_state_reset(s, 0, true, false);
    s->seg[X86_CS].sel = 0;
    s->seg[X86_CS].base = 0;
    s->rip = LOAD_AT;
    while (ok && m.outcome == ASM_TIMEOUT && steps++ < STEPS_MAX)
        ok = step(&m, s, &e);
    bool excused = !ok && m.kvm && !probe->kvm_fast;
    bool passed = ok && m.outcome == expected;
    ok = passed || excused;
    printf("%sok - asm/%s handed over to KVM %u times", ok ? "" : "not ", name, steps);
    if (excused)
        printf(" # SKIP %s: %s, at %x:%llx", probe->reason, e.msg, s->seg[X86_CS].sel, (unsigned long long)s->rip);
    else if (!passed)
        printf(": result %d, expected %d, at %x:%llx: %s%s", m.outcome, expected, s->seg[X86_CS].sel,
               (unsigned long long)s->rip, m.text, e.msg);
    printf("\n");
    if (m.kvm)
        accel_kvm.destroy(m.kvm);
    if (m.set)
        cpu_set_free(m.set);
    clock_free(m.clock);
    bus_free(m.bus);
    mem_free(m.mem);
    x_free(s);
    return ok;
}

int main(void)
{
    struct accel_probe probe;
    bool ok = true;

    accel_probe_kvm(&probe);
    if (!probe.kvm_usable) {
        printf("ok - asm with hand-over # SKIP %s\n", probe.reason);
        return 0;
    }
#define RUN(name, cpus, model, expected) ok &= left_out(#name) || run(&probe, #name, expected);
    ASM_TESTS(RUN)
    return !ok;
}
