/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/backend/propolis/script.h"

#include <stdlib.h>
#include <string.h>

#include "controller/loop/child.h"
#include "reconcilers/backend/propolis/propolis.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"

enum { OUTPUT_MAX = 16 << 20 }; /* a line for each dataset and snapshot of the host */

struct script {
    struct op op; /* first: the caller holds a pointer to it */
    struct loop *loop;
    struct op *child;
    const char *what;
    char *name;
    script_next_fn *next;
    void (*free_context)(void *context);
    void *context;
};

static void cancel_script(struct op *op)
{
    struct script *script = (struct script *)(void *)op;
    op_cancel(script->child);
    script->free_context(script->context);
    free(script->name);
    free(script);
}

static void on_child(void *context, const struct error *child_err, const char *output);

static void script_run(struct script *script, const struct script_step *step)
{
    const struct child_request request = {
        .argv = step->argv,
        .timeout_ms = PROPOLIS_TOOL_TIMEOUT_MS,
        .output_max = OUTPUT_MAX,
    };
    script->what = step->what;
    script->child = child_start(script->loop, &request, on_child, script);
}

static void on_child(void *context, const struct error *child_err, const char *output)
{
    struct script *script = context;
    struct script_step step = {.what = NULL};
    struct error err = {.code = ERR_NONE};
    script->child = NULL;
    if (child_err) {
        (void)child_error(
            &err, child_err->code, child_err, "cannot %s '%s'", script->what, script->name);
        op_finish(&script->op, &err);
    } else if (script->next(script->context, output, &step, &err) < 0) {
        op_finish(&script->op, &err);
    } else if (!step.argv[0]) {
        op_finish(&script->op, NULL);
    } else {
        script_run(script, &step);
    }
}

struct op *script_start(struct loop *loop, const char *name, script_next_fn *next,
    void (*free_context)(void *context), void *context, op_done_fn *done, void *done_context)
{
    struct script *script = mem_new(struct script);
    *script = (struct script){
        .op = {cancel_script, done, done_context},
        .loop = loop,
        .name = mem_strdup(name),
        .next = next,
        .free_context = free_context,
        .context = context,
    };
    struct script_step step = {.what = NULL};
    struct error unused = {.code = ERR_NONE};
    (void)next(context, "", &step, &unused);
    script_run(script, &step);
    return &script->op;
}

bool script_has_line(const char *output, const char *line)
{
    size_t length = strlen(line);
    for (const char *at = output; at && *at; at = strchr(at, '\n')) {
        at += *at == '\n';
        bool is_same = strncmp(at, line, length) == 0;
        if (is_same && (at[length] == '\n' || at[length] == '\0')) {
            return true;
        }
    }
    return false;
}
