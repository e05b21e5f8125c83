/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/backend/qemu/agent_unmount.h"

#include <stdlib.h>
#include <string.h>

#include "controller/loop/loop.h"
#include "reconcilers/backend/qemu/agent.h"
#include "reconcilers/backend/qemu/release_volume.sh.h"
#include "specs/base/base64.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/json.h"
#include "specs/base/log.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

enum { AGENT_MS = 3000, LOOK_MS = 100, UNMOUNT_MS = 30000, WORDS_MAX = 512 };

struct agent_unmount {
    struct loop *loop; /* borrowed */
    struct agent *agent;
    struct loop_timer *timer;
    char *vm_name, *volume;
    int64_t began_ms; /* monotonic */
    int64_t pid;      /* in the guest */
    void (*done)(void *context, const struct error *err);
    void *context;
};

/* Nothing is known of it. */
static void unmount_give_up(struct agent_unmount *self, const char *why)
{
    log_warn("agent", "%s: cannot unmount volume '%s': %s", self->vm_name, self->volume, why);
    self->done(self->context, NULL);
}

static void unmount_refused(struct agent_unmount *self, const char *why)
{
    struct error err = {.code = ERR_NONE};
    (void)error_set(
        &err, ERR_MOUNT, "volume '%s' stays in vm '%s': %s", self->volume, self->vm_name, why);
    (void)error_help(&err, "stop the programs that use it in the guest, then try again; it is "
                           "detached when the VM stops");
    self->done(self->context, &err);
}

static void unmount_failed(struct agent_unmount *self, const json_t *status)
{
    const char *encoded = json_text(status, "out-data");
    cleanup_buf struct buf said = BUF_INIT(0), words = BUF_INIT(WORDS_MAX);
    if (encoded && base64_decode(&said, encoded, strlen(encoded))) {
        cleanup_free char *line = text_last_line(buf_str(&said), said.len);
        text_add_printable(&words, line, strlen(line));
    }
    unmount_refused(self, words.len ? buf_str(&words) : "the guest does not release it");
}

static void unmount_look(void *context);

/* A guest that writes out what it holds may answer late. */
static void status_arrived(void *context, const json_t *value, const struct error *err)
{
    struct agent_unmount *self = context;
    bool has_ended = !err && json_flag(value, "exited", false);
    bool may_end = !err || err->code == ERR_TIMEOUT;
    if (has_ended && json_int(value, "exitcode", 1) != 0) {
        unmount_failed(self, value);
    } else if (has_ended) {
        self->done(self->context, NULL);
    } else if (may_end && loop_now_ms(self->loop) - self->began_ms < UNMOUNT_MS) {
        loop_timer_start(self->timer, LOOK_MS);
    } else {
        unmount_refused(self, err ? err->message : "unmounting it takes more than 30 s");
    }
}

static void unmount_look(void *context)
{
    struct agent_unmount *self = context;
    json_t *arguments = json_object();
    json_put_int(arguments, "pid", self->pid);
    agent_call(self->agent, "guest-exec-status", arguments, AGENT_MS, status_arrived, self);
}

static void begun(void *context, const json_t *value, const struct error *err)
{
    struct agent_unmount *self = context;
    self->pid = json_int(value, "pid", 0);
    if (err && err->code == ERR_TIMEOUT) {
        unmount_refused(self, err->message);
    } else if (err || self->pid <= 0) {
        unmount_give_up(
            self, err ? err->message : "the agent did not report the command that it started");
    } else {
        unmount_look(self);
    }
}

struct agent_unmount *agent_unmount_start(struct loop *loop, const char *socket_path,
    const char *vm_name, const char *volume, void (*done)(void *context, const struct error *err),
    void *context)
{
    struct agent_unmount *self = mem_new(struct agent_unmount);
    *self = (struct agent_unmount){.loop = loop,
        .agent = agent_new(loop, socket_path),
        .vm_name = mem_strdup(vm_name),
        .volume = mem_strdup(volume),
        .began_ms = loop_now_ms(loop),
        .done = done,
        .context = context};
    self->timer = loop_timer_new(loop, unmount_look, self);
    json_t *words = json_array(), *arguments = json_object();
    (void)json_array_append_new(words, json_string("-c"));
    (void)json_array_append_new(words, json_string(release_volume_sh));
    (void)json_array_append_new(words, json_string("sh"));
    (void)json_array_append_new(words, json_string(volume));
    json_put_text(arguments, "path", "/bin/sh");
    json_put(arguments, "arg", words);
    json_put_flag(arguments, "capture-output", true);
    agent_call(self->agent, "guest-exec", arguments, AGENT_MS, begun, self);
    return self;
}

void agent_unmount_free(struct agent_unmount *self)
{
    if (self) {
        agent_free(self->agent);
        loop_timer_free(self->timer);
        free(self->vm_name);
        free(self->volume);
        free(self);
    }
}
