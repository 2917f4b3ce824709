/* Where the board's own image prints. */
#ifndef MCUC_CONSOLE_H
#define MCUC_CONSOLE_H

void console_print(const char *text);

#endif
