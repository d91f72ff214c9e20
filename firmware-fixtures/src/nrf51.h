/* Registers of the nRF51822 that the fixtures use (nRF51 Series Reference Manual), and the few lines that drive the processor. */
#ifndef NRF51_H
#define NRF51_H

#include <stdint.h>

#define REGISTER(address) (*(volatile uint32_t *)(address))

/* Flash controller. */
#define NVMC_READY REGISTER(0x4001e400)
#define NVMC_CONFIG REGISTER(0x4001e504)
#define NVMC_ERASEPAGE REGISTER(0x4001e508)
enum { NVMC_READ = 0, NVMC_WRITE = 1, NVMC_ERASE = 2 };

/* Serial line. */
#define UART_STARTRX REGISTER(0x40002000)
#define UART_STARTTX REGISTER(0x40002008)
#define UART_RXDRDY REGISTER(0x40002108)
#define UART_TXDRDY REGISTER(0x4000211c)
#define UART_INTENSET REGISTER(0x40002304)
#define UART_ENABLE REGISTER(0x40002500)
#define UART_RXD REGISTER(0x40002518)
#define UART_TXD REGISTER(0x4000251c)
#define UART_BAUDRATE REGISTER(0x40002524)
#define UART_IRQ 2u

/* Timer 0: 32 bits at 31,250 Hz, which wrap after 38 hours. */
#define TIMER_START REGISTER(0x40008000)
#define TIMER_CLEAR REGISTER(0x4000800c)
#define TIMER_CAPTURE0 REGISTER(0x40008040)
#define TIMER_COMPARE1 REGISTER(0x40008144)
#define TIMER_INTENSET REGISTER(0x40008304)
#define TIMER_BITMODE REGISTER(0x40008508)
#define TIMER_PRESCALER REGISTER(0x40008510)
#define TIMER_CC0 REGISTER(0x40008540)
#define TIMER_CC1 REGISTER(0x40008544)
#define TIMER_IRQ 8u
#define TICKS_PER_SECOND 31250u

/* Interrupt controller and reset. */
#define NVIC_ISER REGISTER(0xe000e100)
#define NVIC_ICPR REGISTER(0xe000e280)
#define AIRCR REGISTER(0xe000ed0c)

static inline void __attribute__((noreturn)) reset(void)
{
    __asm volatile("dsb" ::: "memory");
    AIRCR = 0x05fa0004;
    for (;;)
        ;
}

/* The M0 has no table of vectors of its own in the application: interrupts stay masked, wake the processor, and are polled. */
static inline void mask_interrupts(void) { __asm volatile("cpsid i"); }
static inline void wait_for_interrupt(void) { __asm volatile("wfi"); }

#endif
