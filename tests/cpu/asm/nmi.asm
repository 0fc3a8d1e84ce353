; SPDX-License-Identifier: GPL-2.0-or-later
; Long mode: an NMI on an IST stack, and that a second one waits for IRET.
%include "lib.inc"
%include "pm32.inc"
%include "lm64.inc"

%define APIC 0xfee00000
nmis:   dd 0
bits 64

nmi_handler:
        push rax
        inc dword [nmis]
        cmp dword [nmis], 1
        jne .out
        mov edi, APIC + 0x300
        mov dword [rdi], 0x44400 ; another one to itself stays pending until IRET
        nop
        nop
        CHECK_EQ 0x120, dword [nmis], 1
.out:   pop rax
        iretq

bits 16
start:
        ENTER_PM
        ENTER_LM
; the page of the APIC, uncached, for the NMI
        mov qword [PDPT + 24], (PD + 0x4000) | 3
        mov dword [PD + 0x4000 + 503 * 8], 0xfee00000 | 0x9b
        mov dword [PD + 0x4000 + 503 * 8 + 4], 0
        mov rax, cr3
        mov cr3, rax
        GATE64 2, nmi_handler, 0x8e, 1          ; on an IST stack: a nested NMI would corrupt it
        mov edi, APIC + 0xf0
        mov dword [rdi], 0x1ff
        mov edi, APIC + 0x300
        mov dword [rdi], 0x44400                ; NMI to itself
        nop
        nop
        CHECK_EQ 0x40, dword [nmis], 2
        PASS
