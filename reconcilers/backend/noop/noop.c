/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/backend/noop/noop.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "controller/loop/loop.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"

static const struct backend_words words = {
    .died = "the noop machine died",
    .internal_error = "the noop machine reported an internal error",
    .not_up = "the noop machine did not come up",
    .silence = "the noop machine did not answer",
    .stops = {[MACHINE_POWERDOWN] = "the guest shut down",
        [MACHINE_QUIT] = "the guest did not shut down in time; the noop machine was stopped",
        [MACHINE_TERMINATE] = "the noop machine did not quit; it was terminated",
        [MACHINE_KILL] = "the noop machine did not terminate; it was killed"},
};

const struct backend *backend_noop(void)
{
    static struct backend noop = {
        .name = "noop",
        .words = &words,
        .machine = &noop_machine_ops,
        .media = &noop_media_ops,
        .guest = &noop_guest_ops,
    };
    noop.traits = backend_traits(BACKEND_NOOP);
    return &noop;
}

static char *path_of_state(const struct reconciler_host *host, const char *vm_name)
{
    return mem_printf("%s/vms/%s/noop.json", host->paths->data_dir, vm_name);
}

/* ---- state ---- */

static const char *const run_state_names[RUN_STATE_COUNT_] = {
    [RUN_STATE_UNKNOWN] = "unknown",
    [RUN_STATE_PRELAUNCH] = "prelaunch",
    [RUN_STATE_RUNNING] = "running",
    [RUN_STATE_PAUSED] = "paused",
    [RUN_STATE_SHUTDOWN] = "shutdown",
    [RUN_STATE_PANICKED] = "guest-panicked",
    [RUN_STATE_IO_ERROR] = "io-error",
    [RUN_STATE_INTERNAL_ERROR] = "internal-error",
    [RUN_STATE_INMIGRATE] = "inmigrate",
    [RUN_STATE_POSTMIGRATE] = "postmigrate",
};

struct noop_state noop_state_read(const struct reconciler_host *host, const char *vm_name)
{
    enum { MAX_BYTES = 65536 };
    struct noop_state state = {.is_alive = false};
    struct error ignored = {.code = ERR_NONE};
    cleanup_buf struct buf text = BUF_INIT(MAX_BYTES);
    cleanup_free char *path = path_of_state(host, vm_name);
    cleanup_json json_t *json = fs_read_file(path, &text, &ignored) < 0
                                    ? NULL
                                    : json_loadb(buf_str(&text), text.len, 0, NULL);
    const char *boot_id = json_text(json, "bootId");
    if (json && text_eq(boot_id, clock_boot_id(host->clock))) {
        state.is_alive = true;
        for (int i = 0; i < RUN_STATE_COUNT_; i++) {
            if (text_eq(run_state_names[i], json_text(json, "runState"))) {
                state.run_state = (enum run_state)i;
            }
        }
        state.n_resets = (uint32_t)json_int(json, "resets", 0);
        state.is_changed = json_flag(json, "isChanged", false);
        const char *instance_id = json_text(json, "iid");
        (void)snprintf(
            state.instance_id, sizeof(state.instance_id), "%s", instance_id ? instance_id : "");
    }
    return state;
}

void noop_write_file(const char *path, const char *text)
{
    struct error ignored = {.code = ERR_NONE};
    cleanup_free char *temporary = mem_printf("%s.tmp-%d", path, (int)getpid());
    cleanup_close int fd =
        open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || fs_write_all(fd, text, strlen(text), &ignored) < 0 ||
        rename(temporary, path) < 0) {
        (void)unlink(temporary);
    }
}

void noop_state_write(
    const struct reconciler_host *host, const char *vm_name, const struct noop_state *state)
{
    struct error ignored = {.code = ERR_NONE};
    cleanup_free char *path = path_of_state(host, vm_name);
    if (!state->is_alive) {
        (void)fs_remove_file(path, &ignored);
        return;
    }
    cleanup_json json_t *json = json_object();
    json_put_text(json, "runState", run_state_names[state->run_state]);
    json_put_text(json, "iid", state->instance_id);
    json_put_int(json, "resets", state->n_resets);
    json_put_flag(json, "isChanged", state->is_changed);
    json_put_text(json, "bootId", clock_boot_id(host->clock));
    cleanup_free char *text = json_canonical(json);
    noop_write_file(path, text);
}

/* ---- operations ---- */

struct noop_op {
    struct op op; /* first: the caller holds a pointer to it */
    struct loop_timer *timer;
    enum error_code failure;
    const char *what;
    void (*effect)(void *context);
    void *effect_context;
};

static void cancel_op(struct op *op)
{
    struct noop_op *self = (struct noop_op *)(void *)op;
    loop_timer_free(self->timer);
    free(self);
}

static void complete(void *context)
{
    struct noop_op *self = context;
    struct error err = {.code = ERR_NONE};
    if (self->failure != ERR_NONE) {
        (void)error_set(&err, self->failure, "noop: failure (%s)", self->what);
    } else if (self->effect) {
        self->effect(self->effect_context);
    }
    op_finish(&self->op, err.code == ERR_NONE ? NULL : &err);
}

struct op *noop_start(const struct noop_call *call, op_done_fn *done, void *context)
{
    struct noop_op *self = mem_new(struct noop_op);
    const char *fail_key = call->fail_key;
    bool fails = !fail_key || (int64_t)(*call->tries)++ <
                                  noop_script_int(call->host, call->vm_name, fail_key, 0);
    *self = (struct noop_op){
        .op = {cancel_op, done, context},
        .timer = loop_timer_new(call->host->loop, complete, self),
        .failure = fails ? call->code : ERR_NONE,
        .what = fail_key ? fail_key : "it is running already",
        .effect = call->effect,
        .effect_context = call->effect_context,
    };
    loop_timer_start(self->timer, noop_script_int(call->host, call->vm_name, call->ms_key, 0));
    return &self->op;
}
