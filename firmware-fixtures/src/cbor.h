/* As much of CBOR (RFC 8949) as the management protocol needs: a reader that walks, a writer that fills a buffer. */
#ifndef CBOR_H
#define CBOR_H

#include <stdbool.h>
#include <stdint.h>

enum cbor_kind { CBOR_UINT, CBOR_NEGATIVE, CBOR_BYTES, CBOR_TEXT, CBOR_ARRAY, CBOR_MAP, CBOR_TAG, CBOR_SIMPLE };

struct cbor_item {
    enum cbor_kind kind;
    /* The number, the length, or the simple value; UINT32_MAX for a container that ends with a break. */
    uint32_t value;
    /* The content of a string. */
    const uint8_t *bytes;
};

struct cbor_reader {
    const uint8_t *at, *end;
};

#define CBOR_FALSE 20u
#define CBOR_TRUE 21u

/* The next item; of a container only its head. False where nothing readable is left, a break included. */
bool cbor_next(struct cbor_reader *reader, struct cbor_item *item);

/* Skips one item whole, down to eight levels. */
bool cbor_skip(struct cbor_reader *reader);

struct cbor_writer {
    uint8_t *at, *end;
};

/* A writer that runs out of room writes no more; its caller sees `at` at `end`. */
void cbor_map(struct cbor_writer *writer);
void cbor_array(struct cbor_writer *writer);
void cbor_break(struct cbor_writer *writer);
void cbor_uint(struct cbor_writer *writer, uint32_t value);
void cbor_bool(struct cbor_writer *writer, bool value);
void cbor_text(struct cbor_writer *writer, const char *text);
void cbor_text_of(struct cbor_writer *writer, const uint8_t *text, uint32_t length);
void cbor_bytes(struct cbor_writer *writer, const uint8_t *bytes, uint32_t length);

#endif
