/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/guest/guest_clock.h"

#include <stdlib.h>
#include <string.h>

#include "reconcilers/backend/backend.h"
#include "reconcilers/guest/set_clock.sh.h"
#include "reconcilers/ssh/ssh.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

enum { COMMAND_MS = 10000, SETS_MAX = 3, ANSWER_MAX = 512 };

struct guest_clock {
    struct op op; /* first */
    struct ssh_session *session;
    const struct clock *clock;
    struct clock_result *result;
    struct op *inner;
    struct ssh_exit exit;
    struct buf answer; /* of the command under way */
    int64_t asked_ms;  /* wall; when it was sent */
    int64_t trip_ms;   /* how long the last query took */
    unsigned n_sets;
};

static void on_cancel(struct op *op)
{
    struct guest_clock *self = (struct guest_clock *)(void *)op;
    op_cancel(self->inner);
    buf_clear(&self->answer);
    free(self);
}

static void refuse(struct guest_clock *self, const char *reason)
{
    free(self->result->refusal);
    self->result->refusal = mem_strdup(reason);
    op_finish(&self->op, NULL);
}

static void add_answer(void *context, const char *bytes, size_t n)
{
    struct buf *answer = &((struct guest_clock *)context)->answer;
    size_t room = answer->max - answer->len;
    buf_add(answer, bytes, n < room ? n : room);
}

static void run(struct guest_clock *self, const char *command, op_done_fn *done)
{
    struct ssh_exec_request request = {
        .command = command,
        .output = add_answer,
        .output_context = self,
        .timeout_ms = COMMAND_MS,
    };
    buf_reset(&self->answer);
    self->asked_ms = clock_wall_ms(self->clock);
    self->inner = ssh_exec(self->session, &request, &self->exit, done, self);
}

/* True: the command has run to its end, well or not. Else the operation is over. */
static bool has_ended(struct guest_clock *self, const struct error *err)
{
    self->inner = NULL;
    if (err && err->code == ERR_TIMEOUT) {
        refuse(self, "it does not answer");
    } else if (err) {
        op_finish(&self->op, err);
    }
    return !err;
}

/* ---- query, set, query ---- */

static void query(struct guest_clock *self);

static void on_set(void *context, const struct error *err)
{
    struct guest_clock *self = context;
    if (!has_ended(self, err)) {
        return;
    }
    if (self->exit.status != 0) {
        char *reason = self->answer.len ? self->answer.data : (char[]){"date failed"};
        reason[strcspn(reason, "\r\n")] = '\0';
        refuse(self, reason);
        return;
    }
    query(self);
}

/* The guest receives it half a round trip from now. */
static void set(struct guest_clock *self)
{
    int64_t then_ms = clock_wall_ms(self->clock) + self->trip_ms / 2;
    long long second = then_ms / 1000, ms = then_ms % 1000;
    cleanup_buf struct buf command = BUF_INIT(0);
    buf_add_str(&command, "sh -c ");
    text_add_shell_word(&command, set_clock_sh);
    buf_printf(&command, " sh %lld.%03lld %lld 0.%03lld", second, ms, second + 1, 999 - ms);
    self->n_sets++;
    run(self, buf_str(&command), on_set);
}

/* "1764398400.250000000", or without %N "1764398400.%N". False: not a time. */
static bool read_time(const char *answer, int64_t *ret_ms)
{
    char *end;
    long long seconds = strtoll(answer, &end, 10);
    bool has_fraction = end[0] == '.' && end[1] >= '0' && end[1] <= '9';
    double fraction = has_fraction ? strtod(end, NULL) : 0.5;
    *ret_ms = (int64_t)seconds * 1000 + (int64_t)(fraction * 1000);
    return end != answer && end[0] == '.' && seconds >= 0 && seconds < INT64_MAX / 2000;
}

static void on_time(void *context, const struct error *err)
{
    struct guest_clock *self = context;
    int64_t guest_ms;
    if (!has_ended(self, err)) {
        return;
    }
    self->trip_ms = clock_wall_ms(self->clock) - self->asked_ms;
    if (self->exit.status != 0 || !read_time(buf_str(&self->answer), &guest_ms)) {
        refuse(self, "its `date` does not print the time in seconds");
        return;
    }
    int64_t off_ms = guest_ms - self->asked_ms - self->trip_ms / 2;
    if (self->n_sets == 0) {
        self->result->off_ms = off_ms;
    }
    if (llabs(off_ms) < CLOCK_RIGHT_MS) {
        self->result->was_set = self->n_sets > 0;
        op_finish(&self->op, NULL);
    } else if (self->n_sets < SETS_MAX) {
        set(self);
    } else {
        refuse(self, "it was set and is wrong again: another program in the guest sets it");
    }
}

static void query(struct guest_clock *self)
{
    run(self, "date -u +%s.%N", on_time);
}

struct op *guest_clock_start(struct ssh_session *session, const struct clock *clock,
    struct clock_result *result, op_done_fn *done, void *context)
{
    struct guest_clock *self = mem_new(struct guest_clock);
    self->op = (struct op){on_cancel, done, context};
    self->session = session;
    self->clock = clock;
    self->result = result;
    self->answer = BUF_INIT(ANSWER_MAX);
    query(self);
    return &self->op;
}
