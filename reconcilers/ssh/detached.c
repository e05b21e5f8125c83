/* SPDX-License-Identifier: MPL-2.0 */
/* A detached command: follow it to its end, then query how it ended. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "reconcilers/ssh/detached_script.h"
#include "reconcilers/ssh/session.h"
#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/base/user_path.h"

enum { ANSWER_MAX = 4096, QUERY_MS = 60000 };

struct detached {
    struct op op;                /* first */
    struct ssh_session *session; /* borrowed from the caller until `done` */
    struct op *inner;
    char *base, *id, *command, *local_path, *script_path, *environment, *secrets, *take_secrets;
    size_t n_secret_lines;
    uint64_t offset, size;
    uint32_t timeout_s;
    bool must_exist, is_last;
    ssh_output_fn *output;
    void *output_context;
    struct ssh_exit exit;
    struct buf answer;
    struct ssh_detached_result *result;
};

/* The command keeps running in the guest. */
static void on_cancel(struct op *op)
{
    struct detached *detached = (struct detached *)(void *)op;
    op_cancel(detached->inner);
    buf_clear(&detached->answer);
    free(detached->base);
    free(detached->id);
    free(detached->command);
    free(detached->local_path);
    free(detached->script_path);
    free(detached->environment);
    free(detached->take_secrets);
    mem_wipe_text(detached->secrets);
    free(detached);
}

static void finish_with(struct detached *detached, enum detached_end end, int status)
{
    *detached->result = (struct ssh_detached_result){.end = end, .status = status};
    op_finish(&detached->op, NULL);
}

/* ---- how it ended ---- */

static void on_answer(void *context, const char *bytes, size_t n)
{
    struct detached *detached = context;
    size_t room = ANSWER_MAX - detached->answer.len;
    buf_add(&detached->answer, bytes, n < room ? n : room);
}

/* On its last line: a login shell's own profile may print before. */
static void take_answer(struct detached *detached)
{
    static const struct {
        const char *word;
        enum detached_end end;
    } ends[] = {
        {"timeout", DETACHED_TIMED_OUT},
        {"killed", DETACHED_KILLED},
        {"rebooted", DETACHED_REBOOTED},
    };
    cleanup_free char *word = text_last_line(buf_str(&detached->answer), detached->answer.len);
    uint64_t status;
    if (text_eq(word, "running")) {
        struct error err = {.code = ERR_NONE};
        error_set(&err, ERR_SSH, "the guest closed the connection while the command keeps running");
        op_finish(&detached->op, &err);
        return;
    }
    if (text_to_u64(word, 0, 255, &status)) {
        finish_with(detached, DETACHED_EXITED, (int)status);
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        if (text_eq(word, ends[i].word)) {
            finish_with(detached, ends[i].end, -1);
            return;
        }
    }
    finish_with(detached, DETACHED_NOT_BEGUN, -1);
}

static void on_queried(void *context, const struct error *err)
{
    struct detached *detached = context;
    detached->inner = NULL;
    if (err) {
        struct error failure = *err;
        failure.code = ERR_SSH; /* a timeout counts as a lost connection */
        op_finish(&detached->op, &failure);
        return;
    }
    take_answer(detached);
}

static struct detached_run run_of(const struct detached *detached)
{
    return (struct detached_run){
        .base = detached->base,
        .id = detached->id,
        .size = detached->size,
        .timeout_s = detached->timeout_s,
        .must_exist = detached->must_exist,
        .environment = detached->environment,
        .n_secret_lines = detached->n_secret_lines,
        .take_secrets = detached->take_secrets,
        .script_path = detached->script_path,
    };
}

static void query_end(struct detached *detached)
{
    cleanup_buf struct buf command = BUF_INIT(0);
    struct detached_run run = run_of(detached);
    detached_script_ask(&command, &run);
    struct ssh_exec_request request = {
        .command = buf_str(&command),
        .output = on_answer,
        .output_context = detached,
        .timeout_ms = QUERY_MS,
    };
    detached->inner = ssh_exec(detached->session, &request, &detached->exit, on_queried, detached);
}

/* ---- following ---- */

static void on_followed(void *context, const struct error *err)
{
    struct detached *detached = context;
    detached->inner = NULL;
    if (err) {
        op_finish(&detached->op, err);
    } else if (detached->exit.status == DETACHED_SUCCEEDED && !detached->is_last) {
        finish_with(detached, DETACHED_EXITED, 0); /* the next run cleans up */
    } else {
        query_end(detached);
    }
}

static void follow(struct detached *detached)
{
    cleanup_buf struct buf command = BUF_INIT(0);
    struct stat st; /* ssh_exec() opens the script and reports read errors */
    detached->size = !detached->local_path                            ? strlen(detached->command)
                     : user_path_stat(detached->local_path, &st) == 0 ? (uint64_t)st.st_size
                                                                      : 0;
    struct detached_run run = run_of(detached);
    char *input = mem_printf("%s%s", detached->secrets ? detached->secrets : "",
        detached->local_path ? "" : detached->command);
    detached_script_follow(&command, &run, detached->offset);
    struct ssh_exec_request request = {
        .command = buf_str(&command),
        .input_text = input,
        .input_path = detached->local_path,
        .output = detached->output,
        .output_context = detached->output_context,
    };
    detached->inner = ssh_exec(detached->session, &request, &detached->exit, on_followed, detached);
    mem_wipe_text(input);
}

struct op *ssh_detached(struct ssh_session *session, const struct ssh_detached_request *request,
    struct ssh_detached_result *result, op_done_fn *done, void *context)
{
    struct detached *detached = mem_new(struct detached);
    detached->op = (struct op){on_cancel, done, context};
    detached->session = session;
    detached->base = mem_strdup(request->base);
    detached->id = mem_strdup(request->id);
    detached->command = mem_strdup(request->command);
    detached->local_path = mem_strdup(request->local_path);
    detached->script_path = mem_strdup(request->script_path);
    detached->environment = mem_strdup(request->environment);
    detached->secrets = mem_strdup(request->secrets);
    detached->n_secret_lines = request->n_secret_lines;
    detached->take_secrets = mem_strdup(request->take_secrets);
    detached->offset = request->offset;
    detached->timeout_s = request->timeout_s;
    detached->must_exist = request->must_exist;
    detached->is_last = request->is_last;
    detached->output = request->output;
    detached->output_context = request->output_context;
    detached->answer = BUF_INIT(ANSWER_MAX);
    detached->result = result;
    follow(detached);
    return &detached->op;
}
