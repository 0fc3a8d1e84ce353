; SPDX-License-Identifier: GPL-2.0-or-later
; x87 errors with CR0.NE clear: the error is found by the next waiting instruction, which freezes until IRQ 13 comes;
; port F0h ends the request and asserts IGNNE# until the error is cleared. With CR0.NE it is #MF.
%include "lib.inc"
%include "pm32.inc"

%define APIC 0xfee00000

fcw_zero_divide: dw 0x37b
irqs:    dd 0
irq_eip: dd 0
keep:    dd 0                   ; the handler leaves the error where it is
status:  dw 0
two:     dd 2
result:  dd 0

bits 32
isr_13: push eax
        mov eax, [esp + 4]
        mov [irq_eip], eax
        inc dword [irqs]
        out 0xf0, al
        cmp dword [keep], 0
        jne .eoi
        fnclex
.eoi:   mov al, 0x20
        out 0xa0, al
        out 0x20, al
        pop eax
        iretd

%macro ZERO_DIVIDE 0
        fninit
        fldcw [fcw_zero_divide]
        fld1
        fldz
        fdivp                   ; unmasked: pending from now on
%endmacro

; The instruction must be interrupted once, before it is executed.
%macro FREEZES 2+
        mov dword [irqs], 0
%%at:   %2
        CHECK_EQ %1, dword [irqs], 1
        CHECK_EQ %1, dword [irq_eip], %%at
%endmacro
bits 16

start:
        ENTER_PM
bits 32
        SET_GATE 0x2d, isr_13, 0x8e
        mov dword [APIC + 0xf0], 0x1ff          ; APIC on
        mov dword [APIC + 0x350], 0x700         ; LINT0: ExtINT
%assign n 0
%rep 2
        mov al, 0x11
        out 0x20 + n * 0x80, al
        mov al, 0x20 + n * 8
        out 0x21 + n * 0x80, al
        mov al, 4 - n * 2
        out 0x21 + n * 0x80, al
        mov al, 1
        out 0x21 + n * 0x80, al
        mov al, 0xfb - n * 0x1c                 ; all masked but IRQ 2, the cascade, and IRQ 13
        out 0x21 + n * 0x80, al
%assign n n + 1
%endrep
        mov eax, cr0
        and eax, ~0x2e                          ; NE, TS, EM, MP
        mov cr0, eax
        sti

; nothing happens at the error and at instructions that do not wait
        ZERO_DIVIDE
        fnstsw [status]
        mov ax, [status]
        and ax, 0x80ff
        CHECK_EQ 0x10, ax, 0x8084               ; B, ES, ZE
        CHECK_EQ 0x11, dword [irqs], 0
        FREEZES 0x12, fwait
        fnstsw ax
        and ax, 0x80ff
        CHECK_EQ 0x13, ax, 0

; again, found by arithmetic, by a load, by a store of the whole state, by MMX
        ZERO_DIVIDE
        FREEZES 0x20, fld1
        ZERO_DIVIDE
        FREEZES 0x21, fild dword [two]
        ZERO_DIVIDE
        FREEZES 0x22, frstor [0x200000]
        ZERO_DIVIDE
        FREEZES 0x23, movd mm0, eax
        emms

; cleared before anything waits: no request
        mov dword [irqs], 0
        ZERO_DIVIDE
        fnclex
        fld1
        CHECK_EQ 0x30, dword [irqs], 0

; the handler keeps the error: it is ignored until it is cleared
        mov dword [keep], 1
        ZERO_DIVIDE
        FREEZES 0x40, fwait
        fild dword [two]
        fiadd dword [two]
        fistp dword [result]
        CHECK_EQ 0x41, dword [result], 4
        fnstsw ax
        and ax, 0x80ff
        CHECK_EQ 0x42, ax, 0x8084
        CHECK_EQ 0x43, dword [irqs], 1
        mov dword [keep], 0
        fnclex
        fnstsw ax
        and ax, 0x80ff
        CHECK_EQ 0x44, ax, 0
        ZERO_DIVIDE                             ; and then counts again
        FREEZES 0x45, fwait

; CR0.NE
        mov eax, cr0
        or al, 0x20
        mov cr0, eax
        mov dword [irqs], 0
        ZERO_DIVIDE
        FAULTS 0x50, 16, 0, fwait
        ZERO_DIVIDE
        FAULTS 0x51, 16, 0, fld1
        fnclex
        CHECK_EQ 0x52, dword [irqs], 0
        PASS
