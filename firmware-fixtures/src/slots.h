/* The two slots as the application sees them: what stands in them, the upload into the secondary one, the request to swap. */
#ifndef SLOTS_H
#define SLOTS_H

#include <stdbool.h>
#include <stdint.h>

#include "image.h"

/* Looks again at what stands in the secondary slot. */
void slots_look(void);

/* The image in the primary slot, and the one in the secondary, if a sound one stands there. */
const struct image *slots_primary(void);
const struct image *slots_secondary(void);

/* Whether the secondary image is to be tried at the next boot. */
bool slots_pending(void);

/* Begins an upload of `size` bytes; false if they do not fit. */
bool upload_begin(uint32_t size);
/* Bytes of the upload that have come. */
uint32_t upload_offset(void);
/* Takes the next bytes; true when the image is whole. */
bool upload_take(const uint8_t *bytes, uint32_t length);

/* Asks the bootloader to try the secondary image, or to keep it for good. */
void slots_request(bool permanent);

#endif
