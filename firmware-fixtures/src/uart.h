/* The serial line and the clock. */
#ifndef UART_H
#define UART_H

#include <stdbool.h>
#include <stdint.h>

void uart_start(void);
void uart_send(uint8_t byte);
void uart_print(const char *text);
/* The next byte that has come in; false if there is none. */
bool uart_receive(uint8_t *byte);

/* Starts the clock at zero. */
void clock_start(void);
/* Ticks since then, 31,250 a second. */
uint32_t clock_now(void);
/* Sleeps until a byte comes in, and at most `ticks`. */
void sleep_for(uint32_t ticks);

#endif
