#include "sha256.h"

/* The first 32 bits of the fractional parts of the cube roots of the first 64 primes (FIPS 180-4, 4.2.2). */
static const uint32_t constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01,
    0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc,
    0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
    0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08,
    0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
    0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t turned(uint32_t word, unsigned bits) { return word >> bits | word << (32 - bits); }

static void take_block(uint32_t state[8], const uint8_t *block)
{
    uint32_t words[16];
    for (unsigned n = 0; n < 16; n++)
        words[n] = (uint32_t)block[4 * n] << 24 | (uint32_t)block[4 * n + 1] << 16 | (uint32_t)block[4 * n + 2] << 8 | block[4 * n + 3];
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
    for (unsigned round = 0; round < 64; round++) {
        uint32_t *word = &words[round % 16];
        if (round >= 16) {
            uint32_t before = words[(round + 1) % 16], late = words[(round + 14) % 16];
            uint32_t sigma0 = turned(before, 7) ^ turned(before, 18) ^ before >> 3;
            uint32_t sigma1 = turned(late, 17) ^ turned(late, 19) ^ late >> 10;
            *word += sigma0 + words[(round + 9) % 16] + sigma1;
        }
        uint32_t first = h + (turned(e, 6) ^ turned(e, 11) ^ turned(e, 25)) + ((e & f) ^ (~e & g)) + constants[round] + *word;
        uint32_t second = (turned(a, 2) ^ turned(a, 13) ^ turned(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
        h = g, g = f, f = e, e = d + first, d = c, c = b, b = a, a = first + second;
    }
    uint32_t after[8] = {a, b, c, d, e, f, g, h};
    for (unsigned n = 0; n < 8; n++)
        state[n] += after[n];
}

void sha256(const uint8_t *bytes, uint32_t length, uint8_t digest[SHA256_SIZE])
{
    uint32_t state[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    uint32_t whole = length & ~63u;
    for (uint32_t at = 0; at < whole; at += 64)
        take_block(state, bytes + at);
    /* The rest, a one bit, zeros, and the length in bits: one block or two. */
    uint8_t tail[128] = {0};
    uint32_t rest = length - whole;
    for (uint32_t n = 0; n < rest; n++)
        tail[n] = bytes[whole + n];
    tail[rest] = 0x80;
    uint32_t blocks = rest < 56 ? 1 : 2;
    for (unsigned n = 0; n < 4; n++)
        tail[64 * blocks - 1 - n] = (uint8_t)(length << 3 >> (8 * n));
    tail[64 * blocks - 5] = (uint8_t)(length >> 29);
    for (uint32_t n = 0; n < blocks; n++)
        take_block(state, tail + 64 * n);
    for (unsigned n = 0; n < SHA256_SIZE; n++)
        digest[n] = (uint8_t)(state[n / 4] >> (24 - 8 * (n % 4)));
}
