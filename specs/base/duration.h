/* SPDX-License-Identifier: MPL-2.0 */
/* A length of time in one short word, as kubectl shows ages: "42s", "5m", "3h", "12d". */
#pragma once

#include <stdint.h>

enum { DURATION_SIZE = 24 };

/* `out` holds DURATION_SIZE bytes; a negative length (a clock set back) reads as "0s". */
void duration_format(int64_t length_ms, char *out);
