; SPDX-License-Identifier: GPL-2.0-or-later
; Hardware task switch: JMP, CALL and IRET, busy bits, NT and link, task gates for INT, 16-bit TSS, the
; debug trap bit.
%include "lib.inc"
%include "pm32.inc"
%include "task.inc"

align 16
tss_a:  times 26 dd 0
tss_a_end:
tss_b:  times 26 dd 0
tss_16: times 22 dw 0
ran:    dd 0
bits 32

; JMPed to, and jumps back
task_a:
        CHECK_EQ 0x100, esi, 0x5151
        CHECK_EQ 0x101, esp, STACK1 + 0x400
        mov eax, cr0
        test al, 8
        CHECK 0x102, nz         ; CR0.TS
        pushfd
        pop eax
        test ah, 0x40
        CHECK 0x103, z          ; not nested
        test byte [gdt + TSS + 5], 2
        CHECK 0x104, z          ; the old one is not busy
        test byte [gdt + S(0) + 5], 2
        CHECK 0x105, nz
        inc dword [ran]
        jmp TSS:0
        ; second time: CALLed
        pushfd
        pop eax
        test ah, 0x40
        CHECK 0x106, nz         ; nested
        CHECK_EQ 0x107, word [tss_a], TSS
        test byte [gdt + TSS + 5], 2
        CHECK 0x108, nz
        inc dword [ran]
        mov esi, 0x6161
        iretd
        ; third time: through the task gate of INT 42h
        inc dword [ran]
        iretd
        DIE 0x10f

bits 16
task_16:
        mov word [ran], 0x16
        db 0x66
        iret
bits 32

bits 16

start:
        ENTER_PM
        TSS_INIT tss_a, task_a, STACK1 + 0x400
        mov dword [tss_a + 0x40], 0x5151 ; ESI
        TSS_DESC S(0), tss_a, 0x89, 103
        TSS_INIT tss_b, task_a, STACK1
        TSS_DESC S(1), tss_b, 0x09, 103 ; not present
        TSS_DESC S(2), tss_b, 0x89, 102 ; too short
        TSS_DESC S(3), tss_b, 0x8b, 103 ; busy
        GDT_GATE S(5), S(0), 0, 0x8500
        TSS_DESC S(6), tss_16, 0x81, 43

        mov ebx, 0x7777
        jmp S(0):0
        CHECK_EQ 1, dword [ran], 1
        CHECK_EQ 2, ebx, 0x7777
        CHECK_EQ 3, esp, STACK0
        test byte [gdt + TSS + 5], 2
        CHECK 4, nz
        test byte [gdt + S(0) + 5], 2
        CHECK 5, z
        clts
        call S(0):0
        CHECK_EQ 6, dword [ran], 2
        CHECK_EQ 7, dword [tss_a + 0x40], 0x6161
        pushfd
        pop eax
        test ah, 0x40
        CHECK 8, z
        test byte [gdt + S(0) + 5], 2
        CHECK 9, z
; task gate in the IDT
        mov dword [IDT + 0x42 * 8], S(0) << 16
        mov dword [IDT + 0x42 * 8 + 4], 0x8500
        int 0x42
        CHECK_EQ 0xa, dword [ran], 3
; faults
        FAULTS 0x10, 11, S(1), jmp S(1):0
        FAULTS 0x11, 10, S(2), jmp S(2):0
        FAULTS 0x12, 13, S(3), jmp S(3):0
        FAULTS 0x13, 13, TSS, call TSS:0        ; busy: no recursion
        pushfd
        or dword [esp], 0x4000
        popfd
        mov word [tss], DATA32
        FAULTS 0x14, 10, DATA32, iretd          ; link is not a busy TSS
        pushfd
        and dword [esp], ~0x4000
        popfd
; bad segments in the new task: #TS there, which comes back here by the handler's resume address
; (the fault belongs to the new task, whose CS, DS and stack are good by then)
        TSS_INIT tss_b, .never, STACK0 - 0x100
        mov word [tss_b + 0x5c], S(9)           ; GS: empty descriptor
        TSS_DESC S(3), tss_b, 0x89, 103
        mov dword [exp_vec], 10
        mov dword [exp_err], S(9)
        mov dword [exp_at], .never
        mov dword [exp_resume], .bad_gs
        jmp S(3):0
.never: DIE 0x20
.bad_gs:
        str eax
        CHECK_EQ 0x21, eax, S(3)
        mov dword [tss + 0x20], .home
        jmp TSS:0
.home:  mov esp, STACK0
; 16-bit TSS
        mov word [tss_16 + 14], task_16
        mov word [tss_16 + 16], 2
        mov word [tss_16 + 26], 0x7000
        mov word [tss_16 + 34], DATA16
        mov word [tss_16 + 36], CODE16
        mov word [tss_16 + 38], DATA16
        mov word [tss_16 + 40], DATA16
        call S(6):0
        CHECK_EQ 0x30, dword [ran], 0x16
        CHECK_EQ 0x31, esp, STACK0
; debug trap on entering a task
        TSS_INIT tss_b, .traced, STACK0 - 0x100
        mov word [tss_b + 0x5c], DATA32
        mov word [tss_b + 0x64], 1
        mov byte [gdt + S(3) + 5], 0x89
        mov dword [exp_vec], 1
        mov dword [exp_err], 0
        mov dword [exp_at], .traced
        mov dword [exp_resume], .trap
        jmp S(3):0
.traced:
        DIE 0x50
.trap:  mov eax, dr6
        test eax, 1 << 15
        CHECK 0x51, nz
        mov al, 't'
        out PORT_TEXT, al
        PASS
