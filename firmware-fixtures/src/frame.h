/* Frames of the management protocol (SMP) on a serial line: 06 09 begins a packet, 04 14 goes on with it, then base64 and a line's end.
 * A packet is its length and its CRC-16 around its body, both big endian; the length counts body and CRC. */
#ifndef FRAME_H
#define FRAME_H

#include <stdbool.h>
#include <stdint.h>

#define PACKET_MAX 1152u

/* Takes one byte from the line; true when `body` and `length` tell of a whole packet, which stands until the next byte is taken. */
bool frame_take(uint8_t byte, uint8_t **body, uint32_t *length);

/* Sends a packet. */
void frame_send(const uint8_t *body, uint32_t length);

#endif
