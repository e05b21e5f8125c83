/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Starts the guest in a running zone: queries propolis-server's instance; creates the instance if
 * there is none; requests its start if it does not run. Every turn queries first, so the operation
 * is idempotent, and resumes where a killed controller left it.
 */
#include <stdlib.h>

#include "controller/loop/loop.h"
#include "reconcilers/backend/propolis/machine.h"

#include "reconcilers/backend/propolis/propolis.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/vm/propolis.h"

enum { RETRY_MS = 200 };

struct boot {
    struct op op; /* first: the caller holds a pointer to it */
    struct machine *machine;
    struct op *request;
    struct rest_answer answer;
    struct loop_timer *timer;
    int64_t deadline_ms;
    char *body; /* of the instance */
    bool is_run_requested;
};

static void cancel_boot(struct op *op)
{
    struct boot *boot = (struct boot *)(void *)op;
    op_cancel(boot->request);
    loop_timer_free(boot->timer);
    rest_answer_clear(&boot->answer);
    free(boot->body);
    free(boot);
}

static void boot_fail(struct boot *boot, struct error *err)
{
    (void)error_wrap(err, "cannot start vm '%s'", boot->machine->name);
    op_finish(&boot->op, err);
}

static void query_later(struct boot *boot)
{
    loop_timer_start(boot->timer, RETRY_MS);
}

static bool is_overdue(const struct boot *boot)
{
    return loop_now_ms(boot->machine->host->loop) >= boot->deadline_ms;
}

/* ---- changes ---- */

static void on_put(void *context, const struct error *err)
{
    struct boot *boot = context;
    struct error failure = {.code = ERR_NONE};
    boot->request = NULL;
    if (err && !is_overdue(boot)) {
        query_later(boot);
    } else if (err) {
        failure = *err;
        boot_fail(boot, &failure);
    } else if (boot->answer.status >= 300) {
        (void)error_set(&failure, ERR_IO,
            "propolis-server on %s refused the request (status %ld): %s", propolis_address(),
            boot->answer.status, buf_str(&boot->answer.body));
        boot_fail(boot, &failure);
    } else {
        query_later(boot);
    }
}

static void put(struct boot *boot, const char *path, const char *body)
{
    const struct rest_request request = {.method = "PUT", .path = path, .body = body};
    boot->request = rest_send(boot->machine->multi, &request, &boot->answer, on_put, boot);
}

/* ---- the instance ---- */

static void handle_instance(struct boot *boot, const struct rest_instance *instance)
{
    struct error err = {.code = ERR_NONE};
    if (instance->is_other) {
        (void)error_set(&err, ERR_VM_CONFLICT, "propolis-server on %s runs another instance",
            propolis_address());
        boot_fail(boot, &err);
    } else if (instance->is_there && instance->run_state == RUN_STATE_RUNNING) {
        machine_note(boot->machine, boot->machine->zone, RUN_STATE_RUNNING);
        op_finish(&boot->op, NULL);
    } else if (instance->is_there && instance->run_state != RUN_STATE_PRELAUNCH) {
        (void)error_set(&err, ERR_IO, "propolis-server on %s reports its instance as %s",
            propolis_address(), instance->state);
        boot_fail(boot, &err);
    } else if (is_overdue(boot)) {
        (void)error_set(&err, ERR_PROPOLIS_UNREACHABLE,
            "propolis-server on %s did not start its instance in time (it is %s)",
            propolis_address(), instance->is_there ? instance->state : "missing");
        boot_fail(boot, &err);
    } else if (!instance->is_there) {
        put(boot, "/instance", boot->body);
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
    } else if (is_overdue(boot)) {
        struct error failure = *err;
        boot_fail(boot, &failure);
    } else {
        query_later(boot);
    }
}

static void query(void *context)
{
    struct boot *boot = context;
    const struct rest_request request = {.method = "GET", .path = "/instance"};
    boot->request = rest_send(boot->machine->multi, &request, &boot->answer, on_answer, boot);
}

struct op *propolis_boot(struct machine *machine, const struct vm_env *env,
    struct boot_result *result, op_done_fn *done, void *context)
{
    (void)result; /* no VNC, no ports of the host */
    struct reconciler_host *host = machine->host;
    cleanup_free char *dataset = propolis_dataset(env);
    struct boot *boot = mem_new(struct boot);
    boot->op = (struct op){cancel_boot, done, context};
    boot->machine = machine;
    boot->timer = loop_timer_new(host->loop, query, boot);
    boot->deadline_ms = loop_now_ms(host->loop) + propolis_timeout_ms();
    boot->body = rest_instance_body(env, dataset);
    loop_timer_start(boot->timer, 0);
    return &boot->op;
}
