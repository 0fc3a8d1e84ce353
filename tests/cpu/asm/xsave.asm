; SPDX-License-Identifier: GPL-2.0-or-later
; XSAVEC, XSAVES, XRSTOR and XRSTORS of the compacted form, their faults, IA32_XSS, CPUID leaf 0Dh.
%include "lib.inc"
%include "pm32.inc"
%include "lm64.inc"

%define AREA     0x200000
%define BV       AREA + 512
%define COMP     AREA + 520
%define FILLER   0xabababababababab
%define INIT_MXCSR 0x1f80

align 4
mxcsr_init:  dd INIT_MXCSR
mxcsr_other: dd 0x1fc0

align 16
pattern: dq 0x1122334455667788, 0x99aabbccddeeff00
bits 64

; every byte of the area becomes ABh
fill_area:
        push rdi
        mov edi, AREA
        mov ecx, 4096 / 8
        mov rax, FILLER
        rep stosq
        pop rdi
        ret

; an area whose header is zero
zero_area:
        push rdi
        mov edi, AREA
        mov ecx, 4096 / 8
        xor eax, eax
        rep stosq
        pop rdi
        ret

%macro RFBM 1
        mov eax, %1
        xor edx, edx
%endmacro
%macro QWORD_IS 3 ; number, address, value
        mov rax, %3
        cmp [%2], rax
        CHECK %1, e
%endmacro
%macro XSS 2
        mov ecx, 0xda0
        mov eax, %1
        mov edx, %2
%endmacro

bits 16
start:
        ENTER_PM
        ENTER_LM

; CPUID: XSAVEOPT, XSAVEC, XGETBV(1), XSAVES
        mov eax, 0xd
        mov ecx, 1
        cpuid
        mov edi, eax
        and eax, 15
        CHECK_EQ 0x10, eax, 15
        CHECK_EQ 0x11, ecx, 0
        CHECK_EQ 0x12, edx, 0

; no OSXSAVE
        FAULTS 0x20, 6, 0, xsaves [AREA]
        FAULTS 0x21, 6, 0, xrstors [AREA]
        FAULTS 0x22, 6, 0, xsavec [AREA]
        mov rax, cr4
        or eax, 1 << 18
        mov cr4, rax
        xor ecx, ecx
        RFBM 7
        xsetbv
        mov eax, 0xd
        mov ecx, 1
        cpuid
        CHECK_EQ 0x23, ebx, 576 + 256           ; of XCR0 | XSS

; IA32_XSS: nothing to be set
        XSS -1, -1
        rdmsr
        or eax, edx
        CHECK_EQ 0x30, eax, 0
        XSS 0, 0
        wrmsr
        XSS 0x100, 0
        FAULTS 0x31, 13, 0, wrmsr
        XSS 0, 1
        FAULTS 0x32, 13, 0, wrmsr

; #NM, #GP by alignment
        mov rax, cr0
        or eax, 8
        mov cr0, rax
        FAULTS 0x40, 7, 0, xsaves [AREA]
        FAULTS 0x41, 7, 0, xrstors [AREA]
        clts
        FAULTS 0x42, 13, 0, xsaves [AREA + 16]
        FAULTS 0x43, 13, 0, xrstors [AREA + 16]

; all in the initial state: only the header is written
        fninit
        vzeroall
        ldmxcsr [mxcsr_init]
        call fill_area
        RFBM 7
        xsaves [AREA]
        QWORD_IS 0x50, BV, 0
        QWORD_IS 0x51, COMP, 0x8000000000000007
        QWORD_IS 0x52, AREA, FILLER
        QWORD_IS 0x53, AREA + 160, FILLER
        QWORD_IS 0x54, AREA + 528, FILLER
        QWORD_IS 0x55, AREA + 576, FILLER
        mov ecx, 1
        xgetbv
        CHECK_EQ 0x56, eax, 0

; MXCSR counts as SSE
        ldmxcsr [mxcsr_other]
        mov ecx, 1
        xgetbv
        CHECK_EQ 0x60, eax, 2
        call fill_area
        RFBM 7
        xsavec64 [AREA]
        QWORD_IS 0x61, BV, 2
        CHECK_EQ 0x62, dword [AREA + 24], 0x1fc0
        ldmxcsr [mxcsr_init]

; AVX alone: in the compacted form it follows the header, whatever else was asked for
        vbroadcasti128 ymm3, [pattern]
        vpxor xmm2, xmm2, xmm2
        vmovdqa ymm4, ymm3
        vmovdqa xmm4, xmm4                      ; the upper half is zero
        call fill_area
        RFBM 4
        xsaves64 [AREA]
        QWORD_IS 0x70, BV, 4
        QWORD_IS 0x71, COMP, 0x8000000000000004
        QWORD_IS 0x72, AREA + 576 + 3 * 16, 0x1122334455667788
        QWORD_IS 0x73, AREA + 576 + 4 * 16, 0
        QWORD_IS 0x74, AREA + 160 + 3 * 16, FILLER

; what was not asked for stays; what was, and is not in the area, gets its initial state
        mov qword [AREA + 528], 0               ; reserved bytes of the header
        mov rdi, AREA + 528
        xor eax, eax
        mov ecx, 6
        rep stosq
        fld1
        vpcmpeqd ymm3, ymm3, ymm3
        RFBM 4
        xrstors64 [AREA]
        vextracti128 [AREA + 1024], ymm3, 1
        QWORD_IS 0x80, AREA + 1024, 0x1122334455667788
        vmovdqa [AREA + 1024], xmm3
        QWORD_IS 0x81, AREA + 1024, -1
        fnstsw ax
        CHECK_EQ 0x82, ax, 7 << 11
        ldmxcsr [mxcsr_other]
        RFBM 7
        xrstors64 [AREA]
        fnstsw ax
        CHECK_EQ 0x83, ax, 0
        stmxcsr [AREA + 1024]
        CHECK_EQ 0x84, dword [AREA + 1024], INIT_MXCSR
        vmovdqa [AREA + 1024], xmm3
        QWORD_IS 0x85, AREA + 1024, 0
        vextracti128 [AREA + 1024], ymm3, 1
        QWORD_IS 0x86, AREA + 1024, 0x1122334455667788

; headers that XRSTORS refuses; XRSTOR takes both forms
        call zero_area
        RFBM 7
        FAULTS 0x90, 13, 0, xrstors [AREA]      ; the standard form
        RFBM 7
        xrstor [AREA]
        mov dword [COMP + 4], 0x80000000
        RFBM 7
        xrstors [AREA]
        xrstor [AREA]
        mov dword [BV], 1                       ; not in XCOMP_BV
        FAULTS 0x91, 13, 0, xrstors [AREA]
        RFBM 7
        FAULTS 0x92, 13, 0, xrstor [AREA]
        mov dword [COMP], 1
        mov word [AREA], 0x37f
        RFBM 7
        xrstors [AREA]
        mov dword [COMP], 0x801                 ; a component that XCR0 has not
        FAULTS 0x93, 13, 0, xrstors [AREA]
        mov dword [COMP], 1
        mov byte [AREA + 528], 1
        RFBM 7
        FAULTS 0x94, 13, 0, xrstors [AREA]
        mov byte [AREA + 528], 0
        mov byte [AREA + 575], 1
        RFBM 7
        FAULTS 0x95, 13, 0, xrstors [AREA]
        mov byte [AREA + 575], 0
        mov dword [COMP], 3
        mov dword [BV], 3
        mov dword [AREA + 24], 0x10000          ; reserved in MXCSR
        RFBM 7
        FAULTS 0x96, 13, 0, xrstors [AREA]
        RFBM 1                                  ; and not looked at
        xrstors [AREA]

; ring 3
        ENTER_RING3_64
        mov ebx, AREA
        add rbx, [rel user_base]
        UFAULTS 0xa0, 13, 0, xsaves [rbx - 0x10000]
        UFAULTS 0xa1, 13, 0, xrstors [rbx - 0x10000]
        RFBM 7
        xsavec [rbx - 0x10000]
        LEAVE_RING3_64
        PASS
user_base: dq USER
