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
#include "specs/base/clock.h"
#include "specs/base/fields.h"
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
        [MACHINE_TERMINATE] = "the noop machine did not quit and was terminated",
        [MACHINE_KILL] = "the noop machine did not terminate and was killed"},
};

const struct backend *backend_noop(void)
{
    static struct backend noop = {
        .name = "noop",
        .words = &words,
        .machine = &noop_machine_ops,
        .media = &noop_media_ops,
        .guest = &noop_guest_ops,
        .tunnel = &noop_tunnel_ops,
    };
    noop.traits = backend_traits(BACKEND_NOOP);
    return &noop;
}

static char *path_of_state(const struct reconciler_host *host, const char *vm_name)
{
    return paths_in_vm(host->paths, vm_name, "noop.json");
}

/* ---- state ---- */

DEFINE_WORD_LIST_(static, run_state,
    RUN_STATE_COUNT_, [RUN_STATE_UNKNOWN] = "unknown", [RUN_STATE_PRELAUNCH] = "prelaunch",
    [RUN_STATE_RUNNING] = "running", [RUN_STATE_PAUSED] = "paused",
    [RUN_STATE_SHUTDOWN] = "shutdown", [RUN_STATE_PANICKED] = "guest-panicked",
    [RUN_STATE_IO_ERROR] = "io-error", [RUN_STATE_INTERNAL_ERROR] = "internal-error",
    [RUN_STATE_INMIGRATE] = "inmigrate", [RUN_STATE_POSTMIGRATE] = "postmigrate")

struct state_file {
    struct noop_state state;
    char boot_id[CLOCK_BOOT_ID_SIZE];
};

static const struct field state_rows[] = {
    FIELD_ENUM(struct state_file, state.run_state, "runState", &run_state_words),
    FIELD(struct state_file, state.instance_id, "iid"),
    FIELD(struct state_file, state.n_resets, "resets"),
    FIELD(struct state_file, state.is_changed, "isChanged"),
    FIELD(struct state_file, state.is_share_lost, "isShareLost"),
    FIELD(struct state_file, state.is_tpm_lost, "isTpmLost"),
    FIELD(struct state_file, state.is_network_lost, "isNetworkLost"),
    FIELD(struct state_file, boot_id, "bootId"),
};
static const struct fields state_fields = {FIELDS_OF(state_rows, struct state_file)};

enum { STATE_BYTES = 512 }; /* more than a state needs */

/* Each pass over a VM does this once or twice. */
struct noop_state noop_state_read(const struct reconciler_host *host, const char *vm_name)
{
    char text[STATE_BYTES];
    cleanup_free char *path = path_of_state(host, vm_name);
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) {
        return (struct noop_state){.is_alive = false};
    }
    struct state_file file = {.state.is_alive = false};
    struct error ignored = {.code = ERR_NONE};
    ssize_t n = read(fd, text, sizeof(text));
    const char *end = n > 0 ? memrchr(text, '}', (size_t)n) : NULL; /* without the padding */
    struct bytes json = {text, end ? (size_t)(end + 1 - text) : 0};
    bool is_of_boot = end && fields_read(&state_fields, json, &file, NULL, &ignored) == 0 &&
                      text_eq(file.boot_id, clock_boot_id(host->clock));
    file.state.is_alive = true;
    return is_of_boot ? file.state : (struct noop_state){.is_alive = false};
}

void noop_write_file(const char *path, const char *text)
{
    cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0) {
        (void)!pwrite(fd, text, strlen(text), 0);
    }
}

/* Of one length, so that nothing of an earlier state is left behind it. */
void noop_state_write(
    const struct reconciler_host *host, const char *vm_name, const struct noop_state *state)
{
    struct error ignored = {.code = ERR_NONE};
    struct state_file file = {.state = *state};
    char padded[STATE_BYTES] = "";
    cleanup_buf struct buf text = BUF_INIT(STATE_BYTES - 1);
    struct json_writer writer = {.out = &text, .is_sparse = true};
    cleanup_free char *path = path_of_state(host, vm_name);
    if (!state->is_alive) {
        (void)fs_remove_file(path, &ignored);
        return;
    }
    (void)snprintf(file.boot_id, sizeof(file.boot_id), "%s", clock_boot_id(host->clock));
    fields_write(&state_fields, &file, &writer);
    memset(padded, ' ', sizeof(padded) - 1);
    memcpy(padded, buf_str(&text), text.len);
    noop_write_file(path, padded);
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
