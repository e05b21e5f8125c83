/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/guest/identity.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "controller/loop/loop.h"
#include "reconcilers/guest/identity_helper.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

/* A guest reads late what it is sent when the host is busy: its clock is asked until an answer came
 * soon, and stepped by what the soonest one showed. It is off by half of that trip at most. */
enum { TRIPS_MAX = 12, TRIP_SOON_MS = 16, CLOCK_NEAR_MS = 2 };

enum stage { STAGE_RECORDS, STAGE_CLOCK, STAGE_END };

struct clock_trips {
    unsigned n;
    int64_t asked_ms; /* wall; the one under way */
    int64_t soonest_ms, off_ms;
};

struct identity {
    struct op op; /* first */
    struct loop *loop;
    struct buf records; /* not sent yet */
    struct identity_reader reader;
    enum stage stage;
    struct clock_trips trips;
    bool is_last;
    int fd;
    struct loop_io *io;
    struct loop_timer *deadline, *failed; /* `failed`: `err` is reported from the loop */
    struct error err;
};

static void on_cancel(struct op *op)
{
    struct identity *self = (struct identity *)(void *)op;
    loop_io_free(self->io);
    loop_timer_free(self->deadline);
    loop_timer_free(self->failed);
    cleanup_close_(&self->fd);
    buf_clear(&self->records);
    free(self);
}

static void identity_fail(struct identity *self, int sys_errno, const char *what)
{
    (void)error_set_errno(&self->err, ERR_IDENTITY, sys_errno, "%s", what);
    op_finish(&self->op, &self->err);
}

static void on_deadline(void *context)
{
    struct identity *self = context;
    (void)error_set(&self->err, ERR_TIMEOUT, "the helper in the guest does not answer");
    op_finish(&self->op, &self->err);
}

static void report_failure(void *context)
{
    struct identity *self = context;
    op_finish(&self->op, &self->err);
}

/* ---- records ---- */

/* As of now: the helper receives it at once. */
static void add_time(struct identity *self)
{
    int64_t now_ms = clock_wall_ms(loop_clock(self->loop));
    buf_printf(&self->records, "T %lld %lld\n", (long long)(now_ms / 1000),
        (long long)(now_ms % 1000 * 1000000));
}

static int add_entropy(struct identity *self)
{
    enum { ENTROPY_BYTES = 64 };
    unsigned char bytes[ENTROPY_BYTES];
    if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes)) {
        return error_set_errno(
            &self->err, ERR_IDENTITY, errno, "the host provided no random numbers");
    }
    buf_add_str(&self->records, "E ");
    for (size_t i = 0; i < sizeof(bytes); i++) {
        buf_printf(&self->records, "%02x", bytes[i]);
    }
    buf_add_char(&self->records, '\n');
    explicit_bzero(bytes, sizeof(bytes));
    return 0;
}

void identity_add_file(
    struct buf *records, unsigned mode, const char *path, const char *bytes, size_t n)
{
    buf_printf(records, "F %o %zu %s\n", mode, n, path);
    buf_add(records, bytes, n);
}

char *identity_helper_text(void)
{
    struct buf text = BUF_INIT(0);
    const size_t n = IDENTITY_HELPER_SIZE; /* 0 where there is none */
    for (size_t i = 0; i < n; i++) {
        buf_printf(&text, "\\%03o", identity_helper[i]);
    }
    return n > 0 ? buf_steal(&text) : NULL;
}

/* ---- answers ---- */

/* "clock SECONDS NANOSECONDS" */
static enum identity_answer judge_clock(struct identity_reader *reader)
{
    static const char word[] = "clock ";
    enum { NS_IN_MS = 1000000 };
    uint64_t seconds, nanoseconds;
    char *space = strncmp(reader->line, word, sizeof(word) - 1) == 0
                      ? strchr(reader->line + sizeof(word) - 1, ' ')
                      : NULL;
    if (!space) {
        return IDENTITY_WRONG;
    }
    *space = '\0';
    bool is_clock = text_to_u64(reader->line + sizeof(word) - 1, 0, UINT32_MAX * 8ULL, &seconds) &&
                    text_to_u64(space + 1, 0, 999999999, &nanoseconds);
    *space = ' ';
    reader->clock_ms = is_clock ? (int64_t)(seconds * 1000 + nanoseconds / NS_IN_MS) : 0;
    return is_clock ? IDENTITY_CLOCK : IDENTITY_WRONG;
}

static enum identity_answer judge(struct identity_reader *reader)
{
    const char *line = reader->line;
    return text_eq(line, "ready")  ? IDENTITY_MORE /* of a helper that began just now */
           : text_eq(line, "sync") ? IDENTITY_SYNC
           : text_eq(line, "ok 0") ? IDENTITY_DONE
           : text_eq(line, "gone") ? IDENTITY_GONE
                                   : judge_clock(reader);
}

enum identity_answer identity_read(struct identity_reader *reader, const char *bytes, size_t *n)
{
    enum identity_answer answer = IDENTITY_MORE;
    size_t at = 0;
    while (at < *n && answer == IDENTITY_MORE) {
        char byte = bytes[at++];
        if (byte == '\n') {
            reader->line[reader->n] = '\0';
            answer = judge(reader);
            reader->n = 0;
        } else {
            reader->line[reader->n++] = byte;
            reader->line[reader->n] = '\0';
            answer = reader->n + 1 == sizeof(reader->line) ? IDENTITY_WRONG : IDENTITY_MORE;
        }
    }
    *n = at;
    return answer;
}

static void give_more(struct identity *self, enum stage stage)
{
    self->stage = stage;
    loop_io_set(self->io, LOOP_READ | LOOP_WRITE);
}

static void ask_clock(struct identity *self)
{
    self->trips.asked_ms = clock_wall_ms(loop_clock(self->loop));
    buf_add_str(&self->records, "C\n");
    give_more(self, STAGE_CLOCK);
}

/* The guest read its clock in the middle of the trip, as far as is known. */
static void compare_clock(struct identity *self, int64_t guest_ms)
{
    struct clock_trips *trips = &self->trips;
    int64_t trip_ms = clock_wall_ms(loop_clock(self->loop)) - trips->asked_ms;
    if (trips->n++ == 0 || trip_ms < trips->soonest_ms) {
        trips->soonest_ms = trip_ms;
        trips->off_ms = guest_ms - trips->asked_ms - trip_ms / 2;
    }
    if (trips->soonest_ms > TRIP_SOON_MS && trips->n < TRIPS_MAX) {
        ask_clock(self);
        return;
    }
    if (llabs(trips->off_ms) >= CLOCK_NEAR_MS) {
        buf_printf(
            &self->records, "%c %lld000000\n", trips->off_ms < 0 ? 'A' : 'B', llabs(trips->off_ms));
    }
    buf_add_str(&self->records, ".\n");
    give_more(self, STAGE_END);
}

/* False: the operation is over. */
static bool act_on(struct identity *self, enum identity_answer answer)
{
    static const enum identity_answer wanted[] = {
        [STAGE_RECORDS] = IDENTITY_SYNC,
        [STAGE_CLOCK] = IDENTITY_CLOCK,
        [STAGE_END] = IDENTITY_DONE,
    };
    if (answer == IDENTITY_MORE) {
        return true;
    }
    if (answer == wanted[self->stage] && answer == IDENTITY_CLOCK) {
        compare_clock(self, self->reader.clock_ms);
        return true;
    }
    if (answer == wanted[self->stage] && answer == IDENTITY_SYNC && self->is_last) {
        ask_clock(self);
        return true;
    }
    if (answer == wanted[self->stage]) {
        op_finish(&self->op, NULL);
        return false;
    }
    cleanup_buf struct buf line = BUF_INIT(0);
    text_add_printable(&line, self->reader.line, strlen(self->reader.line));
    (void)(answer == IDENTITY_GONE
               ? error_set(&self->err, ERR_IDENTITY, "the helper in the guest has ended")
               : error_set(&self->err, ERR_IDENTITY, "the helper in the guest answered '%s'",
                     buf_str(&line)));
    op_finish(&self->op, &self->err);
    return false;
}

static void receive(struct identity *self)
{
    char bytes[256];
    ssize_t n = recv(self->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (n <= 0) {
        identity_fail(self, n < 0 ? errno : ECONNRESET, "the guest's second serial port");
        return;
    }
    for (size_t at = 0; at < (size_t)n;) {
        size_t took = (size_t)n - at;
        enum identity_answer answer = identity_read(&self->reader, bytes + at, &took);
        at += took;
        if (!act_on(self, answer)) {
            return;
        }
    }
}

/* False: the operation is over. */
static bool give(struct identity *self)
{
    const struct buf *records = &self->records;
    ssize_t n = send(self->fd, records->data, records->len, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != EINTR) {
        identity_fail(self, errno, "the guest's second serial port");
        return false;
    }
    buf_consume(&self->records, n > 0 ? (size_t)n : 0);
    if (records->len == 0) {
        loop_io_set(self->io, LOOP_READ);
    }
    return true;
}

static void on_socket(void *context, int fd, unsigned ready)
{
    struct identity *self = context;
    (void)fd;
    bool is_under_way = !(ready & LOOP_WRITE) || self->records.len == 0 || give(self);
    if (is_under_way && ready & LOOP_READ) {
        receive(self);
    }
}

struct op *identity_send(
    struct loop *loop, const struct identity_order *order, op_done_fn *done, void *context)
{
    struct identity *self = mem_new(struct identity);
    *self = (struct identity){
        .op = {on_cancel, done, context}, .loop = loop, .is_last = order->is_last, .fd = -1};
    self->deadline = loop_timer_new(loop, on_deadline, self);
    self->failed = loop_timer_new(loop, report_failure, self);
    if (order->is_last) {
        add_time(self);
        (void)add_entropy(self);
    }
    buf_add(&self->records, order->records, order->n);
    buf_add_str(&self->records, "S\n");
    if (self->err.code || fs_connect_unix(order->socket_path, &self->fd, &self->err) < 0) {
        self->err.code = ERR_IDENTITY;
        loop_timer_start(self->failed, 0);
        return &self->op;
    }
    self->io = loop_io_new(loop, self->fd, LOOP_READ | LOOP_WRITE, on_socket, self);
    loop_timer_start(self->deadline, order->timeout_ms);
    return &self->op;
}
