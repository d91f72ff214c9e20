#include "slots.h"

#include "flash.h"
#include "trailer.h"

static struct image primary, secondary;
static bool has_secondary;

static struct {
    uint32_t size, offset;
    /* Bytes that wait for the rest of their word. */
    uint8_t held[4];
} upload;

void slots_look(void)
{
    image_read(PRIMARY, IMAGE_LIMIT, &primary);
    /* A new image stands one page higher than one that was swapped out. */
    has_secondary = image_read(INCOMING, IMAGE_LIMIT, &secondary) || image_read(SECONDARY, IMAGE_LIMIT, &secondary);
}

const struct image *slots_primary(void) { return &primary; }

const struct image *slots_secondary(void) { return has_secondary ? &secondary : 0; }

bool slots_pending(void) { return trailer_has_magic(SECONDARY); }

bool upload_begin(uint32_t size)
{
    if (size == 0 || size > IMAGE_LIMIT)
        return false;
    has_secondary = false;
    upload.size = size;
    upload.offset = 0;
    /* Blank or not, as a driver does that does not read it before. */
    trailer_erase(SECONDARY);
    return true;
}

uint32_t upload_offset(void) { return upload.offset; }

static void write_held(uint32_t end)
{
    uint32_t word_at = (end - 1) & ~3u;
    /* A page is erased when its first word comes. */
    if (word_at % PAGE == 0)
        flash_erase(INCOMING + word_at);
    flash_write(INCOMING + word_at, upload.held, end - word_at);
}

bool upload_take(const uint8_t *bytes, uint32_t length)
{
    for (uint32_t n = 0; n < length && upload.offset < upload.size; n++) {
        upload.held[upload.offset % 4] = bytes[n];
        upload.offset++;
        if (upload.offset % 4 == 0 || upload.offset == upload.size)
            write_held(upload.offset);
    }
    if (upload.offset < upload.size)
        return false;
    slots_look();
    return true;
}

void slots_request(bool permanent)
{
    trailer_write_magic(SECONDARY);
    if (permanent)
        trailer_write_image_ok(SECONDARY);
    trailer_write_swap(SECONDARY, permanent ? SWAP_PERMANENT : SWAP_TEST);
}
