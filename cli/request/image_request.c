/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/request/image_request.h"

#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/options.h"
#include "cli/show/image_progress.h"
#include "cli/wait/live_block.h"
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
#include "specs/base/url.h"
#include "specs/image/image_request.h"
#include "store/batch.h"
#include "store/bell.h"
#include "store/store.h"

struct image_follower {
    struct cli *cli;
    char *key;
    const json_t *request;
    struct live_block block;
    struct wait_loop *loop;
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

/* The state of the pull's download; NULL: none is in progress. Caller owns. */
static json_t *find_progress(const struct image_follower *follower)
{
    struct error ignored = {.code = ERR_NONE}; /* it is shown without */
    cleanup_json json_t *records = NULL;
    const char *session = follower->loop->controller.session;
    if (image_progress_read(follower->cli, session, &records, &ignored) < 0) {
        return NULL;
    }
    return json_incref((json_t *)(uintptr_t)image_progress_of(
        records, json_text(follower->request, "url"), json_text(follower->request, "pin")));
}

static void show_progress(struct image_follower *follower)
{
    bool is_pull = text_eq(json_text(follower->request, "verb"), IMAGE_REQUEST_PULL);
    cleanup_json json_t *progress = is_pull ? find_progress(follower) : NULL;
    cleanup_buf struct buf text = BUF_INIT(0);
    if (follower->loop->wakeup.was_suspended) {
        follower->loop->wakeup.was_suspended = false;
        live_block_leave(&follower->block);
    }
    if (progress && live_block_is_due(&follower->block)) {
        cleanup_free char *name = url_last_component(json_text(follower->request, "url"));
        image_progress_say(&text, progress);
        cli_note(follower->cli, "%s: %s", name, buf_str(&text));
    } else if (progress) {
        image_progress_draw(&text, progress, live_block_columns());
        buf_add_char(&text, '\n');
        live_block_draw(&follower->block, buf_str(&text));
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
    show_progress(follower);
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
    return error_help(err, "it continues in the background; see: vmctl image list");
}

static void report_interrupt(void *context)
{
    struct image_follower *follower = context;
    struct error ignored = {.code = ERR_NONE};
    live_block_erase(&follower->block);
    cleanup_json json_t *progress = find_progress(follower);
    int64_t n_vms = json_int(progress, "vms", 0), n_pulls = json_int(progress, "pulls", 0);
    bool is_pull = text_eq(json_text(follower->request, "verb"), IMAGE_REQUEST_PULL);
    if (write_request(follower->cli, follower->key, NULL, &ignored) < 0) {
        cli_note(follower->cli, "interrupted; it continues in the background: vmctl image list");
        return;
    }
    (void)bell_ring(&follower->cli->paths, BELL_DESIRED, &ignored);
    if (is_pull && (n_vms > 0 || n_pulls > 1)) {
        cli_note(follower->cli, "interrupted; %s still wants the image: vmctl image list",
            n_vms > 0 ? "a VM" : "another pull");
    } else {
        cli_note(follower->cli, "interrupted%s",
            is_pull ? "; what was downloaded is kept: the next pull resumes it" : "");
    }
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
    struct image_follower follower = {.cli = cli, .key = key, .request = request};
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
    follower.loop = &loop;
    json_put_int(request, "requestedAt", clock_wall_ms(clock_system()));
    int rc = cli_open_store(cli, err);
    if (rc < 0) {
        return rc;
    }
    wait_loop_open(&loop, values->timeout_ms);
    live_block_open(&follower.block, cli);
    rc = send_request(&loop, request, values->is_detached, err);
    live_block_close(&follower.block);
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

/* ---- ending others' ---- */

bool image_url_is_called(const char *url, const char *word)
{
    cleanup_free char *name = url ? url_last_component(url) : NULL;
    return url && (text_eq(url, word) || text_eq(name, word));
}

int image_request_cancel(struct cli *cli, const char *word, struct error *err)
{
    cleanup_json json_t *records = NULL;
    const char *key;
    json_t *request;
    bool is_any = false;
    struct store_batch *batch = store_batch_new();
    int rc = store_list_json(cli->store, STORE_IMAGES, &records, err);
    json_object_foreach(records, key, request)
    {
        const char *url = json_text(request, "url");
        if (!text_starts_with(key, IMAGE_REQUEST_PREFIX) || image_request_is_answered(request) ||
            !text_eq(json_text(request, "verb"), IMAGE_REQUEST_PULL) ||
            !image_url_is_called(url, word)) {
            continue;
        }
        struct error cancelled = {.code = ERR_NONE};
        cleanup_json json_t *answered = json_deep_copy(request);
        cleanup_free char *shown = url_for_people(url);
        (void)error_set(&cancelled, ERR_CANCELLED, "the pull of %s was cancelled", shown);
        (void)error_help(&cancelled, "what was downloaded is kept: the next pull resumes it");
        image_request_fail(answered, &cancelled);
        json_put_int(answered, "endedAt", clock_wall_ms(clock_system()));
        store_batch_expect_json(batch, STORE_IMAGES, key, request);
        store_batch_put_json(batch, STORE_IMAGES, key, answered);
        is_any = true;
    }
    if (rc == 0 && is_any) {
        rc = store_commit(cli->store, batch, err);
    } else if (rc == 0) {
        (void)error_set(err, ERR_IMAGE_NOT_FOUND, "no pull of image '%s' is in progress", word);
        rc = error_help(err, "see which are: vmctl image list");
    }
    store_batch_free(batch);
    if (rc == -ERR_STORE_STALE) { /* one was answered just now */
        error_clear(err);
        return image_request_cancel(cli, word, err);
    }
    struct error ignored = {.code = ERR_NONE}; /* costs a delay */
    (void)bell_ring(&cli->paths, BELL_DESIRED, &ignored);
    (void)bell_ring(&cli->paths, BELL_STATUS, &ignored);
    return rc;
}
