/* Arduino Nano 33 BLE Sense: 64 MHz from the crystal, instruction cache on; UART0 on P1.03, the pin
 * TX of the board.
 *
 * nRF52840 product specification: NVMC (instruction cache), CLOCK, GPIO and UART; register names as
 * there. The Arduino bootloader takes the first 64 KiB of flash and starts what follows.
 */
#include "board.h"

#define CLOCK_TASKS_HFCLKSTART 0x40000000u
#define CLOCK_EVENTS_HFCLKSTARTED 0x40000100u

#define NVMC_ICACHECNF 0x4001E540u

#define P1_OUTSET 0x50000808u
#define P1_DIRSET 0x50000818u

#define UART_TASKS_STARTTX 0x40002008u
#define UART_EVENTS_TXDRDY 0x4000211Cu
#define UART_ENABLE 0x40002500u
#define UART_PSEL_TXD 0x4000250Cu
#define UART_TXD 0x4000251Cu
#define UART_BAUDRATE 0x40002524u
#define UART_BAUDRATE_115200 0x01D7E000u

#define TX_PIN 3u /* of port 1 */
#define PSEL_PORT_1 (1u << 5)

/* The core runs at 64 MHz from reset on; the crystal makes that exact, which the UART is glad of.
 */
uint32_t board_start(void) {
    REGISTER(NVMC_ICACHECNF) = 1;
    REGISTER(CLOCK_EVENTS_HFCLKSTARTED) = 0;
    REGISTER(CLOCK_TASKS_HFCLKSTART) = 1;
    (void)wait_for(CLOCK_EVENTS_HFCLKSTARTED, 1);

    REGISTER(P1_OUTSET) = 1u << TX_PIN;
    REGISTER(P1_DIRSET) = 1u << TX_PIN;
    REGISTER(UART_PSEL_TXD) = PSEL_PORT_1 | TX_PIN;
    REGISTER(UART_BAUDRATE) = UART_BAUDRATE_115200;
    REGISTER(UART_ENABLE) = 4;
    REGISTER(UART_TASKS_STARTTX) = 1;
    return 64000000u;
}

void board_send(char byte) {
    REGISTER(UART_EVENTS_TXDRDY) = 0;
    REGISTER(UART_TXD) = (uint8_t)byte;
    (void)wait_for(UART_EVENTS_TXDRDY, 1);
}
