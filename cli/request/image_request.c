/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/request/image_request.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/options.h"
#include "cli/wait/controller_process.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/digest.h"
#include "specs/base/error.h"
#include "specs/base/log.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/image/image_request.h"
#include "store/batch.h"
#include "store/bell.h"
#include "store/store.h"

enum {
    NO_BELL_MS = 250, /* when inotify is exhausted */
    SIGNALLED_BASE = 128,
};

struct following {
    struct cli *cli;
    char *key;
    struct bell_watch bell;
    int signal_fd;
    sigset_t old_mask;
    bool is_live;
    bool is_drawn;
    json_t *answer; /* NULL: none yet */
};

static int put(struct cli *cli, const char *key, const json_t *request, struct error *err)
{
    struct store_batch *batch = store_batch_new();
    store_batch_put_json(batch, STORE_IMAGES, key, request);
    int rc = store_commit(cli->store, batch, err);
    store_batch_free(batch);
    return rc;
}

/* ---- beginning and end ---- */

/* Only signals that would end the process anyway. */
static void add_signal(sigset_t *set, int number)
{
    struct sigaction action;
    if (sigaction(number, NULL, &action) == 0 && action.sa_handler != SIG_IGN) {
        sigaddset(set, number);
    }
}

static void begin(struct following *following)
{
    struct error err = {.code = ERR_NONE};
    sigset_t set;
    sigemptyset(&set);
    add_signal(&set, SIGINT);
    add_signal(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, &following->old_mask);
    following->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    following->is_live = isatty(STDERR_FILENO) && !following->cli->is_quiet;
    following->bell = (struct bell_watch){.fd = -1, .wd = -1};
    if (bell_watch_open(&following->bell, &following->cli->paths, BELL_STATUS, &err) < 0) {
        log_debug("image", "%s; polling instead", err.message);
    }
}

static void erase(struct following *following)
{
    if (following->is_drawn) {
        fputs("\r\033[K", stderr);
        following->is_drawn = false;
    }
}

static void end(struct following *following)
{
    erase(following);
    bell_watch_close(&following->bell);
    cleanup_close_(&following->signal_fd);
    sigprocmask(SIG_SETMASK, &following->old_mask, NULL);
}

/* ---- following ---- */

static void draw(struct following *following, const json_t *request)
{
    const char *progress = json_text(request, "progress");
    if (!following->is_live || !progress) {
        return;
    }
    cleanup_buf struct buf text = BUF_INIT(0);
    text_add_printable(&text, progress, strcspn(progress, "\n"));
    fprintf(stderr, "\r\033[K%s", buf_str(&text));
    (void)fflush(stderr);
    following->is_drawn = true;
}

static int look(struct following *following, struct error *err)
{
    cleanup_json json_t *request = NULL;
    int rc = store_get_json(following->cli->store, STORE_IMAGES, following->key, &request, err);
    if (rc < 0) {
        return rc;
    }
    if (!request) {
        return error_set(err, ERR_STORE, "somebody removed what was asked for from the store");
    }
    draw(following, request);
    if (image_request_is_answered(request)) {
        following->answer = TAKE_PTR(request);
    }
    return 0;
}

/* Returns the signal that came, or 0. */
static int sleep_until_wakeup(struct following *following, int64_t limit_ms)
{
    struct signalfd_siginfo info;
    if (following->bell.fd < 0 && limit_ms > NO_BELL_MS) {
        limit_ms = NO_BELL_MS;
    }
    struct pollfd fds[] = {
        {.fd = following->bell.fd, .events = POLLIN}, {.fd = following->signal_fd, .events = POLLIN}};
    (void)poll(fds, ARRAY_LEN(fds), (int)limit_ms);
    if (following->bell.fd >= 0) {
        (void)bell_watch_drain(&following->bell);
    }
    ssize_t n = following->signal_fd < 0 ? -1 : read(following->signal_fd, &info, sizeof(info));
    return n == (ssize_t)sizeof(info) ? (int)info.ssi_signo : 0;
}

static int follow_request(struct following *following, int64_t timeout_ms, struct error *err)
{
    int64_t deadline_ms = clock_monotonic_ms(clock_system()) + timeout_ms;
    for (;;) {
        int rc = look(following, err);
        if (rc < 0 || following->answer) {
            return rc;
        }
        int64_t left_ms = deadline_ms - clock_monotonic_ms(clock_system());
        if (left_ms <= 0) {
            (void)error_set(err, ERR_TIMEOUT, "it is not done yet");
            return error_help(err, "it goes on; see later: vmctl image list");
        }
        struct controller_process controller;
        if ((rc = controller_find(following->cli, &controller, err)) < 0) {
            return rc;
        }
        int64_t limit_ms = controller_requeue_after_ms(&controller);
        int number = sleep_until_wakeup(following, left_ms < limit_ms ? left_ms : limit_ms);
        if (number > 0) {
            erase(following);
            cli_note(following->cli, "interrupted; it goes on in the background: vmctl image list");
            return SIGNALLED_BASE + number;
        }
        rc = cli_ensure_controller(following->cli, err);
        if (rc < 0) {
            return rc;
        }
    }
}

/* ---- asking ---- */

static int take_answer(struct following *following, json_t **ret_answer, struct error *err)
{
    struct error ignored = {.code = ERR_NONE}; /* the controller clears it away later */
    cleanup_json json_t *answer = TAKE_PTR(following->answer);
    (void)put(following->cli, following->key, NULL, &ignored);
    if (image_request_failure(answer, err)) {
        return -(int)err->code;
    }
    *ret_answer = TAKE_PTR(answer);
    return 0;
}

static int send_request(struct following *following, const json_t *request, const struct follow_values *values,
    struct error *err)
{
    struct error ignored = {.code = ERR_NONE}; /* costs the controller's delay, not the wish */
    struct cli *cli = following->cli;
    int rc = put(cli, following->key, request, err);
    if (rc < 0) {
        return rc;
    }
    (void)bell_ring(&cli->paths, BELL_DESIRED, &ignored);
    rc = cli_ensure_controller(cli, err);
    return rc < 0 || values->is_detached ? rc : follow_request(following, values->timeout_ms, err);
}

int image_request_run(struct cli *cli, json_t *request_take, const struct follow_values *values,
    json_t **ret_answer, struct error *err)
{
    char id[TEXT_ID_SIZE];
    cleanup_json json_t *request = request_take;
    digest_random_id(id);
    cleanup_free char *key = mem_printf(IMAGE_REQUEST_PREFIX "%s", id);
    struct following following = {.cli = cli, .key = key, .signal_fd = -1};
    *ret_answer = NULL;
    json_put_int(request, "requestedAt", clock_wall_ms(clock_system()));
    int rc = cli_open_store(cli, err);
    if (rc < 0) {
        return rc;
    }
    begin(&following); /* armed before it is asked, so that no answer is missed */
    rc = send_request(&following, request, values, err);
    end(&following);
    return following.answer ? take_answer(&following, ret_answer, err) : rc;
}
