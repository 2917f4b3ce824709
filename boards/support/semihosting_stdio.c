/* An ordinary C program under semihosting: what it prints goes to the emulator's or debugger's
 * console, and what main returns becomes the exit status. Link with newlib-nano, newlib_stubs.c and
 * -Wl,--wrap=main.
 */
#include <stdio.h>

#include "semihosting.h"

int __real_main(void);
int __wrap_main(void);

static int console;

int __wrap_main(void) {
    static char line[128];
    console = semihosting_open(":tt", SEMIHOSTING_WRITE_TEXT);
    setvbuf(stdout, line, _IOLBF, sizeof line);
    int status = __real_main();
    fflush(stdout);
    semihosting_exit(status);
}

int _write(int file, const char *text, int size);
int _write(int file, const char *text, int size) {
    (void)file;
    return size - (int)semihosting_write(console, text, (size_t)size);
}
