/* Console on stimulus port 0 of the ITM, which the core sends out through its SWO pin. The debugger
 * sets up the pin and the trace clock; without a debugger nothing is printed. */
#include <stdint.h>

#include "console.h"

#define ITM_PORT0 (*(volatile uint32_t *)0xE0000000u)
#define ITM_PORT0_BYTE (*(volatile uint8_t *)0xE0000000u)
#define ITM_TER (*(volatile uint32_t *)0xE0000E00u)
#define ITM_TCR (*(volatile uint32_t *)0xE0000E80u)

void console_print(const char *text) {
    if ((ITM_TCR & 1u) == 0 || (ITM_TER & 1u) == 0) {
        return;
    }
    for (; *text; text++) {
        while (ITM_PORT0 == 0) { /* the port is busy */
        }
        ITM_PORT0_BYTE = (uint8_t)*text;
    }
}

void console_end(void) {
}
