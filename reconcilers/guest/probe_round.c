/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/guest/probe_round.h"

#include <stdlib.h>
#include <string.h>

#include "controller/loop/loop.h"
#include "reconcilers/guest/probe_dial.h"
#include "reconcilers/guest/probe_http.h"
#include "reconcilers/guest/run_probe.sh.h"
#include "reconcilers/ssh/ssh.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

struct probe_round {
    struct op op; /* first */
    struct probe_round_request request;
    size_t index; /* of the probe under way */
    struct op *inner;
    struct loop_timer *start;
    struct buf answer; /* of HTTP: up to the status line; of a command: its first output */
    struct ssh_exit exit;
};

char *probe_describe(const struct spec_probe *probe)
{
    switch (probe->kind) {
    case PROBE_TCP:
        return mem_printf("tcp %u", probe->port);
    case PROBE_HTTP:
        return mem_printf("http %s port %u", probe->text, probe->port);
    default:
        return mem_printf("exec '%s'", probe->text);
    }
}

static const struct spec_probe *current(const struct probe_round *round)
{
    return &round->request.check->probes[round->index];
}

/* ---- the end ---- */

static void on_cancel(struct op *op)
{
    struct probe_round *round = (struct probe_round *)(void *)op;
    op_cancel(round->inner);
    loop_timer_free(round->start);
    buf_clear(&round->answer);
    free(round);
}

static void round_finish(struct probe_round *round, struct error *err)
{
    if (err) {
        cleanup_free char *what = probe_describe(current(round));
        error_wrap(err, "%s", what);
    }
    op_finish(&round->op, err);
}

/* ---- one probe ---- */

/* The first line of a failed command usually is the reason. */
static int judge_command(const struct probe_round *round, struct error *err)
{
    const struct ssh_exit *exit = &round->exit;
    const char *output = buf_str(&round->answer);
    int length = (int)strcspn(output, "\r\n");
    if (exit->status == 0) {
        return 0;
    }
    if (exit->status < 0) {
        return error_set(err, ERR_PROBE, "ended by signal %s", exit->signal);
    }
    return error_set(err, ERR_PROBE, "exited with status %d%s%.*s", exit->status,
        length > 0 ? ": " : "", length, output);
}

static int judge(const struct probe_round *round, struct error *err)
{
    switch (current(round)->kind) {
    case PROBE_HTTP:
        return http_probe_judge(buf_str(&round->answer), err);
    case PROBE_EXEC:
        return judge_command(round, err);
    default:
        return 0; /* it is open */
    }
}

static void start_probe(struct probe_round *round);

static void on_probed(void *context, const struct error *err)
{
    struct probe_round *round = context;
    struct error failure = err ? *err : (struct error){.code = ERR_NONE};
    round->inner = NULL;
    if (err || judge(round, &failure) < 0) {
        round_finish(round, &failure);
    } else if (round->index + 1 < round->request.check->n_probes) {
        round->index++;
        start_probe(round);
    } else {
        round_finish(round, NULL);
    }
}

static void on_output(void *context, const char *bytes, size_t n)
{
    struct buf *answer = &((struct probe_round *)context)->answer;
    size_t room = answer->max - answer->len;
    buf_add(answer, bytes, n < room ? n : room);
}

/* The guest ends the command a second later than we stop waiting: the timeout is reported as one.
 */
static struct op *start_command(struct probe_round *round, int64_t timeout_ms)
{
    cleanup_buf struct buf command = BUF_INIT(0);
    buf_add_str(&command, "exec sh -c ");
    text_add_shell_word(&command, run_probe_sh);
    buf_printf(&command, " sh %lld ", (long long)timeout_ms / 1000 + 1);
    text_add_shell_word(&command, current(round)->text);
    struct ssh_exec_request request = {
        .command = buf_str(&command),
        .output = on_output,
        .output_context = round,
        .timeout_ms = timeout_ms,
    };
    return ssh_exec(round->request.session, &request, &round->exit, on_probed, round);
}

/* The one for a port of the guest; the VMFile was checked to have it. NULL: none, as the guest has
 * an address of its own. */
static const struct spec_forward *find_forward(const struct vm_spec *spec, uint16_t guest_port)
{
    for (size_t i = 0; network_has_forwards(spec->network.mode) && i < spec->network.n_forwards;
         i++) {
        const struct spec_forward *forward = &spec->network.forwards[i];
        if (forward->protocol == FORWARD_TCP && forward->guest_port == guest_port) {
            return forward;
        }
    }
    return NULL;
}

static struct op *start_dial(struct probe_round *round, int64_t timeout_ms)
{
    const struct spec_probe *probe = current(round);
    const struct probe_round_request *request = &round->request;
    cleanup_free char *text =
        probe->kind == PROBE_HTTP ? http_probe_request(probe->text, probe->port) : NULL;
    if (request->session) {
        struct ssh_dial_request inside = {probe->port, text, http_probe_is_complete, timeout_ms};
        return ssh_dial(request->session, &inside, &round->answer, on_probed, round);
    }
    const struct spec_forward *forward = find_forward(request->spec, probe->port);
    struct dial_request outside = {forward ? forward_local_address(forward) : request->host,
        forward ? forward->host_port : probe->port, text, http_probe_is_complete, timeout_ms};
    return dial(request->loop, &outside, &round->answer, on_probed, round);
}

static void start_probe(struct probe_round *round)
{
    int64_t timeout_ms = (int64_t)round->request.check->timeout_s * 1000;
    buf_reset(&round->answer);
    if (current(round)->kind != PROBE_EXEC) {
        round->inner = start_dial(round, timeout_ms);
    } else if (round->request.session) {
        round->inner = start_command(round, timeout_ms);
    } else { /* a record from before the VM lost its `ssh`: VMFiles are checked */
        struct error err = {.code = ERR_NONE};
        error_set(&err, ERR_PROBE, "it runs over SSH, which this VM does not have");
        round_finish(round, &err);
    }
}

static void on_start(void *context)
{
    struct probe_round *round = context;
    if (round->request.check->n_probes == 0) {
        round_finish(round, NULL);
        return;
    }
    start_probe(round);
}

struct op *probe_round_start(
    const struct probe_round_request *request, op_done_fn *done, void *context)
{
    struct probe_round *round = mem_new(struct probe_round);
    round->op = (struct op){on_cancel, done, context};
    round->request = *request;
    round->answer = BUF_INIT(HTTP_ANSWER_MAX);
    round->start = loop_timer_new(request->loop, on_start, round);
    loop_timer_start(round->start, 0);
    return &round->op;
}
