/* An ordinary C program on a board: what it prints goes to the board's UART. Link with newlib-nano,
 * newlib_stubs.c, the board's own file and -Wl,--wrap=main.
 */
#include <stdio.h>

#include "board.h"

int __real_main(void);
int __wrap_main(void);

int __wrap_main(void) {
    static char line[128];
    board_start();
    setvbuf(stdout, line, _IOLBF, sizeof line);
    int status = __real_main();
    fflush(stdout);
    return status;
}

int _write(int file, const char *text, int size);
int _write(int file, const char *text, int size) {
    (void)file;
    for (int i = 0; i < size; i++) {
        if (text[i] == '\n') {
            board_send('\r');
        }
        board_send(text[i]);
    }
    return size;
}
