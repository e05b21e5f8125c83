/* SPDX-License-Identifier: MPL-2.0 */
/* UEFI firmware by QEMU's descriptors, and the file of its variables. */
#include "reconcilers/backend/qemu/firmware.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "tests/support/sshd.h"

#define ORDINARY "\"acpi-s3\""
#define SECURE "\"requires-smm\",\"secure-boot\",\"enrolled-keys\""

struct world {
    char *dir;
    char *system, *admin, *user; /* the directories of descriptors … */
    const char *directories[4];  /* … in their order */
    char *vars;                  /* a VM's */
    struct firmware_build build;
    struct error err;
};

static void make(const char *path, const char *text)
{
    struct error err = {.code = ERR_NONE};
    assert_int_equal(fs_write_file(path, text, strlen(text), 0644, &err), 0);
}

static int set_up(void **state)
{
    struct world *world = mem_new(struct world);
    struct error err = {.code = ERR_NONE};
    world->dir = test_dir_make();
    world->system = fs_join(world->dir, "system");
    world->admin = fs_join(world->dir, "admin");
    world->user = fs_join(world->dir, "user");
    world->vars = fs_join(world->dir, "vars.fd");
    world->directories[0] = world->system;
    world->directories[1] = world->admin;
    world->directories[2] = world->user;
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(fs_make_dirs(world->directories[i], 0700, &err), 0);
    }
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    firmware_build_clear(&world->build);
    test_dir_remove(world->dir);
    free(world->system);
    free(world->admin);
    free(world->user);
    free(world->vars);
    free(world);
    return 0;
}

/* Its code, and the template of its variables, are files called after `build`. */
static void describe(const struct world *world, const char *directory, const char *name,
    const char *build, const char *machines, const char *features)
{
    cleanup_free char *code = mem_printf("%s/%s.code", world->dir, build);
    cleanup_free char *vars = mem_printf("%s/%s.vars", world->dir, build);
    cleanup_free char *path = fs_join(directory, name);
    cleanup_free char *text = mem_printf(
        "{\"interface-types\":[\"uefi\"],\"mapping\":{\"device\":\"flash\","
        "\"executable\":{\"filename\":\"%s\",\"format\":\"raw\"},"
        "\"nvram-template\":{\"filename\":\"%s\",\"format\":\"raw\"}},"
        "\"targets\":[{\"architecture\":\"x86_64\",\"machines\":[\"%s\"]}],\"features\":[%s]}",
        code, vars, machines, features);
    make(code, build);
    make(vars, build);
    make(path, text);
}

/* The build that is found; "": none. */
static const char *found(struct world *world, enum firmware kind, const char *machine)
{
    const struct firmware_wanted wanted = {kind, "x86_64", machine, world->vars};
    firmware_build_clear(&world->build);
    world->err = (struct error){.code = ERR_NONE};
    char *dot = NULL;
    if (firmware_find(world->directories, &wanted, &world->build, &world->err) == 0) {
        dot = strrchr(world->build.code, '.');
    }
    if (!dot || !text_starts_with(world->build.code, world->dir)) {
        return "";
    }
    *dot = '\0';
    return strrchr(world->build.code, '/') + 1;
}

static void the_first_by_name_that_fits_is_taken(void **state)
{
    struct world *world = *state;
    describe(world, world->system, "40-secure.json", "secure", "pc-q35-*", SECURE);
    describe(world, world->system, "60-plain.json", "plain", "pc-q35-*", ORDINARY);
    describe(world, world->system, "70-later.json", "later", "pc-q35-*", ORDINARY);
    describe(world, world->system, "10-other.json", "other", "pc-i440fx-*", ORDINARY);
    assert_string_equal(found(world, FIRMWARE_UEFI, "q35"), "plain");
    assert_false(world->build.needs_smm);
    assert_string_equal(found(world, FIRMWARE_UEFI, "pc-q35-7.2"), "plain");
    assert_string_equal(found(world, FIRMWARE_UEFI_SECURE, "q35"), "secure");
    assert_true(world->build.needs_smm);
    describe(world, world->user, "50-mine.json", "mine", "pc-q35-*", ORDINARY);
    assert_string_equal(found(world, FIRMWARE_UEFI, "q35"), "mine");
}

/* docs/interop/firmware.json: the user's before the administrator's before the distribution's. */
static void one_of_the_same_name_hides_those_before(void **state)
{
    struct world *world = *state;
    cleanup_free char *hidden = fs_join(world->user, "60-plain.json");
    describe(world, world->system, "60-plain.json", "plain", "pc-q35-*", ORDINARY);
    describe(world, world->admin, "60-plain.json", "changed", "pc-q35-*", ORDINARY);
    describe(world, world->system, "70-later.json", "later", "pc-q35-*", ORDINARY);
    assert_string_equal(found(world, FIRMWARE_UEFI, "q35"), "changed");
    make(hidden, "");
    assert_string_equal(found(world, FIRMWARE_UEFI, "q35"), "later");
    assert_int_equal(unlink(hidden), 0);
    assert_int_equal(symlink("/dev/null", hidden), 0);
    assert_string_equal(found(world, FIRMWARE_UEFI, "q35"), "later");
}

static void what_is_no_descriptor_is_passed_over(void **state)
{
    struct world *world = *state;
    static const char *const odd[] = {"{", "[]", "{\"mapping\": 1}",
        "{\"interface-types\":[\"bios\"]}", "{\"interface-types\":[\"uefi\"],\"targets\":[1,{}]}"};
    describe(world, world->system, "60-plain.json", "plain", "pc-q35-*", ORDINARY);
    for (size_t i = 0; i < ARRAY_LEN(odd); i++) {
        cleanup_free char *path = mem_printf("%s/1%zu.json", world->system, i);
        make(path, odd[i]);
    }
    cleanup_free char *pipe = fs_join(world->system, "20-pipe.json");
    cleanup_free char *directory = fs_join(world->system, "21-dir.json");
    assert_int_equal(mkfifo(pipe, 0600), 0);
    assert_int_equal(mkdir(directory, 0700), 0);
    describe(world, world->system, "30-gone.json", "gone", "pc-q35-*", ORDINARY);
    cleanup_free char *gone = fs_join(world->dir, "gone.code");
    assert_int_equal(unlink(gone), 0);
    assert_string_equal(found(world, FIRMWARE_UEFI, "q35"), "plain");
}

/* A VM of another build, or of the same one before an upgrade of the host, keeps it. */
static void variables_that_are_there_choose_their_build(void **state)
{
    struct world *world = *state;
    describe(world, world->system, "50-small.json", "small", "pc-q35-*", ORDINARY);
    describe(world, world->system, "60-larger.json", "larger", "pc-q35-*", ORDINARY);
    make(world->vars, "LARGER");
    assert_string_equal(found(world, FIRMWARE_UEFI, "q35"), "larger");
    make(world->vars, "of no build");
    assert_string_equal(found(world, FIRMWARE_UEFI, "q35"), "");
    assert_non_null(strstr(world->err.message, world->vars));
    assert_non_null(strstr(error_help_text(&world->err), "remove that file"));
}

static void missing_firmware_is_told_with_the_packages_name(void **state)
{
    struct world *world = *state;
    struct firmware_wanted wanted = {FIRMWARE_UEFI_SECURE, "x86_64", "q35", world->vars};
    assert_int_equal(
        firmware_find(world->directories, &wanted, &world->build, &world->err), -ERR_QEMU_SPAWN);
    assert_string_equal(error_help_text(&world->err), "install it: apt-get install ovmf");
    wanted = (struct firmware_wanted){FIRMWARE_UEFI, "mips", "malta", world->vars};
    world->err = (struct error){.code = ERR_NONE};
    assert_int_equal(
        firmware_find(world->directories, &wanted, &world->build, &world->err), -ERR_QEMU_SPAWN);
    assert_non_null(strstr(error_help_text(&world->err), "apt-get install qemu-efi-mips"));
}

/* It is no other build's, so variables that are there are of another one. */
static void u_boot_keeps_no_variables(void **state)
{
    struct world *world = *state;
    const struct firmware_wanted wanted = {FIRMWARE_UEFI, "riscv64", "virt", world->vars};
    const struct firmware_build u_boot = {.code = (char *)"/usr/lib/u-boot"};
    assert_int_equal(firmware_make_vars(&u_boot, world->vars, &world->err), 0);
    assert_int_equal(access(world->vars, F_OK), -1);
    make(world->vars, "of no build");
    assert_int_equal(
        firmware_find(world->directories, &wanted, &world->build, &world->err), -ERR_QEMU_SPAWN);
    assert_non_null(strstr(error_help_text(&world->err), "apt-get install u-boot-qemu; or"));
}

static void a_vms_variables_are_copied_once(void **state)
{
    struct world *world = *state;
    struct stat st;
    cleanup_buf struct buf text = BUF_INIT(0);
    describe(world, world->system, "60-plain.json", "plain", "pc-q35-*", ORDINARY);
    assert_string_equal(found(world, FIRMWARE_UEFI, "q35"), "plain");
    assert_int_equal(firmware_make_vars(&world->build, world->vars, &world->err), 0);
    assert_int_equal(stat(world->vars, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    make(world->vars, "VARS!");
    assert_int_equal(firmware_make_vars(&world->build, world->vars, &world->err), 0);
    assert_int_equal(fs_read_file(world->vars, &text, &world->err), 0);
    assert_string_equal(buf_str(&text), "VARS!");
}

static void zeros_take_no_room(void **state)
{
    struct world *world = *state;
    enum { SIZE = 8 << 20 };
    struct stat st;
    cleanup_free char *code = mem_strdup("/code"), *template = fs_join(world->dir, "template");
    const struct firmware_build build = {.code = code, .vars = template};
    make(template, "head");
    assert_int_equal(truncate(template, SIZE), 0);
    assert_int_equal(firmware_make_vars(&build, world->vars, &world->err), 0);
    assert_int_equal(stat(world->vars, &st), 0);
    assert_int_equal(st.st_size, SIZE);
    assert_in_range(st.st_blocks, 1, 1024);
}

static void something_else_in_their_place_is_refused(void **state)
{
    struct world *world = *state;
    cleanup_free char *template = fs_join(world->dir, "template");
    const struct firmware_build build = {.vars = template};
    make(template, "head");
    assert_int_equal(mkfifo(world->vars, 0600), 0);
    assert_int_equal(firmware_make_vars(&build, world->vars, &world->err), -ERR_QEMU_SPAWN);
    assert_int_equal(unlink(world->vars), 0);
    assert_int_equal(symlink("/etc/passwd", world->vars), 0);
    world->err = (struct error){.code = ERR_NONE};
    assert_int_equal(firmware_make_vars(&build, world->vars, &world->err), -ERR_QEMU_SPAWN);
    assert_int_equal(unlink(world->vars), 0);
    assert_int_equal(unlink(template), 0);
    world->err = (struct error){.code = ERR_NONE};
    assert_int_equal(firmware_make_vars(&build, world->vars, &world->err), -ERR_IO);
    assert_false(fs_exists(world->vars));
}

static void make_with_key(const char *path, uint8_t state)
{
    static const char key[] =
        "\x61\xdf\xe4\x8b\xca\x93\xd2\x11\xaa\x0d\x00\xe0\x98\x03\x2b\x8cP\0K\0\0";
    enum { HEADER_AT = 100, VENDOR_AT = HEADER_AT + 44, SIZE = 200 };
    char bytes[SIZE] = "head";
    struct error err = {.code = ERR_NONE};
    bytes[HEADER_AT] = (char)0xaa;
    bytes[HEADER_AT + 1] = 0x55;
    bytes[HEADER_AT + 2] = (char)state;
    memcpy(bytes + VENDOR_AT, key, sizeof(key));
    assert_int_equal(fs_write_file(path, bytes, SIZE, 0644, &err), 0);
}

/* Of a snapshot from before the VM had secure boot: it would be on in the VMFile alone. */
static void variables_without_keys_do_not_go_with_secure_boot(void **state)
{
    enum { ADDED = 0x3f, DELETED = 0x3c };
    struct world *world = *state;
    cleanup_free char *template = fs_join(world->dir, "template");
    const struct firmware_build build = {.vars = template};
    make_with_key(template, ADDED);
    assert_int_equal(firmware_check_keys(&build, world->vars, &world->err), 0); /* none yet */
    make(world->vars, "head");
    assert_int_equal(firmware_check_keys(&build, world->vars, &world->err), -ERR_QEMU_SPAWN);
    assert_non_null(strstr(world->err.message, "secure boot would be off"));
    error_clear(&world->err);
    make_with_key(world->vars, DELETED);
    assert_int_equal(firmware_check_keys(&build, world->vars, &world->err), -ERR_QEMU_SPAWN);
    error_clear(&world->err);
    make_with_key(world->vars, ADDED);
    assert_int_equal(firmware_check_keys(&build, world->vars, &world->err), 0);
    make(world->vars, "head");
    make(template, "of another form");
    assert_int_equal(firmware_check_keys(&build, world->vars, &world->err), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_first_by_name_that_fits_is_taken),
        TEST(one_of_the_same_name_hides_those_before),
        TEST(what_is_no_descriptor_is_passed_over),
        TEST(variables_that_are_there_choose_their_build),
        TEST(missing_firmware_is_told_with_the_packages_name),
        TEST(u_boot_keeps_no_variables),
        TEST(a_vms_variables_are_copied_once),
        TEST(zeros_take_no_room),
        TEST(variables_without_keys_do_not_go_with_secure_boot),
        TEST(something_else_in_their_place_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
