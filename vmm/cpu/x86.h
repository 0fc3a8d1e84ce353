/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Architectural state of one x86-64 vCPU, shared by KVM and the software CPU, and the names of its
 * bits. Source: Intel SDM vol. 3A ch. 2, 3, 6; AMD APM vol. 2. */
#ifndef VMDECK_CPU_X86_H
#define VMDECK_CPU_X86_H

#include <stdint.h>

enum x86_gpr {
    X86_RAX, X86_RCX, X86_RDX, X86_RBX, X86_RSP, X86_RBP, X86_RSI, X86_RDI,
    X86_R8, X86_R9, X86_R10, X86_R11, X86_R12, X86_R13, X86_R14, X86_R15,
};

enum x86_sreg { X86_ES, X86_CS, X86_SS, X86_DS, X86_FS, X86_GS };

#define X86_CF   0x1u
#define X86_PF   0x4u
#define X86_AF   0x10u
#define X86_ZF   0x40u
#define X86_SF   0x80u
#define X86_TF   0x100u
#define X86_IF   0x200u
#define X86_DF   0x400u
#define X86_OF   0x800u
#define X86_IOPL 0x3000u
#define X86_NT   0x4000u
#define X86_RF   0x10000u
#define X86_VM   0x20000u
#define X86_AC   0x40000u
#define X86_VIF  0x80000u
#define X86_VIP  0x100000u
#define X86_ID   0x200000u
#define X86_STATUS_FLAGS (X86_CF | X86_PF | X86_AF | X86_ZF | X86_SF | X86_OF)

#define CR0_PE (1u << 0)
#define CR0_MP (1u << 1)
#define CR0_EM (1u << 2)
#define CR0_TS (1u << 3)
#define CR0_ET (1u << 4)
#define CR0_NE (1u << 5)
#define CR0_WP (1u << 16)
#define CR0_AM (1u << 18)
#define CR0_NW (1u << 29)
#define CR0_CD (1u << 30)
#define CR0_PG (1u << 31)

#define CR4_VME        (1u << 0)
#define CR4_PVI        (1u << 1)
#define CR4_TSD        (1u << 2)
#define CR4_DE         (1u << 3)
#define CR4_PSE        (1u << 4)
#define CR4_PAE        (1u << 5)
#define CR4_MCE        (1u << 6)
#define CR4_PGE        (1u << 7)
#define CR4_PCE        (1u << 8)
#define CR4_OSFXSR     (1u << 9)
#define CR4_OSXMMEXCPT (1u << 10)
#define CR4_UMIP       (1u << 11)
#define CR4_LA57       (1u << 12)
#define CR4_FSGSBASE   (1u << 16)
#define CR4_PCIDE      (1u << 17)
#define CR4_OSXSAVE    (1u << 18)
#define CR4_SMEP       (1u << 20)
#define CR4_SMAP       (1u << 21)
#define CR4_PKE        (1u << 22)

#define EFER_SCE (1u << 0)
#define EFER_LME (1u << 8)
#define EFER_LMA (1u << 10)
#define EFER_NXE (1u << 11)

#define XCR0_X87  1u
#define XCR0_SSE  2u
#define XCR0_AVX  4u
#define XCR0_PKRU 0x200u

enum x86_vector {
    X86_DE = 0, X86_DB = 1, X86_NMI = 2, X86_BP = 3, X86_OF_TRAP = 4, X86_BR = 5, X86_UD = 6,
    X86_NM = 7, X86_DF_FAULT = 8, X86_TS = 10, X86_NP = 11, X86_SS_FAULT = 12, X86_GP = 13,
    X86_PF_FAULT = 14, X86_MF = 16, X86_AC_FAULT = 17, X86_MC = 18, X86_XM = 19,
};

/* Page fault error code. */
#define PF_P   1u
#define PF_W   2u
#define PF_U   4u
#define PF_RSV 8u
#define PF_I   16u
#define PF_PK  32u

/* Segment register with its hidden part. attr is the descriptor's access byte in bits 0-7 (type, S,
 * DPL, P) and the flags nibble (AVL, L, D/B, G) in bits 12-15, as in the upper descriptor word >> 8.
 * limit is in bytes, already scaled by G. */
struct x86_seg {
    uint64_t base;
    uint32_t limit;
    uint16_t sel;
    uint16_t attr;
};

#define SEG_TYPE(a) ((a)&0xfu)
#define SEG_S       (1u << 4)
#define SEG_DPL(a)  (((a) >> 5) & 3u)
#define SEG_P       (1u << 7)
#define SEG_AVL     (1u << 12)
#define SEG_L       (1u << 13)
#define SEG_DB      (1u << 14)
#define SEG_G       (1u << 15)
#define SEG_UNUSABLE (1u << 11) /* null selector loaded; not a descriptor bit */

struct x86_dtable {
    uint64_t base;
    uint16_t limit;
    uint16_t pad[3];
};

/* x87, SSE and AVX state. st[i] is physical-order-independent: st[0] is ST(0), as in FXSAVE. */
struct x86_fpu {
    uint16_t fcw, fsw;
    uint8_t ftw; /* abridged: bit i set when physical register i is not empty */
    uint8_t pad0;
    uint16_t fop;
    uint64_t fip, fdp; /* with CS/DS selectors in bits 32-47 when saved by a 32-bit form */
    uint32_t mxcsr;
    uint32_t pkru;
    uint8_t st[8][16] __attribute__((aligned(16)));  /* 80-bit values, 6 bytes of zero */
    uint8_t ymm[16][32] __attribute__((aligned(16)));
};

enum x86_mp_state { X86_MP_RUNNABLE, X86_MP_WAIT_SIPI, X86_MP_HALTED, X86_MP_INIT };

#define MTRR_VARIABLE 8

struct x86_state {
    uint64_t gpr[16];
    uint64_t rip, rflags;
    struct x86_seg seg[6]; /* by enum x86_sreg */
    struct x86_seg tr, ldt;
    struct x86_dtable gdt, idt;
    uint64_t cr0, cr2, cr3, cr4, cr8;
    uint64_t efer, xcr0, xss;
    uint64_t dr[8]; /* 4 and 5 unused */
    uint64_t star, lstar, cstar, sfmask, kernel_gs_base;
    uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
    uint64_t pat, apic_base, misc_enable, tsc_aux;
    uint64_t tsc;          /* guest TSC at the moment of the save */
    uint64_t tsc_adjust, tsc_deadline;
    uint64_t mtrr_def, mtrr_fixed[11], mtrr_base[MTRR_VARIABLE], mtrr_mask[MTRR_VARIABLE];
    uint64_t spec_ctrl, mcg_status, smi_count;
    uint32_t mp_state;      /* enum x86_mp_state */
    uint8_t sti_shadow, mov_ss_shadow;
    uint8_t nmi_pending, nmi_masked;
    uint8_t exc_pending, exc_vector, exc_has_error, pad0; /* an exception to be delivered first */
    uint32_t exc_error;
    uint8_t irq_injected, irq_vector; /* an interrupt taken from the controller, not yet delivered */
    uint8_t pad1[6];
    uint32_t lapic[64]; /* register n lies at offset n * 16 of the xAPIC page */
    struct x86_fpu fpu;
};

/* Power-on or INIT state (SDM vol. 3A table 9-1). init keeps what INIT keeps: FPU, most MSRs, CR0.CD. */
void x86_state_reset(struct x86_state *s, unsigned apic_id, _Bool is_bsp, _Bool init);

#endif
