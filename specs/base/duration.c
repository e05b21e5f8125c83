/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/base/duration.h"

#include <inttypes.h>
#include <stdio.h>

void duration_format(int64_t length_ms, char *out)
{
    enum { MINUTE = 60, HOUR = 60 * MINUTE, DAY = 24 * HOUR };
    int64_t seconds = length_ms > 0 ? length_ms / 1000 : 0;
    if (seconds < 2 * MINUTE) {
        (void)snprintf(out, DURATION_SIZE, "%" PRId64 "s", seconds);
    } else if (seconds < 2 * HOUR) {
        (void)snprintf(out, DURATION_SIZE, "%" PRId64 "m", seconds / MINUTE);
    } else if (seconds < 2 * DAY) {
        (void)snprintf(out, DURATION_SIZE, "%" PRId64 "h", seconds / HOUR);
    } else {
        (void)snprintf(out, DURATION_SIZE, "%" PRId64 "d", seconds / DAY);
    }
}
