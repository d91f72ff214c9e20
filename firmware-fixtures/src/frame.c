#include "frame.h"

#include "uart.h"

#define LINE_MAX 127u
/* Raw bytes in a line: two of its bytes begin it, one ends it, the rest is base64. */
#define RAW_A_LINE ((LINE_MAX - 3) / 4 * 3)

static uint8_t packet[PACKET_MAX + 4];
static uint32_t received;
static uint8_t line[LINE_MAX + 1];
static uint32_t line_length;

static uint16_t crc_of(uint16_t crc, uint8_t byte)
{
    crc ^= (uint16_t)(byte << 8);
    for (unsigned bit = 0; bit < 8; bit++)
        crc = (uint16_t)(crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1);
    return crc;
}

static int sextet(uint8_t character)
{
    if (character >= 'A' && character <= 'Z')
        return character - 'A';
    if (character >= 'a' && character <= 'z')
        return character - 'a' + 26;
    if (character >= '0' && character <= '9')
        return character - '0' + 52;
    return character == '+' ? 62 : character == '/' ? 63 : -1;
}

/* Appends the base64 of a line to the packet; false if it is none or too long. */
static bool decode_line(void)
{
    uint32_t bits = 0, held = 0;
    for (uint32_t n = 2; n < line_length && line[n] != '='; n++) {
        int value = sextet(line[n]);
        if (value < 0)
            return false;
        bits = bits << 6 | (uint32_t)value;
        held += 6;
        if (held >= 8) {
            held -= 8;
            if (received == sizeof packet)
                return false;
            packet[received++] = (uint8_t)(bits >> held);
        }
    }
    return true;
}

static bool take_line(uint8_t **body, uint32_t *length)
{
    bool begins = line_length >= 2 && line[0] == 0x06 && line[1] == 0x09;
    bool goes_on = line_length >= 2 && line[0] == 0x04 && line[1] == 0x14 && received > 0;
    if (begins)
        received = 0;
    if ((!begins && !goes_on) || !decode_line()) {
        received = 0;
        return false;
    }
    if (received < 2)
        return false;
    uint32_t announced = (uint32_t)packet[0] << 8 | packet[1];
    if (received < announced + 2)
        return false;
    received = 0;
    uint16_t crc = 0;
    for (uint32_t n = 0; n < announced; n++)
        crc = crc_of(crc, packet[2 + n]);
    *body = packet + 2;
    *length = announced - 2;
    return announced >= 2 && crc == 0;
}

bool frame_take(uint8_t byte, uint8_t **body, uint32_t *length)
{
    if (byte == '\n') {
        bool whole = take_line(body, length);
        line_length = 0;
        return whole;
    }
    /* The mark that begins a line begins it wherever it comes: what stands before it is noise. */
    if (byte == 0x06 || byte == 0x04)
        line_length = 0;
    if (line_length < sizeof line)
        line[line_length++] = byte;
    return false;
}

static char letter(uint32_t bits)
{
    return "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[bits & 0x3f];
}

/* The packet as it goes over the line: length, body, CRC. */
static uint8_t outgoing(const uint8_t *body, uint32_t length, uint16_t crc, uint32_t at)
{
    if (at < 2)
        return (uint8_t)((length + 2) >> (8 * (1 - at)));
    at -= 2;
    return at < length ? body[at] : (uint8_t)(crc >> (8 * (1 - (at - length))));
}

void frame_send(const uint8_t *body, uint32_t length)
{
    uint16_t crc = 0;
    for (uint32_t n = 0; n < length; n++)
        crc = crc_of(crc, body[n]);
    uint32_t total = length + 4;
    for (uint32_t at = 0; at < total; at += RAW_A_LINE) {
        uart_send(at == 0 ? 0x06 : 0x04);
        uart_send(at == 0 ? 0x09 : 0x14);
        uint32_t end = at + RAW_A_LINE < total ? at + RAW_A_LINE : total;
        for (uint32_t n = at; n < end; n += 3) {
            uint32_t bits = 0;
            for (uint32_t k = 0; k < 3; k++)
                bits = bits << 8 | (n + k < end ? outgoing(body, length, crc, n + k) : 0);
            uart_send((uint8_t)letter(bits >> 18));
            uart_send((uint8_t)letter(bits >> 12));
            uart_send((uint8_t)(n + 1 < end ? letter(bits >> 6) : '='));
            uart_send((uint8_t)(n + 2 < end ? letter(bits) : '='));
        }
        uart_send('\n');
    }
}
