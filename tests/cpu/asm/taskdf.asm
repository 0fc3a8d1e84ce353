; SPDX-License-Identifier: GPL-2.0-or-later
; A double fault that only a task can take.
%include "lib.inc"
%include "pm32.inc"
%include "task.inc"

align 16
tss_df: times 26 dd 0
df_err: dd -1
bits 32

; task of the double fault gate
task_df:
        pop dword [df_err]
        CHECK_EQ 0x110, dword [df_err], 0
        mov eax, [tss + 0x20]
        CHECK_EQ 0x111, eax, bad_push
        ; mend what was broken and return to another place
        mov dword [tss + 0x20], .resume
        mov dword [tss + 0x38], STACK0
        mov word [tss + 0x50], DATA32
        iretd
.resume:
        jmp df_back

bits 16

start:
        ENTER_PM
        TSS_INIT tss_df, task_df, STACK1 + 0x800
        TSS_DESC S(4), tss_df, 0x89, 103

; double fault: the stack is unusable, so #SS cannot be delivered, but a task brings its own
        mov dword [IDT + 8 * 8], S(4) << 16
        mov dword [IDT + 8 * 8 + 4], 0x8500
        GDT_SET S(8), 0x004093000000000f
        mov ax, S(8)
        mov ss, ax
        mov esp, 2
bad_push:
        push eax
        DIE 0x40
df_back:
        CHECK_EQ 0x41, dword [df_err], 0
        CHECK_EQ 0x42, esp, STACK0
        PASS
