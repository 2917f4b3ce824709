/* What newlib's stdio asks of a system besides _write. There are no files; the heap is for newlib's
 * own records of the three standard streams. */
#include <stddef.h>

int _read(int file, char *text, int size);
int _lseek(int file, int offset, int whence);
int _close(int file);
int _fstat(int file, void *status);
int _isatty(int file);
void *_sbrk(ptrdiff_t increment);

int _read(int file, char *text, int size) {
    (void)file, (void)text, (void)size;
    return 0;
}

int _lseek(int file, int offset, int whence) {
    (void)file, (void)offset, (void)whence;
    return -1;
}

int _close(int file) {
    (void)file;
    return -1;
}

int _fstat(int file, void *status) {
    (void)file, (void)status;
    return -1;
}

int _isatty(int file) {
    (void)file;
    return 1;
}

void *_sbrk(ptrdiff_t increment) {
    static char heap[1024] __attribute__((aligned(8)));
    static ptrdiff_t used;
    if (used + increment > (ptrdiff_t)sizeof heap) {
        return (void *)-1;
    }
    used += increment;
    return heap + used - increment;
}
