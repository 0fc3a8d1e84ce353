; SPDX-License-Identifier: GPL-2.0-or-later
; Must end in a triple fault: #GP for want of an IDT, then #DF likewise.
%include "lib.inc"
start:  mov word [0x600], 0
        lidt [0x600]
        ud2
        DIE 1
