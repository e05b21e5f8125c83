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

struct asking {
    struct cli *cli;
    char *key;
    struct bell_watch bell;
    int signal_fd;
    sigset_t old_mask;
    bool is_live;
    bool is_drawn;
    json_t *answer; /* NULL: none yet */
};

static int put(struct cli *cli, const char *key, const json_t *wish, struct error *err)
{
    struct store_batch *batch = store_batch_new();
    store_batch_put_json(batch, STORE_IMAGES, key, wish);
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

static void begin(struct asking *asking)
{
    struct error err = {.code = ERR_NONE};
    sigset_t set;
    sigemptyset(&set);
    add_signal(&set, SIGINT);
    add_signal(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, &asking->old_mask);
    asking->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    asking->is_live = isatty(STDERR_FILENO) && !asking->cli->is_quiet;
    asking->bell = (struct bell_watch){.fd = -1, .wd = -1};
    if (bell_watch_open(&asking->bell, &asking->cli->places, BELL_STATUS, &err) < 0) {
        log_debug("image", "%s; polling instead", err.message);
    }
}

static void erase(struct asking *asking)
{
    if (asking->is_drawn) {
        fputs("\r\033[K", stderr);
        asking->is_drawn = false;
    }
}

static void end(struct asking *asking)
{
    erase(asking);
    bell_watch_close(&asking->bell);
    cleanup_close_(&asking->signal_fd);
    sigprocmask(SIG_SETMASK, &asking->old_mask, NULL);
}

/* ---- following ---- */

static void draw(struct asking *asking, const json_t *wish)
{
    const char *progress = json_text(wish, "progress");
    if (!asking->is_live || !progress) {
        return;
    }
    cleanup_buf struct buf text = BUF_INIT(0);
    text_add_printable(&text, progress, strcspn(progress, "\n"));
    fprintf(stderr, "\r\033[K%s", buf_str(&text));
    (void)fflush(stderr);
    asking->is_drawn = true;
}

static int look(struct asking *asking, struct error *err)
{
    cleanup_json json_t *wish = NULL;
    int rc = store_get_json(asking->cli->store, STORE_IMAGES, asking->key, &wish, err);
    if (rc < 0) {
        return rc;
    }
    if (!wish) {
        return error_set(err, ERR_STORE, "somebody removed what was asked for from the store");
    }
    draw(asking, wish);
    if (image_wish_is_answered(wish)) {
        asking->answer = TAKE_PTR(wish);
    }
    return 0;
}

/* Returns the signal that came, or 0. */
static int sleep_until_news(struct asking *asking, int64_t limit_ms)
{
    struct signalfd_siginfo info;
    if (asking->bell.fd < 0 && limit_ms > NO_BELL_MS) {
        limit_ms = NO_BELL_MS;
    }
    struct pollfd fds[] = {
        {.fd = asking->bell.fd, .events = POLLIN}, {.fd = asking->signal_fd, .events = POLLIN}};
    (void)poll(fds, ARRAY_LEN(fds), (int)limit_ms);
    if (asking->bell.fd >= 0) {
        (void)bell_watch_drain(&asking->bell);
    }
    ssize_t n = asking->signal_fd < 0 ? -1 : read(asking->signal_fd, &info, sizeof(info));
    return n == (ssize_t)sizeof(info) ? (int)info.ssi_signo : 0;
}

static int follow_wish(struct asking *asking, int64_t timeout_ms, struct error *err)
{
    int64_t deadline_ms = clock_monotonic_ms(clock_system()) + timeout_ms;
    for (;;) {
        int rc = look(asking, err);
        if (rc < 0 || asking->answer) {
            return rc;
        }
        int64_t left_ms = deadline_ms - clock_monotonic_ms(clock_system());
        if (left_ms <= 0) {
            (void)error_set(err, ERR_TIMEOUT, "it is not done yet");
            return error_help(err, "it goes on; see later: vmctl image list");
        }
        struct controller_process controller;
        if ((rc = controller_find(asking->cli, &controller, err)) < 0) {
            return rc;
        }
        int64_t limit_ms = controller_look_again_ms(&controller);
        int number = sleep_until_news(asking, left_ms < limit_ms ? left_ms : limit_ms);
        if (number > 0) {
            erase(asking);
            cli_note(asking->cli, "interrupted; it goes on in the background: vmctl image list");
            return SIGNALLED_BASE + number;
        }
        rc = cli_ensure_controller(asking->cli, err);
        if (rc < 0) {
            return rc;
        }
    }
}

/* ---- asking ---- */

static int take_answer(struct asking *asking, json_t **ret_answer, struct error *err)
{
    struct error ignored = {.code = ERR_NONE}; /* the controller clears it away later */
    cleanup_json json_t *answer = TAKE_PTR(asking->answer);
    (void)put(asking->cli, asking->key, NULL, &ignored);
    if (image_wish_failure(answer, err)) {
        return -(int)err->code;
    }
    *ret_answer = TAKE_PTR(answer);
    return 0;
}

static int ask(struct asking *asking, const json_t *wish, const struct follow_values *values,
    struct error *err)
{
    struct error ignored = {.code = ERR_NONE}; /* costs the controller's delay, not the wish */
    struct cli *cli = asking->cli;
    int rc = put(cli, asking->key, wish, err);
    if (rc < 0) {
        return rc;
    }
    (void)bell_ring(&cli->places, BELL_DESIRED, &ignored);
    rc = cli_ensure_controller(cli, err);
    return rc < 0 || values->is_detached ? rc : follow_wish(asking, values->timeout_ms, err);
}

int image_ask(struct cli *cli, json_t *wish_take, const struct follow_values *values,
    json_t **ret_answer, struct error *err)
{
    char id[TEXT_ID_SIZE];
    cleanup_json json_t *wish = wish_take;
    digest_random_id(id);
    cleanup_free char *key = mem_printf(IMAGE_WISH_PREFIX "%s", id);
    struct asking asking = {.cli = cli, .key = key, .signal_fd = -1};
    *ret_answer = NULL;
    json_put_int(wish, "requestedAt", clock_wall_ms(clock_system()));
    int rc = cli_open_store(cli, err);
    if (rc < 0) {
        return rc;
    }
    begin(&asking); /* armed before it is asked, so that no answer is missed */
    rc = ask(&asking, wish, values, err);
    end(&asking);
    return asking.answer ? take_answer(&asking, ret_answer, err) : rc;
}
