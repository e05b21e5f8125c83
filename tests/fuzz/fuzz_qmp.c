/* SPDX-License-Identifier: MPL-2.0 */
/* libFuzzer target: whatever comes over a QMP socket, in pieces of any size, is messages, "more",
 * or an error; cut in pieces it is the same messages as whole. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "reconcilers/backend/qemu/forward.h"
#include "reconcilers/backend/qemu/qmp_message.h"
#include "specs/base/error.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct outcome {
    size_t n_messages;
    int rc;
};

static void look_at(const struct qmp_message *message)
{
    if (message->kind == QMP_RETURN && json_is_string(message->value)) {
        struct spec_forward *list = NULL;
        (void)forward_parse(json_string_value(message->value), &list);
        free(list);
    }
}

static void drain(struct qmp_stream *stream, struct outcome *outcome)
{
    struct error err = {0};
    struct qmp_message message;
    while ((outcome->rc = qmp_stream_next(stream, &message, &err)) == 1) {
        outcome->n_messages++;
        look_at(&message);
        qmp_message_clear(&message);
    }
}

static struct outcome run(const uint8_t *data, size_t size, size_t piece)
{
    struct outcome outcome = {0};
    struct qmp_stream stream;
    qmp_stream_init(&stream);
    for (size_t at = 0; at < size && outcome.rc == 0; at += piece) {
        size_t n = size - at < piece ? size - at : piece;
        struct error err = {0};
        outcome.rc = qmp_stream_feed(&stream, (const char *)data + at, n, &err);
        if (outcome.rc == 0) {
            drain(&stream, &outcome);
        }
    }
    qmp_stream_clear(&stream);
    return outcome;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t piece = size > 0 ? 1 + data[0] % 16u : 1;
    struct outcome whole = run(data, size, size > 0 ? size : 1);
    struct outcome cut = run(data, size, piece);
    if (whole.n_messages != cut.n_messages || whole.rc != cut.rc) {
        abort();
    }
    return 0;
}
