/* Console on the board's UART. */
#include "board.h"
#include "console.h"

void console_print(const char *text) {
    for (; *text; text++) {
        if (*text == '\n') {
            board_send('\r');
        }
        board_send(*text);
    }
}

void console_end(void) {
}
