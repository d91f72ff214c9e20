#include "cbor.h"

#define INDEFINITE 31u

bool cbor_next(struct cbor_reader *reader, struct cbor_item *item)
{
    if (reader->at >= reader->end)
        return false;
    uint8_t head = *reader->at++;
    uint32_t info = head & 0x1f, value = info;
    item->kind = (enum cbor_kind)(head >> 5);
    item->bytes = 0;
    if (info >= 24 && info <= 27) {
        uint32_t width = 1u << (info - 24);
        if ((uint32_t)(reader->end - reader->at) < width)
            return false;
        value = 0;
        for (uint32_t n = 0; n < width; n++) {
            if (value >> 24 != 0)
                return false;
            value = value << 8 | *reader->at++;
        }
    } else if (info == INDEFINITE && (item->kind == CBOR_ARRAY || item->kind == CBOR_MAP)) {
        value = UINT32_MAX;
    } else if (info > 27) {
        return false;
    }
    item->value = value;
    if (item->kind == CBOR_BYTES || item->kind == CBOR_TEXT) {
        if (value > (uint32_t)(reader->end - reader->at))
            return false;
        item->bytes = reader->at;
        reader->at += value;
    }
    return true;
}

static bool skip(struct cbor_reader *reader, unsigned depth)
{
    struct cbor_item item;
    if (depth == 0 || !cbor_next(reader, &item))
        return false;
    if (item.kind == CBOR_TAG)
        return skip(reader, depth - 1);
    if (item.kind != CBOR_ARRAY && item.kind != CBOR_MAP)
        return true;
    if (item.value == UINT32_MAX) {
        while (reader->at < reader->end && *reader->at != 0xff)
            if (!skip(reader, depth - 1))
                return false;
        return reader->at++ < reader->end;
    }
    uint32_t parts = item.kind == CBOR_MAP ? 2 : 1;
    for (uint32_t n = 0; n < item.value; n++)
        for (uint32_t part = 0; part < parts; part++)
            if (!skip(reader, depth - 1))
                return false;
    return true;
}

bool cbor_skip(struct cbor_reader *reader) { return skip(reader, 8); }

static void put(struct cbor_writer *writer, uint8_t byte)
{
    if (writer->at < writer->end)
        *writer->at++ = byte;
}

static void put_head(struct cbor_writer *writer, enum cbor_kind kind, uint32_t value)
{
    uint8_t major = (uint8_t)(kind << 5);
    uint32_t width = value < 24 ? 0 : value < 0x100 ? 1 : value < 0x10000 ? 2 : 4;
    if (width == 0) {
        put(writer, major | (uint8_t)value);
        return;
    }
    put(writer, major | (uint8_t)(width == 1 ? 24 : width == 2 ? 25 : 26));
    while (width-- > 0)
        put(writer, (uint8_t)(value >> (8 * width)));
}

void cbor_map(struct cbor_writer *writer) { put(writer, 0xbf); }
void cbor_array(struct cbor_writer *writer) { put(writer, 0x9f); }
void cbor_break(struct cbor_writer *writer) { put(writer, 0xff); }
void cbor_uint(struct cbor_writer *writer, uint32_t value) { put_head(writer, CBOR_UINT, value); }
void cbor_bool(struct cbor_writer *writer, bool value) { put_head(writer, CBOR_SIMPLE, value ? CBOR_TRUE : CBOR_FALSE); }

void cbor_bytes(struct cbor_writer *writer, const uint8_t *bytes, uint32_t length)
{
    put_head(writer, CBOR_BYTES, length);
    for (uint32_t n = 0; n < length; n++)
        put(writer, bytes[n]);
}

void cbor_text_of(struct cbor_writer *writer, const uint8_t *text, uint32_t length)
{
    put_head(writer, CBOR_TEXT, length);
    for (uint32_t n = 0; n < length; n++)
        put(writer, text[n]);
}

void cbor_text(struct cbor_writer *writer, const char *text)
{
    uint32_t length = 0;
    while (text[length] != 0)
        length++;
    cbor_text_of(writer, (const uint8_t *)text, length);
}
