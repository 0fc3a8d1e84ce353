/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A virtio device under KVM: a guest program rings the queue's doorbell, the loop serves it, the answer's MSI-X
 * message reaches the program's interrupt handler; and neither costs an exit or an ioctl. The rings are worked from
 * the outside. Skipped where /dev/kvm cannot be opened. */
#include "tests/lib/test.h"
#include "tests/lib/vdriver.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/accel/accel.h"
#include "vmm/base/thread.h"

#define CODE    0x1000u
#define HANDLER 0x1100u
#define IDT     0x2000u
#define IDTR    0x2ff0u
#define TAKEN   0x3000u /* counts interrupts */
#define BUF     0x200000u
#define VECTOR  0x55u
#define ROUNDS  3
#define PORT    0x500

struct fixture {
    struct devtest t;
    struct loop *loop;
    pthread_t thread;
    struct accel *accel;
    struct dev *dev;
    struct vdriver d;
    unsigned msis; /* not by irqfd */
    bool stop;
};

static void host_extint(void *opaque, int level)
{
    (void)opaque;
    (void)level;
}

static void host_msi(void *opaque, uint64_t address, uint32_t data)
{
    struct fixture *f = opaque;

    f->msis++;
    accel_kvm.msi(f->accel, address, data);
}

static bool host_ioeventfd(void *opaque, bool pio, uint64_t address, unsigned size, int fd, bool add)
{
    return accel_kvm.ioeventfd(((struct fixture *)opaque)->accel, pio, address, size, fd, add);
}

static bool host_irqfd(void *opaque, int fd, uint64_t address, uint32_t data, bool on)
{
    return accel_kvm.irqfd(((struct fixture *)opaque)->accel, fd, address, data, on);
}

static const struct bus_host_ops host_ops = {
    .extint = host_extint, .msi = host_msi, .ioeventfd = host_ioeventfd, .irqfd = host_irqfd};

static void port_write(void *opaque, uint16_t offset, uint32_t value, unsigned size)
{
    struct fixture *f = opaque;

    (void)offset;
    (void)value;
    (void)size;
    f->stop = true;
    accel_kvm.kick(f->accel, 0);
}

static const struct pio_ops port_ops = {.write = port_write};

static void enter(void *bus)
{
    bus_lock(bus);
}

static void leave(void *bus)
{
    bus_unlock(bus);
}

static void *loop_main(void *loop)
{
    loop_run(loop);
    return NULL;
}

static int setup(void **state)
{
    static struct fixture f;
    struct err e = ERR_INIT;
    int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

    *state = NULL;
    if (fd < 0)
        return 0;
    memset(&f, 0, sizeof(f));
    dt_init(&f.t);
    f.accel = accel_kvm.create(&(struct accel_cfg){.bus = f.t.bus, .clock = f.t.clock, .cpus = 1,
                                                   .model = CPU_X86_64_V2, .kvm_fd = fd},
                               &e);
    if (!f.accel)
        fail_msg("%s", e.msg);
    bus_set_host(f.t.bus, &host_ops, &f);
    bus_add_pio(f.t.bus, "stop", PORT, 1, &port_ops, &f);
    f.loop = f.t.env.loop = loop_new(&e);
    loop_set_guard(f.loop, enter, leave, f.t.bus);
    f.dev = dt_add(&f.t, "virtio-rng");
    vd_init(&f.d, &f.t);
    assert_ok(thread_start(&f.thread, "loop", loop_main, f.loop, &e));
    assert_ok(accel_kvm.vcpu_init(f.accel, 0, &e));
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    if (!f)
        return 0;
    loop_stop(f->loop);
    pthread_join(f->thread, NULL);
    dev_free(f->dev);
    accel_kvm.destroy(f->accel);
    loop_free(f->loop);
    dt_fini(&f->t);
    return 0;
}

static void flat(struct x86_seg *s, uint16_t sel, uint16_t attr)
{
    *s = (struct x86_seg){.sel = sel, .limit = 0xffffffff, .attr = attr};
}

static void poke(struct fixture *f, uint64_t gpa, const void *data, size_t len)
{
    assert_true(mem_write(f->t.mem, gpa, data, len));
}

/* The program: rings and waits, ROUNDS times, for the handler, which ends each round. */
static void load(struct fixture *f)
{
    uint8_t code[] = {
        0x0f, 0x01, 0x1d, 0xf0, 0x2f, 0, 0,               /* lidt [IDTR] */
        0x66, 0xc7, 0x05, 0, 0, 0, 0, 0, 0,               /* ring: mov word [notify],0 */
        0xfb, 0xf4,                                       /* sti; hlt */
        0xfa,                                             /* cli */
        0x66, 0xba, PORT & 0xff, PORT >> 8, 0xee,         /* mov dx,PORT; out dx,al */
        0xeb, 0xed,                                       /* jmp ring */
    };
    static const uint8_t handler[] = {
        0xff, 0x05, 0x00, 0x30, 0, 0,                     /* inc dword [TAKEN] */
        0xc7, 0x05, 0xb0, 0x00, 0xe0, 0xfe, 0, 0, 0, 0,   /* mov dword [APIC EOI],0 */
        0xcf,                                             /* iret */
    };
    static const uint8_t gdt[24] = {[8] = 0xff, 0xff, 0, 0, 0, 0x9b, 0xcf, 0,
                                    [16] = 0xff, 0xff, 0, 0, 0, 0x93, 0xcf, 0};
    uint8_t idtr[6], gate[8] = {0};
    struct x86_state *s = calloc(1, sizeof(*s));
    struct err e = ERR_INIT;

    st_le32(code + 10, (uint32_t)f->d.q[0].notify);
    poke(f, CODE, code, sizeof(code));
    poke(f, HANDLER, handler, sizeof(handler));
    poke(f, 0x2800, gdt, sizeof(gdt));
    st_le16(idtr, 0x7ff);
    st_le32(idtr + 2, IDT);
    poke(f, IDTR, idtr, sizeof(idtr));
    st_le16(gate, HANDLER);
    st_le16(gate + 2, 8);
    gate[5] = 0x8e; /* 32-bit interrupt gate */
    for (unsigned i = 0; i < ROUNDS; i++)
        poke(f, IDT + 8 * (VECTOR + i), gate, sizeof(gate));

    x86_state_reset(s, 0, true, false);
    s->cr0 |= CR0_PE;
    flat(&s->seg[X86_CS], 8, 0xc09b);
    for (unsigned i = 0; i < 6; i++)
        if (i != X86_CS)
            flat(&s->seg[i], 16, 0xc093);
    s->gdt.base = 0x2800;
    s->gdt.limit = 23;
    s->rip = CODE;
    s->gpr[X86_RSP] = 0x8000;
    s->lapic[0xf] |= 0x100; /* software enable */
    assert_ok(accel_kvm.set_state(f->accel, 0, s, &e));
    free(s);
}

static void set_vector(struct fixture *f, unsigned v, uint32_t data, bool masked)
{
    dt_write(&f->t, VD_MSIX + 16 * v, 0xfee00000, 4);
    dt_write(&f->t, VD_MSIX + 16 * v + 4, 0, 4);
    dt_write(&f->t, VD_MSIX + 16 * v + 8, data, 4);
    dt_write(&f->t, VD_MSIX + 16 * v + 12, masked, 4);
}

static unsigned find_msix(struct fixture *f)
{
    unsigned cap = dt_cfg_read(&f->t, f->d.devfn, PCI_CAP_POINTER, 1);

    while (cap && dt_cfg_read(&f->t, f->d.devfn, cap, 1) != PCI_CAP_MSIX)
        cap = dt_cfg_read(&f->t, f->d.devfn, cap + 1, 1);
    assert_int_not_equal(cap, 0);
    return cap;
}

static void start_driver(struct fixture *f)
{
    assert_true(vd_negotiate(&f->d, 0));
    dt_cfg_write(&f->t, f->d.devfn, find_msix(f) + 2, 0x8000, 2);
    set_vector(f, 1, VECTOR, false);
    vd_queue_setup(&f->d, 0, 16);
    vd_set(&f->d, VD_QUEUE_VECTOR, 1);
    vd_set(&f->d, VD_STATUS, VD_ACKNOWLEDGE | VD_DRIVER | VD_FEATURES_OK | VD_DRIVER_OK);
}

static void run_round(struct fixture *f)
{
    struct err e = ERR_INIT;
    enum accel_exit x = ACCEL_EXIT_KICK;

    f->stop = false;
    while (!f->stop && x == ACCEL_EXIT_KICK)
        x = accel_kvm.vcpu_run(f->accel, 0, &e);
    if (x == ACCEL_EXIT_ERROR)
        fail_msg("%s", e.msg);
    assert_int_equal(x, ACCEL_EXIT_KICK);
}

static uint32_t taken(struct fixture *f)
{
    uint8_t raw[4];

    assert_true(mem_read(f->t.mem, TAKEN, raw, 4));
    return ld_le32(raw);
}

static void doorbell_and_interrupt(void **state)
{
    struct fixture *f = *state;
    const struct vd_seg seg = {BUF, 32, true};
    struct bus_stats before, after;
    uint32_t head, len;

    if (!f)
        skip();
    start_driver(f);
    load(f);
    for (unsigned i = 0; i < ROUNDS; i++) {
        set_vector(f, 1, VECTOR + i, false); /* the route follows */
        vd_chain(&f->d, 0, 3, &seg, 1);
        bus_get_stats(f->t.bus, &before);
        run_round(f);
        bus_get_stats(f->t.bus, &after);
        assert_true(vd_used(&f->d, 0, &head, &len));
        assert_int_equal(len, 32);
        assert_int_equal(taken(f), i + 1);
        assert_int_equal(after.mmio_writes, before.mmio_writes);
    }
    assert_int_equal(f->msis, 0);
}

static uint32_t irr(struct fixture *f, unsigned vector)
{
    struct x86_state *s = calloc(1, sizeof(*s));
    struct err e = ERR_INIT;

    assert_ok(accel_kvm.get_state(f->accel, 0, s, &e));
    uint32_t bit = s->lapic[0x20 + vector / 32] >> vector % 32 & 1;
    free(s);
    return bit;
}

/* The kernel may send a message from a thread of its own. */
static void wait_irr(struct fixture *f, unsigned vector)
{
    for (unsigned i = 0; !irr(f, vector); i++) {
        assert_in_range(i, 0, 10000);
        usleep(1000);
    }
}

static void wait_used(struct fixture *f)
{
    uint32_t head, len;

    for (unsigned i = 0; !vd_used(&f->d, 0, &head, &len); i++) {
        assert_in_range(i, 0, 10000);
        usleep(1000);
    }
}

/* While masked nothing arrives; then what was set last does, and after a reset nothing any more. */
static void masked_rewritten_and_reset(void **state)
{
    struct fixture *f = *state;
    const struct vd_seg seg = {BUF, 32, true};

    if (!f)
        skip();
    start_driver(f);
    load(f);
    set_vector(f, 1, VECTOR, true);
    vd_chain(&f->d, 0, 3, &seg, 1);
    vd_kick(&f->d, 0);
    wait_used(f);
    assert_int_equal(irr(f, VECTOR), 0);
    assert_int_equal(dt_read(&f->t, VD_MSIX + 0x800, 4), 2);
    set_vector(f, 1, VECTOR + 1, false);
    wait_irr(f, VECTOR + 1);
    assert_int_equal(irr(f, VECTOR), 0);
    vd_chain(&f->d, 0, 3, &seg, 1);
    dev_reset(f->dev);
    load(f); /* IRR is clear again */
    vd_init(&f->d, &f->t);
    start_driver(f);
    set_vector(f, 1, VECTOR + 2, false);
    vd_chain(&f->d, 0, 3, &seg, 1);
    vd_kick(&f->d, 0);
    wait_used(f);
    wait_irr(f, VECTOR + 2);
    assert_int_equal(irr(f, VECTOR), 0);
    assert_int_equal(irr(f, VECTOR + 1), 0);
    assert_int_equal(f->msis, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(doorbell_and_interrupt),
        T(masked_rewritten_and_reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
