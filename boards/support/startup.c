/* Reset for any ARMv7-M core: vector table, memory initialization, floating-point unit, main.
 *
 * The linker script gives the ld_ symbols. Interrupts of the device have no vectors here: no image
 * that uses this file enables any.
 */
#include <stdint.h>

typedef void (*handler)(void);

extern uint32_t ld_initial_sp[];
extern const uint32_t ld_data_load[], ld_support_data_load[];
extern uint32_t ld_data_start[], ld_data_end[], ld_support_data_start[], ld_support_data_end[];
extern uint32_t ld_bss_start[], ld_bss_end[], ld_support_bss_start[], ld_support_bss_end[];

int main(void);
void Reset_Handler(void);
void Default_Handler(void);

#define WEAK_HANDLER(name) void name(void) __attribute__((weak, alias("Default_Handler")))
WEAK_HANDLER(NMI_Handler);
WEAK_HANDLER(HardFault_Handler);
WEAK_HANDLER(MemManage_Handler);
WEAK_HANDLER(BusFault_Handler);
WEAK_HANDLER(UsageFault_Handler);
WEAK_HANDLER(SVC_Handler);
WEAK_HANDLER(DebugMon_Handler);
WEAK_HANDLER(PendSV_Handler);
WEAK_HANDLER(SysTick_Handler);

static const struct {
    uint32_t *initial_sp;
    handler handlers[15];
} vectors __attribute__((section(".isr_vector"), used)) = {
    ld_initial_sp,
    {Reset_Handler, NMI_Handler, HardFault_Handler, MemManage_Handler, BusFault_Handler,
     UsageFault_Handler, 0, 0, 0, 0, SVC_Handler, DebugMon_Handler, 0, PendSV_Handler,
     SysTick_Handler},
};

#define SYST_CSR (*(volatile uint32_t *)0xE000E010u)
#define NVIC_ICER ((volatile uint32_t *)0xE000E180u)
#define SCB_VTOR (*(volatile uint32_t *)0xE000ED08u)
#define SCB_CPACR (*(volatile uint32_t *)0xE000ED88u)

static void copy(uint32_t *to, const uint32_t *end, const uint32_t *from) {
    while (to != end) {
        *to++ = *from++;
    }
}

static void clear(uint32_t *to, const uint32_t *end) {
    while (to != end) {
        *to++ = 0;
    }
}

/* A bootloader may have left interrupts on that have no vectors here, and its own vector table. */
static void forget_bootloader(void) {
    SYST_CSR = 0;
    for (int i = 0; i < 8; i++) {
        NVIC_ICER[i] = 0xFFFFFFFFu;
    }
    SCB_VTOR = (uint32_t)&vectors;
}

void Reset_Handler(void) {
    forget_bootloader();
#ifdef __ARM_FP
    SCB_CPACR |= 0xFu << 20; /* full access to coprocessors 10 and 11: the FPU */
#endif
    __asm__ volatile("dsb\n\tisb" ::: "memory");
    copy(ld_data_start, ld_data_end, ld_data_load);
    copy(ld_support_data_start, ld_support_data_end, ld_support_data_load);
    clear(ld_bss_start, ld_bss_end);
    clear(ld_support_bss_start, ld_support_bss_end);
    main();
    Default_Handler();
}

void Default_Handler(void) {
    for (;;) {
    }
}
