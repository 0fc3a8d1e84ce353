; SPDX-License-Identifier: GPL-2.0-or-later
; Real mode: interrupts through the vector table, faults and what they push, far transfers, single step,
; limits, big real mode, string I/O.
%include "lib.inc"

last_vec:   db 0xff
last_ip:    dw 0
last_cs:    dw 0
last_flags: dw 0
resume:     dw 0
steps:      dw 0
gdt:        dq 0, 0x00cf92000000ffff, 0x00009a000000ffff, 0x000092000000ffff
gdtr:       dw $ - gdt - 1
            dd gdt
table:      times 10 db 0xcc
far_ptr:    dw far_target, 0
bounds:     dw 10, 20

; The instruction must raise the vector with its own address pushed.
%macro RFAULTS 3+
        mov word [cs:resume], %%resume
        mov byte [cs:last_vec], 0xff
%%at:   %3
        DIE %1
%%resume:
        CHECK_EQ %1, byte [cs:last_vec], %2
        CHECK_EQ %1, word [cs:last_ip], %%at
%endmacro

%macro STUB 1
stub%1: mov byte [cs:last_vec], %1
        jmp caught
%endmacro
%assign n 0
%rep 32
        STUB n
%assign n n + 1
%endrep
%define STUB_SIZE (stub1 - stub0)

caught: pop word [cs:last_ip]
        pop word [cs:last_cs]
        pop word [cs:last_flags]
        jmp word [cs:resume]

step_handler:
        inc word [cs:steps]
        iret

far_target:
        push bp
        mov bp, sp
        cmp word [bp + 6], 0x1234
        CHECK 0x40, e
        pop bp
        retf 2

start:
        cli
        xor ax, ax
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov sp, 0x7c00
        cld
        ; vector table: stubs are of one size but the first jumps, so take real addresses
        mov di, 0
%assign n 0
%rep 32
        mov word [n * 4], stub %+ n
        mov word [n * 4 + 2], 0
%assign n n + 1
%endrep

; INT n: pushes the next address, clears IF and TF
        mov word [resume], .int_back
        sti
        stc
.int:   int 0x10
        DIE 1
.int_back:
        CHECK_EQ 2, byte [last_vec], 0x10
        CHECK_EQ 3, word [last_ip], .int + 2
        CHECK_EQ 4, word [last_cs], 0
        test word [last_flags], 0x200
        CHECK 5, nz
        test word [last_flags], 1
        CHECK 6, nz
        pushf
        pop ax
        test ax, 0x200
        CHECK 7, z

; faults push their own address
        xor bx, bx
        RFAULTS 0x10, 0, div bx
        RFAULTS 0x11, 6, ud2
        mov cx, 21
        RFAULTS 0x12, 5, bound cx, [bounds]
        mov cx, 20
        bound cx, [bounds]
        mov bx, 0xffff
        RFAULTS 0x13, 13, mov ax, [bx]
        RFAULTS 0x14, 12, mov ax, [ss:bx]
        RFAULTS 0x15, 6, lar ax, bx
        RFAULTS 0x16, 6, sldt ax
        RFAULTS 0x17, 13, mov eax, [dword 0x10000]
; traps push the next one
        mov word [resume], .into_back
        mov al, 127
        inc al
.into:  into
        DIE 0x18
.into_back:
        CHECK_EQ 0x19, byte [last_vec], 4
        CHECK_EQ 0x1a, word [last_ip], .into + 1
        mov word [resume], .int3_back
.int3:  int3
        DIE 0x1b
.int3_back:
        CHECK_EQ 0x1c, byte [last_vec], 3
        CHECK_EQ 0x1d, word [last_ip], .int3 + 1

; a vector beyond the limit of IDTR
        mov word [table], 14 * 4 - 1
        mov dword [table + 2], 0
        lidt [table]
        RFAULTS 0x20, 13, int 0x20
        mov word [table], 0x3ff
        lidt [table]
        sidt [table]
        CHECK_EQ 0x21, word [table], 0x3ff

; far transfers
        push word 0x1234
        call 0:far_target
        CHECK_EQ 0x41, sp, 0x7c00
        push word 0x1234
        call far [far_ptr]
        CHECK_EQ 0x42, sp, 0x7c00
        jmp 0x7c0:.far - 0x7c00
.far:   mov ax, cs
        cmp ax, 0x7c0
        je .far_ok
        jmp 0:die
.far_ok:
        jmp 0:.far_back
.far_back:

; IRET loads flags, IOPL and NT included
        push word 0x7002
        push cs
        push word .iret
        iret
.iret:  pushf
        pop ax
        and ax, 0x7000
        CHECK_EQ 0x50, ax, 0x7000
        push word 2
        popf
        pushf
        pop ax
        CHECK_EQ 0x51, ax, 2

; single step: one trap behind each instruction, none behind POPF itself; MOV SS holds one back
        mov word [1 * 4], step_handler
        mov word [steps], 0
        pushf
        pop ax
        or ax, 0x100
        push ax
        popf
        nop
        nop
        pushf
        pop ax
        and ax, 0xfeff
        push ax
        popf
        CHECK_EQ 0x60, word [steps], 7
        mov word [steps], 0
        xor cx, cx
        pushf
        pop ax
        mov bx, ax
        or ax, 0x100
        push bx
        push ax
        popf
        mov ss, cx
        nop
        popf
        CHECK_EQ 0x61, word [steps], 2
        mov word [1 * 4], stub1

; LMSW enters protected mode but does not leave it; descriptors stay: big real mode
        smsw ax
        test al, 1
        CHECK 0x70, z
        lgdt [gdtr]
        or al, 1
        lmsw ax
        jmp 0x10:.pm16
.pm16:  mov bx, 8
        mov ds, bx
        and al, 0xfe
        lmsw ax
        smsw bx
        test bl, 1
        jnz .still_pm
        mov eax, 0x71
        jmp die
.still_pm:
        mov ebx, cr0
        and bl, 0xfe
        mov cr0, ebx
        jmp 0:.real
.real:  xor bx, bx
        mov ds, bx                      ; base changes, limit stays 4 GiB
        mov dword [dword 0x200000], 0x12345678
        CHECK_EQ 0x72, dword [dword 0x200000], 0x12345678
        ; limit back to 64 KiB
        mov ebx, cr0
        or bl, 1
        mov cr0, ebx
        mov cx, 0x18
        mov ds, cx
        and bl, 0xfe
        mov cr0, ebx
        xor cx, cx
        mov ds, cx
        RFAULTS 0x73, 13, mov eax, [dword 0x10000]

; strings from and to ports; SI wraps, DX stays
        mov si, .hello
        mov cx, .hello_end - .hello
        mov dx, PORT_TEXT
        rep outsb
        CHECK_EQ 0x80, si, .hello_end
        CHECK_EQ 0x81, cx, 0
        PASS
.hello: db 'real mode', 10
.hello_end:
