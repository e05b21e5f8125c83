/* SPDX-License-Identifier: MPL-2.0 */
/* libFuzzer target: whatever a guest sends in place of its agent's answers, in pieces of any size,
 * is answers, "more", or an error; cut in pieces it is the same answers as whole. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "specs/base/error.h"
#include "specs/vm/agent_protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ID = 7, LINE_MAX_BYTES = 1 << 20 };

struct outcome {
    size_t n_answers;
    int rc;
};

static void drain(struct agent_stream *stream, struct outcome *outcome)
{
    struct error err = {0};
    struct agent_answer answer;
    while ((outcome->rc = agent_stream_next(stream, &answer, &err)) == 1) {
        outcome->n_answers++;
        if (!answer.is_sync && !answer.value == !answer.text) {
            abort();
        }
        agent_answer_clear(&answer);
    }
}

static struct outcome run(const uint8_t *data, size_t size, size_t piece)
{
    struct outcome outcome = {0};
    struct agent_stream stream;
    agent_stream_init(&stream, ID, LINE_MAX_BYTES);
    for (size_t at = 0; at < size && outcome.rc == 0; at += piece) {
        size_t n = size - at < piece ? size - at : piece;
        struct error err = {0};
        outcome.rc = agent_stream_feed(&stream, (const char *)data + at, n, &err);
        if (outcome.rc == 0) {
            drain(&stream, &outcome);
        }
    }
    agent_stream_clear(&stream);
    return outcome;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t piece = size > 0 ? 1 + data[size - 1] % 16u : 1;
    struct outcome whole = run(data, size, size > 0 ? size : 1);
    struct outcome cut = run(data, size, piece);
    if (whole.n_answers != cut.n_answers || whole.rc != cut.rc) {
        abort();
    }
    return 0;
}
