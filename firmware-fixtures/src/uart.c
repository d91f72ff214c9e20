#include "uart.h"

#include "nrf51.h"

void uart_start(void)
{
    UART_BAUDRATE = 0x01d7e000; /* 115,200 */
    UART_ENABLE = 4;
    UART_INTENSET = 1u << 2; /* RXDRDY */
    NVIC_ISER = 1u << UART_IRQ;
    UART_STARTTX = 1;
    UART_STARTRX = 1;
}

void uart_send(uint8_t byte)
{
    UART_TXDRDY = 0;
    UART_TXD = byte;
    while (UART_TXDRDY == 0)
        ;
}

void uart_print(const char *text)
{
    while (*text != 0)
        uart_send((uint8_t)*text++);
}

bool uart_receive(uint8_t *byte)
{
    if (UART_RXDRDY == 0)
        return false;
    UART_RXDRDY = 0;
    *byte = (uint8_t)UART_RXD;
    return true;
}

void clock_start(void)
{
    TIMER_BITMODE = 3;   /* 32 bits */
    TIMER_PRESCALER = 9; /* 16 MHz / 2^9 */
    TIMER_CLEAR = 1;
    TIMER_INTENSET = 1u << 17; /* COMPARE1 */
    NVIC_ISER = 1u << TIMER_IRQ;
    TIMER_START = 1;
}

uint32_t clock_now(void)
{
    TIMER_CAPTURE0 = 1;
    return TIMER_CC0;
}

void sleep_for(uint32_t ticks)
{
    TIMER_COMPARE1 = 0;
    TIMER_CC1 = clock_now() + (ticks < 2 ? 2 : ticks);
    NVIC_ICPR = 1u << TIMER_IRQ | 1u << UART_IRQ;
    if (UART_RXDRDY == 0)
        wait_for_interrupt();
}
