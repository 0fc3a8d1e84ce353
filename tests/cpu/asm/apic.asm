; SPDX-License-Identifier: GPL-2.0-or-later
; Local APIC: identification, self IPI, priorities, timer in all modes, disable and enable, x2APIC, and
; with a second processor INIT, start-up, directed and broadcast IPIs, NMI.
%include "lib.inc"
%include "pm32.inc"

%define APIC 0xfee00000
%define AP_STACK 0x2c000
order:    times 8 db 0
order_n:  dd 0
nmis:     dd 0 ; of the first processor, and 8 bytes on
ap_alive: dd 0
ap_nmis:  dd 0 ; of the second
ap_count: dd 0
ap_id:    dd 0
align 8
ap_gdtr:  dw gdt_end - gdt - 1
          dd gdt
bits 32
%macro ISR 2 ; label, letter
%1:     push eax
        push ebx
        mov ebx, [order_n]
        and ebx, 7
        mov byte [order + ebx], %2
        inc dword [order_n]
        inc dword [count]
        mov dword [APIC + 0xb0], 0
        pop ebx
        pop eax
        iretd
%endmacro
        ISR isr_31, 'a'
        ISR isr_51, 'b'
        ISR isr_52, 'c'
; x2APIC end of interrupt
isr_x2: push eax
        push ecx
        push edx
        inc dword [count]
        mov ecx, 0x80b
        xor eax, eax
        xor edx, edx
        wrmsr
        pop edx
        pop ecx
        pop eax
        iretd
isr_nmi:
        push eax
        mov eax, [APIC + 0x20]
        shr eax, 24
        inc dword [nmis + eax * 8] ; nmis or ap_nmis
        pop eax
        iretd
isr_ap: inc dword [ap_count]
        mov dword [APIC + 0xb0], 0
        iretd

; Waits until [%2] is %3, bounded.
%macro WAIT_FOR 3
        mov ecx, 200000000
%%wait: cmp dword [%2], %3
        je %%ok
        pause
        dec ecx
        jnz %%wait
        DIE %1
%%ok:
%endmacro
%macro RESET_ORDER 0
        mov dword [order_n], 0
        mov dword [order], 0
        mov dword [count], 0
%endmacro

ap_main:
        mov ax, DATA32
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov esp, AP_STACK
        lidt [idtr]
        mov eax, [APIC + 0x20]
        shr eax, 24
        mov [ap_id], eax
        mov dword [APIC + 0xf0], 0x1ff
        sti
        inc dword [ap_alive]
.idle:  hlt
        jmp .idle
bits 16
ap_start:
        cli
        xor ax, ax
        mov ds, ax
        lgdt [ap_gdtr]
        mov eax, cr0
        or al, 1
        mov cr0, eax
        jmp CODE32:ap_main

start:
        ENTER_PM
        SET_GATE 0x31, isr_31, 0x8e
        SET_GATE 0x51, isr_51, 0x8e
        SET_GATE 0x52, isr_52, 0x8e
        SET_GATE 0x61, isr_x2, 0x8e
        SET_GATE 0x71, isr_ap, 0x8e
        SET_GATE 2, isr_nmi, 0x8e
        mov eax, [APIC + 0x20]
        CHECK_EQ 1, eax, 0
        mov eax, [APIC + 0x30]
        and eax, 0xff
        CHECK_EQ 2, eax, 0x14
        mov dword [APIC + 0xf0], 0x1ff
; self IPI, first pending in IRR, then taken, in order of priority
        RESET_ORDER
        mov dword [APIC + 0x300], 0x40031
        mov dword [APIC + 0x300], 0x40051
        mov eax, [APIC + 0x210]
        and eax, 1 << 17
        CHECK 0x10, nz
        sti
        nop
        nop
        cli
        CHECK_EQ 0x11, dword [count], 2
        CHECK_EQ 0x12, word [order], 'ba'
; task priority holds back classes at or below it
        RESET_ORDER
        mov dword [APIC + 0x80], 0x50
        mov dword [APIC + 0x300], 0x40052
        sti
        nop
        nop
        CHECK_EQ 0x13, dword [count], 0
        mov dword [APIC + 0x80], 0x40
        nop
        nop
        cli
        CHECK_EQ 0x14, dword [count], 1
        mov dword [APIC + 0x80], 0
; STI holds interrupts for one more instruction
        RESET_ORDER
        mov dword [APIC + 0x300], 0x40031
        sti
        cli
        CHECK_EQ 0x15, dword [count], 0
        sti
        nop
        nop
        cli
        CHECK_EQ 0x16, dword [count], 1
; timer: one shot, then nothing more
        RESET_ORDER
        mov dword [APIC + 0x3e0], 0xb           ; divide by 1
        mov dword [APIC + 0x320], 0x31
        mov dword [APIC + 0x380], 0xffffffff    ; seconds: whoever executes this may take his time
        mov eax, [APIC + 0x390]
        test eax, eax
        CHECK 0x20, nz
        mov dword [APIC + 0x380], 1000000       ; a millisecond or so
        sti
        hlt
        cli
        CHECK_EQ 0x21, dword [count], 1
        mov eax, [APIC + 0x390]
        CHECK_EQ 0x22, eax, 0
; periodic
        RESET_ORDER
        mov dword [APIC + 0x320], 0x20031
        mov dword [APIC + 0x380], 1000000
        sti
        hlt
        hlt
        hlt
        cli
        cmp dword [count], 3
        CHECK 0x23, ae
        mov dword [APIC + 0x320], 0x30031       ; masked
        mov dword [APIC + 0x380], 0
        sti                                     ; what may still be pending
        nop
        nop
        cli
; TSC deadline
        mov eax, 1
        cpuid
        test ecx, 1 << 24
        jz .no_deadline
        RESET_ORDER
        mov dword [APIC + 0x320], 0x40031
        rdtsc
        add eax, 3000000
        adc edx, 0
        mov ecx, 0x6e0
        wrmsr
        sti
        hlt
        cli
        CHECK_EQ 0x24, dword [count], 1
        mov ecx, 0x6e0
        rdmsr
        or eax, edx
        CHECK_EQ 0x25, eax, 0
        mov dword [APIC + 0x320], 0x10031
.no_deadline:
; software disable masks the LVT; a fixed interrupt is not accepted
        mov dword [APIC + 0x350], 0x700
        mov dword [APIC + 0xf0], 0xff
        mov eax, [APIC + 0x350]
        test eax, 0x10000
        CHECK 0x30, nz
        mov dword [APIC + 0xf0], 0x1ff
; hardware disable and enable: CPUID bit, registers as after reset
        mov ecx, 0x1b
        rdmsr
        test eax, 0x900
        CHECK 0x31, nz
        and eax, ~0x800
        wrmsr
        push eax
        push edx
        mov eax, 1
        cpuid
        test edx, 1 << 9
        CHECK 0x32, z
        pop edx
        pop eax
        mov ecx, 0x1b
        or eax, 0x400           ; straight to x2APIC: no
        or eax, 0x800
        FAULTS 0x33, 13, 0, wrmsr
        and eax, ~0xc00
        or eax, 0x800
        wrmsr
        mov eax, [APIC + 0xf0]
        CHECK_EQ 0x34, eax, 0xff
        mov eax, [APIC + 0x320]
        CHECK_EQ 0x35, eax, 0x10000
        mov dword [APIC + 0xf0], 0x1ff
        RESET_ORDER
        mov dword [APIC + 0x300], 0x40031
        sti
        nop
        cli
        CHECK_EQ 0x36, dword [count], 1

; second processor, when there is one
        mov eax, 1
        cpuid
        shr ebx, 16
        cmp bl, 2
        jb .one
        mov byte [0x9000], 0xea ; jmp 0:ap_start
        mov word [0x9001], ap_start
        mov word [0x9003], 0
        mov dword [APIC + 0x310], 1 << 24
        mov dword [APIC + 0x300], 0x4500        ; INIT
        mov dword [APIC + 0x300], 0x4609        ; start at 9000h
        WAIT_FOR 0x40, ap_alive, 1
        mov dword [APIC + 0x300], 0x4609        ; the second start-up IPI is ignored
        CHECK_EQ 0x41, dword [ap_id], 1
        mov dword [APIC + 0x300], 0x4071        ; physical
        WAIT_FOR 0x42, ap_count, 1
        mov dword [APIC + 0x300], 0xc4071       ; all others
        WAIT_FOR 0x43, ap_count, 2
        mov dword [APIC + 0x300], 0x4400        ; NMI
        WAIT_FOR 0x44, ap_nmis, 1
        mov dword [APIC + 0xd0], 1 << 24        ; logical, flat: only this one has an ID
        mov dword [APIC + 0x310], 3 << 24
        RESET_ORDER
        mov dword [APIC + 0x300], 0x4831
        sti
        nop
        cli
        CHECK_EQ 0x45, dword [count], 1
        CHECK_EQ 0x46, dword [ap_count], 2
        CHECK_EQ 0x47, dword [nmis], 0
        ; restart it
        mov dword [APIC + 0x310], 1 << 24
        mov dword [APIC + 0x300], 0x4500
        mov dword [APIC + 0x300], 0x4609
        WAIT_FOR 0x48, ap_alive, 2
.one:
; x2APIC
        mov eax, 1
        cpuid
        test ecx, 1 << 21
        jz .done
        mov ecx, 0x802
        FAULTS 0x50, 13, 0, rdmsr
        mov ecx, 0x1b
        rdmsr
        or eax, 0x400
        wrmsr
        mov ecx, 0x802
        rdmsr
        CHECK_EQ 0x51, eax, 0
        mov ecx, 0x80d
        rdmsr
        CHECK_EQ 0x52, eax, 1
        mov ecx, 0x80e
        FAULTS 0x53, 13, 0, rdmsr
        RESET_ORDER
        mov eax, 0x61
        xor edx, edx
        mov ecx, 0x83f
        wrmsr
        sti
        nop
        cli
        CHECK_EQ 0x54, dword [count], 1
        mov eax, 0x40061
        mov ecx, 0x830
        wrmsr
        sti
        nop
        cli
        CHECK_EQ 0x55, dword [count], 2
        mov ecx, 0x1b
        rdmsr
        and eax, ~0x400
        FAULTS 0x56, 13, 0, wrmsr
        and eax, ~0xc00
        wrmsr
        or eax, 0x800
        wrmsr
        mov eax, [APIC + 0x20]
        CHECK_EQ 0x57, eax, 0
.done:  mov al, 'a'
        out PORT_TEXT, al
        PASS
