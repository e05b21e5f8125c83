/* SPDX-License-Identifier: MPL-2.0 */
/* Key files as ssh-keygen makes them, and base64. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "reconcilers/ssh/key_file.h"
#include "specs/base/base64.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "tests/support/sshd.h"

static int setup(void **state)
{
    *state = test_dir_make();
    return 0;
}

static int teardown(void **state)
{
    test_dir_remove(*state);
    return 0;
}

/* `options` of ssh-keygen besides the file; the key's path. */
static char *generate(const char *dir, const char *options)
{
    char *path = mem_printf("%s/key", dir);
    cleanup_free char *command = mem_printf("ssh-keygen -q %s -f '%s' </dev/null", options, path);
    assert_int_equal(system(command), 0);
    return path;
}

static int check(const char *path, struct error *err)
{
    *err = (struct error){.code = ERR_NONE};
    struct buf text;
    int rc = private_key_read(path, &text, err);
    assert_true(rc < 0 ? text.len == 0 : strstr(buf_str(&text), "PRIVATE KEY-----") != NULL);
    buf_wipe(&text);
    return rc;
}

static void plain_keys_of_every_format_are_usable(void **state)
{
    static const char *const options[] = {
        "-t ed25519 -N ''", "-t ecdsa -N ''", "-t ecdsa -N '' -m PEM", "-t ecdsa -N '' -m PKCS8"};
    struct error err;
    for (size_t i = 0; i < ARRAY_LEN(options); i++) {
        cleanup_free char *path = generate(*state, options[i]);
        assert_int_equal(check(path, &err), 0);
        assert_int_equal(fs_remove_file(path, &err), 0);
    }
}

static void encrypted_keys_of_every_format_are_told(void **state)
{
    static const char *const options[] = {
        "-t ed25519 -N secret", "-t ecdsa -N secret -m PEM", "-t ecdsa -N secret -m PKCS8"};
    struct error err;
    for (size_t i = 0; i < ARRAY_LEN(options); i++) {
        cleanup_free char *path = generate(*state, options[i]);
        assert_int_equal(check(path, &err), -ERR_KEY_UNREADABLE);
        assert_non_null(strstr(err.message, "encrypted with a passphrase"));
        assert_non_null(strstr(err.message, path));
        err = (struct error){.code = ERR_NONE};
        assert_int_equal(fs_remove_file(path, &err), 0);
    }
}

static void a_missing_key_is_told_by_errno(void **state)
{
    struct error err;
    (void)state;
    assert_int_equal(check("/nowhere/key", &err), -ERR_KEY_UNREADABLE);
    assert_int_equal(err.sys_errno, ENOENT);
}

static void what_is_not_a_key_is_refused(void **state)
{
    struct error err;
    cleanup_free char *path = generate(*state, "-t ed25519 -N ''");
    cleanup_free char *public = mem_printf("%s.pub", path);
    cleanup_free char *fifo = mem_printf("%s/fifo", (const char *)*state);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_int_equal(check(public, &err), -ERR_KEY_UNREADABLE);
    assert_int_equal(check(*state, &err), -ERR_KEY_UNREADABLE);
    assert_int_equal(check(fifo, &err), -ERR_KEY_UNREADABLE);
}

static void a_public_key_has_type_blob_and_fingerprint(void **state)
{
    static const char text[] = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9o"
                               "kWi0dh2l9GKJl comment\n";
    struct error err = {.code = ERR_NONE};
    struct public_key key;
    cleanup_free char *path = mem_printf("%s/key.pub", (const char *)*state);
    cleanup_buf struct buf fingerprint = BUF_INIT(0);
    assert_int_equal(fs_write_file(path, text, strlen(text), 0600, &err), 0);
    assert_int_equal(public_key_read(path, &key, &err), 0);
    assert_string_equal(key.type, "ssh-ed25519");
    assert_int_equal(key.blob.len, 51);
    key_fingerprint(&fingerprint, key.blob.data, key.blob.len);
    /* As GitHub publishes it for this host key of theirs, and ssh-keygen -l shows it. */
    assert_string_equal(
        buf_str(&fingerprint), "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU");
    public_key_clear(&key);
}

static void a_damaged_public_key_is_refused(void **state)
{
    static const char *const strings[] = {"", "ssh-ed25519", "ssh-ed25519 ???", "ssh-ed25519 A\n"};
    struct public_key key;
    cleanup_free char *path = mem_printf("%s/key.pub", (const char *)*state);
    for (size_t i = 0; i < ARRAY_LEN(strings); i++) {
        struct error err = {.code = ERR_NONE};
        assert_int_equal(fs_write_file(path, strings[i], strlen(strings[i]), 0600, &err), 0);
        assert_int_equal(public_key_read(path, &key, &err), -ERR_KEY_UNREADABLE);
    }
}

/* The vectors of RFC 4648, section 10. */
static void base64_goes_both_ways(void **state)
{
    static const char *const vectors[][2] = {{"", ""}, {"f", "Zg"}, {"fo", "Zm8"}, {"foo", "Zm9v"},
        {"foob", "Zm9vYg"}, {"fooba", "Zm9vYmE"}, {"foobar", "Zm9vYmFy"}};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
        cleanup_buf struct buf encoded = BUF_INIT(0), decoded = BUF_INIT(0);
        base64_encode(&encoded, vectors[i][0], strlen(vectors[i][0]));
        assert_string_equal(buf_str(&encoded), vectors[i][1]);
        assert_true(base64_decode(&decoded, vectors[i][1], strlen(vectors[i][1])));
        assert_string_equal(buf_str(&decoded), vectors[i][0]);
    }
    cleanup_buf struct buf padded = BUF_INIT(0);
    assert_true(base64_decode(&padded, "Zm8=", 4));
    assert_string_equal(buf_str(&padded), "fo");
    assert_false(base64_decode(&padded, "Zm8*", 4));
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(plain_keys_of_every_format_are_usable),
        test(encrypted_keys_of_every_format_are_told),
        test(a_missing_key_is_told_by_errno),
        test(what_is_not_a_key_is_refused),
        test(a_public_key_has_type_blob_and_fingerprint),
        test(a_damaged_public_key_is_refused),
        test(base64_goes_both_ways),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
