/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Starts the guest in a running zone: queries propolis-server's instance; creates the instance if
 * there is none; requests its start if it does not run. Every turn queries first, so the operation
 * is idempotent, and resumes where a killed controller left it.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "controller/loop/loop.h"
#include "reconcilers/backend/propolis/machine.h"
#include "reconcilers/backend/propolis/propolis.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"

enum {
    RETRY_MS = 200,
    PUT_TIMEOUT_MS = 30000, /* the server answers when the guest's memory is there */
    /* Its request bodies are 1 MiB at most; base64 makes three bytes four. */
    SEED_MAX = 700 << 10,
};

struct boot {
    struct op op; /* first: the caller holds a pointer to it */
    struct machine *machine;
    struct op *request;
    struct rest_answer answer;
    struct loop_timer *timer;
    int64_t deadline_ms;
    struct rest_body body; /* of the instance */
    bool is_run_requested;
    struct error no_seed; /* why `body` is not there */
    struct error refusal; /* of the last request that changes something; ERR_NONE: it was taken */
};

static void cancel_boot(struct op *op)
{
    struct boot *boot = (struct boot *)(void *)op;
    op_cancel(boot->request);
    loop_timer_free(boot->timer);
    rest_answer_clear(&boot->answer);
    rest_body_clear(&boot->body);
    free(boot);
}

static void boot_fail(struct boot *boot, const struct error *err)
{
    struct error failure = *err; /* may be a part of `boot` */
    (void)error_wrap(&failure, "cannot start vm '%s'", boot->machine->name);
    op_finish(&boot->op, &failure);
}

static void query_later(struct boot *boot)
{
    loop_timer_start(boot->timer, RETRY_MS);
}

static bool is_overdue(const struct boot *boot)
{
    return loop_now_ms(boot->machine->host->loop) >= boot->deadline_ms;
}

static void query_or_fail(struct boot *boot, const struct error *err)
{
    if (is_overdue(boot)) {
        boot_fail(boot, err);
    } else {
        query_later(boot);
    }
}

/* ---- changes ---- */

/* What the server said against the last request. */
static void note_refusal(struct boot *boot)
{
    cleanup_free char *words = rest_answer_text(&boot->answer);
    boot->refusal = (struct error){.code = ERR_NONE};
    (void)error_set(&boot->refusal, ERR_IO,
        "propolis-server on %s refused the request (status %ld): %s", boot->machine->server.address,
        boot->answer.status, words);
}

static void on_put(void *context, const struct error *err)
{
    struct boot *boot = context;
    struct rest_server *server = &boot->machine->server;
    boot->request = NULL;
    if (err) {
        boot->refusal = *err;
    } else if (boot->answer.status < 300) {
        boot->refusal = (struct error){.code = ERR_NONE};
    } else if (!server->has_no_versions && rest_wants_unversioned(&boot->answer)) {
        server->has_no_versions = true;
    } else {
        note_refusal(boot);
        boot->is_run_requested = false;
        /* These pass by themselves: 409 is also an earlier instance that is still being taken down,
         * 424 a server that was started again in between, 503 an instance still being made. */
        long status = boot->answer.status;
        if (status != 409 && status != 424 && status != 429 && status != 503) {
            boot_fail(boot, &boot->refusal);
            return;
        }
    }
    query_later(boot);
}

static void put(struct boot *boot, const char *path, const char *body)
{
    struct machine *machine = boot->machine;
    const struct rest_request request = {
        .method = "PUT", .path = path, .body = body, .timeout_ms = PUT_TIMEOUT_MS};
    boot->request =
        rest_send(machine->multi, &machine->server, &request, &boot->answer, on_put, boot);
}

/* ---- the instance ---- */

static void handle_instance(struct boot *boot, const struct rest_instance *instance)
{
    struct error err = {.code = ERR_NONE};
    const struct rest_server *server = &boot->machine->server;
    if (instance->is_error) {
        note_refusal(boot);
        query_or_fail(boot, &boot->refusal);
    } else if (instance->is_other) {
        (void)error_set(
            &err, ERR_VM_CONFLICT, "propolis-server on %s runs another instance", server->address);
        (void)error_help(&err, "give each VM its own server: propolis-server \"HOST:PORT\"");
        boot_fail(boot, &err);
    } else if (instance->is_there && instance->run_state == RUN_STATE_RUNNING) {
        machine_note(boot->machine, boot->machine->zone, RUN_STATE_RUNNING);
        op_finish(&boot->op, NULL);
    } else if (instance->is_there && instance->run_state != RUN_STATE_PRELAUNCH) {
        (void)error_set(&err, ERR_IO, "propolis-server on %s reports its instance as %s",
            server->address, instance->state);
        boot_fail(boot, &err);
    } else if (is_overdue(boot) && boot->refusal.code) {
        boot_fail(boot, &boot->refusal);
    } else if (is_overdue(boot)) {
        (void)error_set(&err, ERR_PROPOLIS_UNREACHABLE,
            "propolis-server on %s did not start its instance in time (it is %s)", server->address,
            instance->is_there ? instance->state : "missing");
        boot_fail(boot, &err);
    } else if (!instance->is_there) {
        boot->is_run_requested = false;
        put(boot, "/instance",
            server->has_no_versions ? boot->body.unversioned : boot->body.current);
    } else if (!boot->is_run_requested) {
        boot->is_run_requested = true;
        put(boot, "/instance/state", "\"Run\"");
    } else {
        query_later(boot);
    }
}

static void on_answer(void *context, const struct error *err)
{
    struct boot *boot = context;
    boot->request = NULL;
    if (!err) {
        struct rest_instance instance =
            rest_instance_parse(&boot->answer, boot->machine->name, boot->machine->instance_id);
        handle_instance(boot, &instance);
    } else {
        query_or_fail(boot, err);
    }
}

static void query(void *context)
{
    struct boot *boot = context;
    static const struct rest_request request = {.method = "GET", .path = "/instance"};
    if (boot->no_seed.code) {
        boot_fail(boot, &boot->no_seed);
        return;
    }
    boot->request = rest_send(
        boot->machine->multi, &boot->machine->server, &request, &boot->answer, on_answer, boot);
}

/* The seed goes along in the request: a server in a zone need not see our files. */
static int read_seed(const struct vm_env *env, struct buf *out, struct error *err)
{
    cleanup_free char *path = paths_vm(env->host->paths, env->name, VM_SEED);
    if (!env->spec->cloud_init.is_set) {
        return 0;
    }
    if (fs_size(path) > SEED_MAX) {
        (void)error_set(err, ERR_SEED,
            "the seed of vm '%s' has %" PRId64 " bytes; propolis-server takes %d", env->name,
            (int64_t)fs_size(path), SEED_MAX);
        return error_help(err, "shorten the file of `user-data`");
    }
    return fs_read_file(path, out, err);
}

struct op *propolis_boot(struct machine *machine, const struct vm_env *env,
    struct boot_result *result, op_done_fn *done, void *context)
{
    (void)result; /* no VNC, no ports of the host */
    struct reconciler_host *host = machine->host;
    cleanup_free char *dataset = propolis_dataset(env);
    cleanup_buf struct buf seed = BUF_INIT(SEED_MAX + 1);
    struct boot *boot = mem_new(struct boot);
    boot->op = (struct op){cancel_boot, done, context};
    boot->machine = machine;
    boot->timer = loop_timer_new(host->loop, query, boot);
    boot->deadline_ms = loop_now_ms(host->loop) + propolis_timeout_ms();
    if (read_seed(env, &seed, &boot->no_seed) == 0) {
        boot->body = rest_body_make(env, dataset, seed.data, seed.len);
    }
    loop_timer_start(boot->timer, 0);
    return &boot->op;
}
