; SPDX-License-Identifier: GPL-2.0-or-later
; Single step, breakpoints on execution, data and ports, general detect, RF, INT1.
%include "lib.inc"
%include "pm32.inc"

hits:   dd 0
hit_dr6: dd 0
hit_eip: dd 0
hit_flags: dd 0
set_rf: dd 0
align 16
watched: dd 0, 0, 0, 0
buffer: times 8 dd 0
bits 32
db_handler:
        push eax
        inc dword [hits]
        mov eax, dr6
        mov [hit_dr6], eax
        mov eax, [esp + 4]
        mov [hit_eip], eax
        mov eax, [esp + 12]
        mov [hit_flags], eax
        mov eax, [set_rf]
        or [esp + 12], eax
        xor eax, eax
        mov dr6, eax
        pop eax
        iretd

%macro DR7 1
        mov eax, %1
        mov dr7, eax
%endmacro
%macro HIT 4 ; number, hits, DR6 bits, EIP
        CHECK_EQ %1, dword [hits], %2
        mov eax, [hit_dr6]
        and eax, 0xe00f
        CHECK_EQ %1, eax, %3
        CHECK_EQ %1, dword [hit_eip], %4
        mov dword [hits], 0
%endmacro
bits 16

start:
        ENTER_PM
        SET_GATE 1, db_handler, 0x8e
        mov eax, dr6
        CHECK_EQ 1, eax, 0xffff0ff0
        mov eax, dr7
        CHECK_EQ 2, eax, 0x400
; single step
        pushfd
        or dword [esp], 0x100
        popfd
        nop
.step:  pushfd                  ; trap 2 is behind this
.step2: and dword [esp], ~0x100
.step3: popfd
.step4: HIT 0x10, 4, 0x4000, .step4
        mov eax, [esp - 4]
        test eax, 0x100
        CHECK 0x11, z
        ; each iteration of a repeated string is a step
        mov esi, buffer
        mov edi, buffer + 16
        mov ecx, 3
        pushfd
        mov ebx, [esp]
        or dword [esp], 0x100
        popfd
        rep movsd
.rep:   push ebx
        popfd
        CHECK_EQ 0x12, dword [hits], 5
        mov dword [hits], 0
        ; INT n clears TF before it could trap
        SET_GATE 0x30, .int, 0x8e
        pushfd
        or dword [esp], 0x100
        popfd
        int 0x30                ; no trap in the handler, one behind IRET's target instruction
.after_int:
        push ebx
        popfd
        CHECK_EQ 0x13, dword [hits], 2
        mov dword [hits], 0
        jmp .data
.int:   nop
        nop
        iretd

; data breakpoints: DR0 writes of 4 bytes, DR1 accesses of 2
.data:  mov eax, watched
        mov dr0, eax
        add eax, 4
        mov dr1, eax
        DR7 0x00d0000 | 0x700000 | 5
        mov eax, [watched]
        CHECK_EQ 0x20, dword [hits], 0
        mov dword [watched], 1
.w0:    HIT 0x21, 1, 1, .w0
        mov byte [watched + 3], 1
.w1:    HIT 0x22, 1, 1, .w1
        mov ax, [watched + 4]
.w2:    HIT 0x23, 1, 2, .w2
        mov al, [watched + 6]
        CHECK_EQ 0x24, dword [hits], 0
        mov dword [watched + 2], 5 ; touches both
.w3:    HIT 0x25, 1, 3, .w3
        lock inc dword [watched]
.w4:    HIT 0x26, 1, 1, .w4
        push dword [watched + 4]
.w5:    pop eax
        HIT 0x27, 1, 2, .w5
        mov esi, buffer
        mov edi, watched - 4
        mov ecx, 2
        rep movsd
.w6:    HIT 0x28, 1, 1, .w6
        mov eax, esp
        mov dr0, eax
        DR7 0
        mov eax, watched
        mov dr0, eax
        mov dword [watched], 1
        CHECK_EQ 0x29, dword [hits], 0

; execution: a fault in front of the instruction; RF lets it pass
        mov dword [set_rf], 0x10000
        mov eax, .target
        mov dr2, eax
        DR7 0x20
        xor ebx, ebx
.target:
        inc ebx
        HIT 0x30, 1, 4, .target
        CHECK_EQ 0x31, ebx, 1
        test dword [hit_flags], 0x10000
        CHECK 0x32, z
        ; together with single step
        pushfd
        or dword [esp], 0x100
        popfd
        nop
        jmp .target2
.target2:
        pushfd
        and dword [esp], ~0x100
        popfd
        CHECK_EQ 0x33, dword [hits], 5
        mov dword [hits], 0
        DR7 0
        mov dword [set_rf], 0

; ports
        mov eax, cr4
        test eax, 8
        CHECK 0x40, z
        or eax, 8
        mov cr4, eax
        mov eax, 0x80
        mov dr3, eax
        DR7 0x20000000 | 0x40
        out 0x80, al
.io:    HIT 0x41, 1, 8, .io
        out 0x84, al
        CHECK_EQ 0x42, dword [hits], 0
        FAULTS 0x43, 6, 0, mov eax, dr4 ; CR4.DE
        DR7 0
        mov eax, cr4
        and eax, ~8
        mov cr4, eax

; general detect
        DR7 0x2000
.gd:    mov eax, dr0            ; faults once, the processor then clears GD; the handler's own accesses pass
        CHECK_EQ 0x50, dword [hits], 1
        mov eax, [hit_dr6]
        test eax, 0x2000
        CHECK 0x51, nz
        CHECK_EQ 0x52, dword [hit_eip], .gd
        mov eax, dr7
        test eax, 0x2000
        CHECK 0x53, z
        mov dword [hits], 0

; INT1 goes through the gate whatever its DPL and leaves DR6 alone
        db 0xf1
.int1:  CHECK_EQ 0x60, dword [hits], 1
        CHECK_EQ 0x61, dword [hit_eip], .int1
        mov eax, [hit_dr6]
        and eax, 0xe00f
        CHECK_EQ 0x62, eax, 0
        mov al, 'd'
        out PORT_TEXT, al
        PASS
