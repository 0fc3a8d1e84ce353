; SPDX-License-Identifier: GPL-2.0-or-later
; Protected mode: loads of segment registers and their error codes, limits and types, LAR LSL VERR VERW
; ARPL, gates with change of privilege and parameters, IOPL and I/O permission map, privileged
; instructions in ring 3.
%include "lib.inc"
%include "pm32.inc"

%define S(n) (TESTSEL + (n) * 8)
save_esp: dd 0
align 4
fword:    dd 0
          dw 0
bits 32
; call gate target: ring 0, two dword parameters
gate_target:
        mov eax, cs
        CHECK_EQ 0x100, eax, CODE32
        CHECK_EQ 0x101, esp, STACK1 - 24
        CHECK_EQ 0x102, dword [esp + 4], CODE32U
        CHECK_EQ 0x103, dword [esp + 8], 0x22222222
        CHECK_EQ 0x104, dword [esp + 12], 0x11111111
        CHECK_EQ 0x105, dword [esp + 16], STACK3 - 8
        CHECK_EQ 0x106, dword [esp + 20], DATA32U
        retf 8
gate_same:
        CHECK_EQ 0x110, dword [esp + 4], CODE32
        retf
conforming_target:
        mov eax, cs
        CHECK_EQ 0x120, eax, S(9) | 3
        retf
bits 16

start:
        ENTER_PM
        ; test descriptors
        GDT_SET S(0), 0x00cf13000000ffff        ; data, not present
        GDT_SET S(1), 0x00cf91000000ffff        ; data, read-only
        GDT_SET S(2), 0x00cf99000000ffff        ; code, execute-only
        GDT_SET S(3), 0x004092000000000f        ; data, 16 bytes, not accessed
        GDT_SET S(4), 0x00409600000000ff        ; expand down above ffh, 32-bit
        GDT_SET S(5), 0x000096000000ffff        ; expand down, 16-bit: nothing
        GDT_SET S(6), 0x00cf1b000000ffff        ; code, not present
        GDT_GATE S(7), CODE32, gate_target, 0xec02
        GDT_GATE S(8), CODE32, gate_same, 0x8c00
        GDT_SET S(9), 0x00cf9f000000ffff        ; code, conforming, ring 0
        GDT_GATE S(10), 0xfff0, gate_same, 0x8c00 ; code beyond the GDT
        GDT_GATE S(11), CODE32, gate_same, 0x0c00 ; not present
        GDT_SET S(12), 0x00409b0000000fff       ; code, 4 KiB

; loads
        xor eax, eax
        mov ds, eax
        mov ax, DATA32
        mov ds, ax
        mov ebx, 0
        FAULTS 1, 13, 0, mov ss, bx
        mov bx, S(0)
        FAULTS 2, 11, S(0), mov fs, bx
        FAULTS 3, 12, S(0), mov ss, bx
        mov bx, S(1)
        mov fs, bx
        FAULTS 4, 13, S(1), mov ss, bx
        mov bx, S(2)
        FAULTS 5, 13, S(2), mov fs, bx
        mov bx, DATA32 | 3
        FAULTS 6, 13, DATA32, mov fs, bx
        FAULTS 7, 13, DATA32, mov ss, bx
        mov bx, 0xfff8
        FAULTS 8, 13, 0xfff8, mov fs, bx
        mov bx, 0x0c ; LDT is null
        FAULTS 9, 13, 0x0c, mov fs, bx
        mov bx, TSS
        FAULTS 0xa, 13, TSS, mov fs, bx
        mov bx, DATA32U
        mov fs, bx
        mov eax, fs
        CHECK_EQ 0xb, eax, DATA32U
; accessed bit
        test byte [gdt + S(3) + 5], 1
        CHECK 0x10, z
        mov bx, S(3)
        mov fs, bx
        test byte [gdt + S(3) + 5], 1
        CHECK 0x11, nz
; limits
        mov al, [fs:15]
        FAULTS 0x12, 13, 0, mov al, [fs:16]
        FAULTS 0x13, 13, 0, mov ax, [fs:15]
        FAULTS 0x14, 13, 0, mov eax, [fs:dword 0xfffffffe]
        mov bx, S(4)
        mov fs, bx
        FAULTS 0x15, 13, 0, mov al, [fs:0xff]
        mov al, [fs:0x100]
        mov al, [fs:dword 0x20000]
        mov bx, S(5)
        mov fs, bx
        FAULTS 0x16, 13, 0, mov al, [fs:0]
        FAULTS 0x17, 13, 0, mov al, [fs:dword 0x10000]
        mov bx, S(1)
        mov fs, bx
        FAULTS 0x18, 13, 0, mov [fs:0x20000], al
        FAULTS 0x19, 13, 0, mov [cs:0x20000], al
        xor ebx, ebx
        mov gs, bx
        FAULTS 0x1a, 13, 0, mov al, [gs:0]
        mov bx, S(3)
        mov ss, bx
        mov esp, 16
        push eax
        ; stack is 16 bytes: the next ones hit #SS on a stack that cannot take the frame unless it
        ; is switched, so only pops beyond the limit are tried in ring 3 below
        mov bx, DATA32
        mov ss, bx
        mov esp, STACK0
; POP and LxS
        push dword S(0)
        FAULTS 0x20, 11, S(0), pop fs
        CHECK_EQ 0x21, esp, STACK0 - 4
        pop eax
        push dword DATA32U
        pop fs
        CHECK_EQ 0x22, esp, STACK0
        mov dword [fword], 0x87654321
        mov word [fword + 4], S(6)
        mov ecx, 5
        FAULTS 0x23, 11, S(6), lgs ecx, [fword]
        CHECK_EQ 0x24, ecx, 5
        mov word [fword + 4], S(3)
        lgs ecx, [fword]
        CHECK_EQ 0x25, ecx, 0x87654321

; LAR, LSL, VERR, VERW, ARPL
        mov ebx, DATA32U
        lar eax, ebx
        CHECK 0x30, z
        and eax, 0x00f0ff00
        CHECK_EQ 0x31, eax, 0x00c0f300
        lsl eax, ebx
        CHECK 0x32, z
        CHECK_EQ 0x33, eax, 0xffffffff
        mov ebx, 0xfff8
        lar eax, ebx
        CHECK 0x34, nz
        mov ebx, S(7)
        lsl eax, ebx ; a gate has no limit
        CHECK 0x35, nz
        lar eax, ebx
        CHECK 0x36, z
        mov bx, S(1)
        verr bx
        CHECK 0x37, z
        verw bx
        CHECK 0x38, nz
        mov bx, S(2)
        verr bx
        CHECK 0x39, nz
        mov bx, DATA32 | 3
        verr bx
        CHECK 0x3a, nz
        mov ax, 0x10
        mov bx, 0x13
        arpl ax, bx
        CHECK 0x3b, z
        CHECK_EQ 0x3c, ax, 0x13
        arpl ax, bx
        CHECK 0x3d, nz

; descriptor table registers
        mov bx, DATA32
        FAULTS 0x40, 13, DATA32, lldt bx
        mov bx, TSS
        FAULTS 0x41, 13, TSS, ltr bx            ; busy
        str eax
        CHECK_EQ 0x42, eax, TSS
        test byte [gdt + TSS + 5], 2
        CHECK 0x43, nz
        xor ebx, ebx
        FAULTS 0x44, 13, 0, ltr bx
        lldt bx
        sldt eax
        CHECK_EQ 0x45, eax, 0

; far transfers
        FAULTS 0x50, 13, 0, jmp 0:0x1234
        FAULTS 0x51, 13, DATA32, jmp DATA32:0x1234
        FAULTS 0x52, 11, S(6), jmp S(6):0x1234
        FAULTS 0x53, 13, CODE32U & ~3, jmp CODE32U:0x1234
        FAULTS 0x54, 11, S(11), call S(11):0
        FAULTS 0x55, 13, 0xfff0, call S(10):0
        FAULTS 0x56, 13, 0, call S(12):gate_same
        CHECK_EQ 0x57, esp, STACK0
        call S(8):0
        CHECK_EQ 0x58, esp, STACK0
        FAULTS 0x59, 13, 0x200 | 2, int 0x40    ; no gate there
        mov ebx, cr0
        or ebx, 1 << 31
        and ebx, ~1
        FAULTS 0x5a, 13, 0, mov cr0, ebx
        mov ebx, 1 << 31
        FAULTS 0x5b, 13, 0, mov cr4, ebx
        FAULTS 0x5c, 6, 0, mov eax, cr1
        FAULTS 0x5d, 0, 0, aam 0
        TRAPS 0x5e, 3, 0, int3

; ring 3, IOPL 0
        ALLOW_LEAVE
        ENTER_RING3
        mov eax, cs
        CHECK_EQ 0x60, eax, CODE32U
        FAULTS 0x61, 13, 0, cli
        FAULTS 0x62, 13, 0, sti
        FAULTS 0x63, 13, 0, hlt
        FAULTS 0x64, 13, 0, mov eax, cr0
        FAULTS 0x65, 13, 0, lgdt [gdtr]
        FAULTS 0x66, 13, 0, lidt [idtr]
        FAULTS 0x67, 13, 0, clts
        FAULTS 0x68, 13, 0, invlpg [0]
        FAULTS 0x69, 13, 0, rdmsr
        FAULTS 0x6a, 13, 0, wbinvd
        FAULTS 0x6b, 13, 0, ltr ax
        FAULTS 0x6c, 13, 0, mov dr7, eax
        FAULTS 0x6d, 13, 0, in al, 0x80
        CHECK_EQ 0x6e, dword [got_cs], CODE32U
        CHECK_EQ 0x6f, dword [got_ss], DATA32U
        CHECK_EQ 0x70, dword [got_sp], STACK3
        FAULTS 0x71, 13, 0x10 * 8 + 2, int 0x10 ; the gate's DPL is 0
        FAULTS 0x72, 13, 3 * 8 + 2, int3
        mov bx, DATA32
        FAULTS 0x73, 13, DATA32, mov fs, bx
        mov bx, DATA32U & ~3
        FAULTS 0x74, 13, DATA32U & ~3, mov ss, bx
        FAULTS 0x75, 13, CODE32, jmp CODE32:0x1234
        FAULTS 0x76, 13, S(8), call S(8):0      ; the gate's DPL is 0
        pushfd ; POPF may not change IOPL or IF here
        pop eax
        or eax, 0x3200
        push eax
        popfd
        pushfd
        pop eax
        test eax, 0x3200
        CHECK 0x77, z
        push dword 0x11111111
        push dword 0x22222222
        call S(7) | 3:0
        CHECK_EQ 0x78, esp, STACK3
        mov eax, ds
        CHECK_EQ 0x79, eax, DATA32U
        call S(9):conforming_target
        mov esp, 0xfffffffe ; wraps beyond the limit
        FAULTS 0x7a, 12, 0, pop eax
        mov esp, STACK3
        LEAVE_RING3
; I/O permission map: port e9h and f4h allowed, 80h not
        and byte [tss_iomap + 0xe9 / 8], ~2
        and byte [tss_iomap + 0xf4 / 8], ~0x10
        ENTER_RING3
        mov al, 'p'
        out PORT_TEXT, al
        FAULTS 0x80, 13, 0, out 0x80, al
        FAULTS 0x81, 13, 0, out PORT_TEXT, ax   ; eah is not allowed
        mov dx, 0x100
        FAULTS 0x82, 13, 0, out dx, al          ; beyond the map
        LEAVE_RING3
; IOPL 3: CLI, STI and ports are free
        ENTER_RING3 0x3002
        cli
        sti
        cli
        in al, 0x80
        LEAVE_RING3
; RETF to ring 3 makes data segments of ring 0 null
        mov ax, DATA32
        mov fs, ax
        mov ax, DATA32U
        mov gs, ax
        push dword DATA32U
        push dword STACK3
        push dword CODE32U
        push dword .user
        retf
.user:  mov eax, fs
        CHECK_EQ 0x90, eax, 0
        mov eax, gs
        CHECK_EQ 0x91, eax, DATA32U
        mov ax, DATA32U
        mov ds, ax
        LEAVE_RING3
; alignment checks need CR0.AM, EFLAGS.AC and ring 3
        mov eax, cr0
        or eax, 1 << 18
        mov cr0, eax
        ENTER_RING3 0x43002
        mov eax, [fword]
        FAULTS 0x95, 17, 0, mov eax, [fword + 1]
        LEAVE_RING3
        push dword 2
        popfd

; back to real mode
        jmp CODE16:.pm16
bits 16
.pm16:  mov ax, DATA16
        mov ds, ax
        mov ss, ax
        mov eax, cr0
        and eax, ~1
        mov cr0, eax
        jmp 0:.real
.real:  xor ax, ax
        mov ds, ax
        mov ss, ax
        mov sp, 0x7c00
        lidt [real_idtr]
        mov word [0x21 * 4], .isr
        mov word [0x21 * 4 + 2], 0
        xor bx, bx
        int 0x21
        CHECK_EQ 0x98, bx, 7
        PASS
.isr:   mov bx, 7
        iret
