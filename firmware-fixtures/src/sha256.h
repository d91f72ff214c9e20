/* SHA-256 (FIPS 180-4). */
#ifndef SHA256_H
#define SHA256_H

#include <stdint.h>

#define SHA256_SIZE 32u

/* The digest of `length` bytes at `bytes`. */
void sha256(const uint8_t *bytes, uint32_t length, uint8_t digest[SHA256_SIZE]);

#endif
