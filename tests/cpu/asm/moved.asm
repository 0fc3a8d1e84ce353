; SPDX-License-Identifier: GPL-2.0-or-later
; Two pages of code at many linear addresses above 4 GiB, as programs and libraries of processes are: whatever
; depends on RIP has to follow: return addresses, operands relative to RIP, jumps, the x87 instruction pointer, the place
; of a fault.
%include "lib.inc"
%include "pm32.inc"
%include "lm64.inc"

%define PLACES 8                ; at 8 GiB, 9 GiB and so on
%define VISITS 2000
%define AREA   0x180000         ; for FXSAVE

bits 64
; The pages under test: no data that is written is near it. R8: where the first 2 MiB are this time. Each check that
; fails leaves its number in R9.
times ((0x400 - ($ - $$)) & 0xfff) db 0xcc
datum:  dq 0x1122334455667788
table:  dd .a - table, .b - table
.a:     mov ecx, 7
        ret
.b:     mov ecx, 9
        ret

%macro MUST_BE 3 ; number, register, address in the page
        lea rdx, [r8 + %3]
        cmp %2, rdx
        je %%ok
        mov r9d, %1
%%ok:
%endmacro

moved:
        call .next
.next:  pop rax
        MUST_BE 1, rax, .next
        lea rax, [rel datum]
        MUST_BE 2, rax, datum
        mov rax, [rel datum]
        mov rdx, 0x1122334455667788
        cmp rax, rdx
        je .data
        mov r9d, 3
.data:  mov eax, r10d           ; another way every time
        and eax, 1
        lea rdx, [rel table]
        movsxd rax, dword [rdx + rax * 4]
        add rax, rdx
        call rax
.after: mov eax, r10d
        and eax, 1
        lea eax, [rax * 2 + 7]
        cmp eax, ecx
        je .x87
        mov r9d, 4
.x87:   fld1
.fpu:   fstp st0
        fxsave64 [r11]
        mov rax, [r11 + 8]
        MUST_BE 5, rax, .fpu
        mov ecx, 20
.loop:  dec ecx
        jnz .loop
        lea rax, [r8 + .caught]
        mov [r12], rax
.bad:   ud2
        mov r9d, 6              ; the handler goes on at .caught
.caught:
        mov rax, [r12 + 8]
        MUST_BE 7, rax, .bad
        call beyond
        jmp tail
times 64 nop
tail:   lea rax, [rel datum]
        MUST_BE 8, rax, datum
        ret
times ((0x400 - ($ - $$)) & 0xfff) db 0xcc
beyond:    lea rax, [rel datum]
        MUST_BE 9, rax, datum
        ret
times ((0x400 - ($ - $$)) & 0xfff) db 0xcc

entries: dd moved, tail, beyond, moved

; #UD: where it was to the second word of the area's end, on at the first
ud_handler:
        push rax
        mov rax, [rsp + 8]
        mov [AREA + 0x408], rax
        mov rax, [AREA + 0x400]
        mov [rsp + 8], rax
        pop rax
        iretq

bits 16
start:
        ENTER_PM
        ENTER_LM
        GATE64 6, ud_handler, 0x8e, 0
        mov rax, cr0
        or eax, 0x22            ; NE, MP
        mov cr0, rax
        fninit
%assign n 0
%rep PLACES
        mov qword [PDPT + (8 + n) * 8], (PD + 0x3000) | 7
%assign n n + 1
%endrep
        mov rax, cr3
        mov cr3, rax
        ENTER_RING3_64
        xor r9d, r9d
        xor r10d, r10d
        mov r13d, 1
        mov r11d, USER + AREA
        mov r12d, USER + AREA + 0x400
.visit: imul r13d, r13d, 1664525        ; at a place and an entry by chance
        add r13d, 1013904223
        mov r8d, r13d
        shr r8d, 24
        and r8d, PLACES - 1
        add r8, 8
        shl r8, 30
        mov eax, r13d
        shr eax, 20
        and eax, 3
        lea rdx, [rel entries]
        mov eax, [rdx + rax * 4]
        add rax, r8
        call rax
        test r9d, r9d
        jnz .failed
        inc r10d
        cmp r10d, VISITS
        jb .visit
.failed:
        LEAVE_RING3_64
        CHECK_EQ r9w, r9d, 0
        PASS
