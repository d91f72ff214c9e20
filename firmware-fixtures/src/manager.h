/* The management protocol (SMP, as Zephyr's MCU manager speaks it): echo, parameters and reset of the system group; list, test,
 * confirm, upload and erase of the image group. */
#ifndef MANAGER_H
#define MANAGER_H

#include <stdbool.h>
#include <stdint.h>

/* Answers a request; true if a reset was asked for, which the answer precedes. */
bool manager_handle(const uint8_t *request, uint32_t length);

#endif
