/* SPDX-License-Identifier: MPL-2.0 */
/* `list -A` reads summaries of other nodes' VMs: they say what the whole records say, whichever
 * version has mirrored them and whatever comes in between. */
#include "tests/unit/store/store_fixture.h"

#include "cli/cli.h"
#include "cli/fleet/fleet_view.h"
#include "controller/fleet/engine.h"
#include "controller/fleet/mirror.h"
#include "specs/base/cleanup.h"
#include "specs/fleet/fleet_config.h"
#include "specs/vm/vm_desired.h"
#include "specs/vm/vm_status.h"

#define PREFIX "/vmctl/1/home/"

/* ---- a host of a fleet ---- */

struct host {
    struct fixture *f;
    struct cli cli;
    struct mirror *mirror;
    int64_t revision;
};

static struct host *host_new(struct fixture *f)
{
    static const char config[] =
        "{\"fleet\":\"home\",\"uid\":\"f-1\",\"node\":\"a\",\"ssh\":\"me@a\","
        "\"endpoints\":[\"https://x\"]}";
    struct error err = {.code = ERR_NONE};
    struct host *host = mem_new(struct host);
    cleanup_free char *dir = paths_path(&f->paths, "fleet");
    cleanup_free char *path = paths_path(&f->paths, FLEET_CONFIG_FILE);
    must(fs_make_dirs(dir, 0700, &err), &err);
    must(fs_write_file(path, config, strlen(config), 0600, &err), &err);
    host->f = f;
    host->cli.paths = f->paths;
    host->cli.store = f->store;
    host->mirror = mirror_new(f->store, PREFIX);
    return host;
}

static void host_free(struct host *host)
{
    mirror_free(host->mirror);
    free(host);
}

static void show(struct host *host, const char *row, const char *text)
{
    struct error err = {.code = ERR_NONE};
    cleanup_free char *key = mem_printf(PREFIX "%s", row);
    const struct engine_event event = {.kind = text ? ENGINE_WAS_PUT : ENGINE_WAS_DELETED,
        .row = {.key = key,
            .value = {text, text ? strlen(text) : 0},
            .mod_revision = ++host->revision}};
    must(mirror_update(host->mirror, &event, 1, 0, &err), &err);
}

static void replace(struct host *host, const char *row, const char *text)
{
    struct error err = {.code = ERR_NONE};
    cleanup_free char *key = mem_printf(PREFIX "%s", row);
    struct engine_row only = {.key = key, .value = {text, strlen(text)}, .mod_revision = 1};
    const struct engine_rows rows = {.rows = &only, .n = 1, .revision = ++host->revision};
    must(mirror_replace(host->mirror, &rows, 0, &err), &err);
}

/* As an older messenger, or a newer one, has mirrored it. */
static void put(struct host *host, const char *row, const char *text)
{
    struct error err = {.code = ERR_NONE};
    struct store_batch *batch = store_batch_new();
    cleanup_json json_t *json = json_loads(text, JSON_DECODE_ANY, NULL);
    assert_non_null(json);
    store_batch_put_json(batch, STORE_FLEET, row, json);
    must(store_commit(host->f->store, batch, &err), &err);
    store_batch_free(batch);
}

static json_t *stored(struct host *host, const char *row)
{
    struct error err = {.code = ERR_NONE};
    json_t *json = NULL;
    must(store_get_json(host->f->store, STORE_FLEET, row, &json, &err), &err);
    return json;
}

static bool has_summary(struct host *host, const char *row)
{
    cleanup_json json_t *json = stored(host, row);
    return fleet_summary_remove(json);
}

/* ---- what is published ---- */

static char *desired_text(uint32_t vcpus, const char *move_to)
{
    struct vm_desired *desired = a_desired("web", vcpus);
    desired->fleet.epoch = 1;
    desired->fleet.move_to = move_to ? mem_strdup(move_to) : NULL;
    cleanup_json json_t *json = vm_desired_to_json(desired);
    vm_desired_free(desired);
    return json_canonical(json);
}

static char *status_text(enum reason reason, const char *message, bool has_desired)
{
    struct vm_desired *desired = a_desired("web", 3);
    struct vm_status *status = vm_status_new(desired->uid);
    vm_status_set(status, CONDITION_READY, CONDITION_FALSE, reason, message, 1);
    vm_status_set(status, CONDITION_RUNNING, CONDITION_FALSE, reason, message, 1);
    cleanup_json json_t *json = json_object();
    json_put_text(json, "session", "s-1");
    json_put(json, "status", vm_status_public(status));
    if (has_desired) {
        json_put(json, "desired", vm_desired_to_json(desired));
    }
    vm_status_free(status);
    vm_desired_free(desired);
    return json_canonical(json);
}

/* ---- the two ways to read them ---- */

static void assert_same(const struct fleet_view *view, const struct fleet_listed *vm)
{
    bool is_current;
    struct desired_summary desired = {.vcpus = 0};
    struct status_summary status = {.pid = 0};
    cleanup_with(vm_record_clear) struct vm_record record =
        fleet_view_record(view, vm->node, vm->name, &is_current);
    assert_int_equal(vm->summary.has_desired, record.desired != NULL);
    assert_int_equal(vm->summary.has_status, record.status != NULL);
    assert_int_equal(!vm->summary.has_desired || vm->summary.is_status_damaged, record.is_damaged);
    const char *session = fleet_view_session(view, vm->node);
    bool is_same = session && text_eq(vm->summary.session, session);
    assert_int_equal(vm->summary.has_status && is_same, is_current);
    assert_string_equal(vm->summary.move_to,
        record.desired && record.desired->fleet.move_to ? record.desired->fleet.move_to : "");
    if (record.desired) {
        desired_summary_of(record.desired, &desired);
    }
    if (record.status) {
        status_summary_of(record.status, &status);
    }
    cleanup_buf struct buf expected = BUF_INIT(0), listed = BUF_INIT(0);
    desired_summary_write_line(&expected, &desired);
    status_summary_write_line(&expected, &status);
    desired_summary_write_line(&listed, &vm->summary.desired);
    status_summary_write_line(&listed, &vm->summary.status);
    assert_string_equal(buf_str(&listed), buf_str(&expected));
}

/* Lists `count` VMs, and all as their whole records say. */
static void assert_lists(struct host *host, size_t count)
{
    struct error err = {.code = ERR_NONE};
    struct fleet_list list = {.count = 0};
    cleanup_with(fleet_view_clear) struct fleet_view few = {.config = NULL}, all = {.config = NULL};
    must(fleet_list_read(&host->cli, &few, &list, &err), &err);
    must(fleet_view_read(&host->cli, &all, &err), &err);
    assert_int_equal(list.count, count);
    for (size_t i = 0; i < list.count; i++) {
        assert_same(&all, &list.items[i]);
        cleanup_free char *row = fleet_row(FLEET_KIND_STATUS, list.items[i].node, "web");
        assert_null(fleet_view_row(&few, row));
    }
    fleet_list_clear(&list);
}

/* ---- the tests ---- */

static void a_summary_says_what_the_record_says(void **state)
{
    struct host *host = host_new(*state);
    static const struct {
        uint32_t vcpus;
        enum reason reason;
        const char *message, *move_to;
        bool has_desired;
    } times[] = {
        {2, REASON_READY, NULL, NULL, true},
        {3, REASON_PORT_CONFLICT, "port \"22\"\tis taken\nby another", NULL, false},
        {3, REASON_STOPPED, "", "c", false},
        {1, REASON_STOPPED, "\\ \xc3\xa9", "not a node/", true},
    };
    show(host, "alive/b", "{\"session\":\"s-1\"}");
    for (size_t i = 0; i < ARRAY_LEN(times); i++) {
        cleanup_free char *desired = desired_text(times[i].vcpus, times[i].move_to);
        cleanup_free char *status =
            status_text(times[i].reason, times[i].message, times[i].has_desired);
        show(host, "st/b/web", status);
        assert_true(has_summary(host, "st/b/web"));
        assert_lists(host, 1);
        show(host, "vm/b/web", desired);
        assert_true(has_summary(host, "vm/b/web"));
        if (i < 3) { /* where one moves that is no node's name is not shown */
            assert_lists(host, 1);
        }
    }
    show(host, "st/b/web", NULL);
    show(host, "vm/b/web", NULL);
    assert_lists(host, 0);
    host_free(host);
}

static void rows_without_a_summary_are_listed_from_the_records(void **state)
{
    struct host *host = host_new(*state);
    cleanup_free char *desired = desired_text(2, NULL);
    cleanup_free char *status = status_text(REASON_STOPPED, "off", false);
    cleanup_free char *newer = mem_printf("{\"#\":\"s-1\\n\\nv99\\tx\\nv99\\ty\",%s", status + 1);
    put(host, "st/b/web", status);
    put(host, "vm/b/web", desired);
    put(host, "st/c/web", newer);
    assert_lists(host, 2);
    host_free(host);
}

/* An older messenger writes the record without the member: no summary of before is left. */
static void an_older_messengers_row_has_no_summary_of_before(void **state)
{
    struct host *host = host_new(*state);
    cleanup_free char *before = status_text(REASON_READY, NULL, true);
    cleanup_free char *after = status_text(REASON_STOPPED, "off", true);
    show(host, "st/b/web", before);
    put(host, "st/b/web", after);
    assert_lists(host, 1);
    host_free(host);
}

static void a_row_that_another_node_gives_a_summary_gets_its_own(void **state)
{
    struct host *host = host_new(*state);
    cleanup_free char *status = status_text(REASON_STOPPED, "off", true);
    cleanup_free char *before = status_text(REASON_READY, NULL, true);
    show(host, "st/b/web", before);
    cleanup_json json_t *summary = stored(host, "st/b/web");
    cleanup_json json_t *forged = json_loads(status, 0, NULL);
    json_put(forged, "#", json_incref(json_object_get(summary, "#")));
    cleanup_free char *text = json_canonical(forged);
    show(host, "st/b/web", text);
    assert_lists(host, 1);
    replace(host, "st/b/web", text);
    assert_lists(host, 1);
    host_free(host);
}

static void a_damaged_record_is_listed_as_one_and_gets_no_summary(void **state)
{
    struct host *host = host_new(*state);
    static const char *const rows[] = {"{\"session\":\"s-1\",\"status\":{\"uid\":1}}",
        "{\"session\":\"s-1\",\"desired\":5}", "{\"session\":[]}", "{}"};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        show(host, "st/b/web", rows[i]);
        assert_lists(host, 1);
    }
    show(host, "st/b/web", rows[0]);
    assert_false(has_summary(host, "st/b/web"));
    host_free(host);
}

static void a_read_of_all_adds_summaries_and_writes_no_more(void **state)
{
    struct host *host = host_new(*state);
    cleanup_free char *status = status_text(REASON_STOPPED, "off", true);
    put(host, "st/b/web", status);
    replace(host, "st/b/web", status);
    assert_true(has_summary(host, "st/b/web"));
    uint64_t commits = store_commits(host->f->store);
    replace(host, "st/b/web", status);
    assert_int_equal(store_commits(host->f->store), commits);
    replace(host, "st/b/web", "{\"desired\":5}");
    commits = store_commits(host->f->store);
    replace(host, "st/b/web", "{\"desired\":5}");
    assert_int_equal(store_commits(host->f->store), commits);
    assert_lists(host, 1);
    host_free(host);
}

int main(void)
{
#define IN_STORE(test) cmocka_unit_test_setup_teardown(test, fixture_set_up_open, fixture_tear_down)
    const struct CMUnitTest tests[] = {
        IN_STORE(a_summary_says_what_the_record_says),
        IN_STORE(rows_without_a_summary_are_listed_from_the_records),
        IN_STORE(an_older_messengers_row_has_no_summary_of_before),
        IN_STORE(a_row_that_another_node_gives_a_summary_gets_its_own),
        IN_STORE(a_damaged_record_is_listed_as_one_and_gets_no_summary),
        IN_STORE(a_read_of_all_adds_summaries_and_writes_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
