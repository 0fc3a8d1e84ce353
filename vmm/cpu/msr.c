/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Model-specific registers, one row each. Source: SDM vol. 4; MTRRs: vol. 3A 11.11.
 *
 * Memory types have no effect here: MTRRs and PAT only hold what the guest wrote. Left out: performance
 * counters (CPUID leaf 0Ah says none), machine check banks (MCG_CAP says none), last branch records
 * and branch stepping, whose bits of DEBUGCTL are dropped. */
#include "vmm/cpu/msr.h"

#include "vmm/cpu/lapic.h"
#include "vmm/cpu/seg.h"

struct msr {
    uint32_t index, count;   /* count consecutive registers */
    uint16_t offset;         /* of a uint64_t in struct x86_state, NO_FIELD without */
    uint16_t stride;         /* to the next register of the row */
    uint64_t writable;       /* bits that may be set; others raise #GP */
    uint64_t (*get)(struct cpu *c, uint32_t n); /* n: position in the row */
    bool (*set)(struct cpu *c, uint32_t n, uint64_t v);
    int feature;             /* enum cpu_feature it belongs to, or -1 */
};

#define NO_FIELD UINT16_MAX

/* ---- registers with a meaning of their own ---- */

static bool set_efer(struct cpu *c, uint32_t n, uint64_t v)
{
    uint64_t old = c->s.efer;

    (void)n;
    if ((v & EFER_NXE) && !cpu_has(c->set->cfg.model, CPUF_NX))
        return false;
    if (((old ^ v) & EFER_LME) && (c->s.cr0 & CR0_PG))
        return false;
    c->s.efer = (v & ~(uint64_t)EFER_LMA) | (old & EFER_LMA);
    if ((old ^ v) & EFER_NXE)
        tlb_flush_all(c);
    cpu_mode_changed(c);
    return true;
}

static bool set_canonical(struct cpu *c, uint64_t *field, uint64_t v)
{
    if (!cpu_canonical(c, v))
        return false;
    *field = v;
    return true;
}

static bool set_lstar(struct cpu *c, uint32_t n, uint64_t v)
{
    return set_canonical(c, n ? &c->s.cstar : &c->s.lstar, v);
}

static bool set_sysenter(struct cpu *c, uint32_t n, uint64_t v)
{
    return set_canonical(c, n ? &c->s.sysenter_eip : &c->s.sysenter_esp, v);
}

static uint64_t *base_field(struct cpu *c, uint32_t n)
{
    return n == 2 ? &c->s.kernel_gs_base : &c->s.seg[n ? X86_GS : X86_FS].base;
}

static uint64_t get_base(struct cpu *c, uint32_t n)
{
    return *base_field(c, n);
}

static bool set_base(struct cpu *c, uint32_t n, uint64_t v)
{
    return set_canonical(c, base_field(c, n), v);
}

static bool set_pat(struct cpu *c, uint32_t n, uint64_t v)
{
    (void)n;
    for (unsigned byte = 0; byte < 8; byte++) {
        unsigned type = v >> (byte * 8) & 0xff;

        if (type > 7 || type == 2 || type == 3)
            return false;
    }
    c->s.pat = v;
    return true;
}

static bool mtrr_type_ok(unsigned type)
{
    return type <= 6 && type != 2 && type != 3;
}

static bool set_mtrr_def(struct cpu *c, uint32_t n, uint64_t v)
{
    (void)n;
    if (!mtrr_type_ok(v & 0xff))
        return false;
    c->s.mtrr_def = v;
    return true;
}

static bool set_mtrr_variable(struct cpu *c, uint32_t n, uint64_t v)
{
    if (n & 1) {
        if (v & 0x7ff)
            return false;
        c->s.mtrr_mask[n / 2] = v;
        return true;
    }
    if (!mtrr_type_ok(v & 0xff) || (v & 0xf00))
        return false;
    c->s.mtrr_base[n / 2] = v;
    return true;
}

static uint64_t get_mtrr_variable(struct cpu *c, uint32_t n)
{
    return n & 1 ? c->s.mtrr_mask[n / 2] : c->s.mtrr_base[n / 2];
}

/* The eleven fixed-range registers have three runs of numbers but one array. */
static bool set_mtrr_fixed(struct cpu *c, uint64_t *field, uint64_t v)
{
    (void)c;
    for (unsigned byte = 0; byte < 8; byte++)
        if (!mtrr_type_ok(v >> (byte * 8) & 0xff))
            return false;
    *field = v;
    return true;
}

static bool set_fixed_64k(struct cpu *c, uint32_t n, uint64_t v)
{
    return set_mtrr_fixed(c, &c->s.mtrr_fixed[n], v);
}

static bool set_fixed_16k(struct cpu *c, uint32_t n, uint64_t v)
{
    return set_mtrr_fixed(c, &c->s.mtrr_fixed[1 + n], v);
}

static bool set_fixed_4k(struct cpu *c, uint32_t n, uint64_t v)
{
    return set_mtrr_fixed(c, &c->s.mtrr_fixed[3 + n], v);
}

static uint64_t get_tsc(struct cpu *c, uint32_t n)
{
    (void)n;
    return cpu_tsc(c);
}

/* Moving the counter by either register moves TSC_ADJUST by as much (SDM vol. 3B 17.17.3). */
static bool set_tsc(struct cpu *c, uint32_t n, uint64_t v)
{
    uint64_t by = v - cpu_tsc(c);

    (void)n;
    c->s.tsc_adjust += by;
    c->tsc_offset += (int64_t)by;
    lapic_tsc_changed(c->lapic);
    return true;
}

static bool set_tsc_adjust(struct cpu *c, uint32_t n, uint64_t v)
{
    (void)n;
    c->tsc_offset += (int64_t)(v - c->s.tsc_adjust);
    c->s.tsc_adjust = v;
    lapic_tsc_changed(c->lapic);
    return true;
}

static uint64_t get_tsc_deadline(struct cpu *c, uint32_t n)
{
    (void)n;
    return lapic_get_tsc_deadline(c->lapic);
}

static bool set_tsc_deadline(struct cpu *c, uint32_t n, uint64_t v)
{
    (void)n;
    lapic_set_tsc_deadline(c->lapic, v);
    return true;
}

static bool set_apic_base(struct cpu *c, uint32_t n, uint64_t v)
{
    (void)n;
    return lapic_set_base(c->lapic, v);
}

#define MISC_ENABLE_XD_DISABLE BIT64(34)

static bool ignore(struct cpu *c, uint32_t n, uint64_t v)
{
    (void)c;
    (void)n;
    (void)v;
    return true;
}

static uint64_t get_zero(struct cpu *c, uint32_t n)
{
    (void)c;
    (void)n;
    return 0;
}

/* No supervisor component of XSAVES exists. */
static bool set_xss(struct cpu *c, uint32_t n, uint64_t v)
{
    (void)c;
    (void)n;
    return v == 0;
}

static uint64_t get_feature_control(struct cpu *c, uint32_t n)
{
    (void)c;
    (void)n;
    return 1; /* locked, nothing enabled */
}

static uint64_t get_microcode(struct cpu *c, uint32_t n)
{
    (void)c;
    (void)n;
    return UINT64_C(1) << 32;
}

static uint64_t get_mtrr_cap(struct cpu *c, uint32_t n)
{
    (void)c;
    (void)n;
    return MTRR_VARIABLE | 1u << 8 /* fixed */ | 1u << 10 /* write combining */;
}

/* Nothing here speculates, so none of the known flaws is there: RDCL_NO, IBRS_ALL, SKIP_L1DFL, SSB_NO,
 * MDS_NO, PSCHANGE_MC_NO, TAA_NO, SBDR_SSDP_NO, FBSDP_NO, PSDP_NO, BHI_NO, PBRSB_NO, GDS_NO, RFDS_NO,
 * ITS_NO. */
static uint64_t get_arch_capabilities(struct cpu *c, uint32_t n)
{
    (void)c;
    (void)n;
    return BIT(0) | BIT(1) | BIT(3) | BIT(4) | BIT(5) | BIT(6) | BIT(8) | BIT(13) | BIT(14) | BIT(15) |
           BIT(20) | BIT(24) | BIT(26) | BIT(27) | BIT64(62);
}

/* ---- the table ---- */

#define FIELD(f)   .offset = offsetof(struct x86_state, f), .stride = 8
#define NOFIELD    .offset = NO_FIELD
#define ALL        .writable = UINT64_MAX
#define PHYS_MASK  (BIT64(GPA_BITS) - 1)
#define NONE       .feature = -1

/* clang-format off */
static const struct msr table[] = {
    {0x10, 1, NOFIELD, ALL, .get = get_tsc, .set = set_tsc, NONE},
    {0x17, 1, NOFIELD, .get = get_zero, NONE},                                  /* PLATFORM_ID */
    {0x1b, 1, FIELD(apic_base), ALL, .set = set_apic_base, NONE},
    {0x2a, 1, NOFIELD, ALL, .get = get_zero, .set = ignore, NONE},              /* EBL_CR_POWERON */
    {0x34, 1, FIELD(smi_count), NONE},
    {0x3a, 1, NOFIELD, .get = get_feature_control, NONE},
    {0x3b, 1, FIELD(tsc_adjust), ALL, .set = set_tsc_adjust, NONE},
    {0x48, 1, FIELD(spec_ctrl), .writable = 7 | BIT(10), NONE},
    {0x49, 1, NOFIELD, .writable = 1, .set = ignore, NONE},                     /* PRED_CMD */
    {0x79, 1, NOFIELD, ALL, .set = ignore, NONE},                               /* BIOS_UPDT_TRIG */
    {0x8b, 1, NOFIELD, ALL, .get = get_microcode, .set = ignore, NONE},
    {0xfe, 1, NOFIELD, .get = get_mtrr_cap, NONE},
    {0x10a, 1, NOFIELD, .get = get_arch_capabilities, NONE},
    {0x174, 1, FIELD(sysenter_cs), ALL, NONE},
    {0x175, 2, FIELD(sysenter_esp), ALL, .set = set_sysenter, NONE},
    {0x179, 1, NOFIELD, .get = get_zero, NONE},                                 /* MCG_CAP */
    {0x17a, 1, FIELD(mcg_status), .writable = 7, NONE},
    {0x198, 1, NOFIELD, .get = get_zero, NONE},                                 /* PERF_STATUS */
    {0x199, 1, NOFIELD, ALL, .get = get_zero, .set = ignore, NONE},             /* PERF_CTL */
    {0x1a0, 1, FIELD(misc_enable), .writable = ~MISC_ENABLE_XD_DISABLE, NONE},
    {0x1d9, 1, NOFIELD, .writable = 3, .get = get_zero, .set = ignore, NONE},   /* DEBUGCTL */
    {0x200, 2 * MTRR_VARIABLE, NOFIELD, .writable = PHYS_MASK, .get = get_mtrr_variable,
     .set = set_mtrr_variable, NONE},
    {0x250, 1, FIELD(mtrr_fixed[0]), ALL, .set = set_fixed_64k, NONE},
    {0x258, 2, FIELD(mtrr_fixed[1]), ALL, .set = set_fixed_16k, NONE},
    {0x268, 8, FIELD(mtrr_fixed[3]), ALL, .set = set_fixed_4k, NONE},
    {0x277, 1, FIELD(pat), ALL, .set = set_pat, NONE},
    {0x2ff, 1, FIELD(mtrr_def), .writable = 0xcff, .set = set_mtrr_def, NONE},
    {0x6e0, 1, NOFIELD, ALL, .get = get_tsc_deadline, .set = set_tsc_deadline,
     .feature = CPUF_TSC_DEADLINE},
    {0xda0, 1, NOFIELD, ALL, .get = get_zero, .set = set_xss, .feature = CPUF_XSAVES},
    {0xc0000080, 1, FIELD(efer), .writable = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE,
     .set = set_efer, NONE},
    {0xc0000081, 1, FIELD(star), ALL, NONE},
    {0xc0000082, 2, FIELD(lstar), ALL, .set = set_lstar, NONE},
    {0xc0000084, 1, FIELD(sfmask), .writable = UINT32_MAX, NONE},
    {0xc0000100, 3, NOFIELD, ALL, .get = get_base, .set = set_base, NONE},
    {0xc0000103, 1, FIELD(tsc_aux), .writable = UINT32_MAX, .feature = CPUF_RDTSCP},
};
/* clang-format on */

_Static_assert(offsetof(struct x86_state, cstar) == offsetof(struct x86_state, lstar) + 8 &&
                   offsetof(struct x86_state, sysenter_eip) ==
                       offsetof(struct x86_state, sysenter_esp) + 8,
               "rows of two registers lie side by side");

static const struct msr *find(struct cpu *c, uint32_t index)
{
    for (unsigned n = 0; n < ARRAY_LEN(table); n++) {
        const struct msr *m = &table[n];

        if (index - m->index < m->count)
            return m->feature < 0 || cpu_has(c->set->cfg.model, m->feature) ? m : NULL;
    }
    return NULL;
}

static uint64_t *field(struct cpu *c, const struct msr *m, uint32_t n)
{
    return (uint64_t *)((char *)&c->s + m->offset + n * m->stride);
}

static bool is_x2apic(uint32_t index)
{
    return index >= 0x800 && index <= 0x8ff;
}

bool msr_read(struct cpu *c, uint32_t index, uint64_t *value)
{
    if (is_x2apic(index))
        return lapic_msr_read(c->lapic, index, value);
    const struct msr *m = find(c, index);
    if (!m || (!m->get && m->offset == NO_FIELD))
        return false;
    *value = m->get ? m->get(c, index - m->index) : *field(c, m, index - m->index);
    return true;
}

bool msr_write(struct cpu *c, uint32_t index, uint64_t value)
{
    if (is_x2apic(index))
        return lapic_msr_write(c->lapic, index, value);
    const struct msr *m = find(c, index);
    if (!m || !m->writable || (value & ~m->writable))
        return false;
    if (m->set)
        return m->set(c, index - m->index, value);
    *field(c, m, index - m->index) = value;
    return true;
}
