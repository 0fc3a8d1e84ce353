/* SPDX-License-Identifier: GPL-2.0-or-later */
/* struct x86_state to and from KVM, and CPUID filtered to the named models.
 *
 * Order of loading: CPUID (at creation), special registers before XCR0, XCR0 before XSAVE, the TSC
 * before its deadline, MP state and pending events last. */
#include <cpuid.h>
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "vmm/accel/kvm_priv.h"
#include "vmm/base/alloc.h"
#include "vmm/base/log.h"

/* ---- segments and tables ---- */

static void seg_to_kvm(const struct x86_seg *s, struct kvm_segment *k)
{
    *k = (struct kvm_segment){.base = s->base,
                              .limit = s->limit,
                              .selector = s->sel,
                              .type = SEG_TYPE(s->attr),
                              .s = !!(s->attr & SEG_S),
                              .dpl = SEG_DPL(s->attr),
                              .present = !!(s->attr & SEG_P),
                              .avl = !!(s->attr & SEG_AVL),
                              .l = !!(s->attr & SEG_L),
                              .db = !!(s->attr & SEG_DB),
                              .g = !!(s->attr & SEG_G),
                              .unusable = !!(s->attr & SEG_UNUSABLE)};
}

static void seg_from_kvm(const struct kvm_segment *k, struct x86_seg *s)
{
    unsigned attr = k->type | (k->s ? SEG_S : 0) | (unsigned)k->dpl << 5 |
                    (k->present ? SEG_P : 0) | (k->avl ? SEG_AVL : 0) | (k->l ? SEG_L : 0) |
                    (k->db ? SEG_DB : 0) | (k->g ? SEG_G : 0) | (k->unusable ? SEG_UNUSABLE : 0);

    *s = (struct x86_seg){
        .base = k->base, .limit = k->limit, .sel = k->selector, .attr = (uint16_t)attr};
}

static void sregs_to_kvm(const struct x86_state *s, struct kvm_sregs *k)
{
    seg_to_kvm(&s->seg[X86_CS], &k->cs);
    seg_to_kvm(&s->seg[X86_DS], &k->ds);
    seg_to_kvm(&s->seg[X86_ES], &k->es);
    seg_to_kvm(&s->seg[X86_FS], &k->fs);
    seg_to_kvm(&s->seg[X86_GS], &k->gs);
    seg_to_kvm(&s->seg[X86_SS], &k->ss);
    seg_to_kvm(&s->tr, &k->tr);
    seg_to_kvm(&s->ldt, &k->ldt);
    k->gdt = (struct kvm_dtable){.base = s->gdt.base, .limit = s->gdt.limit};
    k->idt = (struct kvm_dtable){.base = s->idt.base, .limit = s->idt.limit};
    k->cr0 = s->cr0;
    k->cr2 = s->cr2;
    k->cr3 = s->cr3;
    k->cr4 = s->cr4;
    k->cr8 = s->cr8;
    k->efer = s->efer;
    k->apic_base = s->apic_base;
    memset(k->interrupt_bitmap, 0, sizeof(k->interrupt_bitmap));
    if (s->irq_injected)
        k->interrupt_bitmap[s->irq_vector / 64] |= BIT64(s->irq_vector % 64);
}

static void sregs_from_kvm(const struct kvm_sregs *k, struct x86_state *s)
{
    seg_from_kvm(&k->cs, &s->seg[X86_CS]);
    seg_from_kvm(&k->ds, &s->seg[X86_DS]);
    seg_from_kvm(&k->es, &s->seg[X86_ES]);
    seg_from_kvm(&k->fs, &s->seg[X86_FS]);
    seg_from_kvm(&k->gs, &s->seg[X86_GS]);
    seg_from_kvm(&k->ss, &s->seg[X86_SS]);
    seg_from_kvm(&k->tr, &s->tr);
    seg_from_kvm(&k->ldt, &s->ldt);
    s->gdt = (struct x86_dtable){.base = k->gdt.base, .limit = k->gdt.limit};
    s->idt = (struct x86_dtable){.base = k->idt.base, .limit = k->idt.limit};
    s->cr0 = k->cr0;
    s->cr2 = k->cr2;
    s->cr3 = k->cr3;
    s->cr4 = k->cr4;
    s->cr8 = k->cr8;
    s->efer = k->efer;
    s->apic_base = k->apic_base;
}

/* kvm_regs orders RAX RBX RCX RDX RSI RDI RSP RBP, then R8 up. */
static void regs_to_kvm(const struct x86_state *s, struct kvm_regs *k)
{
    *k = (struct kvm_regs){.rax = s->gpr[X86_RAX],
                           .rbx = s->gpr[X86_RBX],
                           .rcx = s->gpr[X86_RCX],
                           .rdx = s->gpr[X86_RDX],
                           .rsi = s->gpr[X86_RSI],
                           .rdi = s->gpr[X86_RDI],
                           .rsp = s->gpr[X86_RSP],
                           .rbp = s->gpr[X86_RBP],
                           .rip = s->rip,
                           .rflags = s->rflags | 2};
    memcpy(&k->r8, &s->gpr[X86_R8], 8 * sizeof(uint64_t));
}

static void regs_from_kvm(const struct kvm_regs *k, struct x86_state *s)
{
    s->gpr[X86_RAX] = k->rax;
    s->gpr[X86_RBX] = k->rbx;
    s->gpr[X86_RCX] = k->rcx;
    s->gpr[X86_RDX] = k->rdx;
    s->gpr[X86_RSI] = k->rsi;
    s->gpr[X86_RDI] = k->rdi;
    s->gpr[X86_RSP] = k->rsp;
    s->gpr[X86_RBP] = k->rbp;
    memcpy(&s->gpr[X86_R8], &k->r8, 8 * sizeof(uint64_t));
    s->rip = k->rip;
    s->rflags = k->rflags;
}

/* ---- FPU: the standard XSAVE image (SDM vol. 1 ch. 13.4) ---- */

#define XSAVE_BV  512 /* XSTATE_BV of the header */
#define XSAVE_AVX 576

static unsigned pkru_offset(void)
{
    unsigned eax, ebx = 0, ecx, edx;

    if (__get_cpuid_max(0, NULL) >= 0xd)
        __cpuid_count(0xd, 9, eax, ebx, ecx, edx);
    return ebx <= sizeof(struct kvm_xsave) - 4 ? ebx : 0;
}

static void fpu_to_xsave(const struct x86_state *s, uint8_t *x)
{
    const struct x86_fpu *f = &s->fpu;
    unsigned pkru = pkru_offset();

    st_le16(x, f->fcw);
    st_le16(x + 2, f->fsw);
    x[4] = f->ftw;
    st_le16(x + 6, f->fop);
    st_le64(x + 8, f->fip);
    st_le64(x + 16, f->fdp);
    st_le32(x + 24, f->mxcsr);
    st_le32(x + 28, 0xffff);
    for (unsigned i = 0; i < 8; i++)
        memcpy(x + 32 + 16 * i, f->st[i], 10);
    for (unsigned i = 0; i < 16; i++) {
        memcpy(x + 160 + 16 * i, f->ymm[i], 16);
        memcpy(x + XSAVE_AVX + 16 * i, f->ymm[i] + 16, 16);
    }
    uint64_t bv = XCR0_X87 | XCR0_SSE;
    if (s->xcr0 & XCR0_AVX)
        bv |= XCR0_AVX;
    if ((s->xcr0 & XCR0_PKRU) && pkru) {
        bv |= XCR0_PKRU;
        st_le32(x + pkru, f->pkru);
    }
    st_le64(x + XSAVE_BV, bv);
}

static void fpu_from_xsave(const uint8_t *x, struct x86_state *s)
{
    struct x86_fpu *f = &s->fpu;
    unsigned pkru = pkru_offset();
    uint64_t bv = ld_le64(x + XSAVE_BV);

    memset(f, 0, sizeof(*f));
    f->fcw = 0x37f;
    f->mxcsr = ld_le32(x + 24);
    if (bv & XCR0_X87) {
        f->fcw = ld_le16(x);
        f->fsw = ld_le16(x + 2);
        f->ftw = x[4];
        f->fop = ld_le16(x + 6);
        f->fip = ld_le64(x + 8);
        f->fdp = ld_le64(x + 16);
        for (unsigned i = 0; i < 8; i++)
            memcpy(f->st[i], x + 32 + 16 * i, 10);
    }
    for (unsigned i = 0; i < 16; i++) {
        if (bv & XCR0_SSE)
            memcpy(f->ymm[i], x + 160 + 16 * i, 16);
        if (bv & XCR0_AVX)
            memcpy(f->ymm[i] + 16, x + XSAVE_AVX + 16 * i, 16);
    }
    if ((bv & XCR0_PKRU) && pkru)
        f->pkru = ld_le32(x + pkru);
}

/* ---- MSRs ---- */

#define MSR_ROW(index, field)                                                                      \
    {                                                                                              \
        index, offsetof(struct x86_state, field)                                                   \
    }
static const struct {
    uint32_t index;
    size_t offset;
} msrs[] = {
    MSR_ROW(0x10, tsc), /* first: the deadline below is relative to it */
    MSR_ROW(0x3b, tsc_adjust),
    MSR_ROW(0x48, spec_ctrl),
    MSR_ROW(0x174, sysenter_cs),
    MSR_ROW(0x175, sysenter_esp),
    MSR_ROW(0x176, sysenter_eip),
    MSR_ROW(0x17a, mcg_status),
    MSR_ROW(0x1a0, misc_enable),
    MSR_ROW(0x277, pat),
    MSR_ROW(0x2ff, mtrr_def),
    MSR_ROW(0x250, mtrr_fixed[0]),
    MSR_ROW(0x258, mtrr_fixed[1]),
    MSR_ROW(0x259, mtrr_fixed[2]),
    MSR_ROW(0x268, mtrr_fixed[3]),
    MSR_ROW(0x269, mtrr_fixed[4]),
    MSR_ROW(0x26a, mtrr_fixed[5]),
    MSR_ROW(0x26b, mtrr_fixed[6]),
    MSR_ROW(0x26c, mtrr_fixed[7]),
    MSR_ROW(0x26d, mtrr_fixed[8]),
    MSR_ROW(0x26e, mtrr_fixed[9]),
    MSR_ROW(0x26f, mtrr_fixed[10]),
    MSR_ROW(0x200, mtrr_base[0]),
    MSR_ROW(0x201, mtrr_mask[0]),
    MSR_ROW(0x202, mtrr_base[1]),
    MSR_ROW(0x203, mtrr_mask[1]),
    MSR_ROW(0x204, mtrr_base[2]),
    MSR_ROW(0x205, mtrr_mask[2]),
    MSR_ROW(0x206, mtrr_base[3]),
    MSR_ROW(0x207, mtrr_mask[3]),
    MSR_ROW(0x208, mtrr_base[4]),
    MSR_ROW(0x209, mtrr_mask[4]),
    MSR_ROW(0x20a, mtrr_base[5]),
    MSR_ROW(0x20b, mtrr_mask[5]),
    MSR_ROW(0x20c, mtrr_base[6]),
    MSR_ROW(0x20d, mtrr_mask[6]),
    MSR_ROW(0x20e, mtrr_base[7]),
    MSR_ROW(0x20f, mtrr_mask[7]),
    MSR_ROW(0xc0000081, star),
    MSR_ROW(0xc0000082, lstar),
    MSR_ROW(0xc0000083, cstar),
    MSR_ROW(0xc0000084, sfmask),
    MSR_ROW(0xc0000102, kernel_gs_base),
    MSR_ROW(0xc0000103, tsc_aux),
    MSR_ROW(0x6e0, tsc_deadline),
};

struct msr_list {
    struct kvm_msrs hdr;
    struct kvm_msr_entry entries[ARRAY_LEN(msrs)];
};

/* KVM stops at the first MSR it does not know: skip that one and go on. */
static void set_msrs(int fd, const struct x86_state *s)
{
    for (unsigned first = 0; first < ARRAY_LEN(msrs);) {
        struct msr_list l = {.hdr = {.nmsrs = 0}};

        for (unsigned i = first; i < ARRAY_LEN(msrs); i++)
            l.entries[l.hdr.nmsrs++] = (struct kvm_msr_entry){
                .index = msrs[i].index, .data = ld_le64((const uint8_t *)s + msrs[i].offset)};
        int n = kvm_ioctl(fd, KVM_SET_MSRS, &l);
        if (n < 0)
            return;
        first += (unsigned)n + 1;
    }
}

static void get_msrs(int fd, struct x86_state *s)
{
    for (unsigned first = 0; first < ARRAY_LEN(msrs);) {
        struct msr_list l = {.hdr = {.nmsrs = 0}};

        for (unsigned i = first; i < ARRAY_LEN(msrs); i++)
            l.entries[l.hdr.nmsrs++] = (struct kvm_msr_entry){.index = msrs[i].index};
        int n = kvm_ioctl(fd, KVM_GET_MSRS, &l);
        if (n < 0)
            return;
        for (unsigned i = 0; i < (unsigned)n; i++)
            st_le64((uint8_t *)s + msrs[first + i].offset, l.entries[i].data);
        first += (unsigned)n + 1;
    }
}

/* ---- whole state ---- */

static uint32_t mp_to_kvm(uint32_t mp)
{
    switch (mp) {
    case X86_MP_WAIT_SIPI:
    case X86_MP_INIT: return KVM_MP_STATE_UNINITIALIZED;
    case X86_MP_HALTED: return KVM_MP_STATE_HALTED;
    default: return KVM_MP_STATE_RUNNABLE;
    }
}

static uint32_t mp_from_kvm(uint32_t mp)
{
    switch (mp) {
    case KVM_MP_STATE_UNINITIALIZED:
    case KVM_MP_STATE_INIT_RECEIVED:
    case KVM_MP_STATE_SIPI_RECEIVED: return X86_MP_WAIT_SIPI;
    case KVM_MP_STATE_HALTED: return X86_MP_HALTED;
    default: return X86_MP_RUNNABLE;
    }
}

static void events_to_kvm(const struct x86_state *s, struct kvm_vcpu_events *ev)
{
    *ev = (struct kvm_vcpu_events){
        .exception = {.injected = s->exc_pending,
                      .nr = s->exc_vector,
                      .has_error_code = s->exc_has_error,
                      .error_code = s->exc_error},
        .interrupt = {.injected = s->irq_injected,
                      .nr = s->irq_vector,
                      .shadow = (uint8_t)((s->sti_shadow ? KVM_X86_SHADOW_INT_STI : 0) |
                                          (s->mov_ss_shadow ? KVM_X86_SHADOW_INT_MOV_SS : 0))},
        .nmi = {.pending = s->nmi_pending, .masked = s->nmi_masked},
        .flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW,
    };
}

static void events_from_kvm(const struct kvm_vcpu_events *ev, struct x86_state *s)
{
    s->exc_pending = ev->exception.injected;
    s->exc_vector = ev->exception.nr;
    s->exc_has_error = ev->exception.has_error_code;
    s->exc_error = ev->exception.error_code;
    s->irq_injected = ev->interrupt.injected && !ev->interrupt.soft;
    s->irq_vector = ev->interrupt.nr;
    s->sti_shadow = !!(ev->interrupt.shadow & KVM_X86_SHADOW_INT_STI);
    s->mov_ss_shadow = !!(ev->interrupt.shadow & KVM_X86_SHADOW_INT_MOV_SS);
    s->nmi_pending = ev->nmi.pending;
    s->nmi_masked = ev->nmi.masked;
}

#define TRY(fd, request, arg, what)                                                                \
    do {                                                                                           \
        if (kvm_ioctl(fd, request, arg) < 0)                                                       \
            return err_errno(e, errno, "KVM refuses %s of vCPU %u", what, index);                  \
    } while (0)

bool kvm_set_state(struct accel *a, unsigned index, const struct x86_state *s, struct err *e)
{
    int fd = kvm_of(a)->vcpus[index].fd;
    struct kvm_regs regs;
    struct kvm_sregs sregs = {0};
    struct kvm_debugregs dr = {.dr6 = s->dr[6], .dr7 = s->dr[7]};
    struct kvm_xcrs xcrs = {.nr_xcrs = 1, .xcrs = {{.xcr = 0, .value = s->xcr0}}};
    struct kvm_xsave xsave = {0};
    struct kvm_lapic_state lapic = {0};
    struct kvm_mp_state mp = {.mp_state = mp_to_kvm(s->mp_state)};
    struct kvm_vcpu_events ev;

    regs_to_kvm(s, &regs);
    sregs_to_kvm(s, &sregs);
    memcpy(dr.db, s->dr, sizeof(dr.db));
    fpu_to_xsave(s, (uint8_t *)xsave.region);
    for (unsigned i = 0; i < ARRAY_LEN(s->lapic); i++)
        st_le32(lapic.regs + 16 * i, s->lapic[i]);
    events_to_kvm(s, &ev);

    TRY(fd, KVM_SET_SREGS, &sregs, "the system registers");
    TRY(fd, KVM_SET_REGS, &regs, "the registers");
    TRY(fd, KVM_SET_XCRS, &xcrs, "XCR0");
    TRY(fd, KVM_SET_XSAVE, &xsave, "the FPU state");
    TRY(fd, KVM_SET_DEBUGREGS, &dr, "the debug registers");
    TRY(fd, KVM_SET_LAPIC, &lapic, "the local APIC");
    set_msrs(fd, s);
    TRY(fd, KVM_SET_MP_STATE, &mp, "the MP state");
    TRY(fd, KVM_SET_VCPU_EVENTS, &ev, "the pending events");
    return true;
}

bool kvm_get_state(struct accel *a, unsigned index, struct x86_state *s, struct err *e)
{
    int fd = kvm_of(a)->vcpus[index].fd;
    struct kvm_regs regs;
    struct kvm_sregs sregs;
    struct kvm_debugregs dr;
    struct kvm_xcrs xcrs = {0};
    struct kvm_xsave xsave;
    struct kvm_lapic_state lapic;
    struct kvm_mp_state mp;
    struct kvm_vcpu_events ev;

    TRY(fd, KVM_GET_MP_STATE, &mp, "the MP state");
    TRY(fd, KVM_GET_REGS, &regs, "the registers");
    TRY(fd, KVM_GET_SREGS, &sregs, "the system registers");
    TRY(fd, KVM_GET_XCRS, &xcrs, "XCR0");
    TRY(fd, KVM_GET_XSAVE, &xsave, "the FPU state");
    TRY(fd, KVM_GET_DEBUGREGS, &dr, "the debug registers");
    TRY(fd, KVM_GET_LAPIC, &lapic, "the local APIC");
    TRY(fd, KVM_GET_VCPU_EVENTS, &ev, "the pending events");

    memset(s, 0, sizeof(*s));
    regs_from_kvm(&regs, s);
    sregs_from_kvm(&sregs, s);
    s->xcr0 = xcrs.nr_xcrs ? xcrs.xcrs[0].value : XCR0_X87;
    fpu_from_xsave((const uint8_t *)xsave.region, s);
    memcpy(s->dr, dr.db, sizeof(dr.db));
    s->dr[6] = dr.dr6;
    s->dr[7] = dr.dr7;
    for (unsigned i = 0; i < ARRAY_LEN(s->lapic); i++)
        s->lapic[i] = ld_le32(lapic.regs + 16 * i);
    get_msrs(fd, s);
    s->mp_state = mp_from_kvm(mp.mp_state);
    events_from_kvm(&ev, s);
    return true;
}

/* ---- CPUID ---- */

#define CPUID_MAX 128

struct cpuid_list {
    struct kvm_cpuid2 hdr;
    struct kvm_cpuid_entry2 entries[CPUID_MAX];
};

static const struct kvm_cpuid_entry2 *find_leaf(const struct cpuid_list *l, uint32_t leaf,
                                                uint32_t sub)
{
    for (unsigned i = 0; i < l->hdr.nent; i++)
        if (l->entries[i].function == leaf && l->entries[i].index == sub)
            return &l->entries[i];
    return NULL;
}

/* Feature words are masked by what this KVM supports; the rest is the model's own. */
static void filter(struct kvm *k, const struct cpuid_list *host, struct kvm_cpuid_entry2 *en)
{
    static const struct kvm_cpuid_entry2 none;
    const struct kvm_cpuid_entry2 *h = find_leaf(host, en->function, en->index);

    if (!h)
        h = &none;
    switch (en->function) {
    case 1: {
        uint32_t ours =
            BIT(21) | BIT(31) | BIT(27); /* x2APIC, hypervisor, OSXSAVE (kept up to date by KVM) */
        if (ioctl(k->fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0)
            ours |= BIT(24); /* not part of the supported list */
        en->ecx &= h->ecx | ours;
        en->edx &= h->edx;
        break;
    }
    case 7:
        en->ebx &= h->ebx;
        en->ecx &= h->ecx;
        en->edx &= h->edx;
        if (en->index)
            en->eax &= h->eax;
        break;
    case 0xd:
        if (en->index == 0) {
            en->eax &= h->eax;
            en->edx &= h->edx;
        } else if (en->index == 1) {
            en->eax &= h->eax;
            en->ecx &= h->ecx;
            en->edx &= h->edx;
        } else if (!h->eax) {
            en->eax = en->ebx = en->ecx = en->edx = 0;
        } else {
            en->ebx = h->ebx; /* KVM uses the host's layout */
        }
        break;
    case 0x80000001:
        en->ecx &= h->ecx;
        en->edx &= h->edx;
        break;
    default: break;
    }
}

static void add_leaf(struct kvm *k, const struct cpuid_env *env, const struct cpuid_list *host,
                     struct cpuid_list *out, uint32_t leaf, uint32_t sub, bool indexed)
{
    struct cpuid_regs r;

    if (out->hdr.nent == CPUID_MAX)
        return;
    cpuid_query(env, leaf, sub, &r);
    struct kvm_cpuid_entry2 *en = &out->entries[out->hdr.nent++];
    *en = (struct kvm_cpuid_entry2){.function = leaf,
                                    .index = sub,
                                    .eax = r.eax,
                                    .ebx = r.ebx,
                                    .ecx = r.ecx,
                                    .edx = r.edx,
                                    .flags = indexed ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0};
    filter(k, host, en);
}

bool kvm_set_cpuid(struct kvm *k, unsigned index, struct err *e)
{
    struct cpuid_env env = {.model = k->model,
                            .apic_id = index,
                            .cpu_count = k->cpus,
                            .apic_base = 0xfee00900,
                            .xcr0 = XCR0_X87};
    struct cpuid_list host = {.hdr = {.nent = CPUID_MAX}}, out = {.hdr = {.nent = 0}};
    struct cpuid_regs max;

    if (kvm_ioctl(k->fd, KVM_GET_SUPPORTED_CPUID, &host) < 0)
        return err_errno(e, errno, "KVM does not tell its CPUID");
    cpuid_query(&env, 0, 0, &max);
    for (uint32_t leaf = 0; leaf <= max.eax; leaf++) {
        /* leaves with subleaves, and how many of them we describe */
        unsigned subs = leaf == 4                     ? 5
                        : leaf == 7                   ? 2
                        : leaf == 0xb || leaf == 0x1f ? 3
                        : leaf == 0xd                 ? 10
                                                      : 0;
        if (!subs)
            add_leaf(k, &env, &host, &out, leaf, 0, false);
        for (unsigned sub = 0; sub < subs; sub++)
            add_leaf(k, &env, &host, &out, leaf, sub, true);
    }
    static const uint32_t bases[] = {0x40000000, 0x80000000};
    for (unsigned i = 0; i < ARRAY_LEN(bases); i++) {
        cpuid_query(&env, bases[i], 0, &max);
        for (uint32_t leaf = bases[i]; leaf <= max.eax && leaf < bases[i] + 0x20; leaf++)
            add_leaf(k, &env, &host, &out, leaf, 0, false);
    }
    if (kvm_ioctl(k->vcpus[index].fd, KVM_SET_CPUID2, &out) < 0)
        return err_errno(e, errno, "KVM refuses the CPU model \"%s\"", cpu_model_name(k->model));
    return true;
}
