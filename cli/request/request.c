/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/request/request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/options.h"
#include "cli/request/targets.h"
#include "cli/show/result.h"
#include "cli/wait/follow.h"
#include "specs/base/cleanup.h"
#include "specs/base/mem.h"

void ask_init(struct ask *ask, const struct targets *targets, const struct wish *pattern)
{
    ask->count = targets->count;
    ask->wishes = mem_calloc(ask->count, sizeof(*ask->wishes));
    ask->outcomes = mem_calloc(ask->count, sizeof(*ask->outcomes));
    for (size_t i = 0; i < ask->count; i++) {
        ask->wishes[i] = *pattern;
        ask->wishes[i].name = targets->names[i];
    }
}

void ask_clear(struct ask *ask)
{
    for (size_t i = 0; i < ask->count; i++) {
        wish_outcome_clear(&ask->outcomes[i]);
    }
    free(TAKE_PTR(ask->outcomes));
    free(TAKE_PTR(ask->wishes));
    free(TAKE_PTR(ask->goals));
    ask->count = 0;
}

/* From the end of what is there before the wish: what comes then belongs to it. */
static struct log_stream *open_streams(struct cli *cli, const struct ask *ask)
{
    struct log_stream *streams = mem_calloc(ask->count, sizeof(*streams));
    for (size_t i = 0; ask->shows_provision && i < ask->count; i++) {
        const char *name = ask->wishes[i].name;
        cleanup_free char *path = places_vm(&cli->places, name, VM_PROVISION_LOG);
        cleanup_free char *prefix = ask->count > 1 ? mem_printf("%s | ", name) : NULL;
        log_stream_open(&streams[i], path, prefix, true);
    }
    return streams;
}

static void close_streams(struct log_stream *streams, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        log_stream_close(&streams[i]);
    }
    free(streams);
}

static void print_words(const struct cli *cli, const struct ask *ask, const char *word)
{
    for (size_t i = 0; word && !answer_is_open(cli) && i < ask->count; i++) {
        printf("%s: %s\n", ask->wishes[i].name, word);
    }
}

void ask_tell(const struct cli *cli, const struct ask *ask)
{
    for (size_t i = 0; i < ask->count; i++) {
        answer_outcome(cli, ask->wishes[i].name, &ask->outcomes[i]);
        if (ask->tell) {
            ask->tell(cli, ask, i);
        }
    }
}

static int follow_all(struct cli *cli, struct ask *ask, struct log_stream *streams,
    int64_t timeout_ms, struct error *err)
{
    cleanup_free struct follow_target *targets = mem_calloc(ask->count, sizeof(*targets));
    for (size_t i = 0; i < ask->count; i++) {
        targets[i].name = ask->wishes[i].name;
        memcpy(targets[i].uid, ask->outcomes[i].uid, TEXT_ID_SIZE);
        targets[i].generation = ask->outcomes[i].generation;
        targets[i].goal = ask->goals ? ask->goals[i] : ask->goal;
        targets[i].is_for_us = ask->is_for_us;
        targets[i].provision = ask->shows_provision ? &streams[i] : NULL;
    }
    int rc = follow(cli, targets, ask->count, timeout_ms, err);
    for (size_t i = 0; ask->done && !answer_is_open(cli) && i < ask->count; i++) {
        if (targets[i].result == GOAL_REACHED) {
            printf("%s: %s\n", targets[i].name, ask->done);
        }
    }
    return rc;
}

static int carry_out(struct cli *cli, struct ask *ask, struct log_stream *streams,
    const struct follow_values *values, struct error *err)
{
    int rc = wish_apply_with(
        cli->store, ask->wishes, ask->count, ask->extra, ask->outcomes, err);
    if (rc < 0) {
        return rc;
    }
    ask_tell(cli, ask);
    rc = cli_ensure_controller(cli, err);
    if (rc < 0) {
        return rc;
    }
    if (values->is_detached) {
        print_words(cli, ask, ask->begun);
        return 0;
    }
    return follow_all(cli, ask, streams, values->timeout_ms, err);
}

int ask_carry_out(
    struct cli *cli, struct ask *ask, const struct follow_values *values, struct error *err)
{
    struct log_stream *streams = open_streams(cli, ask);
    int rc = carry_out(cli, ask, streams, values, err);
    close_streams(streams, ask->count);
    return rc;
}
