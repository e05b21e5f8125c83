/* SPDX-License-Identifier: MPL-2.0 */
/* libFuzzer target: whatever a guest writes to its second serial port is one of the answers, within
 * what is read; cut in pieces it is the same answers as whole. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "reconcilers/guest/identity.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Until something is wrong, after which nobody reads on. */
static uint64_t read_all(const uint8_t *data, size_t size, size_t piece)
{
    struct identity_reader reader = {.n = 0};
    uint64_t answers = 1;
    for (size_t at = 0; at < size;) {
        size_t left = size - at, n = left < piece ? left : piece, took = n;
        enum identity_answer answer = identity_read(&reader, (const char *)data + at, &took);
        if (took == 0 || took > n || reader.n + 1 > sizeof(reader.line)) {
            abort();
        }
        at += took;
        answers = answer == IDENTITY_MORE ? answers : answers * 31 + (uint64_t)answer;
        answers = answer == IDENTITY_CLOCK ? answers * 31 + (uint64_t)reader.clock_ms : answers;
        if (answer == IDENTITY_WRONG) {
            return answers;
        }
    }
    return answers;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t piece = size > 0 ? 1 + data[0] % 16u : 1;
    if (read_all(data, size, size > 0 ? size : 1) != read_all(data, size, piece)) {
        abort();
    }
    return 0;
}
