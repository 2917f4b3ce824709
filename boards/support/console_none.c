/* A board without a console. */
#include "console.h"

void console_print(const char *text) {
    (void)text;
}

void console_end(void) {
}
