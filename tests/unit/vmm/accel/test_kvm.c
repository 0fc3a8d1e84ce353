/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The KVM provider on the real /dev/kvm: port and memory I/O, ROM, dirty log, doorbells, kicks, and the whole
 * state there and back. Skipped where /dev/kvm cannot be opened. */
#include "tests/lib/test.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "vmm/accel/accel.h"
#include "vmm/base/bits.h"
#include "vmm/base/buf.h"
#include "vmm/base/thread.h"

#define CODE 0x1000u

struct fixture {
    struct mem *mem;
    struct bus *bus;
    struct clock *clock;
    struct accel *accel;
    struct buf out;      /* bytes written to port 0xe9 */
    uint64_t last_gpa, last_value;
    bool stop;           /* a write to port 0xf4 ends run() */
};

static void port_write(void *opaque, uint16_t offset, uint32_t value, unsigned size)
{
    struct fixture *f = opaque;

    if (offset == 0)
        buf_add(&f->out, &value, size);
    else {
        f->stop = true;
        f->accel->ops->kick(f->accel, 0);
    }
}

static uint32_t port_read(void *opaque, uint16_t offset, unsigned size)
{
    (void)opaque;
    (void)size;
    return 0x5a00u + offset;
}

static uint64_t mmio_read(void *opaque, uint64_t offset, unsigned size)
{
    (void)opaque;
    (void)size;
    return 0x1122334400000000u + offset;
}

static void mmio_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct fixture *f = opaque;

    (void)size;
    f->last_gpa = offset;
    f->last_value = value;
}

static const struct pio_ops port_ops = {port_read, port_write, 4};
static const struct mmio_ops mmio_ops = {.read = mmio_read, .write = mmio_write};

static void no_extint(void *opaque, int level)
{
    (void)opaque;
    (void)level;
}

static bool offer_doorbell(void *opaque, bool pio, uint64_t address, unsigned size, int fd, bool add)
{
    struct fixture *f = opaque;

    return f->accel->ops->ioeventfd(f->accel, pio, address, size, fd, add);
}

static const struct bus_host_ops host_ops = {.extint = no_extint, .ioeventfd = offer_doorbell};

static bool have_kvm(void)
{
    int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static struct fixture *setup(void)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct err e = ERR_INIT;

    f->mem = mem_new(4 * MIB, &e);
    f->bus = bus_new(f->mem);
    f->clock = clock_new(NULL, NULL, true);
    bus_add_pio(f->bus, "out", 0xe9, 1, &port_ops, f);
    bus_add_pio(f->bus, "test", 0x500, 4, &port_ops, f);
    mem_add_mmio(f->mem, "test", 0xfeb00000, 0x1000, MEM_PRIO_DEVICE, &mmio_ops, f);
    f->accel = accel_kvm.create(&(struct accel_cfg){.bus = f->bus, .clock = f->clock, .cpus = 1,
                                                    .model = CPU_X86_64_V2,
                                                    .kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC)},
                                &e);
    if (!f->accel)
        fail_msg("%s", e.msg);
    bus_set_host(f->bus, &host_ops, f);
    assert_ok(accel_kvm.vcpu_init(f->accel, 0, &e));
    return f;
}

static void teardown(struct fixture *f)
{
    accel_kvm.destroy(f->accel);
    bus_free(f->bus);
    mem_free(f->mem);
    clock_free(f->clock);
    buf_free(&f->out);
    free(f);
}

static void flat(struct x86_seg *s, uint16_t sel, uint16_t attr)
{
    *s = (struct x86_seg){.sel = sel, .limit = 0xffffffff, .attr = attr};
}

/* 32-bit protected mode without paging, code at CODE. */
static void protected_mode(struct x86_state *s)
{
    x86_state_reset(s, 0, true, false);
    s->cr0 |= CR0_PE;
    flat(&s->seg[X86_CS], 8, 0xc09b);
    for (unsigned i = 0; i < 6; i++)
        if (i != X86_CS)
            flat(&s->seg[i], 16, 0xc093);
    s->rip = CODE;
    s->gpr[X86_RSP] = 0x8000;
}

static void run(struct fixture *f, const uint8_t *code, size_t len, struct x86_state *s)
{
    struct err e = ERR_INIT;
    enum accel_exit x = ACCEL_EXIT_KICK;

    assert_true(mem_write(f->mem, CODE, code, len));
    assert_ok(accel_kvm.set_state(f->accel, 0, s, &e));
    f->stop = false;
    while (!f->stop && x == ACCEL_EXIT_KICK)
        x = accel_kvm.vcpu_run(f->accel, 0, &e);
    if (x == ACCEL_EXIT_ERROR)
        fail_msg("%s", e.msg);
    assert_int_equal(x, ACCEL_EXIT_KICK);
    assert_ok(accel_kvm.get_state(f->accel, 0, s, &e));
}

#define SKIP_WITHOUT_KVM                                                                           \
    do {                                                                                           \
        if (!have_kvm())                                                                           \
            skip();                                                                                \
    } while (0)

/* out 0x501,al: stop */
#define STOP 0x66, 0xba, 0x01, 0x05, 0xee

static void ports_and_strings(void **state)
{
    static const uint8_t code[] = {
        0xb0, 'K', 0xe6, 0xe9,                   /* mov al,'K'; out 0xe9,al */
        0xbe, 0x00, 0x20, 0x00, 0x00,            /* mov esi,0x2000 */
        0xb9, 0x03, 0x00, 0x00, 0x00,            /* mov ecx,3 */
        0x66, 0xba, 0xe9, 0x00, 0xf3, 0x6e,      /* mov dx,0xe9; rep outsb */
        0x66, 0xba, 0x02, 0x05, 0x66, 0xed,      /* mov dx,0x502; in ax,dx */
        0x0f, 0xb7, 0xd8,                        /* movzx ebx,ax */
        STOP,
    };
    struct x86_state *s = calloc(1, sizeof(*s));

    (void)state;
    SKIP_WITHOUT_KVM;
    struct fixture *f = setup();
    protected_mode(s);
    assert_true(mem_write(f->mem, 0x2000, "VM!", 3));
    run(f, code, sizeof(code), s);
    assert_string_equal(buf_str(&f->out), "KVM!");
    assert_int_equal(s->gpr[X86_RBX], 0x5a02);
    assert_int_equal(s->rip, CODE + sizeof(code));
    teardown(f);
    free(s);
}

static void memory_io_and_rom(void **state)
{
    static uint8_t rom[4096] __attribute__((aligned(4096))) = {0xaa};
    static const uint8_t code[] = {
        0xc7, 0x05, 0x10, 0x00, 0xb0, 0xfe, 0x78, 0x56, 0x34, 0x12, /* mov [0xfeb00010],0x12345678 */
        0x8b, 0x1d, 0x20, 0x00, 0xb0, 0xfe,                         /* mov ebx,[0xfeb00020] */
        0xc6, 0x05, 0x00, 0x00, 0xf0, 0xff, 0x55,                   /* mov byte [0xfff00000],0x55 */
        0x8a, 0x0d, 0x00, 0x00, 0xf0, 0xff,                         /* mov cl,[0xfff00000] */
        STOP,
    };
    struct x86_state *s = calloc(1, sizeof(*s));

    (void)state;
    SKIP_WITHOUT_KVM;
    struct fixture *f = setup();
    mem_add_host(f->mem, "rom", 0xfff00000, sizeof(rom), MEM_PRIO_ROM, rom, true);
    protected_mode(s);
    run(f, code, sizeof(code), s);
    assert_int_equal(f->last_gpa, 0x10);
    assert_int_equal(f->last_value, 0x12345678);
    assert_int_equal(s->gpr[X86_RBX], 0x20);
    assert_int_equal(s->gpr[X86_RCX] & 0xff, 0xaa);
    assert_int_equal(rom[0], 0xaa);
    teardown(f);
    free(s);
}

static void dirty_log_sees_the_guest(void **state)
{
    static uint8_t vram[8 * 4096] __attribute__((aligned(4096)));
    static const uint8_t code[] = {0xc6, 0x05, 0x00, 0x30, 0x00, 0xe0, 0x01, STOP}; /* mov byte [0xe0003000],1 */
    struct x86_state *s = calloc(1, sizeof(*s));
    uint64_t bits;

    (void)state;
    SKIP_WITHOUT_KVM;
    struct fixture *f = setup();
    struct mem_region *r = mem_add_host(f->mem, "vram", 0xe0000000, sizeof(vram), MEM_PRIO_DEVICE, vram, false);
    mem_region_dirty(f->mem, r, &bits);
    mem_region_dirty(f->mem, r, &bits);
    protected_mode(s);
    run(f, code, sizeof(code), s);
    mem_region_dirty(f->mem, r, &bits);
    assert_int_equal(bits, 1 << 3);
    assert_int_equal(vram[0x3000], 1);
    teardown(f);
    free(s);
}

static void doorbell_rings_without_an_exit(void **state)
{
    static const uint8_t code[] = {0xc7, 0x05, 0x40, 0x00, 0xb0, 0xfe, 1, 0, 0, 0, STOP}; /* mov [0xfeb00040],1 */
    struct x86_state *s = calloc(1, sizeof(*s));
    uint64_t rung = 0;

    (void)state;
    SKIP_WITHOUT_KVM;
    struct fixture *f = setup();
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    bus_add_doorbell(f->bus, false, 0xfeb00040, 0, fd);
    protected_mode(s);
    run(f, code, sizeof(code), s);
    assert_int_equal(read(fd, &rung, sizeof(rung)), sizeof(rung));
    assert_int_equal(rung, 1);
    assert_int_equal(f->last_gpa, 0);
    teardown(f);
    close(fd);
    free(s);
}

static void *kicker(void *arg)
{
    struct fixture *f = arg;

    usleep(20000);
    accel_kvm.kick(f->accel, 0);
    return NULL;
}

static void kick_ends_an_endless_loop(void **state)
{
    static const uint8_t code[] = {0xeb, 0xfe}; /* jmp $ */
    struct x86_state *s = calloc(1, sizeof(*s));
    struct err e = ERR_INIT;
    pthread_t t;

    (void)state;
    SKIP_WITHOUT_KVM;
    struct fixture *f = setup();
    protected_mode(s);
    assert_true(mem_write(f->mem, CODE, code, sizeof(code)));
    assert_ok(accel_kvm.set_state(f->accel, 0, s, &e));
    assert_ok(thread_start(&t, "kicker", kicker, f, &e));
    assert_int_equal(accel_kvm.vcpu_run(f->accel, 0, &e), ACCEL_EXIT_KICK);
    pthread_join(t, NULL);
    accel_kvm.kick(f->accel, 0); /* also when it comes first */
    assert_int_equal(accel_kvm.vcpu_run(f->accel, 0, &e), ACCEL_EXIT_KICK);
    teardown(f);
    free(s);
}

static void state_survives_the_round_trip(void **state)
{
    struct x86_state *in = calloc(1, sizeof(*in)), *out = calloc(1, sizeof(*out));
    struct err e = ERR_INIT;

    (void)state;
    SKIP_WITHOUT_KVM;
    struct fixture *f = setup();
    protected_mode(in);
    for (unsigned i = 0; i < 16; i++)
        in->gpr[i] = 0x1111111111111111u * i + 5;
    in->rflags = X86_CF | X86_IF | 2;
    in->cr2 = 0xdeadbeef000;
    in->lstar = 0xffffffff81000000;
    in->star = 0x23001000000000;
    in->sfmask = 0x47700;
    in->kernel_gs_base = 0xffff888000000000;
    in->sysenter_eip = 0xc0001000;
    in->pat = 0x0407050600070106;
    in->dr[0] = 0x1234;
    in->dr[7] = 0x402;
    in->fpu.fcw = 0x27f;
    in->fpu.mxcsr = 0x1fa0;
    in->fpu.ftw = 1;
    for (unsigned i = 0; i < 10; i++)
        in->fpu.st[0][i] = (uint8_t)(i + 1);
    for (unsigned i = 0; i < 16; i++)
        memset(in->fpu.ymm[i], (int)(i * 3 + 1), 16);
    assert_ok(accel_kvm.set_state(f->accel, 0, in, &e));
    assert_ok(accel_kvm.get_state(f->accel, 0, out, &e));
    assert_memory_equal(in->gpr, out->gpr, sizeof(in->gpr));
    assert_int_equal(in->rip, out->rip);
    assert_int_equal(in->rflags, out->rflags);
    for (unsigned i = 0; i < 6; i++) {
        assert_int_equal(in->seg[i].base, out->seg[i].base);
        assert_int_equal(in->seg[i].limit, out->seg[i].limit);
        assert_int_equal(in->seg[i].sel, out->seg[i].sel);
    }
    assert_int_equal(in->cr0, out->cr0);
    assert_int_equal(in->cr2, out->cr2);
    assert_int_equal(in->lstar, out->lstar);
    assert_int_equal(in->star, out->star);
    assert_int_equal(in->sfmask, out->sfmask);
    assert_int_equal(in->kernel_gs_base, out->kernel_gs_base);
    assert_int_equal(in->sysenter_eip, out->sysenter_eip);
    assert_int_equal(in->pat, out->pat);
    assert_int_equal(in->dr[0], out->dr[0]);
    assert_int_equal(in->fpu.fcw, out->fpu.fcw);
    assert_int_equal(in->fpu.mxcsr, out->fpu.mxcsr);
    assert_int_equal(in->fpu.ftw, out->fpu.ftw);
    assert_memory_equal(in->fpu.st[0], out->fpu.st[0], 10);
    for (unsigned i = 0; i < 16; i++)
        assert_memory_equal(in->fpu.ymm[i], out->fpu.ymm[i], 16);
    assert_int_equal(in->mp_state, out->mp_state);
    teardown(f);
    free(in);
    free(out);
}

static void probe_tells_what_kvm_is(void **state)
{
    struct accel_probe p;

    (void)state;
    accel_probe_kvm(&p);
    if (have_kvm()) {
        assert_true(p.kvm_present);
        assert_true(p.kvm_fast || p.reason[0]);
        assert_true(!p.kvm_usable || p.kvm_mips > 0);
    } else {
        assert_false(p.kvm_usable);
        assert_true(p.reason[0] != '\0');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ports_and_strings),
        cmocka_unit_test(memory_io_and_rom),
        cmocka_unit_test(dirty_log_sees_the_guest),
        cmocka_unit_test(doorbell_rings_without_an_exit),
        cmocka_unit_test(kick_ends_an_endless_loop),
        cmocka_unit_test(state_survives_the_round_trip),
        cmocka_unit_test(probe_tells_what_kvm_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
