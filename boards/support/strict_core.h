/* An emulated core that is stricter than a real one. */
#ifndef MCUC_STRICT_CORE_H
#define MCUC_STRICT_CORE_H

/* From here on unaligned accesses, divisions by zero and writes to the lowest 4 MB (flash) are
 * faults. A fault prints where it happened and ends the program with status 2. */
void make_core_strict(void);

#endif
