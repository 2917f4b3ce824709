/* Console of a debugger or an emulator. */
#include "console.h"
#include "semihosting.h"

void console_print(const char *text) {
    semihosting_print(text);
}

void console_end(void) {
    semihosting_exit(0);
}
