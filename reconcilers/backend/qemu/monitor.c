/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/backend/qemu/monitor.h"

#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

#include "controller/loop/loop.h"
#include "reconcilers/backend/instance_id.h"
#include "reconcilers/backend/qemu/argv.h"
#include "reconcilers/backend/qemu/run_state.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/log.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

enum { RETRY_FIRST_MS = 50, RETRY_MAX_MS = 2000, SOON_MS = 50, NOT_SILENT = -1 };

struct monitor {
    struct loop *loop;
    char *vm_name;
    char *socket_path;
    char *instance_id;
    struct qmp *qmp; /* NULL between two tries to connect, and after another instance answered */
    struct loop_timer *retry;
    int64_t retry_ms;
    struct loop_timer *poll;
    int64_t slept_ms; /* of the host, as reported */
    uint32_t n_resets;
    bool is_verified;
    bool is_querying; /* query-status is pending */
    bool is_dirty;    /* and something changed since it was sent */
    bool has_agent;
    bool is_agent_known; /* since it runs */
    enum run_state run_state;
    int64_t silent_since_ms; /* loop time, or NOT_SILENT */
    void (*changed)(void *context);
    void *context;
};

static void connect_now(void *context);

static void retry_later(struct monitor *monitor)
{
    loop_timer_start(monitor->retry, monitor->retry_ms);
    monitor->retry_ms *= 2;
    if (monitor->retry_ms > RETRY_MAX_MS) {
        monitor->retry_ms = RETRY_MAX_MS;
    }
}

static void start_silence(struct monitor *monitor, int64_t since_ms)
{
    if (monitor->silent_since_ms == NOT_SILENT) {
        monitor->silent_since_ms = since_ms;
    }
}

static void drop_connection(struct monitor *monitor)
{
    monitor->is_verified = false;
    monitor->is_querying = false;
    monitor->is_dirty = false;
    monitor->run_state = RUN_STATE_UNKNOWN;
    monitor->has_agent = false;
    qmp_forget(monitor->qmp, monitor);
    qmp_free(TAKE_PTR(monitor->qmp));
}

static void query_status(struct monitor *monitor);

static void status_arrived(void *context, const json_t *value, const struct error *err)
{
    struct monitor *monitor = context;
    monitor->is_querying = false;
    if (err || !monitor->is_verified) {
        return;
    }
    if (monitor->is_dirty) {
        query_status(monitor);
    } else if (text_eq(json_text(value, "status"), "finish-migrate")) {
        loop_timer_start(monitor->poll, SOON_MS); /* its end causes no event */
    }
    monitor_note_status(monitor, value);
}

static void start_poll(struct monitor *monitor)
{
    loop_timer_start(monitor->poll, MONITOR_POLL_MS - loop_now_ms(monitor->loop) % MONITOR_POLL_MS);
}

static void query_status(struct monitor *monitor)
{
    monitor->is_dirty = monitor->is_querying;
    if (!monitor->is_querying) {
        struct error err = {0};
        monitor->is_querying =
            qmp_execute(monitor->qmp, "query-status", NULL, status_arrived, monitor, &err) == 0;
    }
}

static void poll_status(void *context)
{
    struct monitor *monitor = context;
    int64_t slept_ms = clock_slept_ms(loop_clock(monitor->loop));
    if (monitor->is_verified && monitor->silent_since_ms == NOT_SILENT) {
        query_status(monitor);
    }
    if (slept_ms - monitor->slept_ms >= CLOCK_RIGHT_MS) {
        monitor->slept_ms = slept_ms;
        monitor->changed(monitor->context);
    }
    start_poll(monitor);
}

static void chardevs_arrived(void *context, const json_t *value, const struct error *err)
{
    struct monitor *monitor = context;
    bool has_agent = false;
    for (size_t i = 0; i < json_array_size(value); i++) {
        const json_t *chardev = json_array_get(value, i);
        has_agent |= text_eq(json_text(chardev, "label"), QEMU_AGENT) &&
                     json_flag(chardev, "frontend-open", false);
    }
    monitor->is_agent_known = true;
    if (!err && monitor->is_verified && has_agent != monitor->has_agent) {
        monitor->has_agent = has_agent;
        monitor->changed(monitor->context);
    }
}

static void query_agent(struct monitor *monitor)
{
    struct error err = {0};
    (void)qmp_execute(monitor->qmp, "query-chardev", NULL, chardevs_arrived, monitor, &err);
}

static void uuid_arrived(void *context, const json_t *value, const struct error *err)
{
    struct monitor *monitor = context;
    if (err) {
        return;
    }
    char expected[IID_UUID_SIZE] = "";
    const char *uuid = json_text(value, "UUID");
    bool is_known = instance_id_to_uuid(monitor->instance_id, expected);
    if (monitor->instance_id[0] && !(is_known && uuid && strcasecmp(uuid, expected) == 0)) {
        log_warn("qemu", "%s: another instance answers on '%s' (UUID %s, expected %s); left alone",
            monitor->vm_name, monitor->socket_path, uuid ? uuid : "none", expected);
        drop_connection(monitor);
        monitor->changed(monitor->context);
        return;
    }
    monitor->is_verified = true;
}

/* The state is read only if the UUID is the right one, which is answered first. */
static void verify(struct monitor *monitor)
{
    struct error err = {0};
    (void)qmp_execute(monitor->qmp, "query-uuid", NULL, uuid_arrived, monitor, &err);
    query_status(monitor);
}

static void qmp_became_ready(void *context)
{
    struct monitor *monitor = context;
    monitor->retry_ms = RETRY_FIRST_MS;
    verify(monitor);
}

static void qmp_event(void *context, const char *name, const json_t *data)
{
    struct monitor *monitor = context;
    static const char *const reporting[] = {"STOP", "RESUME", "SHUTDOWN", "GUEST_PANICKED", "RESET",
        "BLOCK_IO_ERROR", "POWERDOWN", "SUSPEND", "WAKEUP", "MIGRATION"};
    (void)data;
    if (monitor->is_verified && text_eq(name, "RESET")) {
        monitor->n_resets++;
        monitor->changed(monitor->context);
    }
    if (monitor->is_verified && text_eq(name, "VSERPORT_CHANGE")) {
        query_agent(monitor);
    }
    for (size_t i = 0; i < ARRAY_LEN(reporting); i++) {
        if (monitor->is_verified && text_eq(name, reporting[i])) {
            query_status(monitor);
            return;
        }
    }
}

/* QEMU hangs; qmp_received() repeats the queries. */
static void qmp_timed_out(void *context)
{
    struct monitor *monitor = context;
    start_silence(monitor, loop_now_ms(monitor->loop) - QMP_COMMAND_TIMEOUT_MS);
    monitor->changed(monitor->context);
}

/* After a silence: the queries timed out, so they are repeated. */
static void qmp_received(void *context)
{
    struct monitor *monitor = context;
    if (monitor->silent_since_ms == NOT_SILENT || !qmp_is_ready(monitor->qmp)) {
        return;
    }
    if (monitor->is_verified && !monitor->is_querying) {
        query_status(monitor);
    } else if (!monitor->is_verified && qmp_waiting_since(monitor->qmp) < 0) {
        verify(monitor);
    }
}

static void qmp_closed(void *context, const struct error *why)
{
    struct monitor *monitor = context;
    log_debug("qemu", "%s: %s", monitor->vm_name, why->message);
    start_silence(monitor, loop_now_ms(monitor->loop));
    drop_connection(monitor);
    retry_later(monitor);
    monitor->changed(monitor->context);
}

static const struct qmp_listener listener = {.ready = qmp_became_ready,
    .event = qmp_event,
    .received = qmp_received,
    .timed_out = qmp_timed_out,
    .closed = qmp_closed};

/* ECONNREFUSED and EAGAIN are retried, too: a dead client's connection may fill the queue. */
static void connect_now(void *context)
{
    struct monitor *monitor = context;
    int fd = -1;
    struct error err = {0};
    if (fs_connect_unix(monitor->socket_path, &fd, &err) < 0) {
        log_trace("qemu", "%s: %s", monitor->vm_name, err.message);
        retry_later(monitor);
        return;
    }
    monitor->qmp = qmp_new(monitor->loop, fd, &listener, monitor);
}

struct monitor *monitor_new(struct loop *loop, const char *vm_name, const char *socket_path,
    const char *instance_id, void (*changed)(void *context), void *context)
{
    struct monitor *monitor = mem_new(struct monitor);
    *monitor = (struct monitor){.loop = loop,
        .vm_name = mem_strdup(vm_name),
        .socket_path = mem_strdup(socket_path),
        .instance_id = mem_strdup(instance_id),
        .retry_ms = RETRY_FIRST_MS,
        .silent_since_ms = loop_now_ms(loop),
        .slept_ms = clock_slept_ms(loop_clock(loop)),
        .changed = changed,
        .context = context};
    monitor->retry = loop_timer_new(loop, connect_now, monitor);
    monitor->poll = loop_timer_new(loop, poll_status, monitor);
    start_poll(monitor);
    connect_now(monitor);
    return monitor;
}

void monitor_free(struct monitor *monitor)
{
    if (!monitor) {
        return;
    }
    if (monitor->qmp) {
        drop_connection(monitor);
    }
    loop_timer_free(monitor->retry);
    loop_timer_free(monitor->poll);
    free(monitor->vm_name);
    free(monitor->socket_path);
    free(monitor->instance_id);
    free(monitor);
}

const char *monitor_instance_id(const struct monitor *monitor)
{
    return monitor->instance_id;
}

enum run_state monitor_run_state(const struct monitor *monitor)
{
    return monitor->silent_since_ms == NOT_SILENT ? monitor->run_state : RUN_STATE_UNKNOWN;
}

bool monitor_has_agent(const struct monitor *monitor)
{
    return monitor->has_agent && monitor_run_state(monitor) == RUN_STATE_RUNNING;
}

bool monitor_is_agent_unknown(const struct monitor *monitor)
{
    return !monitor->is_agent_known && monitor_run_state(monitor) == RUN_STATE_RUNNING;
}

uint32_t monitor_resets(const struct monitor *monitor)
{
    return monitor->n_resets;
}

int64_t monitor_silent_ms(const struct monitor *monitor)
{
    if (monitor->silent_since_ms == NOT_SILENT) {
        return 0;
    }
    int64_t silent = loop_now_ms(monitor->loop) - monitor->silent_since_ms;
    return silent > 0 ? silent : 1; /* 0 would mean that it answers */
}

pid_t monitor_peer_pid(const struct monitor *monitor)
{
    return monitor->is_verified ? qmp_peer_pid(monitor->qmp) : 0;
}

int monitor_execute(struct monitor *monitor, const char *command, json_t *arguments_take,
    qmp_reply_fn *reply, void *context, struct error *err)
{
    if (!monitor) {
        json_decref(arguments_take);
        return error_set(err, ERR_QMP_CONNECT, "QEMU does not run");
    }
    if (!monitor->is_verified) {
        json_decref(arguments_take);
        return error_set(err, ERR_QMP_CONNECT, "cannot send '%s': QEMU does not answer", command);
    }
    int rc = qmp_execute(monitor->qmp, command, arguments_take, reply, context, err);
    if (rc == 0 && !reply) {
        query_status(monitor); /* shows the effect */
    }
    return rc;
}

void monitor_attach_fd(struct monitor *monitor, int fd_take)
{
    if (monitor->qmp) {
        qmp_attach_fd(monitor->qmp, fd_take);
    } else {
        close(fd_take);
    }
}

void monitor_forget(struct monitor *monitor, const void *context)
{
    if (monitor->qmp) {
        qmp_forget(monitor->qmp, context);
    }
}

void monitor_note_status(struct monitor *monitor, const json_t *value)
{
    enum run_state state = run_state_from_qemu(json_text(value, "status"));
    bool is_changed = state != monitor->run_state || monitor->silent_since_ms != NOT_SILENT;
    if (state == RUN_STATE_RUNNING && monitor->run_state != state) {
        monitor->is_agent_known = false;
        query_agent(monitor); /* a guest that was loaded has its port open without an event */
    }
    monitor->run_state = state;
    monitor->silent_since_ms = NOT_SILENT;
    if (is_changed) {
        monitor->changed(monitor->context);
    }
}
