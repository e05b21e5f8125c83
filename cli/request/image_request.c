/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/request/image_request.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/options.h"
#include "cli/wait/wait_loop.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/digest.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/proxies.h"
#include "specs/base/reserve.h"
#include "specs/base/text.h"
#include "specs/image/image_request.h"
#include "store/batch.h"
#include "store/bell.h"
#include "store/store.h"

struct image_follower {
    struct cli *cli;
    char *key;
    bool is_drawn;
    json_t *answered; /* the request with the controller's answer; NULL: none yet */
};

/* NULL removes the request. */
static int write_request(struct cli *cli, const char *key, const json_t *request, struct error *err)
{
    struct store_batch *batch = store_batch_new();
    store_batch_put_json(batch, STORE_IMAGES, key, request);
    int rc = store_commit(cli->store, batch, err);
    const char *verb = json_text(request, "verb");
    bool frees_room = text_eq(verb, IMAGE_REQUEST_REMOVE) || text_eq(verb, IMAGE_REQUEST_PRUNE);
    if (rc < 0 && (!request || frees_room) && reserve_give_up(&cli->paths, err)) {
        rc = store_commit(cli->store, batch, err);
    }
    store_batch_free(batch);
    return rc;
}

static void erase_progress(struct image_follower *follower)
{
    if (follower->is_drawn) {
        fputs("\r\033[K", stderr);
        follower->is_drawn = false;
    }
}

static int check_request(void *context, bool *ret_is_done, struct error *err)
{
    struct image_follower *follower = context;
    cleanup_json json_t *request = NULL;
    int rc = store_get_json(follower->cli->store, STORE_IMAGES, follower->key, &request, err);
    if (rc < 0) {
        return rc;
    }
    if (!request) {
        return error_set(err, ERR_STORE, "another process removed the request from the store");
    }
    const char *progress = json_text(request, "progress");
    if (progress && isatty(STDERR_FILENO) && !follower->cli->is_quiet) {
        cleanup_buf struct buf text = BUF_INIT(0);
        text_add_printable(&text, progress, strcspn(progress, "\n"));
        fprintf(stderr, "\r\033[K%s", buf_str(&text));
        (void)fflush(stderr);
        follower->is_drawn = true;
    }
    *ret_is_done = image_request_is_answered(request);
    if (*ret_is_done) {
        follower->answered = TAKE_PTR(request);
    }
    return 0;
}

static int time_out(void *context, struct error *err)
{
    (void)context;
    (void)error_set(err, ERR_TIMEOUT, "it is not done yet");
    return error_help(err, "it continues; see later: vmctl image list");
}

static void report_interrupt(void *context)
{
    struct image_follower *follower = context;
    erase_progress(follower);
    cli_note(follower->cli, "interrupted; it continues in the background: vmctl image list");
}

static int send_request(
    struct wait_loop *loop, const json_t *request, bool is_detached, struct error *err)
{
    struct error ignored = {.code = ERR_NONE}; /* costs the controller's delay, not the request */
    const struct image_follower *follower = loop->context;
    int rc = write_request(loop->cli, follower->key, request, err);
    if (rc < 0) {
        return rc;
    }
    (void)bell_ring(&loop->cli->paths, BELL_DESIRED, &ignored);
    rc = is_detached ? cli_ensure_controller(loop->cli, err) : cli_start_controller(loop->cli, err);
    return rc < 0 || is_detached ? rc : wait_loop_run(loop, err);
}

int image_request_run(struct cli *cli, json_t *request_take, const struct follow_values *values,
    json_t **ret_answer, struct error *err)
{
    char id[TEXT_ID_SIZE];
    cleanup_json json_t *request = request_take;
    digest_random_id(id);
    cleanup_free char *key = mem_printf(IMAGE_REQUEST_PREFIX "%s", id);
    struct image_follower follower = {.cli = cli, .key = key};
    struct wait_loop loop = {
        .cli = cli,
        .needs_controller = true,
        .check = check_request,
        .time_out = time_out,
        .interrupted = report_interrupt,
        .context = &follower,
    };
    *ret_answer = NULL;
    json_put(request, "proxies", proxies_to_json(cli->proxies));
    json_put_int(request, "requestedAt", clock_wall_ms(clock_system()));
    int rc = cli_open_store(cli, err);
    if (rc < 0) {
        return rc;
    }
    wait_loop_open(&loop, values->timeout_ms);
    rc = send_request(&loop, request, values->is_detached, err);
    erase_progress(&follower);
    wait_loop_close(&loop);
    if (!follower.answered) {
        return rc;
    }
    struct error ignored = {.code = ERR_NONE}; /* the controller removes it later */
    cleanup_json json_t *answered = TAKE_PTR(follower.answered);
    (void)write_request(cli, follower.key, NULL, &ignored);
    if (image_request_failure(answered, err)) {
        return -(int)err->code;
    }
    *ret_answer = TAKE_PTR(answered);
    return 0;
}
