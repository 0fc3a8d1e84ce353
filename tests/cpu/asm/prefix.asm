; SPDX-License-Identifier: GPL-2.0-or-later
; Prefixes that the manuals leave open and processors agree on: F2 repeats MOVS, STOS, LODS, INS and OUTS as F3 does, of
; F2 and F3 the last one counts, and neither matters before other instructions.
%include "lib.inc"
%include "pm32.inc"
%include "lm64.inc"

%define SRC 0x200000
%define DST 0x201000

%macro F2 1+
        db 0xf2
        %1
%endmacro

%macro REPEATS 1 ; first check number
        cld
        mov esi, SRC
        mov edi, DST
        mov ecx, 5
        F2 movsb
        CHECK_EQ %1, ecx, 0
        CHECK_EQ %1 + 1, esi, SRC + 5
        CHECK_EQ %1 + 2, edi, DST + 5
        CHECK_EQ %1 + 3, dword [DST + 1], '1234'
        mov edi, DST
        mov ecx, 3
        mov eax, 0x55555555
        F2 stosd
        CHECK_EQ %1 + 4, ecx, 0
        CHECK_EQ %1 + 5, edi, DST + 12
        CHECK_EQ %1 + 6, dword [DST + 8], 0x55555555
        mov esi, SRC
        mov ecx, 4
        F2 lodsw
        CHECK_EQ %1 + 7, ecx, 0
        CHECK_EQ %1 + 8, esi, SRC + 8
        CHECK_EQ %1 + 9, ax, '67'
        mov edi, DST
        mov edx, 0x300                  ; nothing there: all ones
        mov ecx, 4
        F2 insb
        CHECK_EQ %1 + 10, ecx, 0
        CHECK_EQ %1 + 11, edi, DST + 4
        CHECK_EQ %1 + 12, dword [DST], -1
        mov esi, SRC
        mov ecx, 2
        F2 outsd
        CHECK_EQ %1 + 13, ecx, 0
        CHECK_EQ %1 + 14, esi, SRC + 8
; nothing is done for a count of zero
        mov esi, SRC
        mov edi, DST
        F2 movsb
        CHECK_EQ %1 + 15, edi, DST
; the last prefix decides how a search ends
        mov edi, SRC
        mov ecx, 8
        mov al, '3'
        db 0xf3
        F2 scasb
        CHECK_EQ %1 + 16, ecx, 4
        mov edi, SRC
        mov ecx, 8
        mov al, '0'
        db 0xf2
        repe scasb
        CHECK_EQ %1 + 17, ecx, 6
        mov ecx, 3
        F2 inc eax
        F2 nop
        CHECK_EQ %1 + 18, ecx, 3
%endmacro

text:   db '01234567'
bits 16
start:
        ENTER_PM
bits 32
        mov esi, text
        mov edi, SRC
        mov ecx, 8
        rep movsb
        REPEATS 0x100
        ENTER_LM
bits 64
        REPEATS 0x200
        PASS
