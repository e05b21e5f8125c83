/* SPDX-License-Identifier: MPL-2.0 */
/* What decides that a template fits, and what becomes one. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/text.h"
#include "specs/vm/template.h"
#include "specs/vm/vm_spec.h"

static void add_step(struct vm_spec *spec, const char *command, bool is_per_vm)
{
    mem_grow(spec->steps, spec->n_steps);
    spec->steps[spec->n_steps++] = (struct spec_step){
        .kind = STEP_INLINE, .command = mem_strdup(command), .is_per_vm = is_per_vm};
}

static struct vm_spec *a_spec(void)
{
    struct vm_spec *spec = vm_spec_new("web");
    spec->image.location = mem_strdup("/i.qcow2");
    spec->warm = WARM_DISK;
    spec->cloud_init.is_set = true;
    spec->disk_gib = 10;
    add_step(spec, "one", false);
    add_step(spec, "two", false);
    add_step(spec, "three", true);
    add_step(spec, "four", false); /* behind the one of each VM */
    return spec;
}

static void set_text(char **text, const char *value)
{
    free(*text);
    *text = mem_strdup(value);
}

static void what_is_baked_ends_with_the_first_step_of_each_vm(void **state)
{
    (void)state;
    struct vm_spec *spec = a_spec();
    assert_int_equal(template_steps(spec), 2);
    assert_true(template_is_wanted(spec));
    spec->steps[0].is_per_vm = true;
    assert_int_equal(template_steps(spec), 0);
    assert_false(template_is_wanted(spec)); /* nothing would be saved … */
    spec->cloud_init.user_data.path = mem_strdup("/u.yaml");
    assert_true(template_is_wanted(spec)); /* … but what user-data installs */
    spec->warm = WARM_NEVER;
    assert_false(template_is_wanted(spec));
    vm_spec_free(spec);
}

/* ---- the key ---- */

static void change_disk(struct vm_spec *spec)
{
    spec->disk_gib = 20;
}
static void change_tpm(struct vm_spec *spec)
{
    spec->has_tpm = true;
}

static void change_firmware(struct vm_spec *spec)
{
    spec->firmware = FIRMWARE_UEFI;
}
static void change_network(struct vm_spec *spec)
{
    spec->network.mode = NETWORK_TAP;
}
static void change_seed(struct vm_spec *spec)
{
    spec->cloud_init.bus = SEED_IDE;
}
static void change_hostname(struct vm_spec *spec)
{
    set_text(&spec->cloud_init.hostname, "h");
}
static void change_user(struct vm_spec *spec)
{
    set_text(&spec->ssh.user, "debian");
}
static void join_user_data(struct vm_spec *spec)
{
    spec->cloud_init.is_joined = true;
}

static void change_user_data(struct vm_spec *spec)
{
    set_text(&spec->cloud_init.user_data.path, "/u.yaml");
}
static void add_user_data(struct vm_spec *spec)
{
    mem_grow(spec->cloud_init.further_user_data, spec->cloud_init.n_further_user_data);
    spec->cloud_init.further_user_data[spec->cloud_init.n_further_user_data++] =
        (struct spec_file){.path = mem_strdup("/u2")};
}
static void change_step(struct vm_spec *spec)
{
    set_text(&spec->steps[1].command, "2");
}
static void bake_more(struct vm_spec *spec)
{
    spec->steps[2].is_per_vm = false;
}

static const struct {
    void (*change)(struct vm_spec *spec);
    const char *words;
} in_key[] = {
    {change_disk, "disk 10 -> 20"},
    {change_firmware, "firmware bios -> uefi"},
    {change_tpm, "tpm (none) -> #true"},
    {change_network, "network user -> tap"},
    {change_seed, "seed scsi -> ide"},
    {change_hostname, "hostname (none) -> h"},
    {change_user, "user vm -> debian"},
    {change_user_data, "user-data"},
    {join_user_data, "raw (none) -> #false"},
    {add_user_data, "user-data-2 (none) -> /u2"},
    {change_step, "step 2"},
    {bake_more, "step 3"},
};

static void what_decides_what_is_on_the_disk_is_in_the_key(void **state)
{
    (void)state;
    struct vm_spec *spec = a_spec();
    cleanup_free char *key = template_key(spec, "sha");
    cleanup_free char *other = template_key(spec, "ahs");
    cleanup_free char *image = template_key_difference(key, other);
    assert_string_equal(image, "image");
    for (size_t i = 0; i < ARRAY_LEN(in_key); i++) {
        struct vm_spec *changed = vm_spec_copy(spec);
        in_key[i].change(changed);
        cleanup_free char *now = template_key(changed, "sha");
        assert_string_not_equal(now, key);
        cleanup_free char *words = template_key_difference(key, now);
        assert_string_equal(words, in_key[i].words);
        vm_spec_free(changed);
    }
    vm_spec_free(spec);
}

/* So that copies share one, and what only the running machine has makes none useless. */
static void what_belongs_to_one_vm_is_not_in_the_key(void **state)
{
    (void)state;
    struct vm_spec *spec = a_spec();
    cleanup_free char *key = template_key(spec, "sha");
    set_text(&spec->name, "web-run-1a2b");
    set_text(&spec->image.location, "/elsewhere.qcow2");
    set_text(&spec->cloud_init.ssh_key.path, "/k.pub");
    set_text(&spec->ssh.private_key, "/k");
    set_text(&spec->machine, "pc-q35-7.2");
    spec->vcpus = spec->max_vcpus = 7;
    spec->memory_mib = spec->max_memory_mib = 777;
    spec->accel = ACCEL_TCG;
    spec->restart = RESTART_NEVER;
    spec->stop_timeout_s = 7;
    spec->vnc.port = 5901;
    spec->steps[0].timeout_s = 7;
    spec->steps[0].run = RUN_ONCE;
    set_text(&spec->steps[2].command, "other");
    mem_grow(spec->network.forwards, spec->network.n_forwards);
    spec->network.forwards[spec->network.n_forwards++] =
        (struct spec_forward){.host_port = 8080, .guest_port = 80};
    cleanup_free char *now = template_key(spec, "sha");
    assert_string_equal(now, key);
    vm_spec_free(spec);
}

/* A file counts by what it holds; the golden key is what stored templates are found by. */
static void the_key_is_as_ever(void **state)
{
    (void)state;
    struct vm_spec *spec = a_spec();
    spec->n_steps = 1; /* the rest is freed below */
    free(spec->steps[1].command);
    free(spec->steps[2].command);
    free(spec->steps[3].command);
    cleanup_free char *key = template_key(spec, "sha");
    assert_string_equal(key,
        "{\"backend\":\"qemu\",\"disk\":10,\"firmware\":\"bios\",\"format\":1,\"image\":\"sha\","
        "\"kind\":\"disk\",\"network\":\"user\",\"seed\":\"scsi\",\"steps\":[{\"command\":\"one\","
        "\"kind\":\"inline\"}],\"user\":\"vm\"}");
    vm_spec_free(spec);
}

/* Memory fits one machine alone, and a boot is worth saving, too. */
static void the_key_of_memory_has_the_machine(void **state)
{
    (void)state;
    struct vm_spec *spec = a_spec();
    cleanup_free char *of_disk = template_key(spec, "sha");
    spec->warm = WARM_AUTO;
    cleanup_free char *key = template_key(spec, "sha");
    spec->memory_mib *= 2;
    cleanup_free char *larger = template_key(spec, "sha");
    cleanup_free char *difference = template_key_difference(key, larger);
    assert_non_null(strstr(difference, "memory 1024 -> 2048"));
    spec->memory_mib /= 2;
    spec->warm = WARM_REQUIRE;
    cleanup_free char *required = template_key(spec, "sha");
    assert_string_equal(required, key);
    spec->firmware = FIRMWARE_UEFI;
    spec->warm = WARM_AUTO;
    assert_string_equal(template_memory_obstacle(spec), "firmware \"uefi\"");
    assert_false(template_has_memory(spec));
    spec->firmware = FIRMWARE_UEFI_SECURE;
    assert_string_equal(template_memory_obstacle(spec), "firmware \"uefi-secure\"");
    spec->firmware = FIRMWARE_BIOS;
    spec->has_tpm = true;
    assert_string_equal(template_memory_obstacle(spec), "`tpm`");
    spec->has_tpm = false;
    spec->image.arch = arch_is_foreign(ARCH_AARCH64) ? ARCH_AARCH64 : ARCH_X86_64;
    assert_non_null(strstr(template_memory_obstacle(spec), "`arch`"));
    spec->image.arch = ARCH_HOST;
    spec->steps[0].is_per_vm = true;
    assert_true(template_is_wanted(spec));
    spec->network.mode = NETWORK_TAP; /* as with "disk": what can be had is taken */
    assert_false(template_is_wanted(spec));
    spec->steps[0].is_per_vm = false;
    spec->network.mode = NETWORK_USER;
    struct vm_spec *builder = template_builder_spec(spec, "0123456789abcdef", "forget");
    assert_int_equal(builder->warm, WARM_AUTO);
    vm_spec_free(builder);
    vm_spec_free(spec);
    assert_string_not_equal(of_disk, key);
}

/* ---- the builder ---- */

static void a_builder_has_nothing_of_one_vm(void **state)
{
    (void)state;
    struct vm_spec *spec = a_spec();
    set_text(&spec->cloud_init.ssh_key.path, "/k.pub");
    spec->restart = RESTART_NEVER;
    spec->vnc.port = 5901;
    mem_grow(spec->network.forwards, spec->network.n_forwards);
    spec->network.forwards[spec->network.n_forwards++] =
        (struct spec_forward){.host_port = 8080, .guest_port = 80};
    struct vm_spec *builder = template_builder_spec(spec, "0123456789abcdef", "forget");
    assert_string_equal(builder->name, "~0123456789ab");
    assert_true(vm_spec_name_is_of_template(builder->name));
    assert_false(vm_spec_name_is_valid(builder->name)); /* no user can have it */
    assert_string_equal(builder->cloud_init.hostname, "template-0123456789ab");
    assert_null(builder->cloud_init.ssh_key.path);
    assert_int_equal(builder->network.n_forwards, 0);
    assert_int_equal(builder->vnc.port, 0);
    assert_int_equal(builder->restart, RESTART_ON_FAILURE);
    assert_int_equal(builder->warm, WARM_NEVER);
    assert_int_equal(builder->n_steps, 3);
    assert_string_equal(builder->steps[1].command, "two");
    assert_string_equal(builder->steps[2].command, "forget");
    vm_spec_free(builder);
    vm_spec_free(spec);
}

/* ---- files ---- */

static char *make_template(const struct paths *paths, const char *digest, const char *key)
{
    struct error err = {.code = ERR_NONE};
    struct stat st;
    cleanup_free char *dir = template_path(paths, digest, "");
    cleanup_free char *disk = template_path(paths, digest, "disk.qcow2");
    cleanup_free char *json = template_path(paths, digest, "template.json");
    assert_int_equal(fs_make_dirs(dir, 0700, &err), 0);
    assert_int_equal(fs_write_file(disk, "disk", 4, 0600, &err), 0);
    assert_int_equal(stat(disk, &st), 0);
    cleanup_free char *text =
        mem_printf("{\"format\": 1, \"digest\": \"%s\", \"key\": \"%s\", "
                   "\"imagePath\": \"/i\", \"diskBytes\": 4, \"diskChanged\": "
                   "%lld}",
            digest, key, (long long)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec);
    assert_int_equal(fs_write_file(json, text, strlen(text), 0600, &err), 0);
    return TAKE_PTR(disk);
}

static void one_that_is_not_as_it_was_sealed_is_not_used(void **state)
{
    (void)state;
    char dir[] = "/tmp/vmctl-template-XXXXXX", digest[DIGEST_SIZE];
    struct paths paths = {.data_dir = mkdtemp(dir)};
    struct error err = {.code = ERR_NONE};
    digest_text("key", digest);
    assert_null(template_find(&paths, digest, &err));
    assert_int_equal(err.code, ERR_NONE); /* there is none */
    cleanup_free char *disk = make_template(&paths, digest, "key");
    struct template_record *record = template_find(&paths, digest, &err);
    assert_non_null(record);
    assert_string_equal(record->image_path, "/i");
    template_record_free(record);
    const struct timespec younger[] = {{.tv_nsec = UTIME_NOW}, {.tv_sec = INT32_MAX}};
    assert_int_equal(fs_write_file(disk, "ksid", 4, 0600, &err), 0); /* as large … */
    assert_int_equal(
        utimensat(AT_FDCWD, disk, younger, 0), 0); /* … and younger, also in one tick */
    assert_null(template_find(&paths, digest, &err));
    assert_int_equal(err.code, ERR_TEMPLATE);
    assert_non_null(strstr(err.message, "was changed since it was sealed"));
    error_clear(&err);
    cleanup_free char *other = make_template(&paths, digest, "another key");
    assert_null(template_find(&paths, digest, &err));
    assert_int_equal(err.code, ERR_TEMPLATE);
    assert_int_equal(fs_remove_tree(dir, &err), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_baked_ends_with_the_first_step_of_each_vm),
        cmocka_unit_test(what_decides_what_is_on_the_disk_is_in_the_key),
        cmocka_unit_test(what_belongs_to_one_vm_is_not_in_the_key),
        cmocka_unit_test(the_key_is_as_ever),
        cmocka_unit_test(the_key_of_memory_has_the_machine),
        cmocka_unit_test(a_builder_has_nothing_of_one_vm),
        cmocka_unit_test(one_that_is_not_as_it_was_sealed_is_not_used),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
