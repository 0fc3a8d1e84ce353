; SPDX-License-Identifier: GPL-2.0-or-later
; 32-bit paging with 4 MiB pages, then PAE with NX: error codes, CR2, accessed and dirty bits, CR0.WP,
; global pages and INVLPG, reserved bits.
%include "lib.inc"
%include "pm32.inc"

%define PD      0x100000
%define PT      0x101000
%define PDPT    0x102000
%define PAEPD   0x103000        ; 4 pages
%define PAEPT   0x107000
%define WINDOW  0x400000        ; the page table's range
%define FRAME   0x300000
%define P 1
%define W 2
%define U 4
%define ACC 0x20
%define DIRTY 0x40
%define GLOBAL 0x100

; A page fault with the error code and WINDOW + offset in CR2.
%macro PF 4+ ; number, error, offset, instruction
        FAULTS %1, 14, %2, %4
        CHECK_EQ %1, dword [got_cr2], WINDOW + (%3)
%endmacro
%macro PTE 2 ; page of the window, entry
        mov dword [PT + (%1) * 4], %2
        invlpg [WINDOW + (%1) * 0x1000]
%endmacro
%macro PAEPTE 3 ; page, low, high
        mov dword [PAEPT + (%1) * 8], %2
        mov dword [PAEPT + (%1) * 8 + 4], %3
        invlpg [WINDOW + (%1) * 0x1000]
%endmacro
bits 16

start:
        ENTER_PM
        ALLOW_LEAVE
        ; identity: first 4 MiB by one large user page; 4-8 MiB by PT
        mov edi, PD
        mov ecx, 0x8000 / 4
        xor eax, eax
        rep stosd
        mov dword [PD], 0x87
        mov dword [PD + 4], PT | 7
        mov dword [FRAME], 0x11223344
        mov dword [FRAME + 0x1000], 0x55667788
        mov eax, cr4
        or eax, 0x10
        mov cr4, eax
        mov eax, PD
        mov cr3, eax
        mov eax, cr0
        or eax, 0x80000000
        mov cr0, eax
; not present
        PF 1, 0, 0, mov eax, [WINDOW]
        PF 2, W, 0, mov [WINDOW], eax
        PF 3, 0, 0xffc, mov eax, [WINDOW + 0xffc]
; present: A by a read, D by a write
        PTE 0, FRAME | P | W | U
        CHECK_EQ 4, dword [WINDOW], 0x11223344
        CHECK_EQ 5, dword [PT], FRAME | P | W | U | ACC
        mov dword [WINDOW + 4], 1
        CHECK_EQ 6, dword [PT], FRAME | P | W | U | ACC | DIRTY
        CHECK_EQ 7, dword [FRAME + 4], 1
        test byte [PD], ACC
        CHECK 8, nz
; page crossing: nothing is written when the second page is missing
        mov dword [WINDOW + 0xffc], 0
        PF 0x10, W, 0x1000, mov dword [WINDOW + 0xffe], 0xffffffff
        CHECK_EQ 0x11, dword [WINDOW + 0xffc], 0
        PF 0x12, 0, 0x1000, mov eax, dword [WINDOW + 0xffe]
        PTE 1, (FRAME + 0x1000) | P | W | U
        mov dword [WINDOW + 0xffe], 0xaabbccdd
        CHECK_EQ 0x13, word [FRAME + 0xffe], 0xccdd
        CHECK_EQ 0x14, word [FRAME + 0x1000], 0xaabb
; read-only: ring 0 writes unless CR0.WP
        PTE 0, FRAME | P | U
        mov dword [WINDOW], 5
        mov eax, cr0
        or eax, 1 << 16
        mov cr0, eax
        PF 0x20, P | W, 0, mov dword [WINDOW], 6
        PF 0x21, P | W, 0, lock inc dword [WINDOW]
        PF 0x22, P | W, 0, xchg eax, [WINDOW]
        CHECK_EQ 0x23, dword [WINDOW], 5
; the entry is made writable without INVLPG: the fault itself flushed it
        mov dword [PT], FRAME | P | W | U
        mov dword [WINDOW], 7
; ring 3
        PTE 0, FRAME | P | W
        PTE 2, FRAME | P | U
        PTE 3, 0
        PTE 4, FRAME | P | U
        ENTER_RING3 0x3002
        PF 0x30, P | U, 0, mov eax, [WINDOW]
        PF 0x31, P | U | W, 0, mov [WINDOW], eax
        PF 0x32, P | U | W, 0x2000, mov [WINDOW + 0x2000], eax
        PF 0x33, U, 0x3000, mov eax, [WINDOW + 0x3000]
        FAULTS 0x34, 14, U, push dword [WINDOW + 0x3000]
        CHECK_EQ 0x35, esp, STACK3
; ENTER copies frame pointers one by one: a push below the page of the stack comes before the missing second of them
        mov ebp, WINDOW + 0x4004
        mov esp, WINDOW + 0x1004
        PF 0x71, P | U | W, 0xffc, enter 0, 3
        CHECK_EQ 0x72, esp, WINDOW + 0x1004
        mov esp, WINDOW + 0x1008
        PF 0x73, U, 0x3ffc, enter 0, 3
        CHECK_EQ 0x75, esp, WINDOW + 0x1008
        CHECK_EQ 0x76, ebp, WINDOW + 0x4004
        FAULTS 0x77, 14, P | U | W, enter 0x40, 0 ; where ESP would end
        CHECK_EQ 0x78, esp, WINDOW + 0x1008
; what it pushes may be what it copies next
        mov ebp, WINDOW + 0x1044
        mov esp, WINDOW + 0x1044
        enter 8, 4
        CHECK_EQ 0x79, dword [WINDOW + 0x1034], WINDOW + 0x1044
        CHECK_EQ 0x7a, dword [WINDOW + 0x1030], WINDOW + 0x1040
        CHECK_EQ 0x7b, ebp, WINDOW + 0x1040
        CHECK_EQ 0x7c, esp, WINDOW + 0x1028
        mov esp, STACK3
        LEAVE_RING3
; fetch: no instruction bit without NX
        mov dword [exp_vec], 14
        mov dword [exp_err], 0
        mov dword [exp_at], WINDOW + 0x3000
        mov dword [exp_resume], .fetched
        jmp CODE32:WINDOW + 0x3000
.fetched:
        CHECK_EQ 0x36, dword [got_cr2], WINDOW + 0x3000
; a string stops exactly where the page is missing
        mov esi, FRAME
        mov edi, WINDOW + 0x2ff0
        mov ecx, 16
        PTE 2, FRAME | P | W | U
        mov dword [exp_vec], 14
        mov dword [exp_err], W
        mov dword [exp_at], .movs
        mov dword [exp_resume], .movs_back
.movs:  rep movsd
        DIE 0x38
.movs_back:
        CHECK_EQ 0x39, ecx, 12
        CHECK_EQ 0x3a, edi, WINDOW + 0x3000
        CHECK_EQ 0x3b, esi, FRAME + 16
; global pages stay over MOV CR3, but not over CR4.PGE
        mov eax, cr4
        or eax, 0x80
        mov cr4, eax
        PTE 4, FRAME | P | W | GLOBAL
        PTE 5, FRAME | P | W
        mov eax, [WINDOW + 0x4000]
        mov eax, [WINDOW + 0x5000]
        mov dword [PT + 5 * 4], 0
        mov eax, cr3
        mov cr3, eax
        PF 0x40, 0, 0x5000, mov eax, [WINDOW + 0x5000]
        mov dword [PT + 4 * 4], 0
        mov eax, cr4
        and eax, ~0x80
        mov cr4, eax
        PF 0x41, 0, 0x4000, mov eax, [WINDOW + 0x4000]
; a task's descriptor tables are read as supervisor from ring 3
        mov dword [PD + 8], 0x87        ; 8 MiB: user alias of the first 4 MiB
        mov dword [PD], 0x83            ; supervisor only
        mov eax, cr3
        mov cr3, eax
        push dword DATA32U
        push dword STACK3 + 0x800000
        push dword 0x3002
        push dword CODE32U
        push dword .alias + 0x800000
        iretd
.alias: mov ax, DATA32U
        mov ds, ax
        mov es, ax
        int 0x40
        jmp CODE32:.low ; out of the alias
.low:

; ---- PAE ----
        mov eax, cr0
        and eax, 0x7fffffff
        mov cr0, eax
        mov dword [PDPT], PAEPD | 1
        mov dword [PDPT + 8], 0
        mov dword [PAEPD], 0x87
        mov dword [PAEPD + 8], 0x200087
        mov dword [PAEPD + 16], PAEPT | 7
        mov eax, cr4
        or eax, 0x20
        mov cr4, eax
        mov eax, PDPT
        mov cr3, eax
        mov eax, cr0
        or eax, 0x80000000
        mov cr0, eax
        PF 0x50, 0, 0, mov eax, [WINDOW]
        PAEPTE 0, FRAME | P | W | U, 0
        CHECK_EQ 0x51, dword [WINDOW + 4], 1
        CHECK_EQ 0x52, dword [PAEPT], FRAME | P | W | U | ACC
        mov dword [WINDOW], 9
        CHECK_EQ 0x53, dword [PAEPT], FRAME | P | W | U | ACC | DIRTY
; reserved bits: NX without EFER.NXE, and an address beyond the physical ones
        PAEPTE 1, FRAME | P | W | U, 0x80000000
        PF 0x54, P | 8, 0x1000, mov eax, [WINDOW + 0x1000]
        PAEPTE 1, FRAME | P | W | U, 0x80000
        PF 0x55, P | 8 | W, 0x1000, mov [WINDOW + 0x1000], eax
; NX
        mov ecx, 0xc0000080
        rdmsr
        or eax, 0x800
        wrmsr
        mov byte [FRAME], 0xc3 ; ret
        PAEPTE 1, FRAME | P | W | U, 0x80000000
        mov eax, [WINDOW + 0x1000]
        mov eax, WINDOW
        call eax
        mov esi, esp
        mov dword [exp_vec], 14
        mov dword [exp_err], P | 16
        mov dword [exp_at], WINDOW + 0x1000
        mov dword [exp_resume], .nx
        mov eax, WINDOW + 0x1000
        call eax
        DIE 0x60
.nx:    mov esp, esi
        CHECK_EQ 0x61, dword [got_cr2], WINDOW + 0x1000
        PAEPTE 2, 0, 0
        mov dword [exp_vec], 14
        mov dword [exp_err], 16 ; fetch, not present
        mov dword [exp_at], WINDOW + 0x2000
        mov dword [exp_resume], .nx2
        mov eax, WINDOW + 0x2000
        jmp eax
.nx2:
; a PDPTE with reserved bits is refused by MOV CR3
        mov dword [PDPT + 8], PAEPD | 7
        mov eax, PDPT
        FAULTS 0x70, 13, 0, mov cr3, eax
        mov al, 'g'
        out PORT_TEXT, al
        PASS
