/* SPDX-License-Identifier: MPL-2.0 */
/* The Propolis backend against fake tools of illumos and a real HTTP server that is a small
 * propolis-server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "reconcilers/backend/backend.h"
#include "reconcilers/backend/propolis/zone.h"
#include "specs/base/base64.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/fs.h"
#include "specs/base/json.h"
#include "specs/base/mem.h"
#include "tests/support/http_server.h"
#include "tests/support/media_host.h"

struct fixture {
    struct media_host m;
    struct vm_spec *spec;
    struct vm_status *status;
    struct vm_env env;
    struct machine *machine;
    struct boot_result boot;
    struct http_server *server;
    char state[16]; /* of its instance; "": it has none. The server's thread has it, too. */
    char body[256];
    char id[40];
    const char *owner;
    unsigned n_created, n_run, n_asked;
    bool has_no_versions, has_old_versions; /* what the server knows */
    struct refusal {
        const char *method, *path;
        int status;
        const char *body;
        unsigned n_left; /* requests that are refused so */
    } refusal;
    enum run_state awaited;
};

static const struct machine_ops *machine_ops(void)
{
    return backend_propolis()->machine;
}

static const struct media_ops *media_ops(void)
{
    return backend_propolis()->media;
}

/* ---- the world ---- */

static void put_instance(struct fixture *f, const char *state)
{
    (void)snprintf(f->state, sizeof(f->state), "%s", state);
}

static const char *serve(void *context, const struct http_request *request, int *ret_status)
{
    struct fixture *f = context;
    bool is_put = strcmp(request->method, "PUT") == 0;
    bool is_state = strcmp(request->path, "/instance/state") == 0;
    struct refusal *refusal = &f->refusal;
    if (f->has_old_versions && strcmp(request->api_version, "1.0.0") != 0) {
        *ret_status = 400;
        return "{\"request_id\": \"r\", \"message\": \"server does not support this API version: "
               "5.0.0\"}";
    }
    if (refusal->n_left > 0 && strcmp(request->method, refusal->method) == 0 &&
        strcmp(request->path, refusal->path) == 0) {
        refusal->n_left--;
        *ret_status = refusal->status;
        return refusal->body;
    }
    if (is_put && !is_state) {
        cleanup_json json_t *body = json_loads(request->body, 0, NULL);
        f->n_asked++;
        if (f->has_no_versions && !json_object_get(body, "disks")) {
            *ret_status = 400;
            return "{\"request_id\": \"r\", \"message\": \"unable to parse JSON body: "
                   "properties: missing field `image_id` at line 1 column 9\"}";
        }
        f->n_created++;
        (void)snprintf(
            f->id, sizeof(f->id), "%s", json_text(json_object_get(body, "properties"), "id"));
        put_instance(f, "Creating");
        *ret_status = 201;
        return "{}";
    }
    if (!f->state[0]) {
        *ret_status = 424;
        return "{\"request_id\": \"r\", \"message\": \"Server not initialized (no instance)\"}";
    }
    if (is_put) {
        bool is_run = strcmp(request->body, "\"Run\"") == 0;
        f->n_run += is_run;
        put_instance(f, is_run ? "Running" : "Stopped");
        *ret_status = 204;
        return "";
    }
    (void)snprintf(f->body, sizeof(f->body),
        "{\"instance\": {\"properties\": {\"name\": \"%s\", \"id\": \"%s\"}, "
        "\"state\": \"%s\"}}",
        f->owner, f->id, f->state);
    return f->body;
}

static void use_server(struct fixture *f)
{
    cleanup_free char *address = mem_printf("127.0.0.1:%u", http_server_port(f->server));
    setenv("VMCTL_PROPOLIS_ADDRESS", address, 1);
}

static void install_tools(const char *dir)
{
    cleanup_free char *script = mem_printf("%s/tests/support/illumos-tools", VMCTL_SOURCE_DIR);
    cleanup_free char *path = mem_printf("%s/bin:%s", dir, getenv("PATH"));
    assert_true(media_host_run((const char *const[]){script, dir, NULL}));
    setenv("PATH", path, 1);
}

static void put_file(struct fixture *f, const char *name, const char *text)
{
    free(media_host_file(&f->m, name, text, strlen(text)));
}

/* What a file of the tools holds. free() it. */
static char *file(struct fixture *f, const char *name)
{
    cleanup_free char *path = media_host_path(&f->m, name);
    struct buf text = BUF_INIT(0);
    struct error err = {.code = ERR_NONE};
    assert_int_equal(fs_read_file(path, &text, &err), 0);
    return buf_steal(&text);
}

static void assert_file(struct fixture *f, const char *name, const char *text)
{
    cleanup_free char *is = file(f, name);
    assert_string_equal(is, text);
}

static void on_changed(void *context)
{
    (void)context;
}

static int set_up(void **state)
{
    struct fixture *f = *state = mem_new(struct fixture);
    media_host_setup(&f->m);
    install_tools(f->m.dir);
    setenv("VMCTL_ZFS_POOL", "tank", 1);
    unsetenv("VMCTL_PROPOLIS_TIMEOUT");
    put_file(f, "zones/web", "installed\n");
    put_file(f, "datasets", "tank\ntank/images/web\ntank/images/web@latest\n");
    f->owner = "web";
    f->server = http_server_start();
    http_server_behave(f->server, &(struct http_behaviour){.decide = serve, .decide_context = f});
    use_server(f);
    f->spec = vm_spec_new("web");
    f->spec->backend = BACKEND_PROPOLIS;
    f->spec->network.mode = NETWORK_VNIC;
    f->spec->network.vnic = mem_strdup("vnic0");
    f->status = vm_status_new("u");
    f->env = (struct vm_env){
        .host = &f->m.host, .name = "web", .spec = f->spec, .uid = "u", .status = f->status};
    f->machine = machine_ops()->open(&f->m.host, "web", on_changed, f);
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    machine_ops()->close(f->machine);
    http_server_stop(f->server);
    media_host_teardown(&f->m);
    vm_spec_free(f->spec);
    vm_status_free(f->status);
    free(f);
    return 0;
}

/* ---- what is done with it ---- */

static struct machine_facts observe(struct fixture *f)
{
    struct machine_facts facts;
    machine_ops()->observe(f->machine, &f->env, &facts);
    return facts;
}

static bool is_down(void *context)
{
    return !observe(context).is_alive;
}

static bool is_in_state(void *context)
{
    struct fixture *f = context;
    return observe(f).run_state == f->awaited;
}

static void await_state(struct fixture *f, enum run_state state)
{
    f->awaited = state;
    assert_true(media_host_wait_for(&f->m, is_in_state, f));
}

static void begin(struct fixture *f)
{
    digest_random_id(f->status->instance.instance_id);
    f->status->instance.intent = INTENT_START;
}

static enum error_code launch(struct fixture *f)
{
    assert_non_null(
        machine_ops()->launch(f->machine, &f->env, &f->status->instance, media_host_done, &f->m));
    return media_host_wait(&f->m, 1);
}

static enum error_code boot(struct fixture *f)
{
    assert_non_null(machine_ops()->boot(f->machine, &f->env, &f->boot, media_host_done, &f->m));
    return media_host_wait(&f->m, 1);
}

static void start(struct fixture *f)
{
    begin(f);
    assert_int_equal(launch(f), ERR_NONE);
    assert_int_equal(boot(f), ERR_NONE);
    f->status->instance.intent = INTENT_NONE;
}

static enum error_code fetch(struct fixture *f, struct image_result *image)
{
    assert_non_null(media_ops()->fetch_image(&f->env, image, media_host_done, &f->m));
    return media_host_wait(&f->m, 1);
}

static void prepare(struct fixture *f)
{
    assert_non_null(media_ops()->prepare(&f->env, &f->status->prepared, media_host_done, &f->m));
    assert_int_equal(media_host_wait(&f->m, 1), ERR_NONE);
}

static struct media_facts media(struct fixture *f)
{
    struct media_facts facts;
    media_ops()->observe(&f->env, &facts);
    return facts;
}

static enum error_code destroy(struct fixture *f, bool is_all)
{
    assert_non_null(media_ops()->destroy(&f->env, is_all, media_host_done, &f->m));
    return media_host_wait(&f->m, 1);
}

/* ---- zones ---- */

static void zones_are_read_from_their_list(void **state)
{
    (void)state;
    static const char list[] =
        "0:global:running:/::ipkg:shared\n"
        "-:web2:running:/z:u:nebula-vm:excl\n"
        "-:web:configured:/z:u:nebula-vm:excl\n"
        "12:db:shutting_down:/z:u:nebula-vm:excl\n-:lb:installed:/z:u:b:excl";
    assert_true(zone_parse(list, "web").is_known);
    assert_false(zone_parse(list, "web").is_installed);
    assert_false(zone_parse(list, "web").is_alive);
    assert_true(zone_parse(list, "db").is_alive);
    assert_int_equal(zone_parse(list, "db").id, 12);
    assert_true(zone_parse(list, "lb").is_installed);
    assert_false(zone_parse(list, "we").is_known);
    assert_false(zone_parse("", "web").is_known);
}

/* ---- media ---- */

static void the_disk_is_a_clone_of_the_snapshot(void **state)
{
    struct fixture *f = *state;
    struct image_result image = {.path = NULL};
    assert_int_equal(fetch(f, &image), ERR_NONE);
    assert_string_equal(image.path, "tank/images/web@latest");
    free(image.path);
    assert_int_equal(media(f).disk, DISK_NONE);
    prepare(f);
    assert_int_equal(media(f).disk, DISK_READY);
    assert_false(media(f).is_outdated);
    assert_file(f, "log", "zfs clone -p tank/images/web@latest tank/vms/web\n");
}

static void a_clone_that_was_not_recorded_is_taken_up(void **state)
{
    struct fixture *f = *state;
    prepare(f);
    f->status->prepared.digest[0] = '\0'; /* killed before the commit */
    assert_int_equal(media(f).disk, DISK_NONE);
    prepare(f);
    assert_int_equal(media(f).disk, DISK_READY);
    assert_file(f, "log", "zfs clone -p tank/images/web@latest tank/vms/web\n");
}

static void a_missing_snapshot_is_told_with_help(void **state)
{
    struct fixture *f = *state;
    struct image_result image = {.path = NULL};
    put_file(f, "datasets", "tank/images/web@latest2\ntank/images/web\n");
    assert_int_equal(fetch(f, &image), ERR_IMAGE_NOT_FOUND);
    assert_null(image.path);
    assert_string_equal(error_help_text(&f->m.error),
        "store the image there, then: zfs snapshot tank/images/web@latest");
}

static void destroying_takes_zone_and_disk_away_and_can_be_done_twice(void **state)
{
    struct fixture *f = *state;
    prepare(f);
    setenv("VMCTL_ZFS_POOL", "other", 1); /* what was made is what goes */
    assert_true(media(f).has_leftovers);
    assert_int_equal(destroy(f, true), ERR_NONE);
    assert_false(media(f).has_leftovers);
    assert_file(f, "datasets", "tank\ntank/images/web\ntank/images/web@latest\n");
    assert_file(f, "log",
        "zfs clone -p tank/images/web@latest tank/vms/web\nzoneadm -z web uninstall -F\n"
        "zonecfg -z web delete -F\nzfs destroy -r tank/vms/web\n");
    assert_int_equal(destroy(f, true), ERR_NONE);
    struct error err = {.code = ERR_NONE};
    assert_true(media(f).has_dir);
    assert_int_equal(media_ops()->discard(&f->env, true, &err), 0);
    assert_false(media(f).has_dir);
}

static void a_new_disk_leaves_the_zone(void **state)
{
    struct fixture *f = *state;
    prepare(f);
    assert_int_equal(destroy(f, false), ERR_NONE);
    assert_file(f, "zones/web", "installed\n");
    assert_file(f, "datasets", "tank\ntank/images/web\ntank/images/web@latest\n");
}

static void a_destruction_that_fails_is_told_and_goes_on_later(void **state)
{
    struct fixture *f = *state;
    prepare(f);
    put_file(f, "broken", "");
    assert_int_equal(destroy(f, true), ERR_IO);
    assert_non_null(strstr(f->m.error.message, "cannot uninstall zone 'web'"));
    assert_non_null(strstr(f->m.error.message, "on fire"));
    assert_true(media(f).has_leftovers);
    cleanup_free char *broken = media_host_path(&f->m, "broken");
    assert_int_equal(unlink(broken), 0);
    assert_int_equal(destroy(f, true), ERR_NONE);
    assert_false(media(f).has_leftovers);
}

/* ---- machine ---- */

static void a_started_zone_runs_the_instance(void **state)
{
    struct fixture *f = *state;
    assert_false(observe(f).is_alive);
    start(f);
    assert_int_equal(f->status->instance.pid, 7);
    assert_string_equal(f->status->instance.boot_id, clock_boot_id(f->m.host.clock));
    assert_true(observe(f).is_alive);
    assert_int_equal(observe(f).run_state, RUN_STATE_RUNNING);
    assert_int_equal(f->n_created, 1);
    assert_int_equal(f->n_run, 1);
    assert_file(f, "log", "zoneadm -z web boot\n");
}

/* The body of the first, or the last, request to make an instance. */
static json_t *body_of_put(struct fixture *f, bool is_last)
{
    struct http_request put = {.body = ""};
    for (size_t i = 0; i < http_server_count(f->server) && (is_last || !put.body[0]); i++) {
        struct http_request next = http_server_request(f->server, i);
        put = strcmp(next.method, "PUT") == 0 && strcmp(next.path, "/instance") == 0 ? next : put;
    }
    return json_loads(put.body, 0, NULL);
}

static const json_t *component(const json_t *body, const char *name, const char *type)
{
    const json_t *init = json_object_get(body, "init");
    assert_string_equal(json_text(init, "method"), "Spec");
    const json_t *spec = json_object_get(json_object_get(init, "value"), "spec");
    const json_t *found = json_object_get(json_object_get(spec, "components"), name);
    if (!type) {
        assert_null(found);
        return NULL;
    }
    assert_string_equal(json_text(found, "type"), type);
    return json_object_get(found, "component");
}

static void the_instance_is_told_what_the_spec_says(void **state)
{
    struct fixture *f = *state;
    f->spec->vcpus = 3;
    f->spec->memory_mib = 2048;
    start(f);
    cleanup_json json_t *body = body_of_put(f, false);
    const json_t *properties = json_object_get(body, "properties");
    assert_string_equal(json_text(properties, "name"), "web");
    assert_int_equal(strlen(json_text(properties, "id")), 36);
    assert_non_null(json_object_get(properties, "metadata"));
    const json_t *spec =
        json_object_get(json_object_get(json_object_get(body, "init"), "value"), "spec");
    assert_int_equal(json_int(json_object_get(spec, "board"), "cpus", 0), 3);
    assert_int_equal(json_int(json_object_get(spec, "board"), "memory_mb", 0), 2048);
    const json_t *disk = component(body, "disk0", "virtio_disk");
    const json_t *file = component(body, json_text(disk, "backend_id"), "file_storage_backend");
    assert_string_equal(json_text(file, "path"), "/dev/zvol/rdsk/tank/vms/web");
    assert_false(json_flag(file, "readonly", true));
    const json_t *nic = component(body, "nic0", "virtio_nic");
    const json_t *link = component(body, json_text(nic, "backend_id"), "virtio_network_backend");
    assert_string_equal(json_text(link, "vnic_name"), "vnic0");
    assert_string_equal(json_text(component(body, "com1", "serial_port"), "num"), "com1");
    const json_t *order = json_object_get(component(body, "boot-order", "boot_settings"), "order");
    assert_string_equal(json_text(json_array_get(order, 0), "id"), "disk0");
    (void)component(body, "seed", NULL);
    assert_string_equal(http_server_request(f->server, 0).api_version, "5.0.0");
}

static void cloud_init_gets_its_seed_as_a_second_disk(void **state)
{
    struct fixture *f = *state;
    f->spec->cloud_init.is_set = true;
    prepare(f);
    assert_int_equal(media(f).disk, DISK_READY);
    cleanup_free char *path = media_host_path(&f->m, "data/vms/web/seed.iso");
    cleanup_free char *key = media_host_path(&f->m, "data/vms/web/id_ed25519_generated");
    assert_true(fs_exists(path) && fs_exists(key));
    start(f);
    cleanup_json json_t *body = body_of_put(f, false);
    (void)component(body, "seed", "virtio_disk");
    const json_t *blob = component(body, "seed-backend", "blob_storage_backend");
    assert_true(json_flag(blob, "readonly", false));
    cleanup_buf struct buf is = BUF_INIT(0), wanted = BUF_INIT(0);
    const char *text = json_text(blob, "base64");
    assert_int_equal(strlen(text) % 4, 0);
    assert_true(base64_decode(&is, text, strlen(text)));
    struct error err = {.code = ERR_NONE};
    assert_int_equal(fs_read_file(path, &wanted, &err), 0);
    assert_int_equal(is.len, wanted.len);
    assert_memory_equal(is.data, wanted.data, is.len);
    assert_int_equal(unlink(path), 0); /* lost: made again, from the same keys */
    assert_int_equal(media(f).disk, DISK_NONE);
    prepare(f);
    assert_int_equal(media(f).disk, DISK_READY);
    assert_file(
        f, "log", "zfs clone -p tank/images/web@latest tank/vms/web\nzoneadm -z web boot\n");
}

static void a_seed_that_changes_is_for_a_new_disk(void **state)
{
    struct fixture *f = *state;
    prepare(f);
    f->spec->cloud_init.is_set = true;
    assert_true(media(f).is_outdated);
    assert_int_equal(media(f).disk, DISK_READY);
    assert_int_equal(destroy(f, false), ERR_NONE);
    f->status->prepared.digest[0] = '\0';
    prepare(f);
    assert_false(media(f).is_outdated);
}

static void a_seed_that_is_too_large_for_a_request_is_told(void **state)
{
    struct fixture *f = *state;
    f->spec->cloud_init.is_set = true;
    prepare(f);
    char *large = mem_calloc(1, 701 << 10);
    free(media_host_file(&f->m, "data/vms/web/seed.iso", large, 701 << 10));
    free(large);
    begin(f);
    assert_int_equal(launch(f), ERR_NONE);
    assert_int_equal(boot(f), ERR_SEED);
    assert_non_null(strstr(f->m.error.message, "the seed of vm 'web' has 717824 bytes"));
}

static void a_server_of_an_older_version_is_spoken_to_in_the_oldest(void **state)
{
    struct fixture *f = *state;
    f->has_old_versions = true;
    start(f);
    assert_int_equal(f->n_created, 1);
    await_state(f, RUN_STATE_RUNNING);
    cleanup_json json_t *body = body_of_put(f, true);
    (void)component(body, "disk0", "virtio_disk");
}

static void a_server_of_before_all_versions_gets_the_body_it_knows(void **state)
{
    struct fixture *f = *state;
    f->spec->vcpus = 3;
    f->has_no_versions = true;
    start(f);
    assert_int_equal(f->n_asked, 2);
    assert_int_equal(f->n_created, 1);
    cleanup_json json_t *body = body_of_put(f, true);
    const json_t *properties = json_object_get(body, "properties");
    const json_t *nic = json_array_get(json_object_get(body, "nics"), 0);
    const json_t *disk = json_array_get(json_object_get(body, "disks"), 0);
    assert_int_equal(json_int(properties, "vcpus", 0), 3);
    assert_string_equal(json_text(nic, "name"), "vnic0");
    assert_string_equal(json_text(json_object_get(disk, "volume_construction_request"), "path"),
        "/dev/zvol/rdsk/tank/vms/web");
}

/* ---- what the server refuses ---- */

enum { SOME = 3, ALWAYS = 1000000 };

/* Each error that the interface has, of each request; then what becomes of the start. */
static void every_error_of_the_server_is_outlasted_or_told(void **state)
{
    struct fixture *f = *state;
    static const char words[] =
        "{\"error_code\": \"E\", \"message\": \"it \\u001b[1mwill not\", \"request_id\": \"r\"}";
    static const struct {
        const char *method, *path;
        int status;
        unsigned times;
        const char *body;
        enum error_code code;
        const char *told;
    } rows[] = {
        {"PUT", "/instance", 400, ALWAYS, words, ERR_IO, "(status 400): it "},
        {"PUT", "/instance", 403, ALWAYS, words, ERR_IO, "(status 403): it "},
        {"PUT", "/instance", 422, ALWAYS, "", ERR_IO, "(status 422): it gave no reason"},
        {"PUT", "/instance", 500, ALWAYS, words, ERR_IO, "(status 500): it "},
        {"PUT", "/instance", 302, ALWAYS, "<html>", ERR_IO, "(status 302): <html>"},
        {"PUT", "/instance", 409, SOME, words, ERR_NONE, NULL}, /* the last one is taken down */
        {"PUT", "/instance", 409, ALWAYS, words, ERR_IO, "(status 409): it "},
        {"PUT", "/instance", 503, SOME, words, ERR_NONE, NULL},
        {"PUT", "/instance", 429, SOME, words, ERR_NONE, NULL},
        {"PUT", "/instance/state", 503, SOME, words, ERR_NONE, NULL},
        {"PUT", "/instance/state", 403, ALWAYS, words, ERR_IO, "(status 403): it "},
        {"PUT", "/instance/state", 500, ALWAYS, words, ERR_IO, "(status 500): it "},
        {"GET", "/instance", 500, SOME, words, ERR_NONE, NULL},
        {"GET", "/instance", 500, ALWAYS, words, ERR_IO, "(status 500): it "},
        {"GET", "/instance", 400, ALWAYS, words, ERR_IO, "(status 400): it "},
        {"GET", "/instance", 200, ALWAYS, "[]", ERR_IO, "(status 200): []"},
        {"GET", "/instance", 404, SOME, words, ERR_NONE, NULL},
        {"GET", "/instance", 410, SOME, words, ERR_NONE, NULL},
        {"GET", "/instance/state-monitor", 500, ALWAYS, words, ERR_NONE, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        setenv("VMCTL_PROPOLIS_TIMEOUT", rows[i].times == ALWAYS && rows[i].code ? "1" : "60", 1);
        f->state[0] = '\0';
        f->refusal = (struct refusal){
            rows[i].method, rows[i].path, rows[i].status, rows[i].body, rows[i].times};
        begin(f);
        assert_int_equal(launch(f), ERR_NONE);
        enum error_code code = boot(f);
        if (code != rows[i].code || (rows[i].told && !strstr(f->m.error.message, rows[i].told))) {
            fail_msg("%s %s %d: %d %s", rows[i].method, rows[i].path, rows[i].status, (int)code,
                f->m.error.message);
        }
        assert_null(strchr(f->m.error.message, '\033'));
    }
}

/* ---- where the server is ---- */

static void add_vnic(struct vm_spec *spec, const char *name)
{
    mem_grow(spec->further_networks, spec->n_further_networks);
    spec->further_networks[spec->n_further_networks++] =
        (struct spec_network){.mode = NETWORK_VNIC, .vnic = mem_strdup(name)};
}

static void each_network_is_a_card(void **state)
{
    struct fixture *f = *state;
    add_vnic(f->spec, "vnic1");
    add_vnic(f->spec, "vnic2");
    start(f);
    cleanup_json json_t *body = body_of_put(f, false);
    const json_t *nics[3];
    for (int i = 0; i < 3; i++) {
        cleanup_free char *name = mem_printf("nic%d", i);
        cleanup_free char *vnic = mem_printf("vnic%d", i);
        nics[i] = component(body, name, "virtio_nic");
        const json_t *link =
            component(body, json_text(nics[i], "backend_id"), "virtio_network_backend");
        assert_string_equal(json_text(link, "vnic_name"), vnic);
        assert_int_equal(json_int(json_object_get(nics[i], "pci_path"), "device", 0), 8 + i);
        assert_int_equal(strlen(json_text(nics[i], "interface_id")), 36);
    }
    assert_string_not_equal(json_text(nics[0], "interface_id"), json_text(nics[1], "interface_id"));
    assert_string_not_equal(json_text(nics[1], "interface_id"), json_text(nics[2], "interface_id"));
}

static void an_old_server_gets_each_too(void **state)
{
    struct fixture *f = *state;
    add_vnic(f->spec, "vnic1");
    f->has_no_versions = true;
    start(f);
    cleanup_json json_t *body = body_of_put(f, true);
    const json_t *nics = json_object_get(body, "nics");
    assert_int_equal(json_array_size(nics), 2);
    assert_string_equal(json_text(json_array_get(nics, 1), "name"), "vnic1");
    assert_int_equal(json_int(json_array_get(nics, 1), "slot", 0), 1);
}

static void addresses_are_those_of_the_zones_network(void **state)
{
    (void)state;
    static const char info[] =
        "net:\n\taddress not specified\n\tallowed-address: 10.0.0.9/24\n\tphysical: vnic0\n"
        "net:\n\tallowed-address: fd00::5/64,10.0.0.5/24\n\tphysical: ctl0\n"
        "net 'x':\n\taddress: 10.0.0.6\n\tphysical: ctl1\n";
    struct zone_facts zone = {.id = 1};
    struct vm_spec *spec = vm_spec_new("web");
    spec->network.vnic = mem_strdup("vnic0");
    zone_parse_net(info, spec, &zone);
    assert_string_equal(zone.guest, "10.0.0.9");
    assert_string_equal(zone.server, "[fd00::5]");
    add_vnic(spec, "ctl0"); /* the guest's second: not the zone's own */
    zone_parse_net(info, spec, &zone);
    assert_string_equal(zone.guest, "10.0.0.9");
    assert_string_equal(zone.server, "10.0.0.6");
    zone_parse_net("net:\n\taddress: nonsense\n\tphysical: a0\n garbage : : :\n:", spec, &zone);
    assert_string_equal(zone.guest, "");
    assert_string_equal(zone.server, "");
    vm_spec_free(spec);
    spec = vm_spec_new("web");
    zone_parse_net(info, spec, &zone);
    assert_string_equal(zone.guest, "");
    assert_string_equal(zone.server, "10.0.0.9");
    vm_spec_free(spec);
}

static void the_server_of_each_vm_is_its_own(void **state)
{
    struct fixture *f = *state;
    put_file(f, "net-web",
        "net:\n\tallowed-address: 10.0.0.9/24\n\tphysical: vnic0\n"
        "net:\n\tallowed-address: 127.8.8.8/24\n\tphysical: ctl0\n");
    begin(f);
    assert_int_equal(launch(f), ERR_NONE); /* VMCTL_PROPOLIS_ADDRESS: of all that name none */
    assert_string_equal(f->status->instance.server, getenv("VMCTL_PROPOLIS_ADDRESS"));
    assert_string_equal(f->status->instance.guest, "10.0.0.9");
    unsetenv("VMCTL_PROPOLIS_ADDRESS");
    assert_int_equal(launch(f), ERR_NONE);
    assert_string_equal(f->status->instance.server, "127.8.8.8:12400");
    f->spec->propolis_server = mem_printf("127.0.0.1:%u", http_server_port(f->server));
    assert_int_equal(launch(f), ERR_NONE);
    assert_string_equal(f->status->instance.server, f->spec->propolis_server);
    assert_int_equal(boot(f), ERR_NONE);
    cleanup_free char *net = media_host_path(&f->m, "net-web");
    assert_int_equal(unlink(net), 0);
    free(TAKE_PTR(f->spec->propolis_server));
    assert_int_equal(launch(f), ERR_NONE);
    assert_string_equal(f->status->instance.server, "127.0.0.1:12400");
    assert_null(f->status->instance.guest);
}

static void a_start_done_twice_boots_and_makes_once(void **state)
{
    struct fixture *f = *state;
    start(f);
    assert_int_equal(launch(f), ERR_NONE);
    assert_int_equal(boot(f), ERR_NONE);
    assert_int_equal(f->n_created, 1);
    assert_int_equal(f->n_run, 1);
    assert_file(f, "log", "zoneadm -z web boot\n");
}

/* The controller was killed after it booted the zone, or had given it the instance. */
static void a_zone_that_runs_already_is_taken_up(void **state)
{
    struct fixture *f = *state;
    put_file(f, "zones/web", "running\n");
    put_instance(f, "Creating");
    begin(f);
    assert_true(observe(f).is_alive); /* not looked yet: it may be */
    await_state(f, RUN_STATE_PRELAUNCH);
    assert_int_equal(boot(f), ERR_NONE);
    assert_int_equal(f->n_created, 0);
    assert_int_equal(f->n_run, 1);
    assert_file(f, "log", "");
}

static void what_runs_is_found_again_by_the_next_controller(void **state)
{
    struct fixture *f = *state;
    start(f);
    machine_ops()->close(f->machine);
    f->machine = machine_ops()->open(&f->m.host, "web", on_changed, f);
    assert_true(observe(f).is_alive);
    await_state(f, RUN_STATE_RUNNING);
}

static void an_instance_whose_zone_is_down_is_seen_to_be_gone(void **state)
{
    struct fixture *f = *state;
    begin(f);
    assert_true(observe(f).is_alive);
    assert_true(media_host_wait_for(&f->m, is_down, f));
}

static void a_zone_that_is_not_there_is_told_with_help(void **state)
{
    struct fixture *f = *state;
    put_file(f, "zones/web", "configured\n");
    begin(f);
    assert_int_equal(launch(f), ERR_BACKEND_UNAVAILABLE);
    assert_string_equal(f->m.error.message, "there is no installed zone 'web'");
    assert_non_null(strstr(error_help_text(&f->m.error), "zonecfg -z web"));
}

static void a_server_that_does_not_answer_is_unreachable(void **state)
{
    struct fixture *f = *state;
    setenv("VMCTL_PROPOLIS_ADDRESS", "127.0.0.1:1", 1);
    setenv("VMCTL_PROPOLIS_TIMEOUT", "1", 1);
    begin(f);
    assert_int_equal(launch(f), ERR_NONE);
    assert_int_equal(boot(f), ERR_PROPOLIS_UNREACHABLE);
    assert_string_equal(error_code_name(f->m.error.code), "vmctl::propolis::unreachable");
    assert_non_null(strstr(f->m.error.message, "cannot start vm 'web': propolis-server on "
                                               "127.0.0.1:1 does not answer"));
    assert_non_null(strstr(error_help_text(&f->m.error), "nsure propolis-server is running"));
    use_server(f); /* and when it is there, the same start continues */
    assert_int_equal(launch(f), ERR_NONE);
    assert_int_equal(boot(f), ERR_NONE);
}

static void another_vms_server_is_left_alone(void **state)
{
    struct fixture *f = *state;
    f->owner = "db";
    put_instance(f, "Running");
    begin(f);
    assert_int_equal(launch(f), ERR_NONE);
    assert_int_equal(boot(f), ERR_VM_CONFLICT);
    assert_int_equal(f->n_created, 0);
}

static void an_instance_of_before_that_has_ended_is_replaced(void **state)
{
    struct fixture *f = *state;
    put_instance(f, "Stopped");
    strcpy(f->id, "01234567-89ab-cdef-0123-456789abcdef");
    start(f);
    assert_int_equal(f->n_created, 1);
    assert_int_equal(observe(f).run_state, RUN_STATE_RUNNING);
}

static void a_stop_stops_the_instance_then_halts_the_zone(void **state)
{
    struct fixture *f = *state;
    start(f);
    f->status->instance.intent = INTENT_STOP;
    machine_ops()->command(f->machine, &f->env, MACHINE_POWERDOWN);
    machine_ops()->command(f->machine, &f->env, MACHINE_POWERDOWN);
    await_state(f, RUN_STATE_SHUTDOWN);
    assert_true(observe(f).is_alive);
    machine_ops()->command(f->machine, &f->env, MACHINE_QUIT);
    machine_ops()->command(f->machine, &f->env, MACHINE_KILL);
    assert_true(media_host_wait_for(&f->m, is_down, f));
    assert_file(f, "log", "zoneadm -z web boot\nzoneadm -z web halt\n");
    machine_ops()->command(f->machine, &f->env, MACHINE_KILL); /* nothing is left to halt */
    assert_true(media_host_wait_for(&f->m, is_down, f));
}

static void a_launch_called_off_is_looked_at_again(void **state)
{
    struct fixture *f = *state;
    begin(f);
    op_cancel(
        machine_ops()->launch(f->machine, &f->env, &f->status->instance, media_host_done, &f->m));
    assert_true(observe(f).is_alive); /* who knows */
    assert_true(media_host_wait_for(&f->m, is_down, f));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zones_are_read_from_their_list),
        TEST(the_disk_is_a_clone_of_the_snapshot),
        TEST(a_clone_that_was_not_recorded_is_taken_up),
        TEST(a_missing_snapshot_is_told_with_help),
        TEST(destroying_takes_zone_and_disk_away_and_can_be_done_twice),
        TEST(a_new_disk_leaves_the_zone),
        TEST(a_destruction_that_fails_is_told_and_goes_on_later),
        TEST(a_started_zone_runs_the_instance),
        TEST(the_instance_is_told_what_the_spec_says),
        TEST(cloud_init_gets_its_seed_as_a_second_disk),
        TEST(a_seed_that_changes_is_for_a_new_disk),
        TEST(a_seed_that_is_too_large_for_a_request_is_told),
        TEST(a_server_of_an_older_version_is_spoken_to_in_the_oldest),
        TEST(a_server_of_before_all_versions_gets_the_body_it_knows),
        TEST(every_error_of_the_server_is_outlasted_or_told),
        TEST(each_network_is_a_card),
        TEST(an_old_server_gets_each_too),
        cmocka_unit_test(addresses_are_those_of_the_zones_network),
        TEST(the_server_of_each_vm_is_its_own),
        TEST(a_start_done_twice_boots_and_makes_once),
        TEST(a_zone_that_runs_already_is_taken_up),
        TEST(what_runs_is_found_again_by_the_next_controller),
        TEST(an_instance_whose_zone_is_down_is_seen_to_be_gone),
        TEST(a_zone_that_is_not_there_is_told_with_help),
        TEST(a_server_that_does_not_answer_is_unreachable),
        TEST(another_vms_server_is_left_alone),
        TEST(an_instance_of_before_that_has_ended_is_replaced),
        TEST(a_stop_stops_the_instance_then_halts_the_zone),
        TEST(a_launch_called_off_is_looked_at_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
