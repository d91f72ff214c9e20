#include "trailer.h"

static const uint32_t magic[4] = {0xf395c277, 0x7fefd260, 0x0f505235, 0x8079b62c};

#define MAGIC_AT(slot) ((slot) + SLOT_SIZE - 16)
#define IMAGE_OK_AT(slot) ((slot) + SLOT_SIZE - 24)
#define COPY_DONE_AT(slot) ((slot) + SLOT_SIZE - 32)
#define SWAP_AT(slot) ((slot) + SLOT_SIZE - 40)
#define SIZES_AT(slot) ((slot) + SLOT_SIZE - 48)
#define STATUS_AT(slot, half) ((slot) + SLOT_SIZE - 48 - STATUS_SIZE + 4 * (half))
/* A flag is its lowest byte; the rest of its word stays erased. */
#define SET 0xffffff01

static uint32_t word_at(uint32_t address) { return *(const volatile uint32_t *)address; }

bool trailer_has_magic(uint32_t slot)
{
    for (uint32_t n = 0; n < 4; n++)
        if (word_at(MAGIC_AT(slot) + 4 * n) != magic[n])
            return false;
    return true;
}

bool trailer_image_ok(uint32_t slot) { return (word_at(IMAGE_OK_AT(slot)) & 0xff) == 1; }

bool trailer_copy_done(uint32_t slot) { return (word_at(COPY_DONE_AT(slot)) & 0xff) == 1; }

enum swap_type trailer_swap(uint32_t slot)
{
    uint32_t type = word_at(SWAP_AT(slot)) & 0x0f;
    return type >= SWAP_TEST && type <= SWAP_REVERT ? (enum swap_type)type : SWAP_NONE;
}

uint32_t trailer_sizes(uint32_t slot) { return word_at(SIZES_AT(slot)); }

uint32_t trailer_status(uint32_t slot)
{
    uint32_t half = 0;
    while (half < STATUS_SIZE / 4 && (word_at(STATUS_AT(slot, half)) & 0xff) == 1)
        half++;
    return half;
}

bool trailer_is_blank(uint32_t slot) { return flash_is_blank(TRAILER_START(slot), TRAILER_PAGES * PAGE); }

void trailer_erase(uint32_t slot)
{
    for (uint32_t page = 0; page < TRAILER_PAGES; page++)
        flash_erase(TRAILER_START(slot) + page * PAGE);
}

void trailer_write_magic(uint32_t slot)
{
    for (uint32_t n = 0; n < 4; n++)
        flash_write_word(MAGIC_AT(slot) + 4 * n, magic[n]);
}

void trailer_write_image_ok(uint32_t slot) { flash_write_word(IMAGE_OK_AT(slot), SET); }

void trailer_write_copy_done(uint32_t slot) { flash_write_word(COPY_DONE_AT(slot), SET); }

void trailer_write_swap(uint32_t slot, enum swap_type type) { flash_write_word(SWAP_AT(slot), 0xffffff00 | type); }

void trailer_write_sizes(uint32_t slot, uint32_t sizes) { flash_write_word(SIZES_AT(slot), sizes); }

void trailer_write_status(uint32_t slot, uint32_t half) { flash_write_word(STATUS_AT(slot, half), SET); }

bool primary_is_confirmed(void) { return !trailer_has_magic(PRIMARY) || trailer_image_ok(PRIMARY); }
