; SPDX-License-Identifier: GPL-2.0-or-later
; Long mode: page fault error codes (NX, reserved, user), canonical addresses, SMEP, SMAP, protection
; keys, what interrupts push, IST, double fault, compatibility mode, SYSCALL, SYSENTER, segment bases.
%include "lib.inc"
%include "pm32.inc"
%include "lm64.inc"

%define P 1
%define W 2
%define U 4
%define RSVD 8
%define I 16
%define PK 32

features7b: dd 0
features7c: dd 0
df_sp:      dq 0
df_error:   dq 0
sys_rcx:    dq 0
sys_r11:    dq 0
sys_cs:     dq 0

bits 64
%macro PTE 2 ; page of the window, entry below 4 GiB
        mov qword [PT + (%1) * 8], %2
        invlpg [WINDOW + (%1) * 0x1000]
%endmacro
%macro PTE_HIGH 3 ; page, low half, high half
        mov dword [PT + (%1) * 8], %2
        mov dword [PT + (%1) * 8 + 4], %3
        invlpg [WINDOW + (%1) * 0x1000]
%endmacro
%macro PF 4+
        FAULTS %1, 14, %2, %4
        mov rax, WINDOW + (%3)
        cmp [got_cr2], rax
        CHECK %1, e
%endmacro
%macro UPF 4+
        UFAULTS %1, 14, %2, %4
        mov rax, WINDOW + (%3)
        cmp [rel got_cr2], rax
        CHECK %1, e
%endmacro
%macro WRITE_MSR 3 ; number, high, low
        mov ecx, %1
        mov edx, %2
        mov eax, %3
        wrmsr
%endmacro

df_handler: ; on IST2
        mov [df_sp], rsp
        pop qword [df_error]
        mov rsp, STACK0
        jmp qword [exp_resume]

nop_handler:
        mov [handler_sp], rsp
        iretq

syscall_entry:
        mov [sys_rcx], rcx
        mov [sys_r11], r11
        mov ax, cs
        mov [sys_cs], rax
        pushfq
        pop rax
        mov r15, rax
        mov ax, ss
        mov r14d, eax
        o64 sysret

syscall_bad_return: ; SYSRET to a non-canonical address faults in ring 0
        xor eax, eax
        mov ss, ax                      ; SYSCALL's SS is no data segment of this GDT
        mov r13, rcx
        mov rcx, 0x800000000000
        FAULTS 0x100, 13, 0, o64 sysret
        mov rax, [got_cs]
        CHECK_EQ 0x101, eax, CODE64
        mov rcx, r13
        o64 sysret

sysenter_entry:
        mov ax, cs
        CHECK_EQ 0x110, ax, CODE32
        cmp rsp, STACK0
        CHECK 0x111, e
        pushfq
        pop rax
        test eax, 0x200
        CHECK 0x112, z
        mov rsp, STACK0
        push qword CODE64               ; the selector is that of 32-bit code in this GDT
        push qword sysenter_back
        retfq

bits 32
compat:
        mov eax, cs
        CHECK_EQ 0x120, eax, CODE32
        mov ax, DATA32
        mov ds, ax
        mov ss, ax
        mov esp, STACK0
        inc eax                         ; 40h is INC here, REX in 64-bit code
        push eax
        CHECK_EQ 0x121, esp, STACK0 - 4
        pop eax
        FAULTS 0x122, 14, 0, mov eax, [WINDOW + 0x1ff000]
        FAULTS 0x123, 6, 0, syscall     ; Intel: only in 64-bit code
        int 0x41                        ; 64-bit handler, back to compatibility mode
        mov eax, cr0
        and eax, 0x7fffffff             ; leaves long mode
        mov cr0, eax
        mov ecx, 0xc0000080
        rdmsr
        test eax, 0x400
        CHECK 0x124, z
        mov eax, cr0
        or eax, 0x80000000
        mov cr0, eax
        mov ecx, 0xc0000080
        rdmsr
        test eax, 0x400
        CHECK 0x125, nz
        jmp CODE64:compat_back
bits 16

start:
        ENTER_PM
        mov eax, cr0
        mov ebx, 1 << 31 | 1
        ; PG with LME but without PAE
        mov ecx, 0xc0000080
        rdmsr
        or eax, 0x100
        wrmsr
        FAULTS 1, 13, 0, mov cr0, ebx
        ENTER_LM
        mov dword [FRAME], 0x11223344
; pages
        PF 0x10, 0, 0, mov eax, [WINDOW]
        PF 0x11, W, 8, mov [WINDOW + 8], rax
        PTE 0, FRAME | 7
        CHECK_EQ 0x12, dword [WINDOW], 0x11223344
        CHECK_EQ 0x13, dword [PT], FRAME | 0x27
        inc dword [WINDOW]
        CHECK_EQ 0x14, dword [PT], FRAME | 0x67
; flags that DIV leaves undefined: no matter which ones PUSHF finds
        mov ecx, 40
.divide:
        xor edx, edx
        mov eax, [WINDOW]
        div ecx
        pushfq
        pop rax
        dec ecx
        jnz .divide
        PTE 1, FRAME | 5
        PF 0x15, P | W, 0x1000, mov [WINDOW + 0x1000], eax
        PTE_HIGH 1, FRAME | 7, 0x80000
        PF 0x16, P | RSVD, 0x1000, mov eax, [WINDOW + 0x1000]
        PTE_HIGH 1, FRAME | 7, 0x80000000
        mov eax, [WINDOW + 0x1000]
        mov byte [WINDOW], 0xc3
        call WINDOW
        mov qword [exp_resume], .nx
        mov qword [exp_at], WINDOW + 0x1000
        mov dword [exp_vec], 14
        mov dword [exp_err], P | I
        mov eax, WINDOW + 0x1000
        jmp rax
.nx:
; canonical addresses: #GP, and #SS through RSP
        mov rbx, 0x800000000000
        FAULTS 0x20, 13, 0, mov rax, [rbx]
        FAULTS 0x21, 13, 0, mov rax, [rbx - 4]
        mov rdx, 0xffff800000000000
        FAULTS 0x22, 13, 0, mov rax, [rdx - 8]
        FAULTS 0x23, 14, 0, mov rax, [rdx]
        GATE64 12, stubs64 + 12 * 9, 0x8e, 1
        mov rsi, rsp
        lea rsp, [rbx + 16]
        FAULTS 0x24, 12, 0, push rax
        lea rax, [rbx + 16]
        cmp rsp, rax
        CHECK 0x25, e
        mov rsp, rsi
        mov rbp, rbx
        FAULTS 0x26, 12, 0, mov rax, [rbp]
        FAULTS 0x27, 13, 0, jmp rbx
        mov ecx, 0xc0000100
        mov edx, 0x8000
        FAULTS 0x28, 13, 0, wrmsr
; what an interrupt pushes, with RSP aligned down
        mov rsp, STACK0 - 12
        GATE64 0x41, nop_handler, 0x8e, 0
        int 0x41
        cmp rsp, STACK0 - 12
        CHECK 0x30, e
        cmp qword [handler_sp], STACK0 - 16 - 40
        CHECK 0x31, e
        CHECK_EQ 0x32, dword [STACK0 - 16 - 16], STACK0 - 12
        mov rsp, STACK0
; IST from ring 0
        GATE64 0x41, nop_handler, 0x8e, 1
        int 0x41
        cmp qword [handler_sp], IST1 - 40
        CHECK 0x33, e
        GATE64 0x41, nop_handler, 0x8e, 0
; gates must lead to 64-bit code
        mov word [IDT + 0x42 * 16 + 2], CODE32
        mov byte [IDT + 0x42 * 16 + 5], 0x8e
        FAULTS 0x34, 13, CODE32, int 0x42
        mov byte [IDT + 0x42 * 16 + 5], 0x85
        FAULTS 0x35, 13, 0x42 * 8 + 2, int 0x42
; double fault: page fault whose handler is not present
        GATE64 8, df_handler, 0x8e, 2
        mov byte [IDT + 14 * 16 + 5], 0x0e
        mov qword [exp_resume], .df
        mov eax, [WINDOW + 0x5000]
        DIE 0x38
.df:    mov byte [IDT + 14 * 16 + 5], 0x8e
        cmp qword [df_sp], IST2 - 48
        CHECK 0x39, e
        CHECK_EQ 0x3a, dword [df_error], 0
; but #PF upon a benign #UD is just a page fault
        GATE64 6, nop_handler, 0x8e, 0
        mov word [IDT + 6 * 16 + 2], 0xfff8
        FAULTS 0x3b, 13, 0xfff8 | 1, ud2
        GATE64 6, stubs64 + 6 * 9, 0x8e, 0

; ring 3
        PTE 2, FRAME | 3
        PTE 3, (FRAME + 0x1000) | 5
        ENTER_RING3_64
        mov ax, cs
        CHECK_EQ 0x40, ax, CODE64U
        mov rbx, WINDOW
        UPF 0x41, P | U, 0x2000, mov eax, [rbx + 0x2000]
        UPF 0x42, P | U | W, 0x3000, mov [rbx + 0x3000], eax
        UPF 0x43, U, 0x6000, mov eax, [rbx + 0x6000]
        UFAULTS 0x44, 14, P | U, mov eax, [0x7c00]
        UFAULTS 0x45, 13, 0, swapgs
        UFAULTS 0x46, 13, 0, mov rax, cr3
        UFAULTS 0x47, 13, 0x41 * 8 + 2, int 0x41
        UFAULTS 0x48, 6, 0, rdfsbase rax
        mov rax, [rel got_sp]
        mov rcx, USER + STACK3
        cmp rax, rcx
        CHECK 0x49, e
        CHECK_EQ 0x4a, dword [rel handler_sp], STACK1 - 96 ; stack of ring 0, from the TSS
        mov ax, ss
        CHECK_EQ 0x4b, ax, DATA32U
        xor ebx, ebx
        UFAULTS 0x4c, 13, 0, mov ss, bx ; null SS is for ring 0
        LEAVE_RING3_64
        mov ax, ss
        CHECK_EQ 0x4d, ax, 0

; SYSCALL and SYSRET
        WRITE_MSR 0xc0000081, CODE64 | (CODE32U - 3) << 16, 0
        WRITE_MSR 0xc0000082, 0, syscall_entry
        WRITE_MSR 0xc0000084, 0, 0x600 ; clears IF and DF
        ENTER_RING3_64 0x3602
        lea rbx, [rel .after_syscall]
        xor ecx, ecx
        stc
        syscall
.after_syscall:
        CHECK 0x50, c
        cmp rcx, rbx
        CHECK 0x51, e
        cmp [rel sys_rcx], rbx
        CHECK 0x52, e
        mov rax, [rel sys_r11]
        and eax, 0x3601
        CHECK_EQ 0x53, eax, 0x3601
        CHECK_EQ 0x54, word [rel sys_cs], CODE64
        CHECK_EQ 0x55, r14w, CODE64 + 8
        test r15d, 0x600
        CHECK 0x56, z
        mov ax, cs
        CHECK_EQ 0x57, ax, CODE64U
        mov ax, ss
        CHECK_EQ 0x58, ax, DATA32U
        pushfq
        pop rax
        and eax, 0x3601
        CHECK_EQ 0x59, eax, 0x3600
        LEAVE_RING3_64
        cld
        WRITE_MSR 0xc0000082, 0, syscall_bad_return
        ENTER_RING3_64
        syscall
        LEAVE_RING3_64
        mov ecx, 0xc0000080
        rdmsr
        and al, 0xfe
        wrmsr
        FAULTS 0x5a, 6, 0, syscall
        or al, 1
        wrmsr
; SYSENTER
        xor eax, eax
        xor edx, edx
        mov ecx, 0x174
        wrmsr
        FAULTS 0x60, 13, 0, sysenter
        WRITE_MSR 0x174, 0, CODE32
        WRITE_MSR 0x175, 0, STACK0
        WRITE_MSR 0x176, 0, sysenter_entry
        ENTER_RING3_64 0x3202
        sysenter
        DIE 0x61
sysenter_back:

; segment bases
        WRITE_MSR 0xc0000100, 0, FRAME
        mov dword [FRAME + 16], 0x77
        CHECK_EQ 0x70, dword [fs:16], 0x77
        xor eax, eax
        mov fs, ax              ; Intel clears the base
        mov ecx, 0xc0000100
        rdmsr
        CHECK_EQ 0x71, eax, 0
        WRITE_MSR 0xc0000101, 0, 0x1000
        WRITE_MSR 0xc0000102, 0xffff8000, 0x2000
        swapgs
        mov ecx, 0xc0000101
        rdmsr
        CHECK_EQ 0x72, eax, 0x2000
        CHECK_EQ 0x73, edx, 0xffff8000
        mov ecx, 0xc0000102
        rdmsr
        CHECK_EQ 0x74, eax, 0x1000
        xor eax, eax
        xor edx, edx
        mov ecx, 0xc0000101
        wrmsr
        mov eax, 7
        xor ecx, ecx
        cpuid
        mov [features7b], ebx
        mov [features7c], ecx
        test ebx, 1
        jz .no_fsgsbase
        mov rax, cr4
        or eax, 1 << 16
        mov cr4, rax
        mov rax, 0x123456789
        wrfsbase rax
        rdfsbase rbx
        cmp rbx, rax
        CHECK 0x75, e
        mov rax, 0x800000000000
        FAULTS 0x76, 13, 0, wrgsbase rax
.no_fsgsbase:
; CR4 and EFER
        mov rax, cr4
        and eax, ~0x20
        FAULTS 0x78, 13, 0, mov cr4, rax
        mov ecx, 0xc0000080
        rdmsr
        and eax, ~0x100
        FAULTS 0x79, 13, 0, wrmsr
        mov rax, cr0
        and eax, 0x7fffffff
        FAULTS 0x7a, 13, 0, mov cr0, rax
        mov rax, 1 << 62
        FAULTS 0x7b, 13, 0, mov cr3, rax
        mov ecx, 0x12345678
        FAULTS 0x7c, 13, 0, rdmsr
        FAULTS 0x7d, 13, 0, wrmsr

; SMEP
        test dword [features7b], 1 << 7
        jz .no_smep
        mov rax, cr4
        bts eax, 20
        mov cr4, rax
        PTE 0, FRAME | 7
        mov qword [exp_resume], .smep
        mov qword [exp_at], WINDOW
        mov dword [exp_vec], 14
        mov dword [exp_err], P | I
        mov eax, WINDOW
        jmp rax
.smep:  mov rax, cr4
        btr eax, 20
        mov cr4, rax
.no_smep:
; SMAP
        test dword [features7b], 1 << 20
        jz .no_smap
        mov rax, cr4
        bts eax, 21
        mov cr4, rax
        PF 0x80, P, 0, mov eax, [WINDOW]
        PF 0x81, P | W, 0, mov [WINDOW], eax
        stac
        mov eax, [WINDOW]
        clac
        PF 0x82, P, 0, mov eax, [WINDOW]
        mov rax, cr4
        btr eax, 21
        mov cr4, rax
        mov eax, [WINDOW]
.no_smap:
; protection keys
        test dword [features7c], 1 << 3
        jz .no_pku
        FAULTS 0x88, 6, 0, rdpkru
        mov rax, cr4
        bts eax, 22
        mov cr4, rax
        PTE_HIGH 0, FRAME | 7, 1 << 27  ; key 1
        xor ecx, ecx
        xor edx, edx
        mov eax, 4                      ; access disabled for key 1
        wrpkru
        PF 0x89, P | PK, 0, mov eax, [WINDOW]
        xor ecx, ecx
        xor edx, edx
        mov eax, 8                      ; write disabled
        wrpkru
        mov eax, [WINDOW]
        PF 0x8a, P | W | PK, 0, mov [WINDOW], eax
        ENTER_RING3_64
        mov ebx, WINDOW
        mov eax, [rbx]
        UPF 0x8b, P | W | U | PK, 0, mov [rbx], eax
        LEAVE_RING3_64
        xor ecx, ecx
        rdpkru
        CHECK_EQ 0x8c, eax, 8
        xor eax, eax
        wrpkru
        mov rax, cr4
        btr eax, 22
        mov cr4, rax
.no_pku:
; compatibility mode, out of long mode and back
        push qword CODE32
        push qword compat
        retfq
compat_back:
        mov rsp, STACK0
        xor eax, eax
        mov ds, eax
        mov ss, eax
        mov al, 'l'
        out PORT_TEXT, al
        PASS
