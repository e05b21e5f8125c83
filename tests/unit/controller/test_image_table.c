/* SPDX-License-Identifier: MPL-2.0 */
/* The image table between the store and the reconciler, and the list of VMs that goes with it. */
#include "tests/support/loop_fake.h"
#include "tests/unit/controller/controller_fixture.h"

struct table {
    struct image_handler handler; /* first */
    int n_seen;
    json_t *last;
};

static struct table *of_fixture(struct fixture *f)
{
    return (struct table *)(void *)f->reconciler.images;
}

static void changed(struct image_handler *self, const json_t *images)
{
    struct table *table = (struct table *)(void *)self;
    table->n_seen++;
    json_decref(table->last);
    table->last = json_deep_copy(images);
}

static void free_table(struct image_handler *self)
{
    struct table *table = (struct table *)(void *)self;
    json_decref(table->last);
    free(table);
}

static int set_up_table(void **state)
{
    int rc = set_up(state);
    struct fixture *f = *state;
    struct table *table = mem_new(struct table);
    table->handler = (struct image_handler){.changed = changed, .free = free_table};
    f->reconciler.images = &table->handler;
    return rc;
}

static int tear_down_table(void **state)
{
    return tear_down(state);
}

static void put(struct fixture *f, const char *key, const char *url)
{
    cleanup_json json_t *record = json_object();
    json_put_text(record, "url", url);
    struct store_batch *batch = store_batch_new();
    store_batch_put_json(batch, STORE_IMAGES, key, record);
    commit(f, batch);
}

static const char *url_of(struct fixture *f, const char *key)
{
    return json_text(json_object_get(of_fixture(f)->last, key), "url");
}

static void the_table_is_shown_at_the_start_and_at_each_ring_even_without_vms(void **state)
{
    struct fixture *f = *state;
    put(f, "wish/1", "http://x/1");
    start_and_settle(f);
    assert_int_equal(of_fixture(f)->n_seen, 1);
    assert_string_equal(url_of(f, "wish/1"), "http://x/1");
    put(f, "wish/2", "http://x/2");
    ring(f);
    settle(f);
    assert_int_equal(of_fixture(f)->n_seen, 2);
    assert_string_equal(url_of(f, "wish/1"), "http://x/1");
    assert_string_equal(url_of(f, "wish/2"), "http://x/2");
}

static void records_are_written_in_order_and_removed(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    json_t *found = NULL;
    start_and_settle(f);
    f->host->write_image(f->host, "wish/1", json_pack("{s:s}", "state", "running"));
    f->host->write_image(f->host, "wish/1", json_pack("{s:s}", "state", "done"));
    settle(f);
    assert_true(bell_watch_drain(&f->status_bell));
    assert_int_equal(store_get_json(f->store, STORE_IMAGES, "wish/1", &found, &err), 0);
    assert_string_equal(json_text(found, "state"), "done");
    json_decref(TAKE_PTR(found));
    f->host->write_image(f->host, "wish/1", NULL);
    settle(f);
    assert_int_equal(store_get_json(f->store, STORE_IMAGES, "wish/1", &found, &err), 0);
    assert_null(found);
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
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up_table, tear_down_table)
    const struct CMUnitTest tests[] = {
        TEST(the_table_is_shown_at_the_start_and_at_each_ring_even_without_vms),
        TEST(records_are_written_in_order_and_removed),
        cmocka_unit_test_setup_teardown(every_vm_is_shown_with_a_status, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
