/* STM32F746G-DISCO: 216 MHz from the 25 MHz oscillator, caches on; USART1 on PA9, which the ST-LINK
 * shows as a serial port of the computer.
 *
 * RM0385, the reference manual: chapters on flash (wait states, ART accelerator), PWR (over-drive),
 * RCC, GPIO and USART. PM0253, the programming manual of the Cortex-M7: cache maintenance
 * operations. UM1907, the board's manual: the virtual COM port is USART1 on PA9 (TX) and PB7 (RX).
 */
#include "board.h"

#define FLASH_ACR 0x40023C00u
#define FLASH_LATENCY_7 7u /* 210 to 216 MHz at 2.7 to 3.6 V */
#define FLASH_PRFTEN (1u << 8)
#define FLASH_ARTEN (1u << 9) /* speeds up flash at 0x00200000; the caches do at 0x08000000 */

#define PWR_CR1 0x40007000u
#define PWR_CSR1 0x40007004u
#define PWR_VOS_SCALE_1 (3u << 14)
#define PWR_ODEN (1u << 16) /* over-drive, needed above 180 MHz; its ready bits are the same */
#define PWR_ODSWEN (1u << 17)

#define RCC_CR 0x40023800u
#define RCC_PLLCFGR 0x40023804u
#define RCC_CFGR 0x40023808u
#define RCC_AHB1ENR 0x40023830u
#define RCC_APB1ENR 0x40023840u
#define RCC_APB2ENR 0x40023844u
#define RCC_HSEON (1u << 16)
#define RCC_HSERDY (1u << 17)
#define RCC_PLLON (1u << 24)
#define RCC_PLLRDY (1u << 25)
/* 25 MHz / 25 * 432 / 2 = 216 MHz; / 9 = 48 MHz for USB; source: the oscillator. */
#define RCC_PLL_216_MHZ (25u | 432u << 6 | 0u << 16 | 1u << 22 | 9u << 24)
#define RCC_PLLCFGR_RESERVED 0xF0000000u /* keep their values of reset */
#define RCC_PPRE1_DIV4 (5u << 10)
#define RCC_PPRE2_DIV2 (4u << 13)
#define RCC_SW_PLL 2u
#define RCC_SWS_PLL (2u << 2)
#define RCC_GPIOAEN 1u
#define RCC_PWREN (1u << 28)
#define RCC_USART1EN (1u << 4)

#define GPIOA_MODER 0x40020000u
#define GPIOA_AFRH 0x40020024u

#define USART1_CR1 0x40011000u
#define USART1_BRR 0x4001100Cu
#define USART1_ISR 0x4001101Cu
#define USART1_TDR 0x40011028u
#define USART_UE 1u
#define USART_TE (1u << 3)
#define USART_TXE (1u << 7)

#define SCB_CCR 0xE000ED14u
#define SCB_CCSIDR 0xE000ED80u
#define SCB_CSSELR 0xE000ED84u
#define SCB_ICIALLU 0xE000EF50u
#define SCB_DCISW 0xE000EF60u
#define SCB_DC (1u << 16)
#define SCB_IC (1u << 17)

#define HSI_HZ 16000000u
#define FULL_SPEED_HZ 216000000u

static void barrier(void) {
    __asm__ volatile("dsb\n\tisb" ::: "memory");
}

/* Caches hold anything after reset: first their content is declared invalid. */
static void enable_caches(void) {
    REGISTER(SCB_ICIALLU) = 0;
    REGISTER(SCB_CSSELR) = 0; /* the data cache */
    barrier();
    const uint32_t sizes = REGISTER(SCB_CCSIDR);
    for (uint32_t set = 0; set <= (sizes >> 13 & 0x7FFFu); set++) {
        for (uint32_t way = 0; way <= (sizes >> 3 & 0x3FFu); way++) {
            REGISTER(SCB_DCISW) = way << 30 | set << 5; /* 4 ways, lines of 32 bytes */
        }
    }
    barrier();
    REGISTER(SCB_CCR) |= SCB_IC | SCB_DC;
    barrier();
}

/* Returns the clock of the core; that of APB2 is half of it at full speed, and else the same. */
static uint32_t start_clocks(void) {
    REGISTER(RCC_APB1ENR) |= RCC_PWREN;
    REGISTER(PWR_CR1) |= PWR_VOS_SCALE_1;
    REGISTER(RCC_CR) |= RCC_HSEON;
    if (!wait_for(RCC_CR, RCC_HSERDY)) {
        return HSI_HZ;
    }
    REGISTER(RCC_PLLCFGR) = (REGISTER(RCC_PLLCFGR) & RCC_PLLCFGR_RESERVED) | RCC_PLL_216_MHZ;
    REGISTER(RCC_CR) |= RCC_PLLON;
    REGISTER(PWR_CR1) |= PWR_ODEN;
    if (!wait_for(PWR_CSR1, PWR_ODEN)) {
        return HSI_HZ;
    }
    REGISTER(PWR_CR1) |= PWR_ODSWEN;
    if (!wait_for(PWR_CSR1, PWR_ODSWEN) || !wait_for(RCC_CR, RCC_PLLRDY)) {
        return HSI_HZ;
    }
    REGISTER(FLASH_ACR) = FLASH_LATENCY_7 | FLASH_PRFTEN | FLASH_ARTEN;
    (void)wait_for(FLASH_ACR, FLASH_LATENCY_7);
    REGISTER(RCC_CFGR) = RCC_PPRE1_DIV4 | RCC_PPRE2_DIV2 | RCC_SW_PLL;
    (void)wait_for(RCC_CFGR, RCC_SWS_PLL);
    return FULL_SPEED_HZ;
}

static void open_uart(uint32_t clock) {
    REGISTER(RCC_AHB1ENR) |= RCC_GPIOAEN;
    REGISTER(RCC_APB2ENR) |= RCC_USART1EN;
    (void)REGISTER(RCC_APB2ENR); /* a clock needs two cycles to arrive */
    REGISTER(GPIOA_AFRH) = (REGISTER(GPIOA_AFRH) & ~0xF0u) | 7u << 4;
    REGISTER(GPIOA_MODER) = (REGISTER(GPIOA_MODER) & ~(3u << 18)) | 2u << 18;
    REGISTER(USART1_BRR) = (clock + 57600u) / 115200u;
    REGISTER(USART1_CR1) = USART_UE | USART_TE;
}

uint32_t board_start(void) {
    enable_caches();
    const uint32_t clock = start_clocks();
    open_uart(clock == FULL_SPEED_HZ ? clock / 2u : clock);
    return clock;
}

void board_send(char byte) {
    (void)wait_for(USART1_ISR, USART_TXE);
    REGISTER(USART1_TDR) = (uint8_t)byte;
}
