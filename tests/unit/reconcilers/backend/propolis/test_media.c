/* SPDX-License-Identifier: MPL-2.0 */
/* The table of media_files() as the reconciler uses it: fetch, prepare, observe, discard. */
#include "reconcilers/media/media.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "reconcilers/backend/backend.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/vm/media_digest.h"
#include "tests/support/media_host.h"

struct fixture {
    struct media_host m;
    struct vm_spec *spec;
    struct vm_status *status;
    const struct media_ops *media;
    struct image_result image;
};

static int setup(void **state)
{
    struct fixture *f = mem_new(struct fixture);
    media_host_setup(&f->m);
    f->media = media_files();
    f->status = vm_status_new("0123456789abcdef0123456789abcdef");
    f->spec = vm_spec_new("web");
    f->spec->cloud_init.is_set = true;
    f->spec->image.kind = IMAGE_FILE;
    f->spec->image.location = media_host_path(&f->m, "base.qcow2");
    const char *argv[] = {
        "qemu-img", "create", "-q", "-f", "qcow2", f->spec->image.location, "1G", NULL};
    assert_true(media_host_run(argv));
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    free(f->image.path);
    json_decref(f->image.record);
    vm_spec_free(f->spec);
    vm_status_free(f->status);
    media_host_teardown(&f->m);
    free(f);
    return 0;
}

static struct vm_env env(struct fixture *f)
{
    return (struct vm_env){.host = &f->m.host,
        .name = "web",
        .spec = f->spec,
        .uid = f->status->uid,
        .status = f->status};
}

static struct media_facts observe(struct fixture *f)
{
    struct vm_env e = env(f);
    struct media_facts facts;
    f->media->observe(&e, &facts);
    return facts;
}

static enum error_code fetch(struct fixture *f)
{
    struct vm_env e = env(f);
    (void)f->media->fetch_image(&e, &f->image, media_host_done, &f->m);
    return media_host_wait(&f->m, 1);
}

/* Fetches and prepares, and records the result as the reconciler does. */
static enum error_code prepare(struct fixture *f)
{
    struct vm_env e = env(f);
    struct vm_prepared result = {0};
    assert_int_equal(fetch(f), ERR_NONE);
    result.image_path = mem_strdup(f->image.path);
    memcpy(result.image_id, f->image.id, DIGEST_SIZE);
    (void)f->media->prepare(&e, &result, media_host_done, &f->m);
    enum error_code code = media_host_wait(&f->m, 1);
    if (code == ERR_NONE) {
        free(f->status->prepared.image_path);
        f->status->prepared = result;
    } else {
        free(result.image_path);
    }
    return code;
}

static bool has(struct fixture *f, enum vm_file file)
{
    cleanup_free char *path = paths_vm(&f->m.paths, "web", file);
    return fs_exists(path);
}

static char *text_of(struct fixture *f, enum vm_file file)
{
    cleanup_free char *path = paths_vm(&f->m.paths, "web", file);
    struct buf text = BUF_INIT(0);
    struct error err = {0};
    assert_int_equal(fs_read_file(path, &text, &err), 0);
    return buf_steal(&text);
}

static void nothing_is_there_at_first(void **state)
{
    struct fixture *f = *state;
    struct media_facts facts = observe(f);
    assert_false(facts.has_dir);
    assert_true(facts.has_image);
    assert_int_equal(facts.disk, DISK_NONE);
    assert_false(facts.is_outdated);
    assert_false(facts.is_image_changed);
}

static void preparing_makes_everything_ready(void **state)
{
    struct fixture *f = *state;
    char digest[DIGEST_SIZE];
    struct stat st;
    f->spec->disk_gib = 2;
    assert_int_equal(prepare(f), ERR_NONE);
    struct media_facts facts = observe(f);
    assert_true(facts.has_dir);
    assert_int_equal(facts.disk, DISK_READY);
    assert_false(facts.is_outdated);
    assert_false(facts.is_image_changed);
    spec_media_digest(f->spec, digest);
    assert_string_equal(f->status->prepared.digest, digest);
    assert_string_equal(f->status->prepared.image_path, f->spec->image.location);
    assert_int_equal(f->status->prepared.disk_gib, 2);
    static const enum vm_file files[] = {VM_OVERLAY, VM_SEED, VM_KEY, VM_KEY_PUBLIC, VM_HOST_KEY,
        VM_HOST_KEY_PUBLIC, VM_KNOWN_HOSTS};
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        assert_true(has(f, files[i]));
    }
    cleanup_free char *dir = paths_vm(&f->m.paths, "web", VM_DIR);
    assert_int_equal(stat(dir, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
}

static void without_cloud_init_there_is_only_a_disk(void **state)
{
    struct fixture *f = *state;
    f->spec->cloud_init.is_set = false;
    assert_int_equal(prepare(f), ERR_NONE);
    assert_int_equal(observe(f).disk, DISK_READY);
    assert_true(has(f, VM_OVERLAY));
    assert_false(has(f, VM_SEED));
    assert_false(has(f, VM_KEY));
    assert_false(has(f, VM_HOST_KEY));
}

static void an_interrupted_preparation_is_completed(void **state)
{
    struct fixture *f = *state;
    struct vm_env e = env(f);
    struct vm_prepared result = {0};
    struct error err = {0};
    assert_int_equal(fetch(f), ERR_NONE);
    result.image_path = mem_strdup(f->image.path);
    op_cancel(f->media->prepare(&e, &result, media_host_done, &f->m));
    free(result.image_path);
    cleanup_free char *dir = paths_vm(&f->m.paths, "web", VM_DIR);
    cleanup_free char *left = fs_join(dir, "overlay.qcow2.tmp-dead");
    assert_int_equal(fs_make_dirs(dir, 0700, &err), 0);
    assert_int_equal(fs_write_file(left, "x", 1, 0600, &err), 0);
    assert_int_equal(prepare(f), ERR_NONE);
    assert_int_equal(observe(f).disk, DISK_READY);
    assert_false(fs_exists(left));
}

static void a_kill_before_the_record_costs_nothing(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(prepare(f), ERR_NONE);
    cleanup_free char *key = text_of(f, VM_KEY);
    f->status->prepared.digest[0] = '\0';
    assert_int_equal(observe(f).disk, DISK_NONE);
    assert_int_equal(prepare(f), ERR_NONE);
    cleanup_free char *same_key = text_of(f, VM_KEY);
    assert_string_equal(same_key, key);
    assert_int_equal(observe(f).disk, DISK_READY);
}

static void a_larger_disk_is_grown_and_nothing_else_touched(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(prepare(f), ERR_NONE);
    cleanup_free char *digest = mem_strdup(f->status->prepared.digest);
    cleanup_free char *hosts = text_of(f, VM_KNOWN_HOSTS);
    f->spec->disk_gib = 3;
    assert_int_equal(observe(f).disk, DISK_TO_GROW);
    assert_int_equal(prepare(f), ERR_NONE);
    assert_int_equal(observe(f).disk, DISK_READY);
    assert_int_equal(f->status->prepared.disk_gib, 3);
    assert_string_equal(f->status->prepared.digest, digest);
    cleanup_free char *same_hosts = text_of(f, VM_KNOWN_HOSTS);
    assert_string_equal(same_hosts, hosts);
    f->spec->disk_gib = 2;
    assert_int_equal(prepare(f), ERR_DISK_SHRINK);
    f->spec->disk_gib = 0; /* no wish: stays */
    assert_int_equal(prepare(f), ERR_NONE);
    assert_int_equal(f->status->prepared.disk_gib, 3);
}

static void another_spec_is_outdated_until_a_recreation(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(prepare(f), ERR_NONE);
    cleanup_free char *digest = mem_strdup(f->status->prepared.digest);
    f->spec->cloud_init.hostname = mem_strdup("www");
    f->spec->disk_gib = 3;
    assert_true(observe(f).is_outdated);
    assert_int_equal(observe(f).disk, DISK_TO_GROW);
    assert_int_equal(prepare(f), ERR_NONE); /* grows, and does not hide that it is outdated */
    assert_string_equal(f->status->prepared.digest, digest);
    assert_true(observe(f).is_outdated);
    struct vm_env e = env(f);
    struct error err = {0};
    assert_int_equal(f->media->discard(&e, false, &err), 0);
    free(f->status->prepared.image_path);
    f->status->prepared = (struct vm_prepared){0};
    assert_int_equal(observe(f).disk, DISK_NONE);
    assert_int_equal(prepare(f), ERR_NONE);
    assert_false(observe(f).is_outdated);
}

static void a_changed_local_base_is_seen(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(prepare(f), ERR_NONE);
    const struct timespec times[] = {{.tv_sec = 1}, {.tv_sec = 1}};
    assert_int_equal(utimensat(AT_FDCWD, f->spec->image.location, times, 0), 0);
    assert_true(observe(f).is_image_changed);
    assert_int_equal(unlink(f->spec->image.location), 0);
    assert_true(observe(f).is_image_changed);
    assert_false(observe(f).has_image);
}

static void a_ready_disk_needs_no_other_image_than_its_own(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(prepare(f), ERR_NONE);
    f->spec->image.kind = IMAGE_URL;
    free(f->spec->image.location);
    f->spec->image.location = mem_strdup("http://127.0.0.1:1/new.img");
    assert_true(observe(f).has_image);
    assert_true(observe(f).is_outdated);
}

static void a_lost_seed_is_made_again_with_the_same_keys(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(prepare(f), ERR_NONE);
    cleanup_free char *hosts = text_of(f, VM_KNOWN_HOSTS);
    cleanup_free char *seed = paths_vm(&f->m.paths, "web", VM_SEED);
    assert_int_equal(unlink(seed), 0);
    assert_int_equal(observe(f).disk, DISK_NONE);
    assert_int_equal(prepare(f), ERR_NONE);
    assert_int_equal(observe(f).disk, DISK_READY);
    cleanup_free char *same_hosts = text_of(f, VM_KNOWN_HOSTS);
    assert_string_equal(same_hosts, hosts);
}

static void an_orphan_is_observed_without_a_spec(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(prepare(f), ERR_NONE);
    struct vm_env e = env(f);
    struct media_facts facts;
    e.spec = NULL;
    f->media->observe(&e, &facts);
    assert_true(facts.has_dir);
    assert_int_equal(facts.disk, DISK_READY);
    assert_false(facts.is_outdated);
    assert_true(facts.has_image);
}

static void media_digest(const struct vm_spec *spec, char *ret)
{
    spec_media_digest(spec, ret);
}

static void the_digest_covers_what_only_a_recreation_changes(void **state)
{
    struct fixture *f = *state;
    struct vm_spec *spec = f->spec;
    char first[DIGEST_SIZE], next[DIGEST_SIZE];
    media_digest(spec, first);
    spec->vcpus = 7;
    spec->disk_gib = 70;
    spec->memory_mib = 4096;
    spec->cloud_init.hostname = mem_strdup("web"); /* as the default */
    spec->cloud_init.bus = SEED_VIRTIO;
    media_digest(spec, next);
    assert_string_equal(next, first);
    free(spec->cloud_init.hostname);
    spec->cloud_init.hostname = mem_strdup("other");
    media_digest(spec, next);
    assert_string_not_equal(next, first);
    memcpy(first, next, sizeof(first));
    free(spec->ssh.user);
    spec->ssh.user = mem_strdup("admin"); /* stands in our user-data */
    media_digest(spec, next);
    assert_string_not_equal(next, first);
    memcpy(first, next, sizeof(first));
    spec->cloud_init.ssh_key.path = mem_strdup("/a");
    memset(spec->cloud_init.ssh_key.digest, 'a', DIGEST_SIZE - 1);
    media_digest(spec, next);
    assert_string_not_equal(next, first);
    memcpy(first, next, sizeof(first));
    free(spec->cloud_init.ssh_key.path);
    spec->cloud_init.ssh_key.path = mem_strdup("/moved"); /* same bytes */
    media_digest(spec, next);
    assert_string_equal(next, first);
    spec->cloud_init.user_data.path = mem_strdup("/u");
    media_digest(spec, first);
    free(spec->ssh.user);
    spec->ssh.user = mem_strdup("other"); /* not in the user's own user-data */
    media_digest(spec, next);
    assert_string_equal(next, first);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(nothing_is_there_at_first),
        TEST(preparing_makes_everything_ready),
        TEST(without_cloud_init_there_is_only_a_disk),
        TEST(an_interrupted_preparation_is_completed),
        TEST(a_kill_before_the_record_costs_nothing),
        TEST(a_larger_disk_is_grown_and_nothing_else_touched),
        TEST(another_spec_is_outdated_until_a_recreation),
        TEST(a_changed_local_base_is_seen),
        TEST(a_ready_disk_needs_no_other_image_than_its_own),
        TEST(a_lost_seed_is_made_again_with_the_same_keys),
        TEST(an_orphan_is_observed_without_a_spec),
        TEST(the_digest_covers_what_only_a_recreation_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
