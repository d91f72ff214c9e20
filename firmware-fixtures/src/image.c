#include "image.h"

#include "sha256.h"

#define IMAGE_MAGIC 0x96f3b83d
#define TLV_MAGIC 0x6907
#define PROTECTED_TLV_MAGIC 0x6908
#define TLV_SHA256 0x10

struct header {
    uint32_t magic, load_address;
    uint16_t header_size, protected_size;
    uint32_t image_size, flags;
    uint8_t major, minor;
    uint16_t revision;
    uint32_t build, padding;
};

static uint32_t half_at(uint32_t address) { return *(const uint8_t *)address | (uint32_t)(*(const uint8_t *)(address + 1)) << 8; }

bool image_read(uint32_t at, uint32_t limit, struct image *image)
{
    const struct header *header = (const struct header *)at;
    if (header->magic != IMAGE_MAGIC || header->header_size < sizeof *header || header->image_size > limit)
        return false;
    uint32_t hashed = header->header_size + header->image_size + header->protected_size;
    if (hashed + 4 > limit || half_at(at + hashed) != TLV_MAGIC)
        return false;
    if (header->protected_size > 0 && half_at(at + hashed - header->protected_size) != PROTECTED_TLV_MAGIC)
        return false;
    uint32_t end = hashed + half_at(at + hashed + 2);
    if (end > limit)
        return false;
    *image = (struct image){at, end, header->header_size, header->major, header->minor, header->revision, 0};
    for (uint32_t tlv = hashed + 4; tlv + 4 <= end; tlv += 4 + half_at(at + tlv + 2))
        if (half_at(at + tlv) == TLV_SHA256 && half_at(at + tlv + 2) == SHA256_SIZE && tlv + 4 + SHA256_SIZE <= end)
            image->digest = (const uint8_t *)(at + tlv + 4);
    if (image->digest == 0)
        return false;
    uint8_t digest[SHA256_SIZE];
    sha256((const uint8_t *)at, hashed, digest);
    for (unsigned n = 0; n < SHA256_SIZE; n++)
        if (digest[n] != image->digest[n])
            return false;
    return true;
}
