# SPDX-License-Identifier: GPL-2.0-or-later
# System tests in assembler: one flat binary each, run by tests/cpu/test_asm.c and test_asm_kvm.c.

ASM_SRC := $(sort $(wildcard tests/cpu/asm/*.asm))
ASM_BIN := $(ASM_SRC:%.asm=$(BUILD)/%.bin)

$(BUILD)/tests/cpu/asm/%.bin: tests/cpu/asm/%.asm $(wildcard tests/cpu/asm/*.inc)
	@mkdir -p $(@D)
	@echo "  NASM $<"
	@nasm -f bin -i tests/cpu/asm/ -o $@ $<

$(BUILD)/tests/cpu/test_asm $(BUILD)/tests/cpu/test_asm_jit $(BUILD)/tests/cpu/test_asm_kvm $(BUILD)/tests/cpu/test_handover: $(ASM_BIN)
