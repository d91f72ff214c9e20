/* The map of the flash, and its controller. The figures stand in the README's table, and in squall's profile of the chip. */
#ifndef FLASH_H
#define FLASH_H

#include <stdbool.h>
#include <stdint.h>

#define PAGE 1024u
#define SLOT_SIZE 0x18000u
#define SLOT_PAGES (SLOT_SIZE / PAGE)
#define PRIMARY 0x04000u
#define SECONDARY 0x1c000u
/* An image starts here in the secondary slot before it is swapped in, one page higher than it will run (swap by offset). */
#define INCOMING (SECONDARY + PAGE)

/* Erases the page that begins at `address`. */
void flash_erase(uint32_t address);

/* Writes one word; bits only go from one to zero. */
void flash_write_word(uint32_t address, uint32_t word);

/* Writes `length` bytes at a word's address; a last part of a word is filled up with ones. */
void flash_write(uint32_t address, const uint8_t *bytes, uint32_t length);

/* Copies a page; the one at `to` must be erased. */
void flash_copy_page(uint32_t to, uint32_t from);

bool flash_is_blank(uint32_t address, uint32_t length);

#endif
