/* SPDX-License-Identifier: MPL-2.0 */
/* Requests for images between the store and their reconciler, and the list of VMs that goes with
 * them. */
#include "tests/support/loop_fake.h"
#include "tests/unit/controller/controller_fixture.h"

enum { MANY = 100 };

struct table {
    struct reconciler reconciler; /* first */
    struct fixture *f;
    int n_listed;
    int n_seen;       /* passes */
    int n_before_vms; /* passes over images before the first one over a VM; -1: none was yet */
    int step;
    int n_committed;
};

static struct table *table_of(struct reconciler *self)
{
    return (struct table *)(void *)self;
}

static void list_requests(struct reconciler *self)
{
    struct table *table = table_of(self);
    struct reconciler_host *host = table->f->host;
    cleanup_json json_t *images = NULL;
    struct error err = {0};
    const char *key;
    json_t *record;
    table->n_listed++;
    assert_int_equal(store_list_json(host->store, STORE_IMAGES, &images, &err), 0);
    json_object_foreach(images, key, record)
    {
        host->wake(host, key_of(KEY_IMAGE, key), WORK_EVENT);
    }
}

static void on_written(void *context)
{
    ((struct table *)context)->n_committed++;
}

/* Writes "running", then "done", then nothing, then removes the record. */
static struct verdict see_request(struct reconciler *self, const char *name, struct patch *patch)
{
    static const char *const states[] = {"running", "done", NULL};
    struct table *table = table_of(self);
    table->n_seen++;
    if (table->f->n_passes == 0) {
        table->n_before_vms = table->n_seen;
    }
    if (table->step == 0) {
        return when_woken;
    }
    cleanup_json json_t *stored = table->f->host->image_record(table->f->host, name);
    const char *state = states[table->step - 1];
    cleanup_json json_t *next = state ? json_pack("{s:s}", "state", state) : NULL;
    patch->batch = store_batch_new();
    store_batch_expect_json(patch->batch, STORE_IMAGES, name, stored);
    store_batch_put_json(patch->batch, STORE_IMAGES, name, next);
    patch->committed = on_written;
    patch->context = table;
    return (struct verdict){.requeue_ms = table->step++ == 1 ? VERDICT_NOW : VERDICT_WHEN_WOKEN};
}

static void free_table(struct reconciler *self)
{
    free(self);
}

static struct table *add_table(struct fixture *f)
{
    struct table *table = mem_new(struct table);
    table->f = f;
    table->reconciler = (struct reconciler){
        .kind = KEY_IMAGE, .reconcile = see_request, .list = list_requests, .free = free_table};
    controller_add(f->controller, &table->reconciler);
    return table;
}

static void put(struct fixture *f, const char *key, const char *url)
{
    cleanup_json json_t *record = json_object();
    json_put_text(record, "url", url);
    struct store_batch *batch = store_batch_new();
    store_batch_put_json(batch, STORE_IMAGES, key, record);
    commit(f, batch);
}

static const char *state_of(struct fixture *f, const char *key, json_t **ret)
{
    struct error err = {0};
    json_decref(TAKE_PTR(*ret));
    assert_int_equal(store_get_json(f->store, STORE_IMAGES, key, ret, &err), 0);
    return json_text(*ret, "state");
}

static void requests_are_listed_at_the_start_and_at_each_ring_even_without_vms(void **state)
{
    struct fixture *f = *state;
    struct table *table = add_table(f);
    put(f, "wish/1", "http://x/1");
    start_and_settle(f);
    assert_int_equal(table->n_listed, 1);
    assert_int_equal(table->n_seen, 1);
    put(f, "wish/2", "http://x/2");
    ring(f);
    settle(f);
    assert_int_equal(table->n_listed, 2);
    assert_int_equal(table->n_seen, 3);
    loop_fake_advance(f->loop, 15 * MINUTE_MS); /* and at the resync */
    assert_true(table->n_listed >= 3);
}

static void records_are_written_in_order_and_removed(void **state)
{
    struct fixture *f = *state;
    struct table *table = add_table(f);
    cleanup_json json_t *found = NULL;
    put(f, "wish/1", "http://x/1");
    table->step = 1;
    start_and_settle(f);
    assert_string_equal(state_of(f, "wish/1", &found), "done");
    assert_int_equal(table->n_committed, 2);
    f->host->wake(f->host, key_of(KEY_IMAGE, "wish/1"), WORK_EVENT);
    settle(f);
    assert_true(bell_watch_drain(&f->status_bell));
    assert_null(state_of(f, "wish/1", &found));
    assert_null(found);
    assert_int_equal(table->n_committed, 3);
}

/* The user's change of a VM overtakes them. */
static void many_requests_hold_up_no_vm(void **state)
{
    struct fixture *f = *state;
    struct table *table = add_table(f);
    create_vm(f, "a");
    start_and_settle(f);
    for (int i = 0; i < MANY; i++) {
        cleanup_free char *key = mem_printf("wish/%d", i);
        put(f, key, "http://x/");
    }
    table->n_before_vms = -1;
    change_vm(f, "a", new_generation);
    ring(f);
    settle(f);
    assert_int_equal(f->passes[0].generation, 2);
    assert_int_equal(table->n_before_vms, -1);
    assert_int_equal(table->n_seen, MANY);
}

struct names {
    char text[64];
};

static void add_name(void *context, const struct vm_view *view)
{
    struct names *names = context;
    size_t n = strlen(names->text);
    assert_non_null(view->status);
    snprintf(names->text + n, sizeof(names->text) - n, "%s%s ", view->name,
        view->desired ? "" : "(orphan)");
}

static void every_vm_is_shown_with_a_status(void **state)
{
    struct fixture *f = *state;
    struct names names = {""};
    struct error err = {0};
    create_vm(f, "b");
    create_vm(f, "a");
    struct vm_status *status = vm_status_new("00000000000000000000000000000001");
    struct store_batch *batch = store_batch_new();
    store_batch_put_status(batch, "gone", status);
    commit(f, batch);
    vm_status_free(status);
    assert_int_equal(f->host->each_vm(f->host, add_name, &names, &err), 0);
    assert_string_equal(names.text, "a b gone(orphan) ");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(requests_are_listed_at_the_start_and_at_each_ring_even_without_vms),
        TEST(records_are_written_in_order_and_removed),
        TEST(many_requests_hold_up_no_vm),
        TEST(every_vm_is_shown_with_a_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
