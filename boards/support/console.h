/* Where the board's own image prints. */
#ifndef MCUC_CONSOLE_H
#define MCUC_CONSOLE_H

void console_print(const char *text);

/* All is printed. */
void console_end(void);

#endif
