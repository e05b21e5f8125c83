/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/fleet/fleet_ask.h"

#include "specs/base/cleanup.h"
#include "specs/base/enum_names.h"
#include "specs/base/error.h"

json_t *fleet_ask_new(int64_t now_ms)
{
    json_t *ask = json_object();
    json_put_int(ask, "at", now_ms);
    json_put(ask, "changes", json_array());
    return ask;
}

void fleet_ask_add(json_t *ask, const char *node, json_t *change_take)
{
    json_t *item = json_object();
    json_put_text(item, "node", node);
    json_put(item, "change", change_take);
    (void)json_array_append_new(json_object_get(ask, "changes"), item);
}

void fleet_ask_add_other(json_t *ask, const char *node)
{
    const json_t *changes = json_object_get(ask, "changes");
    json_t *item = json_array_get(changes, json_array_size(changes) - 1);
    json_t *others = json_object_get(item, "others");
    if (!others) {
        others = json_array();
        json_put(item, "others", others);
    }
    (void)json_array_append_new(others, json_string(node));
}

static const char *const verb_table[] = {
    [FLEET_MOVE_BEGIN] = "begin",
    [FLEET_MOVE_CANCEL] = "cancel",
    [FLEET_MOVE_RECREATE] = "recreate",
    [FLEET_MOVE_DESTROY] = "destroy",
};
static const struct enum_names verb_words = {verb_table, ARRAY_LEN(verb_table)};
_Static_assert(ARRAY_LEN(verb_table) == FLEET_MOVE_VERB_COUNT_, "every verb has its word");

json_t *fleet_ask_new_move(int64_t now_ms, const struct fleet_move *move)
{
    json_t *ask = json_object(), *json = json_object();
    json_put_text(json, "name", move->name);
    json_put_text(json, "verb", enum_names_at(&verb_words, move->verb));
    json_put_text(json, "to", move->to);
    json_put_flag(json, "stops", move->stops);
    json_put_flag(json, "leavesSnapshots", move->leaves_snapshots);
    json_put_flag(json, "isOff", move->is_off);
    json_put_int(ask, "at", now_ms);
    json_put(ask, "move", json);
    return ask;
}

bool fleet_ask_is_move(const json_t *ask)
{
    return json_object_get(ask, "move") != NULL;
}

bool fleet_ask_read_move(const json_t *ask, struct fleet_move *ret)
{
    const json_t *json = json_object_get(ask, "move");
    const char *name = json_text(json, "name"), *word = json_text(json, "verb");
    int verb = enum_names_find(&verb_words, word);
    *ret = (struct fleet_move){.name = name,
        .to = json_text(json, "to"),
        .stops = json_flag(json, "stops", false),
        .leaves_snapshots = json_flag(json, "leavesSnapshots", false),
        .is_off = json_flag(json, "isOff", false)};
    if (!name || verb < 0) {
        return false;
    }
    ret->verb = (enum fleet_move_verb)verb;
    return ret->to || ret->verb == FLEET_MOVE_DESTROY || ret->verb == FLEET_MOVE_CANCEL;
}

json_t *fleet_ask_new_republish(int64_t now_ms)
{
    json_t *ask = json_object();
    json_put_int(ask, "at", now_ms);
    json_put(ask, "republish", json_array());
    return ask;
}

void fleet_ask_add_republish(json_t *ask, const char *name)
{
    (void)json_array_append_new(json_object_get(ask, "republish"), json_string(name));
}

bool fleet_ask_is_republish(const json_t *ask)
{
    return json_is_array(json_object_get(ask, "republish"));
}

const json_t *fleet_ask_answers(const json_t *ask)
{
    const json_t *answers = json_object_get(ask, "answers");
    return json_is_array(answers) ? answers : NULL;
}

json_t *fleet_answer_of_error(const char *name, const char *node, const struct error *err)
{
    json_t *answer = json_object(), *error = json_object();
    json_put_text(error, "code", error_code_name(err->code));
    json_put_text(error, "message", err->message);
    json_put_text(error, "help", err->help[0] ? err->help : NULL);
    json_put_text(answer, "name", name);
    json_put_text(answer, "node", node);
    json_put(answer, "error", error);
    return answer;
}

int fleet_answer_error(const json_t *answer, struct error *err)
{
    const json_t *error = json_object_get(answer, "error");
    const char *code_name = json_text(error, "code"), *message = json_text(error, "message");
    const char *help = json_text(error, "help");
    enum error_code code = code_name ? error_code_find(code_name) : ERR_NONE;
    if (!error) {
        return 0;
    }
    (void)error_set(
        err, code ? code : ERR_VM_FAILED, "%s", message ? message : "it could not be done");
    return help ? error_help(err, "%s", help) : -(int)err->code;
}
