/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Measures /dev/kvm instead of believing that it exists: a counting loop in a scratch VM takes
 * microseconds on hardware and milliseconds on a KVM that emulates every instruction (nested
 * without hardware support), which the software CPU beats by far. */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/accel/accel.h"
#include "vmm/base/buf.h"
#include "vmm/base/fd.h"

#define LOOP_TURNS 10000
/* two instructions a turn; hardware does thousands of millions a second, emulation about two */
#define FAST_MIPS 100.0

/* mov cx,LOOP_TURNS; 1: dec cx; jnz 1b; hlt */
static const uint8_t program[] = {0xb9, LOOP_TURNS & 0xff, LOOP_TURNS >> 8, 0x49, 0x75, 0xfd, 0xf4};

struct scratch {
    int vm, vcpu;
    uint8_t *page;
    struct kvm_run *run;
    size_t run_size;
};

static bool scratch_open(int kvm, struct scratch *s)
{
    struct kvm_userspace_memory_region region = {.memory_size = PAGE_SIZE};
    struct kvm_sregs sregs;
    struct kvm_regs regs = {.rflags = 2};

    s->vm = ioctl(kvm, KVM_CREATE_VM, 0);
    if (s->vm < 0)
        return false;
    s->page = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (s->page == MAP_FAILED)
        return false;
    memcpy(s->page, program, sizeof(program));
    region.userspace_addr = (uintptr_t)s->page;
    if (ioctl(s->vm, KVM_SET_USER_MEMORY_REGION, &region) < 0)
        return false;
    s->vcpu = ioctl(s->vm, KVM_CREATE_VCPU, 0UL);
    if (s->vcpu < 0)
        return false;
    s->run_size = (size_t)ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
    s->run = mmap(NULL, s->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, s->vcpu, 0);
    if (s->run == MAP_FAILED || ioctl(s->vcpu, KVM_GET_SREGS, &sregs) < 0)
        return false;
    sregs.cs.base = 0;
    sregs.cs.selector = 0;
    return ioctl(s->vcpu, KVM_SET_SREGS, &sregs) == 0 && ioctl(s->vcpu, KVM_SET_REGS, &regs) == 0;
}

static void scratch_close(struct scratch *s)
{
    if (s->run && s->run != MAP_FAILED)
        munmap(s->run, s->run_size);
    fd_close(&s->vcpu);
    fd_close(&s->vm);
    if (s->page && s->page != MAP_FAILED)
        munmap(s->page, PAGE_SIZE);
}

static void say(struct accel_probe *p, const char *reason, const char *hint)
{
    str_copy(p->reason, sizeof(p->reason), reason);
    str_copy(p->hint, sizeof(p->hint), hint);
}

static void measure(int kvm, struct accel_probe *out)
{
    struct scratch s = {.vm = -1, .vcpu = -1};
    int64_t start, ns;

    if (!scratch_open(kvm, &s)) {
        snprintf(out->reason, sizeof(out->reason), "/dev/kvm cannot make a VM: %s",
                 strerror(errno));
        scratch_close(&s);
        return;
    }
    start = clock_now_ns();
    int rc = ioctl(s.vcpu, KVM_RUN, 0);
    ns = clock_now_ns() - start;
    if (rc < 0 || s.run->exit_reason != KVM_EXIT_HLT) {
        snprintf(out->reason, sizeof(out->reason), "/dev/kvm cannot run a guest: exit reason %u",
                 rc < 0 ? 0 : s.run->exit_reason);
    } else {
        out->kvm_usable = true;
        out->kvm_mips = 2.0 * LOOP_TURNS * 1000.0 / (double)(ns > 0 ? ns : 1);
        out->kvm_fast = out->kvm_mips >= FAST_MIPS;
        if (!out->kvm_fast)
            snprintf(out->reason, sizeof(out->reason),
                     "/dev/kvm emulates (%.1f million instructions/s): the software CPU is faster",
                     out->kvm_mips);
    }
    scratch_close(&s);
}

void accel_probe_kvm(struct accel_probe *out)
{
    memset(out, 0, sizeof(*out));
    int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

    if (fd < 0) {
        out->kvm_present = errno != ENOENT && errno != ENXIO && errno != ENODEV;
        if (errno == EACCES || errno == EPERM)
            say(out, "/dev/kvm: permission denied",
                "join the group that owns it: sudo usermod -aG kvm $USER, then log in again");
        else if (!out->kvm_present)
            say(out, "/dev/kvm does not exist",
                "enable virtualization in the host's firmware or, in a cloud VM, nested "
                "virtualization");
        else
            snprintf(out->reason, sizeof(out->reason), "/dev/kvm: %s", strerror(errno));
        return;
    }
    out->kvm_present = true;
    measure(fd, out);
    close(fd);
}
