; SPDX-License-Identifier: GPL-2.0-or-later
; Virtual-8086 mode: entry by IRETD, faults and interrupts to ring 0 with all segments pushed, IOPL,
; and the VME extensions (redirection map, virtual interrupt flag).
%include "lib.inc"
%include "pm32.inc"

%define V86_SP 0x7000
pm_frame:  times 10 dd 0
pm_vec:    dd 0
v86_regs:  dd 0, 0, 0 ; EAX, ECX, ESI
bits 32
; Gate 41h (DPL 3) and the faults of interest end here: saves the frame and goes on in ring 0.
%macro TO_RING0 1
to_ring0_%1:
        push dword %1
        jmp to_ring0
%endmacro
        TO_RING0 0x41
        TO_RING0 0x42
to_ring0_13:
        add esp, 4 ; error code
        push dword 13
to_ring0:
        mov [ss:v86_regs], eax
        mov [ss:v86_regs + 4], ecx
        mov [ss:v86_regs + 8], esi
        mov ax, DATA32
        mov ds, ax
        mov es, ax
        cld
        pop dword [pm_vec]
        mov esi, esp
        mov edi, pm_frame
        mov ecx, 9
        ss rep movsd
        mov esp, STACK0
        mov eax, [v86_regs]
        mov ecx, [v86_regs + 4]
        mov esi, [v86_regs + 8]
        jmp dword [exp_resume]

; Runs 16-bit code at a label in virtual-8086 mode until it comes back through TO_RING0.
%macro V86 2 ; flags, label
        mov dword [exp_resume], %%back
        push dword 0x4444       ; GS
        push dword 0x3333       ; FS
        push dword 0x2222       ; DS
        push dword 0x1111       ; ES
        push dword 0            ; SS
        push dword V86_SP
        push dword (%1) | 0x20002
        push dword 0            ; CS
        push dword %2
        iretd
%%back:
%endmacro

%macro CHECK_BACK 3 ; number, vector, address
        CHECK_EQ %1, dword [pm_vec], %2
        CHECK_EQ %1, dword [pm_frame], %3
%endmacro

bits 16
v_plain:
        mov ax, ds
        cmp ax, 0x2222
        jne .bad
        mov ax, gs
        cmp ax, 0x4444
        jne .bad
        mov ax, 0x800
        mov es, ax
        mov al, [es:v_data - 0x8000]
        cmp al, 0x5a
        jne .bad
        call 0x10:.far - 0x100
.bad:   hlt
.far:   mov bp, sp
        cmp word [bp + 2], 0
        jne .bad
        int 0x41
v_plain_end:
v_data: db 0x5a
v_int42: int 0x42
v_cli:  cli
        nop
v_hlt:  hlt
v_lar:  db 0x0f, 0x02, 0xc0
v_port: in al, 0x80
v_limit:
        mov bx, 0xffff
.at:    mov ax, [bx]
v_pushf:
        pushf
        pop ax
        int 0x41
v_vme:  sti             ; sets VIF
        pushf
        pop ax          ; IF here is VIF, IOPL reads as 3
        int 0x50        ; redirected: vector table of the 8086 program
.back:  cmp bx, 0x77
        jne .bad
        pushf
        pop cx          ; IF again
        cli
        pushf
        pop dx
        int 0x41
.end:
.bad:   hlt
v_isr:  mov bx, 0x77
        pushf
        pop si          ; VIF clear inside
        iret
v_vip:
.sti:   sti

start:
        ENTER_PM
        SET_GATE 0x41, to_ring0_0x41, 0xee
        SET_GATE 0x42, to_ring0_0x42, 0x8e
        SET_GATE 13, to_ring0_13, 0x8e
        mov word [0x50 * 4], v_isr
        mov word [0x50 * 4 + 2], 0

; IOPL 3: INT n goes to the gate; all segments are on the stack, null in the handler
        V86 0x3000, v_plain
        CHECK_BACK 1, 0x41, v_plain_end - 0x100
        CHECK_EQ 2, dword [pm_frame + 4], 0x10
        mov eax, [pm_frame + 8]
        test eax, 0x20000
        CHECK 3, nz
        CHECK_EQ 4, dword [pm_frame + 12], V86_SP - 4
        CHECK_EQ 5, dword [pm_frame + 16], 0
        CHECK_EQ 6, dword [pm_frame + 20], 0x800
        CHECK_EQ 7, dword [pm_frame + 24], 0x2222
        CHECK_EQ 8, dword [pm_frame + 28], 0x3333
        CHECK_EQ 9, dword [pm_frame + 32], 0x4444
        mov eax, fs
        CHECK_EQ 0xa, eax, 0
; gate with DPL 0: #GP; IOPL 0: #GP for INT, CLI, PUSHF
        V86 0x3000, v_int42
        CHECK_BACK 0x10, 13, v_int42
        V86 0, v_int42
        CHECK_BACK 0x11, 13, v_int42
        V86 0, v_cli
        CHECK_BACK 0x12, 13, v_cli
        V86 0, v_pushf
        CHECK_BACK 0x13, 13, v_pushf
        V86 0x3000, v_hlt
        CHECK_BACK 0x14, 13, v_hlt
        V86 0x3000, v_port      ; the I/O map counts whatever IOPL says
        CHECK_BACK 0x15, 13, v_port
        V86 0x3000, v_limit
        CHECK_BACK 0x16, 13, v_limit.at
        SET_GATE 6, to_ring0_0x42, 0x8e
        V86 0x3000, v_lar
        CHECK_BACK 0x17, 0x42, v_lar
        V86 0x3000, v_pushf
        test ax, 0x3000
        CHECK 0x18, nz
; VME: the redirection map lies in the 32 bytes before the I/O map; all zero: redirect
        mov eax, 1
        cpuid
        test edx, 2
        jz .done
        mov word [tss + 0x66], tss_end - tss - 1 ; no port allowed
        mov edi, tss_end - 33
        mov ecx, 32
        xor al, al
        rep stosb
        mov byte [tss_end - 33 + 0x41 / 8], 2 ; 41h goes to the gate, which needs IOPL 3 then
        mov eax, cr4
        or al, 1
        mov cr4, eax
        V86 0, v_vme
        ; INT 41h with IOPL 0 and bit set: #GP
        CHECK_BACK 0x20, 13, v_vme.end - 2
        test ax, 0x200
        CHECK 0x21, nz
        and ax, 0x3000
        CHECK_EQ 0x22, ax, 0x3000
        test si, 0x200
        CHECK 0x23, z
        test cx, 0x200
        CHECK 0x24, nz
        test dx, 0x200
        CHECK 0x25, z
        mov eax, [pm_frame + 8]
        and eax, 0x83200 ; VIF, IOPL, IF
        CHECK_EQ 0x26, eax, 0
        V86 0x100000, v_vip ; VIP pending: STI faults
        CHECK_BACK 0x27, 13, v_vip.sti
        V86 0, v_cli
        CHECK_BACK 0x28, 13, v_hlt
.done:  mov al, 'v'
        out PORT_TEXT, al
        PASS
