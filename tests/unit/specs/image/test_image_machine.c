/* SPDX-License-Identifier: MPL-2.0 */
/* The processor that a disk's partition table names, against this host's. */
#include "specs/image/image_machine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cmocka.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/user_path.h"
#include "specs/image/bytes.h"
#include "specs/image/image_inspect.h"
#include "specs/image/qcow2.h"

enum { TABLE_SIZE = 16 * 512, ENTRIES = 2 * 512, CLUSTER = 1 << 16, DATA = 3 * CLUSTER };

/* In the order of their bytes on disk. */
static const uint8_t linux_root[16] =
    "\xaf\x3d\xc6\x0f\x83\x84\x72\x47\x8e\x79\x3d\x69\xd8\x47\x7d\xe4";
static const uint8_t x86_64[16] =
    "\xe3\xbc\x68\x4f\xcd\xe8\xb1\x4d\x96\xe7\xfb\xca\xf9\x84\xb7\x09";
static const uint8_t aarch64[16] =
    "\x45\xb0\x21\xb9\xf0\x1d\xc3\x41\xaf\x44\x4c\x6f\x28\x0d\x3f\xae";
static const uint8_t riscv64[16] =
    "\xa6\x70\xec\x72\x74\xcf\xe6\x40\xbd\x49\x4b\xda\x08\xe8\xf2\x24";

static bool is_this_host(const char *machine)
{
    struct utsname host;
    assert_int_equal(uname(&host), 0);
    return strcmp(host.machine, machine) == 0;
}

static const uint8_t *own_type(void)
{
    return is_this_host("aarch64") ? aarch64 : x86_64;
}

static const uint8_t *other_type(void)
{
    return is_this_host("aarch64") ? x86_64 : aarch64;
}

static void skip_unknown_host(void)
{
    if (!is_this_host("x86_64") && !is_this_host("aarch64")) {
        skip();
    }
}

static void put_table(
    uint8_t bytes[TABLE_SIZE], const uint8_t *const *types, size_t n, uint64_t entries)
{
    memset(bytes, 0, TABLE_SIZE);
    memcpy(bytes + 512, "EFI PART", 8);
    for (int i = 0; i < 8; i++) {
        bytes[512 + 72 + i] = (uint8_t)(entries >> 8 * i);
    }
    bytes[512 + 80] = 32;  /* entries */
    bytes[512 + 84] = 128; /* bytes of one */
    for (size_t i = 0; i < n; i++) {
        memcpy(bytes + ENTRIES + 128 * i, types[i], 16);
    }
}

static enum error_code check_raw(
    const uint8_t *const *types, size_t n, uint64_t entries, struct error *err)
{
    uint8_t table[TABLE_SIZE];
    FILE *file = tmpfile();
    assert_non_null(file);
    put_table(table, types, n, entries);
    assert_int_equal(pwrite(fileno(file), table, sizeof(table), 0), sizeof(table));
    *err = (struct error){.code = ERR_NONE};
    struct user_file disk = {.fd = fileno(file), .size = sizeof(table)};
    (void)image_machine_check(&disk, NULL, NULL, "disk.img", err);
    fclose(file);
    return err->code;
}

static void a_disk_of_another_processor_is_refused(void **state)
{
    (void)state;
    struct error err;
    skip_unknown_host();
    const uint8_t *other[] = {linux_root, other_type()};
    assert_int_equal(check_raw(other, 2, 2, &err), ERR_IMAGE_FORMAT);
    assert_non_null(strstr(err.message, "disk.img is a disk for another type of computer: "));
    assert_non_null(strstr(error_help_text(&err), "use the image for "));
    const uint8_t *riscv[] = {riscv64};
    assert_int_equal(check_raw(riscv, 1, 2, &err), ERR_IMAGE_FORMAT);
    assert_non_null(strstr(err.message, "riscv64"));
}

/* A VM of another processor takes the one that this host does not, and the other way round. */
static void a_vm_says_which_processor_it_has(void **state)
{
    (void)state;
    struct error err = {.code = ERR_NONE};
    uint8_t table[TABLE_SIZE];
    const uint8_t *types[] = {riscv64};
    FILE *file = tmpfile();
    assert_non_null(file);
    put_table(table, types, 1, 2);
    assert_int_equal(pwrite(fileno(file), table, sizeof(table), 0), sizeof(table));
    struct user_file disk = {.fd = fileno(file), .size = sizeof(table)};
    assert_int_equal(image_machine_check(&disk, NULL, "riscv64", "disk.img", &err), 0);
    assert_int_equal(
        image_machine_check(&disk, NULL, "loongarch64", "disk.img", &err), -ERR_IMAGE_FORMAT);
    assert_string_equal(err.message,
        "disk.img is a disk for another type of computer: riscv64, and this VM is loongarch64");
    fclose(file);
}

static void a_disk_that_fits_or_does_not_say_is_taken(void **state)
{
    (void)state;
    struct error err;
    skip_unknown_host();
    const uint8_t *own[] = {own_type()}, *both[] = {other_type(), own_type()};
    const uint8_t *silent[] = {linux_root}, *other[] = {other_type()};
    assert_int_equal(check_raw(own, 1, 2, &err), ERR_NONE);
    assert_int_equal(check_raw(both, 2, 2, &err), ERR_NONE);
    assert_int_equal(check_raw(silent, 1, 2, &err), ERR_NONE);
    /* tables that lead nowhere */
    assert_int_equal(check_raw(other, 1, 1000, &err), ERR_NONE);
    assert_int_equal(check_raw(other, 1, UINT64_MAX, &err), ERR_NONE);
}

static enum error_code check_qcow2(uint64_t l1, uint64_t l2, struct error *err)
{
    uint8_t table[TABLE_SIZE], entry[8];
    const uint8_t *types[] = {other_type()};
    const struct qcow2_header header = {.version = 3,
        .virtual_size = CLUSTER,
        .cluster_bits = 16,
        .n_l1_entries = 1,
        .l1_offset = CLUSTER};
    FILE *file = tmpfile();
    assert_non_null(file);
    put_table(table, types, 1, 2);
    assert_int_equal(ftruncate(fileno(file), DATA + CLUSTER), 0);
    bytes_put_big(entry, l1, 8);
    assert_int_equal(pwrite(fileno(file), entry, 8, CLUSTER), 8);
    bytes_put_big(entry, l2, 8);
    assert_int_equal(pwrite(fileno(file), entry, 8, 2 * CLUSTER), 8);
    assert_int_equal(pwrite(fileno(file), table, sizeof(table), DATA), sizeof(table));
    *err = (struct error){.code = ERR_NONE};
    struct user_file disk = {.fd = fileno(file), .size = DATA + CLUSTER};
    (void)image_machine_check(&disk, &header, NULL, "disk.qcow2", err);
    fclose(file);
    return err->code;
}

static void a_qcow2_is_read_as_its_guest_would(void **state)
{
    (void)state;
    struct error err;
    const uint64_t copied = UINT64_C(1) << 63, compressed = UINT64_C(1) << 62;
    skip_unknown_host();
    assert_int_equal(check_qcow2(copied | 2 * CLUSTER, copied | DATA, &err), ERR_IMAGE_FORMAT);
    assert_int_equal(check_qcow2(0, 0, &err), ERR_NONE);
    assert_int_equal(check_qcow2(copied | 2 * CLUSTER, 0, &err), ERR_NONE);
    assert_int_equal(check_qcow2(copied | 2 * CLUSTER, copied | DATA | 1, &err), ERR_NONE);
    assert_int_equal(check_qcow2(copied | 2 * CLUSTER, compressed | DATA, &err), ERR_NONE);
    assert_int_equal(check_qcow2(copied | 2 * CLUSTER, copied | 100 * DATA, &err), ERR_NONE);
    assert_int_equal(check_qcow2(UINT64_C(0x00fffffffffffe00), 0, &err), ERR_NONE);
}

/* What the check says of the $MADE that `command` makes of $RAW. */
static enum error_code check_made(const char *command, bool is_packed, struct error *err)
{
    uint8_t table[TABLE_SIZE] = {0}, head[QCOW2_HEADER_SIZE];
    const uint8_t *types[] = {other_type()};
    struct qcow2_header header;
    char directory[] = "/tmp/vmctl-machine-XXXXXX";
    assert_non_null(mkdtemp(directory));
    cleanup_free char *raw = mem_printf("%s/disk.raw", directory);
    cleanup_free char *made = mem_printf("%s/made", directory);
    put_table(table, types, 1, 2);
    FILE *file = fopen(raw, "we");
    assert_non_null(file);
    assert_int_equal(fwrite(table, 1, sizeof(table), file), sizeof(table));
    assert_int_equal(ftruncate(fileno(file), 8 << 20), 0);
    fclose(file);
    assert_int_equal(setenv("RAW", raw, 1), 0);
    assert_int_equal(setenv("MADE", made, 1), 0);
    assert_int_equal(system(command), 0);
    cleanup_with(user_file_close) struct user_file disk = USER_FILE_INIT;
    assert_int_equal(user_file_open(&disk, made), 0);
    *err = (struct error){.code = ERR_NONE};
    if (is_packed) {
        (void)image_inspect_packed(made, NULL, err);
    } else {
        assert_int_equal(user_file_read_at(&disk, head, sizeof(head), 0), sizeof(head));
        assert_int_equal(qcow2_parse(head, sizeof(head), &header, err), 0);
        (void)image_machine_check(&disk, &header, NULL, "made", err);
    }
    assert_int_equal(unlink(raw), 0);
    assert_int_equal(unlink(made), 0);
    assert_int_equal(rmdir(directory), 0);
    return err->code;
}

/* What other programs make of a disk of another computer. */
static void packed_disks_are_looked_into(void **state)
{
    (void)state;
    static const struct {
        const char *command;
        bool is_packed;
    } cases[] = {
        {"qemu-img convert -c -O qcow2 $RAW $MADE", false},
        {"qemu-img convert -c -O qcow2 -o cluster_size=2M $RAW $MADE", false},
        {"qemu-img convert -c -O qcow2 -o compression_type=zstd $RAW $MADE", false},
        {"qemu-img convert -O qcow2 $RAW $MADE", false},
        {"gzip <$RAW >$MADE", true},
        {"xz -0 <$RAW >$MADE", true},
        {"bzip2 <$RAW >$MADE", true},
        {"zstd -q <$RAW >$MADE", true},
        {"qemu-img convert -c -O qcow2 $RAW $RAW.q && xz -0 <$RAW.q >$MADE && rm $RAW.q", true},
    };
    struct error err;
    skip_unknown_host();
    if (system("qemu-img --version >/dev/null && xz --version >/dev/null && zstd --version "
               ">/dev/null") != 0) {
        skip();
    }
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        if (check_made(cases[i].command, cases[i].is_packed, &err) != ERR_IMAGE_FORMAT) {
            fail_msg("taken: %s", cases[i].command);
        }
        assert_non_null(strstr(err.message, " is a disk for another type of computer: "));
    }
    assert_int_equal(check_made("echo none <$RAW >$MADE", true, &err), ERR_NONE);
    assert_int_equal(check_made("gzip <$RAW | head -c 40 >$MADE", true, &err), ERR_NONE);
    assert_int_equal(
        check_made("(gzip <$RAW | head -c 30; echo damaged) >$MADE", true, &err), ERR_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_disk_of_another_processor_is_refused),
        cmocka_unit_test(a_vm_says_which_processor_it_has),
        cmocka_unit_test(a_disk_that_fits_or_does_not_say_is_taken),
        cmocka_unit_test(a_qcow2_is_read_as_its_guest_would),
        cmocka_unit_test(packed_disks_are_looked_into),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
