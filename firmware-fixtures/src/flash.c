#include "flash.h"

#include "nrf51.h"

static void wait_ready(void)
{
    while (NVMC_READY == 0)
        ;
}

void flash_erase(uint32_t address)
{
    NVMC_CONFIG = NVMC_ERASE;
    wait_ready();
    NVMC_ERASEPAGE = address;
    wait_ready();
    NVMC_CONFIG = NVMC_READ;
}

void flash_write_word(uint32_t address, uint32_t word)
{
    NVMC_CONFIG = NVMC_WRITE;
    wait_ready();
    REGISTER(address) = word;
    wait_ready();
    NVMC_CONFIG = NVMC_READ;
}

void flash_write(uint32_t address, const uint8_t *bytes, uint32_t length)
{
    for (uint32_t at = 0; at < length; at += 4) {
        uint32_t word = 0;
        for (uint32_t n = 0; n < 4; n++)
            word |= (uint32_t)(at + n < length ? bytes[at + n] : 0xff) << (8 * n);
        flash_write_word(address + at, word);
    }
}

void flash_copy_page(uint32_t to, uint32_t from)
{
    for (uint32_t at = 0; at < PAGE; at += 4)
        flash_write_word(to + at, *(const uint32_t *)(from + at));
}

bool flash_is_blank(uint32_t address, uint32_t length)
{
    for (uint32_t at = 0; at < length; at += 4)
        if (*(const uint32_t *)(address + at) != 0xffffffff)
            return false;
    return true;
}
