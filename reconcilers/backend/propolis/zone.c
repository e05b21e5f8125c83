/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/backend/propolis/zone.h"

#include <stdlib.h>
#include <string.h>

#include "reconcilers/backend/propolis/script.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

static struct zone_facts parse_line(char *id, char *state)
{
    bool is_alive = !text_eq(id, "-");
    return (struct zone_facts){
        .is_known = true,
        .is_installed = !text_eq(state, "configured") && !text_eq(state, "incomplete"),
        .is_alive = is_alive,
        .id = is_alive ? (int32_t)strtol(id, NULL, 10) : 0,
    };
}

struct zone_facts zone_parse(const char *list, const char *name)
{
    cleanup_free char *copy = mem_strdup(list);
    char *rest = copy;
    for (char *line; (line = strsep(&rest, "\n"));) {
        char *id = strsep(&line, ":");
        char *zone = line ? strsep(&line, ":") : NULL;
        char *state = line ? strsep(&line, ":") : NULL;
        if (state && text_eq(zone, name)) {
            return parse_line(id, state);
        }
    }
    return (struct zone_facts){.is_known = false};
}

/* Reads the state, changes it if necessary, reads it again: a second call only reads. After a kill,
 * the next controller's first read shows whether the command has run. */
struct zone_work {
    char *name;
    const char *command; /* NULL: only reads the state */
    bool wants_alive;
    enum { BEGINNING, READING, ACTING, READING_AGAIN } stage;
    struct zone_facts *ret; /* borrowed from the caller, until `done` */
};

static void free_work(void *context)
{
    struct zone_work *work = context;
    free(work->name);
    free(work);
}

static int handle_state(
    struct zone_work *work, const char *list, struct script_step *ret, struct error *err)
{
    struct zone_facts facts = zone_parse(list, work->name);
    if (!work->command || facts.is_alive == work->wants_alive) {
        *work->ret = facts;
        return 0;
    }
    if (work->wants_alive && !facts.is_installed) {
        error_set(err, ERR_BACKEND_UNAVAILABLE, "there is no installed zone '%s'", work->name);
        return error_help(err,
            "configure one of brand nebula-vm: zonecfg -z %s; then zoneadm -z %s install",
            work->name, work->name);
    }
    if (work->stage == READING_AGAIN) {
        return error_set(err, ERR_IO, "zoneadm %s succeeded, but zone '%s' is %s", work->command,
            work->name, facts.is_alive ? "still alive" : "down");
    }
    work->stage = ACTING;
    *ret = (struct script_step){{"zoneadm", "-z", work->name, work->command},
        .what = work->wants_alive ? "boot zone" : "halt zone"};
    return 0;
}

static int zone_next(void *context, const char *output, struct script_step *ret, struct error *err)
{
    struct zone_work *work = context;
    if (work->stage == BEGINNING || work->stage == ACTING) {
        work->stage++;
        *ret = (struct script_step){{"zoneadm", "list", "-cp"}, .what = "find zone"};
        return 0;
    }
    return handle_state(work, output, ret, err);
}

static struct op *zone_start(struct loop *loop, const char *name, const char *command,
    bool wants_alive, struct zone_facts *ret, op_done_fn *done, void *context)
{
    struct zone_work *work = mem_new(struct zone_work);
    work->name = mem_strdup(name);
    work->command = command;
    work->wants_alive = wants_alive;
    work->ret = ret;
    return script_start(loop, name, zone_next, free_work, work, done, context);
}

struct op *zone_poll(
    struct loop *loop, const char *name, struct zone_facts *ret, op_done_fn *done, void *context)
{
    return zone_start(loop, name, NULL, false, ret, done, context);
}

struct op *zone_boot(
    struct loop *loop, const char *name, struct zone_facts *ret, op_done_fn *done, void *context)
{
    return zone_start(loop, name, "boot", true, ret, done, context);
}

struct op *zone_halt(
    struct loop *loop, const char *name, struct zone_facts *ret, op_done_fn *done, void *context)
{
    return zone_start(loop, name, "halt", false, ret, done, context);
}
