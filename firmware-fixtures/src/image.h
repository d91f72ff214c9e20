/* An image in MCUboot's format: header, payload, protected TLVs, TLVs. */
#ifndef IMAGE_H
#define IMAGE_H

#include <stdbool.h>
#include <stdint.h>

struct image {
    uint32_t at;
    /* Bytes from the header to the last TLV. */
    uint32_t size;
    uint32_t header_size;
    uint8_t major, minor;
    uint16_t revision;
    /* The digest in its TLV. */
    const uint8_t *digest;
};

/* Reads the image whose header stands at `at`, of at most `limit` bytes, and holds its digest against its bytes. */
bool image_read(uint32_t at, uint32_t limit, struct image *image);

#endif
