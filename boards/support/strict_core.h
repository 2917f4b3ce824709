/* An emulated core that is stricter than a real one. */
#ifndef MCUC_STRICT_CORE_H
#define MCUC_STRICT_CORE_H

#include <stdint.h>

/* From here on unaligned accesses, divisions by zero and writes to the lowest 4 MB (flash) are
 * faults. A fault prints where it happened and ends the program with status 2. */
void make_core_strict(void);

enum {
    CODE = 0x06020000,
    DATA = 0x13020000
}; /* read-only; readable and writable, not executable */

/* Prepares the memory protection unit for a part of the program that may touch [start, end) only,
 * in at most `regions` of its eight regions, with a precision of 1 KiB; called once for each such
 * memory. Addresses are multiples of 1 KiB. Until MPU_CTRL is set to MPU_CONFINED nothing changes.
 */
void confine_to(uint32_t start, uint32_t end, uint32_t access, int regions);

/* The same for 64 aligned bytes of code. */
void confine_to_code(uint32_t start);

#define MPU_CTRL_ADDRESS 0xE000ED94u
#define MPU_OPEN 5u     /* everything that is not a region is as without the unit */
#define MPU_CONFINED 1u /* everything that is not a region is a fault */

#endif
