/* See strict_core.h; for every ARMv7-M core with a memory protection unit, under semihosting. */
#include "strict_core.h"
#include "semihosting.h"

#define SCB_CCR (*(volatile uint32_t *)0xE000ED14u)
#define SCB_CFSR (*(volatile uint32_t *)0xE000ED28u)
#define SCB_MMFAR (*(volatile uint32_t *)0xE000ED34u)
#define SCB_BFAR (*(volatile uint32_t *)0xE000ED38u)
#define CCR_UNALIGN_TRP (1u << 3)
#define CCR_DIV_0_TRP (1u << 4)
#define CFSR_MMFAR_VALID (1u << 7)
#define CFSR_BFAR_VALID (1u << 15)

#define MPU_CTRL (*(volatile uint32_t *)0xE000ED94u)
#define MPU_RBAR (*(volatile uint32_t *)0xE000ED9Cu)
#define MPU_RASR (*(volatile uint32_t *)0xE000EDA0u)
#define MPU_CTRL_ENABLE 1u
#define MPU_CTRL_DEFAULT_MAP 4u           /* for what no region covers */
#define MPU_RASR_READ_ONLY_4M 0x06020000u /* AP = 6: read-only; TEX,S,C,B = 0,0,1,0: normal */
#define MPU_RASR_SIZE_4M_ENABLE (21u << 1 | 1u)

void make_core_strict(void) {
    SCB_CCR |= CCR_UNALIGN_TRP | CCR_DIV_0_TRP;
    MPU_RBAR = 0x00000000u | 1u << 4; /* region 0 at address 0 */
    MPU_RASR = MPU_RASR_READ_ONLY_4M | MPU_RASR_SIZE_4M_ENABLE;
    MPU_CTRL = MPU_CTRL_DEFAULT_MAP | MPU_CTRL_ENABLE;
    __asm__ volatile("dsb\n\tisb" ::: "memory");
}

static void print_hex(const char *label, uint32_t value) {
    char text[9];
    for (int i = 0; i < 8; i++) {
        text[i] = "0123456789abcdef"[value >> (28 - 4 * i) & 15u];
    }
    text[8] = '\0';
    semihosting_print(label);
    semihosting_print(text);
}

/* What a fault pushes: r0-r3, r12, lr, pc, xpsr. */
__attribute__((used, noreturn)) static void report_fault(const uint32_t *frame) {
    uint32_t status = SCB_CFSR;
    print_hex("fault: pc ", frame[6]);
    print_hex(" lr ", frame[5]);
    print_hex(" cfsr ", status);
    if (status & CFSR_BFAR_VALID) {
        print_hex(" address ", SCB_BFAR);
    } else if (status & CFSR_MMFAR_VALID) {
        print_hex(" address ", SCB_MMFAR);
    }
    semihosting_print("\n");
    semihosting_exit(2);
}

/* The stack may be what is broken: the report gets the initial one. */
__attribute__((naked)) void HardFault_Handler(void);
__attribute__((naked)) void HardFault_Handler(void) {
    __asm__("mov r0, sp\n\t"
            "ldr r1, =ld_initial_sp\n\t"
            "mov sp, r1\n\t"
            "b report_fault");
}
