/* What a board's own file gives to its image: boards/support/<board>.c. */
#ifndef MCUC_BOARD_H
#define MCUC_BOARD_H

#include <stdint.h>

#define REGISTER(address) (*(volatile uint32_t *)(address))

/* Brings clocks, caches and flash to the board's full speed, and opens the UART at 115200 baud,
 * 8N1. Returns the core's clock in Hz: what it really is, should an oscillator not start. */
uint32_t board_start(void);

/* Sends one byte, when the UART has room for it. */
void board_send(char byte);

/* Waits for all bits of `mask` to be set; 0 if that takes too long. No board hangs because of a
 * part that is missing. */
static inline int wait_for(uintptr_t address, uint32_t mask) {
    for (uint32_t turns = 0; turns < 100000; turns++) {
        if ((REGISTER(address) & mask) == mask) {
            return 1;
        }
    }
    return 0;
}

#endif
