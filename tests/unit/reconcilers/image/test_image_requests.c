/* SPDX-License-Identifier: MPL-2.0 */
/* What `vmctl image` requests, against a real cache and a real store. */
#include "reconcilers/image/image_requests.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "reconcilers/image/image.h"
#include "reconcilers/image/image_file.h"
#include "reconcilers/image/image_work.h"
#include "reconcilers/media/media.h"
#include "reconcilers/vm/vm.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/image/image_request.h"
#include "store/batch.h"
#include "store/store.h"
#include "tests/support/http_server.h"
#include "tests/support/media_host.h"

enum { SIZE = 64 * 1024 };

struct fixture {
    struct media_host m; /* first: its host's functions find us by it */
    struct vm_registry *registry;
    struct reconciler *requests;
    struct store *store;
    struct workqueue *queue;
    bool is_outcome_lost; /* the commit of the next outcome loses a race */
    struct http_server *server;
    struct http_behaviour behaviour;
    uint8_t *bytes;
    char sha256[DIGEST_SIZE];
    char *url;
    /* the one VM of the store */
    struct vm_desired desired;
    struct vm_spec *spec; /* NULL: there is no VM */
    struct vm_status *status;
    bool is_store_damaged;
    size_t n_writes;
};

static struct fixture *of_host(struct reconciler_host *host)
{
    return (struct fixture *)(void *)host;
}

static void wake(struct reconciler_host *host, struct key key, enum work_priority priority)
{
    workqueue_add(of_host(host)->queue, key, priority);
}

/* What host.image_record() answers from, and the tests. */
static void read_table(struct fixture *f)
{
    struct error err = {0};
    json_decref(f->m.records);
    f->m.records = NULL;
    assert_int_equal(store_list_json(f->store, STORE_IMAGES, &f->m.records, &err), 0);
}

static void put(struct fixture *f, const char *key, json_t *record_take)
{
    struct error err = {0};
    cleanup_json json_t *record = record_take;
    struct store_batch *batch = store_batch_new();
    store_batch_put_json(batch, STORE_IMAGES, key, record);
    assert_int_equal(store_commit(f->store, batch, &err), 0);
    store_batch_free(batch);
    read_table(f);
}

static void commit_patch(struct fixture *f, struct key key, struct patch *patch)
{
    struct error err = {0};
    if (f->is_outcome_lost && patch->committed) {
        f->is_outcome_lost = false;
        workqueue_add(f->queue, key, WORK_EVENT);
    } else if (patch->batch) {
        f->n_writes++;
        if (store_commit(f->store, patch->batch, &err) < 0) {
            fail_msg("%s", err.message);
        }
        read_table(f);
        if (patch->committed) {
            patch->committed(patch->context);
        }
    }
    store_batch_free(patch->batch);
}

/* The controller's part: every key that is ready. */
static void make_passes(struct fixture *f)
{
    for (struct key key; (key = workqueue_take(f->queue, 0)).name;) {
        struct patch patch = {0};
        struct verdict verdict = f->requests->reconcile(f->requests, key.name, &patch);
        assert_false(verdict.is_failure);
        commit_patch(f, key, &patch);
        workqueue_done(f->queue, key);
    }
}

static int each_vm(struct reconciler_host *host,
    void (*each)(void *context, const struct vm_view *view), void *context, struct error *err)
{
    struct fixture *f = of_host(host);
    if (f->is_store_damaged) {
        return error_set(err, ERR_STORE, "the records of vm 'web' cannot be read");
    }
    if (f->spec) {
        char name[] = "web";
        f->desired.spec = f->spec;
        struct vm_view view = {.name = name, .desired = &f->desired, .status = f->status};
        each(context, &view);
    }
    return 0;
}

static void each_pin(void *registry, image_pin_fn *pin, void *context)
{
    vm_registry_each_pin(registry, pin, context);
}

static int setup(void **state)
{
    struct fixture *f = mem_new(struct fixture);
    media_host_setup(&f->m);
    struct error err = {0};
    assert_int_equal(store_open(&f->m.paths, &f->store, &err), 0);
    f->queue = workqueue_new();
    f->m.host.store = f->store;
    f->m.host.wake = wake;
    f->m.host.each_vm = each_vm;
    f->registry = vm_registry_new(&f->m.host);
    f->requests = image_requests_new(&f->m.host, (struct image_pins){each_pin, f->registry});
    f->bytes = media_host_bytes(SIZE, 5);
    digest_bytes(f->bytes, SIZE, f->sha256);
    f->server = http_server_start();
    f->behaviour = (struct http_behaviour){.body = f->bytes, .size = SIZE, .etag = "\"v1\""};
    http_server_behave(f->server, &f->behaviour);
    f->url = mem_printf("http://127.0.0.1:%u/disk.img", http_server_port(f->server));
    f->status = vm_status_new("0123");
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    f->requests->free(f->requests);
    vm_registry_free(f->registry);
    workqueue_free(f->queue);
    http_server_stop(f->server);
    vm_spec_free(f->spec);
    vm_status_free(f->status);
    free(f->bytes);
    free(f->url);
    store_close(f->store);
    media_host_teardown(&f->m);
    free(f);
    return 0;
}

/* ---- asking ---- */

static void look(struct fixture *f)
{
    f->requests->list(f->requests);
    make_passes(f);
}

static const json_t *record(const struct fixture *f, const char *key)
{
    return json_object_get(f->m.records, key);
}

static void ask(struct fixture *f, const char *key, json_t *request_take)
{
    put(f, key, request_take);
    look(f);
}

static bool is_answered(void *context)
{
    make_passes(context);
    return image_request_is_answered(record(context, "wish/1"));
}

static const json_t *answer_of(struct fixture *f)
{
    assert_true(media_host_wait_for(&f->m, is_answered, f));
    return record(f, "wish/1");
}

static const json_t *pull(struct fixture *f, const char *name, bool is_refresh)
{
    json_t *request = json_object();
    json_put_text(request, "verb", IMAGE_REQUEST_PULL);
    json_put_text(request, "url", f->url);
    json_put_text(request, "name", name);
    json_put_flag(request, "refresh", is_refresh);
    ask(f, "wish/1", request);
    const json_t *answer = answer_of(f);
    look(f);
    return answer;
}

static const json_t *remove_image(struct fixture *f, const char *digest)
{
    ask(f, "wish/1", json_pack("{s:s,s:[s]}", "verb", IMAGE_REQUEST_REMOVE, "images", digest));
    return answer_of(f);
}

static const json_t *prune(struct fixture *f, bool is_dry_run)
{
    ask(f, "wish/1", json_pack("{s:s,s:b}", "verb", IMAGE_REQUEST_PRUNE, "dryRun", is_dry_run));
    return answer_of(f);
}

static void assert_state(const json_t *answer, const char *state)
{
    assert_string_equal(json_text(answer, "state"), state);
}

static void assert_refused(const json_t *answer, enum error_code code, const char *words)
{
    struct error err = {0};
    assert_true(image_request_failure(answer, &err));
    assert_int_equal(err.code, code);
    assert_non_null(strstr(err.message, words));
}

static bool has_image(const struct fixture *f)
{
    cleanup_free char *path = paths_image(&f->m.paths, f->sha256);
    return fs_exists(path);
}

/* A VM that asks for `location`. */
static void add_vm(struct fixture *f, enum image_kind kind, const char *location)
{
    f->spec = vm_spec_new("web");
    f->spec->image.kind = kind;
    free(f->spec->image.location);
    f->spec->image.location = mem_strdup(location);
}

/* ---- pull ---- */

static void a_pull_files_names_and_records_the_image(void **state)
{
    struct fixture *f = *state;
    const json_t *answer = pull(f, "debian", false);
    assert_state(answer, "done");
    cleanup_free char *path = paths_image(&f->m.paths, f->sha256);
    cleanup_free char *name = paths_path(&f->m.paths, "images/debian");
    cleanup_free char *key = spec_image_record_key(&(struct spec_image){.location = f->url});
    assert_string_equal(json_text(answer, "path"), path);
    assert_string_equal(json_text(answer, "sha256"), f->sha256);
    assert_int_equal(json_int(answer, "size", 0), SIZE);
    assert_int_equal(fs_size(name), SIZE);
    assert_string_equal(json_text(record(f, key), "sha256"), f->sha256);
}

static void a_failed_pull_says_why(void **state)
{
    struct fixture *f = *state;
    f->behaviour.status = 404;
    http_server_behave(f->server, &f->behaviour);
    assert_refused(pull(f, NULL, false), ERR_IMAGE_NOT_FOUND, "disk.img");
    assert_true(json_int(record(f, "wish/1"), "endedAt", 0) > 0);
}

static void a_request_is_carried_out_once_however_often_it_is_looked_at(void **state)
{
    struct fixture *f = *state;
    json_t *request = json_object();
    json_put_text(request, "verb", IMAGE_REQUEST_PULL);
    json_put_text(request, "url", f->url);
    ask(f, "wish/1", request);
    look(f);
    (void)answer_of(f);
    size_t n_writes = f->n_writes;
    look(f);
    look(f);
    assert_int_equal(f->n_writes, n_writes);
    assert_int_equal(http_server_count(f->server), 1);
}

static void an_outcome_whose_commit_is_lost_is_written_by_the_next_pass(void **state)
{
    struct fixture *f = *state;
    f->is_outcome_lost = true;
    assert_state(pull(f, "debian", false), "done");
    assert_false(f->is_outcome_lost);
    assert_int_equal(http_server_count(f->server), 1);
    f->is_outcome_lost = true;
    const json_t *answer = remove_image(f, f->sha256);
    assert_state(answer, "done");
    assert_int_equal(json_array_size(json_object_get(answer, "removed")), 1);
    cleanup_free char *key = spec_image_record_key(&(struct spec_image){.location = f->url});
    assert_null(record(f, key));
    assert_false(f->is_outcome_lost);
}

/* Of the last request, which has the ETag of before, or none. */
static void assert_sent(struct fixture *f, const char *known_etag, size_t n_bytes)
{
    struct http_request last = http_server_request(f->server, http_server_count(f->server) - 1);
    assert_string_equal(last.if_none_match, known_etag);
    assert_int_equal(last.sent, n_bytes);
}

static void a_known_url_is_downloaded_again_once_it_has_changed(void **state)
{
    struct fixture *f = *state;
    f->behaviour.etag = "\"v1\"";
    http_server_behave(f->server, &f->behaviour);
    assert_state(pull(f, NULL, false), "done");
    assert_sent(f, "", SIZE);
    const json_t *answer = pull(f, NULL, false);
    assert_string_equal(json_text(answer, "sha256"), f->sha256);
    assert_true(json_flag(answer, "unchanged", false));
    assert_sent(f, "\"v1\"", 0);
    cleanup_free uint8_t *newer = media_host_bytes(SIZE, 6);
    char digest[DIGEST_SIZE];
    digest_bytes(newer, SIZE, digest);
    f->behaviour = (struct http_behaviour){.body = newer, .size = SIZE, .etag = "\"v2\""};
    http_server_behave(f->server, &f->behaviour);
    answer = pull(f, NULL, false);
    assert_string_equal(json_text(answer, "sha256"), digest);
    assert_false(json_flag(answer, "unchanged", true));
    assert_sent(f, "\"v1\"", SIZE);
    assert_string_equal(json_text(pull(f, NULL, false), "sha256"), digest);
    assert_sent(f, "\"v2\"", 0);
    assert_string_equal(json_text(pull(f, NULL, true), "sha256"), digest);
    assert_sent(f, "", SIZE);
    assert_true(has_image(f)); /* the old one's VMs still need it */
}

static void the_same_bytes_under_another_etag_are_the_same_image(void **state)
{
    struct fixture *f = *state;
    f->behaviour.etag = NULL;
    http_server_behave(f->server, &f->behaviour);
    assert_state(pull(f, NULL, false), "done"); /* without an ETag: all of it each time */
    assert_true(json_flag(pull(f, NULL, false), "unchanged", false));
    assert_sent(f, "", SIZE);
    f->behaviour.etag = "\"moved\"";
    http_server_behave(f->server, &f->behaviour);
    assert_string_equal(json_text(pull(f, NULL, false), "sha256"), f->sha256);
    assert_sent(f, "", SIZE);
    assert_state(pull(f, NULL, false), "done");
    assert_sent(f, "\"moved\"", 0);
}

static void a_pull_that_fails_leaves_the_image_of_before(void **state)
{
    struct fixture *f = *state;
    assert_state(pull(f, NULL, false), "done");
    int status = f->behaviour.status;
    f->behaviour.status = 500;
    http_server_behave(f->server, &f->behaviour);
    assert_state(pull(f, NULL, false), "failed");
    assert_state(pull(f, NULL, true), "failed");
    size_t n_requests = http_server_count(f->server);
    json_t *pinned =
        json_pack("{s:s,s:s,s:s}", "verb", IMAGE_REQUEST_PULL, "url", f->url, "pin", f->sha256);
    ask(f, "wish/1", pinned); /* the bytes are there: nobody is asked */
    assert_state(answer_of(f), "done");
    look(f);
    assert_int_equal(http_server_count(f->server), n_requests);
    f->behaviour.status = status;
    http_server_behave(f->server, &f->behaviour);
    assert_string_equal(json_text(pull(f, NULL, false), "sha256"), f->sha256);
}

static void a_file_url_is_read_again_once_its_file_has_changed(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    cleanup_free char *file = paths_path(&f->m.paths, "source.img");
    cleanup_free uint8_t *first = media_host_bytes(SIZE, 7), *second = media_host_bytes(SIZE, 8);
    char old_digest[DIGEST_SIZE], digest[DIGEST_SIZE];
    digest_bytes(first, SIZE, old_digest);
    digest_bytes(second, SIZE, digest);
    free(f->url);
    f->url = mem_printf("file://%s", file);
    assert_int_equal(fs_write_file(file, first, SIZE, 0600, &err), 0);
    assert_string_equal(json_text(pull(f, NULL, false), "sha256"), old_digest);
    assert_true(json_flag(pull(f, NULL, false), "unchanged", false));
    assert_int_equal(fs_write_file(file, second, SIZE, 0600, &err), 0);
    assert_string_equal(json_text(pull(f, NULL, false), "sha256"), digest);
    assert_int_equal(unlink(file), 0);
    assert_string_equal(json_text(pull(f, NULL, false), "sha256"), digest);
    assert_state(pull(f, NULL, true), "failed");
}

static void a_name_moves_to_the_image_pulled_last(void **state)
{
    struct fixture *f = *state;
    assert_state(pull(f, "disk", false), "done");
    cleanup_free uint8_t *newer = media_host_bytes(2 * SIZE, 6);
    f->behaviour = (struct http_behaviour){.body = newer, .size = 2 * SIZE};
    http_server_behave(f->server, &f->behaviour);
    assert_state(pull(f, "disk", true), "done");
    cleanup_free char *name = paths_path(&f->m.paths, "images/disk");
    assert_int_equal(fs_size(name), 2 * SIZE);
}

static void malformed_requests_are_refused(void **state)
{
    static const char *const bad[] = {"{}", "{\"verb\":\"eat\"}", "{\"verb\":\"pull\"}",
        "{\"verb\":\"pull\",\"url\":\"http://x/\",\"name\":\"../x\"}",
        "{\"verb\":\"remove\",\"images\":[\"../../etc/passwd\"]}",
        "{\"verb\":\"remove\",\"images\":[7]}"};
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        ask(f, "wish/1", json_loads(bad[i], 0, NULL));
        assert_state(answer_of(f), "failed");
        look(f);
    }
}

static void old_answers_are_cleared_away(void **state)
{
    struct fixture *f = *state;
    int64_t now_ms = clock_wall_ms(f->m.host.clock);
    ask(f, "wish/old",
        json_pack("{s:s,s:I}", "state", "done", "endedAt", (json_int_t)(now_ms - 11 * 60 * 1000)));
    ask(f, "wish/new",
        json_pack("{s:s,s:I}", "state", "done", "endedAt", (json_int_t)(now_ms - 9 * 60 * 1000)));
    assert_null(record(f, "wish/old"));
    assert_non_null(record(f, "wish/new"));
}

/* ---- rm and prune ---- */

static void removing_takes_names_links_and_records_along(void **state)
{
    struct fixture *f = *state;
    assert_state(pull(f, "debian", false), "done");
    const json_t *answer = remove_image(f, f->sha256);
    assert_state(answer, "done");
    assert_true(json_int(answer, "freed", 0) >= SIZE);
    cleanup_free char *name = paths_path(&f->m.paths, "images/debian");
    cleanup_free char *key = spec_image_record_key(&(struct spec_image){.location = f->url});
    char link[DIGEST_SIZE];
    assert_false(has_image(f));
    assert_int_equal(access(name, F_OK), -1);
    assert_null(record(f, key));
    image_link_digest(&(struct spec_image){.kind = IMAGE_URL, .location = f->url}, link);
    cleanup_free char *relative = mem_printf("images/.by-source/%s", link);
    cleanup_free char *source = paths_path(&f->m.paths, relative);
    char target[256];
    assert_int_equal(readlink(source, target, sizeof(target)), -1);
    look(f);
    assert_state(pull(f, NULL, false), "done");
    assert_int_equal(http_server_count(f->server), 2);
}

static void an_image_under_a_disk_is_not_removed(void **state)
{
    struct fixture *f = *state;
    assert_state(pull(f, NULL, false), "done");
    add_vm(f, IMAGE_FILE, "/elsewhere.qcow2");
    f->status->prepared.image_path = paths_image(&f->m.paths, f->sha256);
    assert_refused(remove_image(f, f->sha256), ERR_VM_CONFLICT, "in use by: web");
    look(f);
    assert_int_equal(json_array_size(json_object_get(prune(f, false), "removed")), 0);
    assert_true(has_image(f));
}

static void a_snapshot_on_an_image_is_named_with_how_to_remove_it(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    assert_state(pull(f, NULL, false), "done");
    add_vm(f, IMAGE_FILE, "/elsewhere.qcow2");
    vm_status_add_snapshot(f->status, "before", "f", 1, 1);
    f->status->snapshots[0].prepared.image_path = paths_image(&f->m.paths, f->sha256);
    const json_t *answer = remove_image(f, f->sha256);
    assert_refused(answer, ERR_VM_CONFLICT, "in use by: web@before");
    assert_true(image_request_failure(answer, &err));
    assert_non_null(strstr(error_help_text(&err), "vmctl snapshot rm web before"));
    assert_true(has_image(f));
}

static void an_image_that_a_spec_asks_for_is_not_removed(void **state)
{
    struct fixture *f = *state;
    assert_state(pull(f, NULL, false), "done");
    add_vm(f, IMAGE_URL, f->url);
    assert_refused(remove_image(f, f->sha256), ERR_VM_CONFLICT, "in use by: web");
    assert_true(has_image(f));
}

static void an_image_that_a_disk_is_being_made_on_is_not_removed(void **state)
{
    struct fixture *f = *state;
    assert_state(pull(f, NULL, false), "done");
    struct vm *vm = vm_registry_open(f->registry, "db", BACKEND_NOOP);
    vm->image.path = paths_image(&f->m.paths, f->sha256);
    assert_refused(remove_image(f, f->sha256), ERR_VM_CONFLICT, "in use by: db");
    assert_true(has_image(f));
}

static void a_name_used_as_a_local_file_keeps_its_image(void **state)
{
    struct fixture *f = *state;
    assert_state(pull(f, "debian", false), "done");
    cleanup_free char *name = paths_path(&f->m.paths, "images/debian");
    add_vm(f, IMAGE_FILE, name);
    assert_refused(remove_image(f, f->sha256), ERR_VM_CONFLICT, "in use by: web");
}

static void nothing_is_removed_while_a_vm_cannot_be_read(void **state)
{
    struct fixture *f = *state;
    assert_state(pull(f, NULL, false), "done");
    f->is_store_damaged = true;
    assert_refused(remove_image(f, f->sha256), ERR_STORE, "cannot be read");
    look(f);
    assert_state(prune(f, false), "failed");
    assert_true(has_image(f));
}

static void nothing_is_removed_while_a_disk_has_lost_its_record(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    cleanup_free char *directory = paths_vm(&f->m.paths, "lost", VM_DIR);
    assert_state(pull(f, NULL, false), "done");
    assert_int_equal(fs_make_dirs(directory, 0700, &err), 0);
    assert_refused(remove_image(f, f->sha256), ERR_VM_CONFLICT, "vms/lost");
    look(f);
    assert_refused(prune(f, true), ERR_VM_CONFLICT, "vms/lost");
    look(f);
    assert_refused(prune(f, false), ERR_VM_CONFLICT, "vms/lost");
    assert_true(has_image(f));
    look(f);
    assert_int_equal(fs_remove_beneath(f->m.paths.data_dir, "vms", "lost", &err), 0);
    assert_int_equal(json_array_size(json_object_get(prune(f, false), "removed")), 1);
}

static void of_several_all_or_none_are_removed(void **state)
{
    struct fixture *f = *state;
    char absent[DIGEST_SIZE];
    digest_text("absent", absent);
    assert_state(pull(f, NULL, false), "done");
    ask(f, "wish/1",
        json_pack("{s:s,s:[s,s]}", "verb", IMAGE_REQUEST_REMOVE, "images", f->sha256, absent));
    assert_refused(answer_of(f), ERR_IMAGE_NOT_FOUND, "no image");
    assert_true(has_image(f));
}

static void a_dry_run_only_says_what_would_go(void **state)
{
    struct fixture *f = *state;
    assert_state(pull(f, "debian", false), "done");
    const json_t *answer = prune(f, true);
    assert_int_equal(json_array_size(json_object_get(answer, "removed")), 1);
    assert_true(has_image(f));
    look(f);
    answer = prune(f, false);
    assert_int_equal(json_array_size(json_object_get(answer, "removed")), 1);
    assert_false(has_image(f));
}

static void pruning_takes_rests_of_downloads_that_nobody_wants(void **state)
{
    struct fixture *f = *state;
    f->behaviour.cut_after = SIZE / 2;
    http_server_behave(f->server, &f->behaviour);
    assert_state(pull(f, NULL, false), "failed");
    char key[DIGEST_SIZE];
    struct spec_image image = {.kind = IMAGE_URL, .location = f->url};
    image_work_key(&image, key);
    cleanup_free char *relative = mem_printf("images/.part/%s.part", key);
    cleanup_free char *part = paths_path(&f->m.paths, relative);
    assert_int_equal(fs_size(part), SIZE / 2);
    add_vm(f, IMAGE_URL, f->url);
    assert_int_equal(json_int(prune(f, false), "downloads", -1), 0);
    assert_int_equal(fs_size(part), SIZE / 2);
    look(f);
    vm_spec_free(TAKE_PTR(f->spec));
    const json_t *answer = prune(f, false);
    assert_int_equal(json_int(answer, "downloads", -1), 1);
    assert_true(json_int(answer, "freed", 0) >= SIZE / 2);
    assert_int_equal(fs_size(part), -1);
}

static bool is_half_sent(void *context)
{
    struct fixture *f = context;
    return http_server_count(f->server) == 1 && http_server_request(f->server, 0).sent >= SIZE / 2;
}

static bool is_second_answered(void *context)
{
    make_passes(context);
    return image_request_is_answered(record(context, "wish/2"));
}

static void pruning_leaves_a_download_under_way(void **state)
{
    struct fixture *f = *state;
    f->behaviour.hold_after = SIZE / 2;
    http_server_behave(f->server, &f->behaviour);
    ask(f, "wish/2", json_pack("{s:s,s:s}", "verb", IMAGE_REQUEST_PULL, "url", f->url));
    assert_true(media_host_wait_for(&f->m, is_half_sent, f));
    const json_t *answer = prune(f, false);
    assert_state(answer, "done");
    assert_int_equal(json_int(answer, "downloads", -1), 0);
    http_server_release(f->server);
    assert_true(media_host_wait_for(&f->m, is_second_answered, f));
    assert_state(record(f, "wish/2"), "done");
    assert_true(has_image(f));
}

static void a_request_that_is_withdrawn_ends_its_download(void **state)
{
    struct fixture *f = *state;
    f->behaviour.hold_after = SIZE / 2;
    http_server_behave(f->server, &f->behaviour);
    ask(f, "wish/2", json_pack("{s:s,s:s}", "verb", IMAGE_REQUEST_PULL, "url", f->url));
    assert_true(media_host_wait_for(&f->m, is_half_sent, f));
    char key[DIGEST_SIZE];
    struct spec_image image = {.kind = IMAGE_URL, .location = f->url};
    image_work_key(&image, key);
    assert_true(image_cache_is_filling(image_cache_of(&f->m.host), key));
    put(f, "wish/2", NULL);
    look(f);
    assert_false(image_cache_is_filling(image_cache_of(&f->m.host), key));
    assert_null(record(f, "wish/2"));
    http_server_release(f->server);
}

static char *getting_key(const struct fixture *f)
{
    char key[DIGEST_SIZE];
    struct spec_image image = {.kind = IMAGE_URL, .location = f->url};
    image_work_key(&image, key);
    return mem_printf(IMAGE_GETTING_PREFIX "%s", key);
}

static bool is_half_recorded(void *context)
{
    struct fixture *f = context;
    cleanup_free char *key = getting_key(f);
    make_passes(f);
    return json_int(record(f, key), "have", 0) >= SIZE / 2;
}

static void a_download_has_a_record_while_it_lasts(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *key = getting_key(f);
    f->behaviour.hold_after = SIZE / 2;
    http_server_behave(f->server, &f->behaviour);
    ask(f, "wish/2", json_pack("{s:s,s:s}", "verb", IMAGE_REQUEST_PULL, "url", f->url));
    assert_true(media_host_wait_for(&f->m, is_half_recorded, f));
    assert_int_equal(json_int(record(f, key), "pulls", 0), 1);
    assert_int_equal(json_int(record(f, key), "total", 0), SIZE);
    http_server_release(f->server);
    assert_true(media_host_wait_for(&f->m, is_second_answered, f));
    make_passes(f);
    assert_null(record(f, key));
}

/* vmctl image cancel: the answer stands, the download ends. */
static void a_pull_that_is_answered_from_outside_ends_its_download(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *key = getting_key(f);
    f->behaviour.hold_after = SIZE / 2;
    http_server_behave(f->server, &f->behaviour);
    ask(f, "wish/2", json_pack("{s:s,s:s}", "verb", IMAGE_REQUEST_PULL, "url", f->url));
    assert_true(media_host_wait_for(&f->m, is_half_recorded, f));
    struct error err = {.code = ERR_NONE};
    json_t *answered = json_deep_copy(record(f, "wish/2"));
    (void)error_set(&err, ERR_CANCELLED, "the pull was cancelled");
    image_request_fail(answered, &err);
    json_put_int(answered, "endedAt", clock_wall_ms(clock_system()));
    ask(f, "wish/2", answered);
    assert_false(image_cache_is_filling(image_cache_of(&f->m.host), key + strlen("get/")));
    assert_null(record(f, key));
    assert_refused(record(f, "wish/2"), ERR_CANCELLED, "cancelled");
    http_server_release(f->server);
}

static void what_a_killed_controller_was_getting_is_forgotten(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *key = getting_key(f);
    put(f, key, json_pack("{s:s,s:s}", "session", "old", "phase", "downloading"));
    look(f);
    assert_null(record(f, key));
}

static void what_is_removed_while_it_is_looked_at_is_got_again(void **state)
{
    struct fixture *f = *state;
    assert_state(pull(f, NULL, false), "done");
    ask(f, "wish/2", json_pack("{s:s,s:s}", "verb", IMAGE_REQUEST_PULL, "url", f->url));
    /* The pool may have found the image by now; the loop has not heard of it. */
    assert_state(remove_image(f, f->sha256), "done");
    assert_true(media_host_wait_for(&f->m, is_second_answered, f));
    assert_state(record(f, "wish/2"), "done");
    assert_true(has_image(f));
}

/* ---- images by name ---- */

/* A catalogue of the user's with "tiny:1", whose publisher is the server: its list has the sha512
 * of `bytes`. */
static void publish(struct fixture *f, const uint8_t *bytes, struct http_rule *ret_rule, char *list)
{
    char sum[DIGEST_512_SIZE];
    struct digest *digest = digest_512_new();
    digest_add(digest, bytes, SIZE);
    digest_of(digest, sum);
    digest_free(digest);
    sprintf(list, "%s  disk.img\n", sum);
    *ret_rule = (struct http_rule){.path = "/SHA512SUMS", .status = 200, .body = list};
    f->behaviour.rules = ret_rule;
    f->behaviour.n_rules = 1;
    http_server_behave(f->server, &f->behaviour);
    cleanup_free char *directory = fs_join(f->m.dir, ".config/vmctl");
    struct error err = {0};
    assert_int_equal(fs_make_dirs(directory, 0700, &err), 0);
    cleanup_buf struct buf text = BUF_INIT(0);
    for (size_t i = 0; i < 2; i++) { /* on either kind of processor */
        buf_printf(&text,
            "image \"tiny:1\" { url \"%s\"; sums \"http://127.0.0.1:%u/SHA512SUMS\"; arch \"%s\" "
            "}\n",
            f->url, http_server_port(f->server), i ? "aarch64" : "x86_64");
    }
    free(media_host_file(&f->m, ".config/vmctl/images.kdl", buf_str(&text), text.len));
    setenv("HOME", f->m.dir, true);
}

static const json_t *pull_named(struct fixture *f, bool looks)
{
    json_t *request = json_object();
    json_put_text(request, "verb", IMAGE_REQUEST_PULL);
    json_put_text(request, "url", "tiny:1");
    json_put_flag(request, "named", true);
    json_put_flag(request, "look", looks);
    ask(f, "wish/1", request);
    const json_t *answer = answer_of(f);
    look(f);
    return answer;
}

static void an_image_by_name_is_checked_against_its_publishers_list(void **state)
{
    struct fixture *f = *state;
    struct http_rule rule;
    char list[256];
    publish(f, f->bytes, &rule, list);
    assert_state(pull_named(f, false), "done");
    assert_true(has_image(f));
    const json_t *kept = record(f, "url:tiny:1");
    assert_string_equal(json_text(kept, "sha256"), f->sha256);
    assert_memory_equal(json_text(kept, "published"), "sha512:", 7);
    assert_memory_equal(json_text(kept, "published") + 7, list, 128);
    assert_string_equal(json_text(kept, "from"), f->url);
    /* What the publisher still has is not downloaded again. */
    size_t n_requests = http_server_count(f->server);
    const json_t *answer = pull_named(f, false);
    assert_true(json_flag(answer, "unchanged", false));
    assert_int_equal(http_server_count(f->server), n_requests + 1);
}

static void an_image_that_its_publishers_list_does_not_have_is_refused(void **state)
{
    struct fixture *f = *state;
    struct http_rule rule;
    char list[256];
    cleanup_free uint8_t *other = media_host_bytes(SIZE, 6);
    publish(f, other, &rule, list);
    assert_refused(pull_named(f, false), ERR_IMAGE_CHECKSUM, "tiny:1 does not match its sha512");
    assert_false(has_image(f));
    assert_null(record(f, "url:tiny:1"));
    strcpy(list, "no sums here\n");
    assert_refused(pull_named(f, false), ERR_IMAGE_NOT_FOUND, "do not include disk.img");
    rule.status = 404;
    http_server_behave(f->server, &f->behaviour);
    assert_refused(pull_named(f, false), ERR_IMAGE_NOT_FOUND, "/SHA512SUMS: HTTP status 404");
    rule.status = 503;
    http_server_behave(f->server, &f->behaviour);
    assert_refused(pull_named(f, false), ERR_IMAGE_DOWNLOAD, "HTTP status 503");
}

static void a_look_compares_with_the_publisher_and_downloads_nothing(void **state)
{
    struct fixture *f = *state;
    struct http_rule rule;
    char list[256];
    cleanup_free uint8_t *newer = media_host_bytes(SIZE, 6);
    publish(f, f->bytes, &rule, list);
    assert_state(pull_named(f, false), "done");
    size_t n_requests = http_server_count(f->server);
    assert_true(json_flag(pull_named(f, true), "unchanged", false));
    publish(f, newer, &rule, list);
    const json_t *answer = pull_named(f, true);
    assert_state(answer, "done");
    assert_false(json_flag(answer, "unchanged", true));
    assert_int_equal(http_server_count(f->server), n_requests + 2);
    assert_string_equal(json_text(record(f, "url:tiny:1"), "sha256"), f->sha256);
    /* Taken by a pull, it is what new disks are made of; the one of before stays. */
    f->behaviour.body = newer;
    f->behaviour.etag = "\"v2\"";
    http_server_behave(f->server, &f->behaviour);
    assert_state(pull_named(f, false), "done");
    assert_string_not_equal(json_text(record(f, "url:tiny:1"), "sha256"), f->sha256);
    assert_true(has_image(f));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_pull_files_names_and_records_the_image),
        TEST(a_failed_pull_says_why),
        TEST(a_request_is_carried_out_once_however_often_it_is_looked_at),
        TEST(an_outcome_whose_commit_is_lost_is_written_by_the_next_pass),
        TEST(a_known_url_is_downloaded_again_once_it_has_changed),
        TEST(the_same_bytes_under_another_etag_are_the_same_image),
        TEST(a_pull_that_fails_leaves_the_image_of_before),
        TEST(a_file_url_is_read_again_once_its_file_has_changed),
        TEST(a_name_moves_to_the_image_pulled_last),
        TEST(malformed_requests_are_refused),
        TEST(old_answers_are_cleared_away),
        TEST(removing_takes_names_links_and_records_along),
        TEST(an_image_under_a_disk_is_not_removed),
        TEST(a_snapshot_on_an_image_is_named_with_how_to_remove_it),
        TEST(an_image_that_a_spec_asks_for_is_not_removed),
        TEST(an_image_that_a_disk_is_being_made_on_is_not_removed),
        TEST(a_name_used_as_a_local_file_keeps_its_image),
        TEST(nothing_is_removed_while_a_vm_cannot_be_read),
        TEST(nothing_is_removed_while_a_disk_has_lost_its_record),
        TEST(of_several_all_or_none_are_removed),
        TEST(a_dry_run_only_says_what_would_go),
        TEST(pruning_takes_rests_of_downloads_that_nobody_wants),
        TEST(pruning_leaves_a_download_under_way),
        TEST(a_request_that_is_withdrawn_ends_its_download),
        TEST(a_download_has_a_record_while_it_lasts),
        TEST(a_pull_that_is_answered_from_outside_ends_its_download),
        TEST(what_a_killed_controller_was_getting_is_forgotten),
        TEST(what_is_removed_while_it_is_looked_at_is_got_again),
        TEST(an_image_by_name_is_checked_against_its_publishers_list),
        TEST(an_image_that_its_publishers_list_does_not_have_is_refused),
        TEST(a_look_compares_with_the_publisher_and_downloads_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
