/* The bootloader: MCUboot's swap by offset. It swaps in what the secondary slot offers for a test, swaps back what was not confirmed,
 * goes on with what an interruption left, and starts no image whose digest is wrong.
 *
 * The steps and their order are those of squall's simulated device, so that a power cut at the n-th operation means the same to
 * both. Every half of a step ends with a word in the status of the primary slot's trailer; a half that was cut is done again. */
#include "flash.h"
#include "image.h"
#include "nrf51.h"
#include "trailer.h"

struct swap {
    enum swap_type type;
    /* Pages of the image that stands in the primary slot, and of the one that comes in. */
    uint32_t old, new;
};

static uint32_t smaller(uint32_t a, uint32_t b) { return a < b ? a : b; }
static uint32_t larger(uint32_t a, uint32_t b) { return a < b ? b : a; }

/* Does the `half`-th half of a step. A swap goes up: the old page moves out to the page below the new one, then the new page moves
 * in. A revert goes down the same way. Where one image is longer, its surplus pages have steps of one half. */
static void swap_half(const struct swap *swap, uint32_t half)
{
    uint32_t both = smaller(swap->old, swap->new), all = larger(swap->old, swap->new);
    bool longer_comes_in = swap->new > swap->old, inward;
    uint32_t page;
    if (swap->type != SWAP_REVERT) {
        bool paired = half < 2 * both;
        page = paired ? half / 2 : half - both;
        inward = paired ? half % 2 == 1 : longer_comes_in;
    } else {
        bool paired = half >= all - both;
        uint32_t step = half - (all - both);
        page = paired ? both - 1 - step / 2 : all - 1 - half;
        inward = paired ? step % 2 == 1 : longer_comes_in;
    }
    uint32_t in_primary = PRIMARY + page * PAGE, in_secondary = SECONDARY + page * PAGE;
    uint32_t above = in_secondary + PAGE;
    bool revert = swap->type == SWAP_REVERT;
    uint32_t to = inward ? in_primary : revert ? above : in_secondary;
    uint32_t from = !inward ? in_primary : revert ? in_secondary : above;
    flash_erase(to);
    flash_copy_page(to, from);
    trailer_write_status(PRIMARY, half);
}

/* Swaps from the `half`-th half of a step to the end. */
static void swap_from(const struct swap *swap, uint32_t half)
{
    for (; half < swap->old + swap->new; half++)
        swap_half(swap, half);
    if (swap->type != SWAP_TEST && !trailer_image_ok(PRIMARY))
        trailer_write_image_ok(PRIMARY);
    trailer_write_copy_done(PRIMARY);
}

static void resume(void)
{
    enum swap_type type = trailer_swap(PRIMARY);
    uint32_t sizes = trailer_sizes(PRIMARY);
    struct swap swap = {type == SWAP_NONE ? SWAP_TEST : type, sizes & 0xffff, sizes >> 16};
    if (!trailer_is_blank(SECONDARY))
        trailer_erase(SECONDARY);
    swap_from(&swap, trailer_status(PRIMARY));
}

static uint32_t pages_of(uint32_t at)
{
    struct image image;
    return image_read(at, IMAGE_LIMIT, &image) ? (image.size + PAGE - 1) / PAGE : 0;
}

static void begin(enum swap_type type)
{
    bool revert = type == SWAP_REVERT;
    struct swap swap = {type, pages_of(PRIMARY), pages_of(revert ? SECONDARY : INCOMING)};
    if (swap.new == 0) {
        /* Nothing sound to swap in: the offer is taken back. An image that cannot be put back stays where it is. */
        if (!revert)
            trailer_erase(SECONDARY);
        return;
    }
    /* The primary trailer has to be erased before it can tell of a revert: the secondary one tells of it meanwhile. */
    if (revert && !trailer_has_magic(SECONDARY)) {
        if (!trailer_is_blank(SECONDARY))
            trailer_erase(SECONDARY);
        trailer_write_swap(SECONDARY, type);
        trailer_write_magic(SECONDARY);
    }
    trailer_erase(PRIMARY);
    trailer_write_swap(PRIMARY, type);
    trailer_write_sizes(PRIMARY, swap.old | swap.new << 16);
    trailer_write_magic(PRIMARY);
    trailer_erase(SECONDARY);
    swap_from(&swap, 0);
}

static void settle_slots(void)
{
    if (trailer_has_magic(PRIMARY) && !trailer_copy_done(PRIMARY)) {
        resume();
#ifdef BUG_RESUMED_IS_REVERTED
        /* A planted bug: the boot that ends a swap is taken for one that follows it. */
        if (!primary_is_confirmed())
            begin(SWAP_REVERT);
#endif
    } else if (trailer_has_magic(SECONDARY)) {
        enum swap_type type = trailer_swap(SECONDARY);
        begin(type == SWAP_NONE ? SWAP_TEST : type);
    } else if (!primary_is_confirmed()) {
        begin(SWAP_REVERT);
    }
}

void start(void)
{
    mask_interrupts();
    settle_slots();
    struct image image;
    if (image_read(PRIMARY, IMAGE_LIMIT, &image)) {
        const uint32_t *vectors = (const uint32_t *)(PRIMARY + image.header_size);
        __asm volatile("msr msp, %0\n bx %1" ::"r"(vectors[0]), "r"(vectors[1]));
    }
    for (;;)
        wait_for_interrupt();
}

/* A fault of the application starts the board anew, as a fault handler of its own would. */
void hard_fault(void) { reset(); }
