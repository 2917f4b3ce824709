/* SparkFun Edge: 48 MHz, or 96 MHz in burst mode, from the internal oscillator, flash cache on;
 * UART0 on pad 48, which goes to the serial connector.
 *
 * Apollo3 Blue datasheet: clock generator (CLKGEN), burst mode (MCUCTRL), flash cache (CACHECTRL),
 * power (PWRCTRL), pads (GPIO), UART, which is Arm's PL011; register names as there. Pad 48 is the
 * UART of SparkFun's board support package, flash from 0xC000 what its linker script begins with:
 * the bootloader starts what is there.
 */
#include "board.h"

#define CLKGEN_CLKKEY 0x40004014u
#define CLKGEN_CCTRL 0x40004018u
#define CLKGEN_FREQCTRL 0x40004034u
#define CLKGEN_KEY 0x47u
#define CCTRL_HFRC 0u /* not divided: 48 MHz */
#define FREQCTRL_BURSTREQ 1u
#define FREQCTRL_BURST_ON 6u /* acknowledged, and running */

#define MCUCTRL_FEATUREENABLE 0x40020018u
#define FEATURE_BURSTREQ (1u << 4)
#define FEATURE_BURST_THERE (3u << 5) /* acknowledged, and available */

#define CACHECTRL_CACHECFG 0x40018000u
/* 1,024 lines of 16 bytes, direct mapped; instructions and data; clock gates; on */
#define CACHECFG_SETTINGS (8u << 4 | 1u << 8 | 1u << 9 | 1u << 10 | 1u << 20)
#define CACHECFG_ENABLE 1u

#define PWRCTRL_DEVPWREN 0x40021008u
#define PWRCTRL_DEVPWRSTATUS 0x40021018u
#define PWRCTRL_DEVPWREVENTEN 0x40021028u
#define DEVPWREN_UART0 (1u << 7)
#define DEVPWRSTATUS_HCPA (1u << 2) /* the power domain of the UARTs */
#define DEVPWREVENTEN_BURST (1u << 31)

#define GPIO_PADREGM 0x40010030u /* pads 48 and 49 */
#define GPIO_PADKEY 0x40010060u
#define GPIO_KEY 0x73u

#define UART0_DR 0x4001C000u
#define UART0_FR 0x4001C018u
#define UART0_IBRD 0x4001C024u
#define UART0_FBRD 0x4001C028u
#define UART0_LCRH 0x4001C02Cu
#define UART0_CR 0x4001C030u
#define UART_TXFE (1u << 7)
#define UART_8N1_FIFO 0x70u
#define UART_CLKEN (1u << 3)
#define UART_CLKSEL_24MHZ (1u << 4)
#define UART_ENABLE_TX 0x101u

#define NORMAL_HZ 48000000u /* 96 MHz if the board file says so */
#define BURST_HZ 96000000u

static uint32_t start_clocks(void) {
    REGISTER(CLKGEN_CLKKEY) = CLKGEN_KEY;
    REGISTER(CLKGEN_CCTRL) = CCTRL_HFRC;
    REGISTER(CLKGEN_CLKKEY) = 0;
    REGISTER(CACHECTRL_CACHECFG) = CACHECFG_SETTINGS;
    REGISTER(CACHECTRL_CACHECFG) = CACHECFG_SETTINGS | CACHECFG_ENABLE;
#if BOARD_CLOCK_HZ > NORMAL_HZ
    REGISTER(PWRCTRL_DEVPWREVENTEN) |= DEVPWREVENTEN_BURST;
    REGISTER(MCUCTRL_FEATUREENABLE) |= FEATURE_BURSTREQ;
    if (wait_for(MCUCTRL_FEATUREENABLE, FEATURE_BURST_THERE)) {
        REGISTER(CLKGEN_FREQCTRL) |= FREQCTRL_BURSTREQ;
        if (wait_for(CLKGEN_FREQCTRL, FREQCTRL_BURST_ON)) {
            return BURST_HZ;
        }
    }
#endif
    return NORMAL_HZ;
}

static void open_uart(void) {
    REGISTER(PWRCTRL_DEVPWREN) |= DEVPWREN_UART0;
    (void)wait_for(PWRCTRL_DEVPWRSTATUS, DEVPWRSTATUS_HCPA);
    REGISTER(GPIO_PADKEY) = GPIO_KEY;
    REGISTER(GPIO_PADREGM) &= ~0xFFu; /* pad 48: function 0, UART0TX */
    REGISTER(GPIO_PADKEY) = 0;
    REGISTER(UART0_CR) = UART_CLKEN | UART_CLKSEL_24MHZ;
    REGISTER(UART0_IBRD) = 13; /* 24 MHz / 16 / 115200 = 13 + 1/64 */
    REGISTER(UART0_FBRD) = 1;
    REGISTER(UART0_LCRH) = UART_8N1_FIFO;
    REGISTER(UART0_CR) = UART_CLKEN | UART_CLKSEL_24MHZ | UART_ENABLE_TX;
}

uint32_t board_start(void) {
    const uint32_t clock = start_clocks();
    open_uart();
    return clock;
}

void board_send(char byte) {
    (void)wait_for(UART0_FR, UART_TXFE);
    REGISTER(UART0_DR) = (uint8_t)byte;
}
