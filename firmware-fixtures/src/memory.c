/* What the compiler calls by itself. */
#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t length)
{
    unsigned char *out = to;
    const unsigned char *in = from;
    while (length-- > 0)
        *out++ = *in++;
    return to;
}

void *memset(void *to, int byte, size_t length)
{
    unsigned char *out = to;
    while (length-- > 0)
        *out++ = (unsigned char)byte;
    return to;
}
