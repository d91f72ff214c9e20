#include "manager.h"

#include "cbor.h"
#include "flash.h"
#include "frame.h"
#include "sha256.h"
#include "slots.h"
#include "trailer.h"

#define HEADER 8u

enum { OP_READ = 0, OP_WRITE = 2 };
enum { GROUP_SYSTEM = 0, GROUP_IMAGE = 1 };
enum { SYSTEM_ECHO = 0, SYSTEM_RESET = 5, SYSTEM_PARAMETERS = 6 };
enum { IMAGE_STATE = 0, IMAGE_UPLOAD = 1, IMAGE_ERASE = 5 };
/* Error codes of MCU manager. */
enum { RC_OK = 0, RC_UNKNOWN = 1, RC_INVALID = 3, RC_BAD_STATE = 6, RC_UNSUPPORTED = 8 };

/* Whatever a request of these groups may hold. */
struct request {
    struct cbor_item echo, hash, data, sha;
    bool has_echo, has_hash, has_data, confirm;
    uint32_t offset, size;
    bool has_offset, has_size;
};

static uint8_t answer[640];

static bool is_key(const struct cbor_item *key, const char *name)
{
    uint32_t n = 0;
    for (; n < key->value && name[n] != 0; n++)
        if (key->bytes[n] != (uint8_t)name[n])
            return false;
    return n == key->value && name[n] == 0;
}

static bool read_request(struct cbor_reader reader, struct request *request)
{
    struct cbor_item map, key, value;
    *request = (struct request){0};
    if (!cbor_next(&reader, &map) || map.kind != CBOR_MAP)
        return false;
    for (uint32_t n = 0; n < map.value; n++) {
        if (map.value == UINT32_MAX && reader.at < reader.end && *reader.at == 0xff)
            return true;
        struct cbor_reader before;
        if (!cbor_next(&reader, &key) || key.kind != CBOR_TEXT)
            return false;
        before = reader;
        if (!cbor_skip(&reader) || !cbor_next(&before, &value))
            return false;
        if (is_key(&key, "d") && value.kind == CBOR_TEXT)
            request->echo = value, request->has_echo = true;
        else if (is_key(&key, "hash") && value.kind == CBOR_BYTES)
            request->hash = value, request->has_hash = true;
        else if (is_key(&key, "data") && value.kind == CBOR_BYTES)
            request->data = value, request->has_data = true;
        else if (is_key(&key, "off") && value.kind == CBOR_UINT)
            request->offset = value.value, request->has_offset = true;
        else if (is_key(&key, "len") && value.kind == CBOR_UINT)
            request->size = value.value, request->has_size = true;
        else if (is_key(&key, "confirm") && value.kind == CBOR_SIMPLE)
            request->confirm = value.value == CBOR_TRUE;
    }
    return true;
}

static void put_code(struct cbor_writer *writer, uint32_t code)
{
    cbor_text(writer, "rc");
    cbor_uint(writer, code);
}

static void put_number(char **at, uint32_t number)
{
    if (number >= 10)
        put_number(at, number / 10);
    *(*at)++ = (char)('0' + number % 10);
}

static void put_flag(struct cbor_writer *writer, const char *name, bool value)
{
    cbor_text(writer, name);
    cbor_bool(writer, value);
}

static void put_slot(struct cbor_writer *writer, uint32_t slot, const struct image *image)
{
    char version[16], *at = version;
    put_number(&at, image->major);
    *at++ = '.';
    put_number(&at, image->minor);
    *at++ = '.';
    put_number(&at, image->revision);
    bool runs = slot == 0;
    bool confirmed = primary_is_confirmed();
    cbor_map(writer);
    cbor_text(writer, "slot");
    cbor_uint(writer, slot);
    cbor_text(writer, "version");
    cbor_text_of(writer, (const uint8_t *)version, (uint32_t)(at - version));
    cbor_text(writer, "hash");
    cbor_bytes(writer, image->digest, SHA256_SIZE);
    put_flag(writer, "bootable", true);
    put_flag(writer, "pending", !runs && slots_pending());
    /* An image that is on trial leaves the one in the other slot as the confirmed one. */
    put_flag(writer, "confirmed", runs ? confirmed : !confirmed);
    put_flag(writer, "active", runs);
    put_flag(writer, "permanent", !runs && slots_pending() && trailer_swap(SECONDARY) == SWAP_PERMANENT);
    cbor_break(writer);
}

static void put_state(struct cbor_writer *writer)
{
    cbor_text(writer, "images");
    cbor_array(writer);
    put_slot(writer, 0, slots_primary());
    if (slots_secondary() != 0)
        put_slot(writer, 1, slots_secondary());
    cbor_break(writer);
    cbor_text(writer, "splitStatus");
    cbor_uint(writer, 0);
}

static bool has_digest(const struct image *image, const struct cbor_item *hash)
{
    if (image == 0 || hash->value != SHA256_SIZE)
        return false;
    for (uint32_t n = 0; n < SHA256_SIZE; n++)
        if (image->digest[n] != hash->bytes[n])
            return false;
    return true;
}

/* Marks the image with the digest given for a test or for good; without one, confirms the image that runs. */
static uint32_t set_state(const struct request *request)
{
    bool running = !request->has_hash || has_digest(slots_primary(), &request->hash);
    if (running) {
        if (!request->confirm)
            return RC_INVALID;
        if (!primary_is_confirmed())
            trailer_write_image_ok(PRIMARY);
        return RC_OK;
    }
#ifdef REFUSE
    return RC_BAD_STATE;
#endif
    if (!has_digest(slots_secondary(), &request->hash))
        return RC_INVALID;
    /* What would be lost if it does not work must be known to work. An image that was put back does not stand where one is swapped in
     * from. */
    if (!primary_is_confirmed() || slots_secondary()->at != INCOMING)
        return RC_BAD_STATE;
    if (!slots_pending())
        slots_request(request->confirm);
    return RC_OK;
}

static uint32_t take_upload(struct cbor_writer *writer, const struct request *request)
{
    if (!request->has_offset || !request->has_data)
        return RC_INVALID;
    if (request->offset == 0) {
        if (!primary_is_confirmed() || slots_pending())
            return RC_BAD_STATE;
        if (!request->has_size || !upload_begin(request->size))
            return RC_INVALID;
    }
    bool whole = request->offset == upload_offset() && upload_take(request->data.bytes, request->data.value);
    put_code(writer, RC_OK);
    cbor_text(writer, "off");
    cbor_uint(writer, upload_offset());
    if (whole)
        put_flag(writer, "match", slots_secondary() != 0);
    return RC_OK;
}

static uint32_t erase(void)
{
    if (slots_pending() || !primary_is_confirmed())
        return RC_BAD_STATE;
    for (uint32_t page = 0; page < SLOT_PAGES; page++)
        if (!flash_is_blank(SECONDARY + page * PAGE, PAGE))
            flash_erase(SECONDARY + page * PAGE);
    slots_look();
    return RC_OK;
}

static uint32_t handle_system(uint8_t op, uint8_t command, struct cbor_writer *writer, const struct request *request)
{
    (void)op;
    if (command == SYSTEM_ECHO && request->has_echo) {
        cbor_text(writer, "r");
        cbor_text_of(writer, request->echo.bytes, request->echo.value < 512 ? request->echo.value : 512);
        return RC_OK;
    }
    if (command == SYSTEM_PARAMETERS) {
        cbor_text(writer, "buf_size");
        cbor_uint(writer, PACKET_MAX);
        cbor_text(writer, "buf_count");
        cbor_uint(writer, 1);
        return RC_OK;
    }
    return command == SYSTEM_RESET ? RC_OK : RC_UNSUPPORTED;
}

static uint32_t handle_image(uint8_t op, uint8_t command, struct cbor_writer *writer, const struct request *request)
{
    if (command == IMAGE_UPLOAD && op == OP_WRITE)
        return take_upload(writer, request);
    if (command == IMAGE_ERASE && op == OP_WRITE)
        return erase();
    if (command != IMAGE_STATE)
        return RC_UNSUPPORTED;
    uint32_t code = op == OP_WRITE ? set_state(request) : RC_OK;
    if (code == RC_OK)
        put_state(writer);
    return code;
}

bool manager_handle(const uint8_t *packet, uint32_t length)
{
    if (length < HEADER)
        return false;
    uint8_t op = packet[0] & 0x07, command = packet[7];
    uint32_t group = (uint32_t)packet[4] << 8 | packet[5];
    if (op != OP_READ && op != OP_WRITE)
        return false;
    struct request request;
    struct cbor_writer writer = {answer + HEADER, answer + sizeof answer};
    cbor_map(&writer);
    uint32_t code = RC_UNSUPPORTED;
    if (!read_request((struct cbor_reader){packet + HEADER, packet + length}, &request))
        code = RC_INVALID;
    else if (group == GROUP_SYSTEM)
        code = handle_system(op, command, &writer, &request);
    else if (group == GROUP_IMAGE)
        code = handle_image(op, command, &writer, &request);
    if (code != RC_OK) {
        writer.at = answer + HEADER;
        cbor_map(&writer);
        put_code(&writer, code);
    }
    cbor_break(&writer);
    uint32_t body = (uint32_t)(writer.at - answer) - HEADER;
    /* The version of the protocol, in bits 3 and 4 of the first byte, is answered as it was asked. */
    for (uint32_t n = 0; n < HEADER; n++)
        answer[n] = packet[n];
    answer[0] = (uint8_t)((packet[0] & 0x18) | (op + 1));
    answer[1] = 0;
    answer[2] = (uint8_t)(body >> 8);
    answer[3] = (uint8_t)body;
    frame_send(answer, HEADER + body);
    return code == RC_OK && group == GROUP_SYSTEM && command == SYSTEM_RESET && op == OP_WRITE;
}
