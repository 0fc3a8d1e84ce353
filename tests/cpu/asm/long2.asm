; SPDX-License-Identifier: GPL-2.0-or-later
; Long mode, second part: call gates, far pointers of 64 bits, segment pushes, SYSEXIT, user code in
; compatibility mode, UMIP, INVPCID, 1 GiB pages, 5-level paging.
%include "lib.inc"
%include "pm32.inc"
%include "lm64.inc"

%define S(n) (TESTSEL + (n) * 8)
far32:  dd 0
        dw S(0) | 3
align 8
far64:  dq 0
        dw CODE64
features7b: dd 0
features7c: dd 0
gate_ran: dd 0
invdesc: dq 0, 0
bits 64

gate_entry:
        mov ax, cs
        CHECK_EQ 0x100, ax, CODE64
        lea rax, [STACK1 - 32]
        cmp rsp, rax
        CHECK 0x101, e
        CHECK_EQ 0x102, dword [rsp + 8], CODE64U
        CHECK_EQ 0x103, dword [rsp + 24], DATA32U
        mov ax, ss
        CHECK_EQ 0x104, ax, 0
        inc dword [gate_ran]
        o64 retf

gate_same:
        CHECK_EQ 0x110, dword [rsp + 8], CODE64
        inc dword [gate_ran]
        o64 retf

sysenter_entry:
        mov eax, [sysexit_kind]
        test eax, eax
        jnz .to64
        lea edx, [rel user32]
        add edx, USER
        mov ecx, USER + STACK3
        sysexit
.to64:  lea rdx, [rel user64]
        mov rax, USER
        add rdx, rax
        mov ecx, USER + STACK3
        o64 sysexit
sysexit_kind: dd 0

bits 32
; Ring 3 in compatibility mode, in the alias at 2 GiB; data segments are set to flat ones.
user32: mov ax, S(8) | 3
        mov ds, ax
        mov es, ax
        mov eax, cs
        and eax, 3
        CHECK_EQ 0x130, eax, 3
        inc eax                         ; one byte, 40h
        CHECK_EQ 0x131, eax, 4
        CHECK_EQ 0x132, esp, USER + STACK3
        mov dword [USER + exp_vec], 6
        mov dword [USER + exp_err], 0
        mov dword [USER + exp_at], .sc + USER
        mov dword [USER + exp_at + 4], 0
        mov dword [USER + exp_resume], .back + USER
        mov dword [USER + exp_resume + 4], 0
.sc:    syscall
        DIE 0x133
.back:  int 0x41
bits 64
user64: mov ax, cs
        and eax, 3
        CHECK_EQ 0x140, eax, 3
        mov rax, 0x123456789
        int 0x42

back_from_32:
        mov rsp, STACK0
        jmp sysexit_32_done
back_from_64:
        mov rsp, STACK0
        jmp sysexit_64_done

%macro GATE_DESC 3 ; index, target, access
        mov word [gdt + S(%1)], %2
        mov word [gdt + S(%1) + 2], CODE64
        mov word [gdt + S(%1) + 4], (%3) << 8
        mov word [gdt + S(%1) + 6], 0
        mov qword [gdt + S(%1) + 8], 0
%endmacro
bits 16

start:
        ENTER_PM
        ENTER_LM
        mov eax, 7
        xor ecx, ecx
        cpuid
        mov [features7b], ebx
        mov [features7c], ecx

; call gates: 16 bytes, no parameters, 8-byte pushes
        GATE_DESC 0, gate_entry, 0xec
        GATE_DESC 2, gate_same, 0x8c
        GATE_DESC 4, gate_same, 0x8c
        mov word [gdt + S(4) + 2], CODE32       ; must lead to 64-bit code
        GATE_DESC 6, gate_same, 0x8c
        mov byte [gdt + S(6) + 13], 1           ; type of the upper half is not 0
        mov word [far32 + 4], S(2)
        call far dword [far32]
        CHECK_EQ 1, dword [gate_ran], 1
        cmp rsp, STACK0
        CHECK 2, e
        mov word [far32 + 4], S(4)
        FAULTS 3, 13, CODE32, call far dword [far32]
        mov word [far32 + 4], S(6)
        FAULTS 4, 13, S(6), call far dword [far32]
        mov word [far32 + 4], TSS               ; no tasks here
        FAULTS 5, 13, TSS, jmp far dword [far32]
        mov word [far32 + 4], S(0) | 3
        ENTER_RING3_64
        call far dword [rel far32]
        mov ax, cs
        CHECK_EQ 6, ax, CODE64U
        mov rax, USER + STACK3
        cmp rsp, rax
        CHECK 7, e
        LEAVE_RING3_64
        CHECK_EQ 8, dword [gate_ran], 2
; m16:64
        mov rax, .far64
        mov [far64], rax
        o64 jmp far [far64]
        DIE 9
.far64: mov rax, 0x800000000000
        mov [far64], rax
        FAULTS 0xa, 13, 0, o64 jmp far [far64]
; segment registers on the stack take 8 bytes
        mov ax, DATA32U
        mov fs, ax
        mov qword [STACK0 - 8], -1
        push fs
        cmp rsp, STACK0 - 8
        CHECK 0x10, e
        cmp qword [rsp], DATA32U
        CHECK 0x11, e
        pop gs
        cmp rsp, STACK0
        CHECK 0x12, e
        mov ax, gs
        CHECK_EQ 0x13, ax, DATA32U
        xor eax, eax
        mov fs, ax
        mov gs, ax
; null SS goes with ring 0 only, and its RPL must match
        mov ax, 3
        FAULTS 0x18, 13, 0, mov ss, ax
; LTR, LAR and LSL see 16-byte descriptors
        mov ecx, TSS64
        lar eax, ecx
        CHECK 0x19, z
        lsl eax, ecx
        CHECK 0x1a, z
        CHECK_EQ 0x1b, eax, 103
        mov ecx, TSS                            ; 32-bit TSS descriptor: same type, 64-bit one here
        mov ecx, S(2)
        lsl eax, ecx
        CHECK 0x1c, nz
; SYSEXIT to 32-bit and to 64-bit code
        GDT_SET S(8), 0x00cff3000000ffff        ; user data, since DATA32U goes for a while
        mov ecx, 0x174
        xor edx, edx
        mov eax, CODE64
        wrmsr
        mov ecx, 0x175
        mov eax, STACK0
        wrmsr
        mov ecx, 0x176
        mov eax, sysenter_entry
        wrmsr
        GATE64 0x41, back_from_32, 0xee, 0
        GATE64 0x42, back_from_64, 0xee, 0
        ; INT leaves user code for good, but #UD in user32 returns to it by IRETQ, which loads what SYSEXIT
        ; only named: CS + 16 and CS + 24
        mov eax, [gdt + CODE32U - 3]
        mov edx, [gdt + CODE32U - 3 + 4]
        mov [gdt + CODE64 + 16], eax            ; replaces DATA32U by 32-bit code
        mov [gdt + CODE64 + 20], edx
        mov dword [gdt + CODE64 + 24], 0xffff   ; replaces CODE64U by data
        mov dword [gdt + CODE64 + 28], 0x00cff300
        mov dword [sysexit_kind], 0
        sysenter
sysexit_32_done:
        mov dword [sysexit_kind], 1
        sysenter
sysexit_64_done:
        mov rcx, 0x123456789
        cmp rax, rcx
        CHECK 0x20, e
        mov dword [gdt + CODE64 + 16], 0xffff
        mov dword [gdt + CODE64 + 20], 0x00cff300
        mov dword [gdt + CODE64 + 24], 0xffff
        mov dword [gdt + CODE64 + 28], 0x00affb00

; UMIP
        test dword [features7c], 4
        jz .no_umip
        ENTER_RING3_64
        sidt [rel invdesc]
        smsw ax
        LEAVE_RING3_64
        mov rax, cr4
        bts eax, 11
        mov cr4, rax
        sidt [invdesc]
        ENTER_RING3_64
        UFAULTS 0x28, 13, 0, sidt [rel invdesc]
        UFAULTS 0x29, 13, 0, sgdt [rel invdesc]
        UFAULTS 0x2a, 13, 0, str ax
        UFAULTS 0x2b, 13, 0, sldt ax
        UFAULTS 0x2c, 13, 0, smsw ax
        LEAVE_RING3_64
.no_umip:
; PCID and INVPCID
        mov eax, 1
        cpuid
        test ecx, 1 << 17
        jz .no_pcid
        mov rax, cr4
        bts eax, 17
        mov cr4, rax
        mov rax, PML4 | 5
        mov cr3, rax
        mov rcx, cr4
        btr ecx, 17
        mov cr4, rcx                            ; allowed with any PCID
        mov rcx, cr4
        bts ecx, 17
        FAULTS 0x30, 13, 0, mov cr4, rcx        ; not so the other way round
        mov rax, PML4
        mov cr3, rax
        mov cr4, rcx
        mov rax, cr0
        and eax, 0x7fffffff
        FAULTS 0x31, 13, 0, mov cr0, rax
        test dword [features7b], 1 << 10
        jz .no_invpcid
        mov qword [PT], FRAME | 3
        mov eax, [WINDOW]
        mov qword [PT], 0
        mov qword [invdesc], 0
        mov rax, WINDOW
        mov [invdesc + 8], rax
        xor eax, eax
        invpcid rax, [invdesc]
        FAULTS 0x32, 14, 0, mov eax, [WINDOW]
        mov eax, 4
        FAULTS 0x33, 13, 0, invpcid rax, [invdesc]
        mov qword [invdesc], 0x1000
        mov eax, 1
        FAULTS 0x34, 13, 0, invpcid rax, [invdesc]
        mov eax, 2
        invpcid rax, [invdesc]
.no_invpcid:
        mov rax, 1 << 63 | PML4
        mov cr3, rax
        mov rcx, cr3
        cmp rcx, PML4
        CHECK 0x35, e
        mov rax, cr4
        btr eax, 17
        mov cr4, rax
.no_pcid:
; a 1 GiB page at 3 GiB: the first GiB again; reserved bits in its entry
        mov eax, 0x80000001
        cpuid
        test edx, 1 << 26
        jz .no_1g
        mov qword [PDPT + 24], 0x83
        mov dword [FRAME], 0x42424242
        mov ebx, 0xc0000000 + FRAME
        CHECK_EQ 0x38, dword [rbx], 0x42424242
        mov qword [PDPT + 24], 0x2083
        mov rax, cr3
        mov cr3, rax
        FAULTS 0x39, 14, 9, mov eax, [rbx]
.no_1g:
; 5-level paging
        test dword [features7c], 1 << 16
        jz .done
        mov rax, cr4
        bts eax, 12
        FAULTS 0x50, 13, 0, mov cr4, rax        ; not in long mode
        push qword CODE32
        push qword .compat
        o64 retf
bits 32
.compat:
        mov ax, DATA32
        mov ss, ax
        mov ds, ax
        mov es, ax
        mov esp, STACK0
        mov eax, cr0
        and eax, 0x7fffffff
        mov cr0, eax
        mov edi, 0x120000                       ; PML5: entry 0, and one that 48 bits cannot name
        mov ecx, 0x1000 / 4
        xor eax, eax
        rep stosd
        mov dword [0x120000], PML4 | 7
        mov dword [0x120000 + 8], PML4 | 7
        mov eax, cr4
        or eax, 1 << 12
        mov cr4, eax
        mov eax, 0x120000
        mov cr3, eax
        mov eax, cr0
        or eax, 0x80000000
        mov cr0, eax
        jmp CODE64:.la57
bits 64
.la57:  xor eax, eax
        mov ss, ax
        mov ds, ax
        mov dword [FRAME], 0x57575757
        mov rbx, 0x1000000000000 + FRAME
        CHECK_EQ 0x51, dword [rbx], 0x57575757
        mov rbx, 0x2000000000000
        FAULTS 0x52, 14, 0, mov eax, [rbx]
        mov rbx, 0x100000000000000
        FAULTS 0x53, 13, 0, mov eax, [rbx]
.done:  mov al, 'L'
        out PORT_TEXT, al
        PASS
