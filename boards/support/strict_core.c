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
#define CFSR_STACKING (1u << 4 | 1u << 12)

#define MPU_CTRL (*(volatile uint32_t *)MPU_CTRL_ADDRESS)
#define MPU_RBAR (*(volatile uint32_t *)0xE000ED9Cu)
#define MPU_RASR (*(volatile uint32_t *)0xE000EDA0u)
#define MPU_RBAR_VALID (1u << 4)
#define MPU_RASR_ENABLE 1u
#define PAGE_LOG2 10 /* QEMU is slow where the pages it works with are divided */

static uint32_t regions_used;

/* A region of 2^log2 bytes around `start`; of its eighths the ones in `parts` are accessible. */
static void set_region(uint32_t start, uint32_t log2, uint32_t access, uint32_t parts) {
    MPU_RBAR = (start & ~((1u << log2) - 1u)) | MPU_RBAR_VALID | regions_used++;
    MPU_RASR = access | (~parts & 0xFFu) << 8 | (log2 - 1u) << 1 | MPU_RASR_ENABLE;
}

void make_core_strict(void) {
    SCB_CCR |= CCR_UNALIGN_TRP | CCR_DIV_0_TRP;
    set_region(0, 22, CODE, 0xFF);
    regions_used = 0; /* of those that confine_to gives away: they take the place of this one */
    MPU_CTRL = MPU_OPEN;
    __asm__ volatile("dsb\n\tisb" ::: "memory");
}

/* A region is a power of two in size and place, of which each eighth can be switched off. So the
 * first region covers the most eighths that fit, and what remains is less than one of them. */
void confine_to(uint32_t start, uint32_t end, uint32_t access, int regions) {
    for (; start < end; regions--) {
        uint32_t log2 = PAGE_LOG2 + 3;
        while (1u << log2 < end - start && (start & ((2u << log2) - 1u)) == 0) {
            log2++;
        }
        const uint32_t part = 1u << (log2 - 3);
        const uint32_t first = start >> (log2 - 3) & 7u;
        uint32_t count = (end - start) / part;
        if (regions == 1 || part == 1u << PAGE_LOG2) { /* the last region covers the rest */
            count = (end - start + part - 1u) / part;
        }
        if (count > 8u - first) {
            count = 8u - first;
        }
        set_region(start, log2, access, ((1u << count) - 1u) << first);
        start += count * part;
    }
}

void confine_to_code(uint32_t start) {
    set_region(start, 6, CODE, 0xFF);
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
    if (status & CFSR_STACKING) { /* there is no frame */
        semihosting_print("fault: the stack has left its memory\n");
        semihosting_exit(2);
    }
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
