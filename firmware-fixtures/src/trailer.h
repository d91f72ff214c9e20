/* The trailer of a slot in MCUboot's layout: from the slot's end downwards magic, image_ok, copy_done, swap_info and swap_size in
 * cells of eight bytes, below them the status of a swap, one word for each half of a step. */
#ifndef TRAILER_H
#define TRAILER_H

#include <stdbool.h>
#include <stdint.h>

#include "flash.h"

enum swap_type { SWAP_NONE = 0, SWAP_TEST = 2, SWAP_PERMANENT = 3, SWAP_REVERT = 4 };

/* 128 sectors of three entries, of a word each. */
#define STATUS_SIZE (128u * 3u * 4u)
#define TRAILER_SIZE (16u + 4u * 8u + STATUS_SIZE)
#define TRAILER_PAGES ((TRAILER_SIZE + PAGE - 1) / PAGE)
#define TRAILER_START(slot) ((slot) + SLOT_SIZE - TRAILER_PAGES * PAGE)
/* The new image stands one page higher, and both leave the trailer alone. */
#define IMAGE_LIMIT ((SLOT_PAGES - TRAILER_PAGES - 1) * PAGE)

bool trailer_has_magic(uint32_t slot);
bool trailer_image_ok(uint32_t slot);
bool trailer_copy_done(uint32_t slot);
enum swap_type trailer_swap(uint32_t slot);
/* Pages of the images that the swap exchanges: the one that leaves in the lower half, the one that comes in in the upper. */
uint32_t trailer_sizes(uint32_t slot);
/* Halves of steps that are done. */
uint32_t trailer_status(uint32_t slot);
bool trailer_is_blank(uint32_t slot);

void trailer_erase(uint32_t slot);
void trailer_write_magic(uint32_t slot);
void trailer_write_image_ok(uint32_t slot);
void trailer_write_copy_done(uint32_t slot);
void trailer_write_swap(uint32_t slot, enum swap_type type);
void trailer_write_sizes(uint32_t slot, uint32_t sizes);
void trailer_write_status(uint32_t slot, uint32_t half);

/* Whether the image in the primary slot stays: it was there from the start, or it was confirmed. */
bool primary_is_confirmed(void);

#endif
