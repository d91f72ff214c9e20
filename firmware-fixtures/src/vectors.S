/* What the processor reads at reset: the stack's end and where to begin. The bootloader's stand at address 0, so its fault handler is
 * the application's too. */
    .syntax unified
    .cpu cortex-m0
    .section .vectors, "a"
    .word stack_end
    .word entry
    .word hard_fault
    .word hard_fault

    .text
    .thumb
    .global entry
    .type entry, %function
entry:
    ldr r0, =data_start
    ldr r1, =data_end
    ldr r2, =data_image
copy:
    cmp r0, r1
    bhs clear
    ldmia r2!, {r3}
    stmia r0!, {r3}
    b copy
clear:
    ldr r1, =bss_end
    movs r3, #0
clear_word:
    cmp r0, r1
    bhs go
    stmia r0!, {r3}
    b clear_word
go:
    bl start
hang:
    b hang
