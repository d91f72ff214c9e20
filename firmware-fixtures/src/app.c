/* The application: answers the management protocol on the serial line, and does with a new image of itself what it was built to.
 *
 * Build flags: CONFIRM_MS=T confirms the image T milliseconds after its start; CRASH_MS=T executes no instruction there is, at every start;
 * HANG stops at the start; REFUSE lets no image be marked for a test. */
#include "frame.h"
#include "manager.h"
#include "nrf51.h"
#include "slots.h"
#include "trailer.h"
#include "uart.h"

#define TICKS(ms) ((uint32_t)(ms)*TICKS_PER_SECOND / 1000u)

/* The build id (protocol 6.1): a descriptor of tag 0x5f0 and its 20 bytes, which the build script fills in. */
__attribute__((section(".build_id"), used)) const uint8_t build_id[24] = {0xf0, 0x25, 0x14, 0x00};
/* Two versions of one source are two builds. */
__attribute__((section(".build_id"), used)) const uint32_t version = VERSION;

static void say_hello(void)
{
    const struct image *image = slots_primary();
    char text[] = "app 0.0.0, confirmed\n";
    text[4] = (char)('0' + image->major % 10);
    text[6] = (char)('0' + image->minor % 10);
    text[8] = (char)('0' + image->revision % 10);
    if (!primary_is_confirmed()) {
        text[9] = '\n';
        text[10] = 0;
        uart_print("on trial: ");
    }
    uart_print(text);
}

static void do_as_built(void)
{
#ifdef CRASH_MS
    if (clock_now() >= TICKS(CRASH_MS))
        __asm volatile("udf #0");
#endif
#ifdef CONFIRM_MS
    if (clock_now() >= TICKS(CONFIRM_MS) && !primary_is_confirmed())
        trailer_write_image_ok(PRIMARY);
#endif
}

void start(void)
{
    mask_interrupts();
    clock_start();
    uart_start();
    slots_look();
    say_hello();
#ifdef HANG
    for (;;)
        sleep_for(TICKS(1000));
#endif
    for (;;) {
        uint8_t byte, *body;
        uint32_t length;
        while (uart_receive(&byte))
            if (frame_take(byte, &body, &length) && manager_handle(body, length))
                reset();
        do_as_built();
        sleep_for(TICKS(25));
    }
}

void hard_fault(void) { reset(); }
