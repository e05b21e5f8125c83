/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/media/keys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "reconcilers/trash/trash.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "tests/support/media_host.h"

struct fixture {
    struct media_host m;
    char *private_path;
    char *public_path;
};

static int setup(void **state)
{
    struct fixture *f = mem_new(struct fixture);
    media_host_setup(&f->m);
    f->private_path = media_host_path(&f->m, "key");
    f->public_path = media_host_path(&f->m, "key.public");
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    free(f->private_path);
    free(f->public_path);
    media_host_teardown(&f->m);
    free(f);
    return 0;
}

static enum error_code make(struct fixture *f)
{
    struct key_pair pair = {
        .private_path = f->private_path, .public_path = f->public_path, .comment = "vmctl-web"};
    (void)keys_make(&f->m.host, &pair, 1, media_host_done, &f->m);
    return media_host_wait(&f->m, 1);
}

static char *text_of(const char *path)
{
    struct buf text = BUF_INIT(0);
    struct error err = {0};
    assert_int_equal(fs_read_file(path, &text, &err), 0);
    return buf_steal(&text);
}

static void a_pair_is_made_with_private_modes(void **state)
{
    struct fixture *f = *state;
    struct key_pair pair = {.private_path = f->private_path, .public_path = f->public_path};
    struct stat st;
    assert_false(keys_exist(&pair));
    assert_int_equal(make(f), ERR_NONE);
    assert_true(keys_exist(&pair));
    assert_int_equal(stat(f->private_path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    cleanup_free char *public_text = text_of(f->public_path);
    cleanup_free char *private_text = text_of(f->private_path);
    assert_memory_equal(public_text, "ssh-ed25519 AAAA", 16);
    assert_non_null(strstr(public_text, " vmctl-web\n"));
    assert_non_null(strstr(private_text, "BEGIN OPENSSH PRIVATE KEY"));
}

static void a_lost_public_key_is_derived_and_the_private_one_stays(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(make(f), ERR_NONE);
    cleanup_free char *private_before = text_of(f->private_path);
    cleanup_free char *public_before = text_of(f->public_path);
    assert_int_equal(unlink(f->public_path), 0);
    assert_int_equal(make(f), ERR_NONE);
    cleanup_free char *private_after = text_of(f->private_path);
    cleanup_free char *public_after = text_of(f->public_path);
    assert_string_equal(private_after, private_before);
    assert_string_equal(public_after, public_before);
}

static void a_damaged_private_key_is_told_and_not_replaced(void **state)
{
    struct fixture *f = *state;
    free(media_host_file(&f->m, "key", "garbage\n", 8));
    assert_int_equal(make(f), ERR_KEYGEN);
    assert_non_null(strstr(f->m.error.message, f->private_path));
    cleanup_free char *text = text_of(f->private_path);
    assert_string_equal(text, "garbage\n");
}

/* ssh-keygen is the judge: of the private key, and that the public one is its other half. */
static bool is_pair(const struct fixture *f)
{
    const char *judge[] = {"sh", "-ec",
        "test \"$(ssh-keygen -y -P '' -f \"$1\")\" = \"$(cat \"$2\")\"; ssh-keygen -l -f \"$2\"",
        "sh", f->private_path, f->public_path, NULL};
    return media_host_run(judge);
}

static void what_is_made_is_what_openssh_reads(void **state)
{
    struct fixture *f = *state;
    char comment[64] = "";
    for (size_t n = 0; n < 9; n++) { /* the padding depends on its length */
        struct key_pair pair = {
            .private_path = f->private_path, .public_path = f->public_path, .comment = comment};
        memset(comment, 'c', n + 1);
        (void)keys_make(&f->m.host, &pair, 1, media_host_done, &f->m);
        assert_int_equal(media_host_wait(&f->m, 1), ERR_NONE);
        assert_true(is_pair(f));
        assert_int_equal(unlink(f->private_path), 0);
        assert_int_equal(unlink(f->public_path), 0);
    }
}

static void the_public_half_of_a_key_of_ssh_keygen_is_derived(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *made_public = mem_printf("%s.pub", f->private_path);
    const char *keygen[] = {"ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "vmctl-web", "-f",
        f->private_path, NULL};
    assert_true(media_host_run(keygen));
    assert_int_equal(make(f), ERR_NONE);
    cleanup_free char *wanted = text_of(made_public), *found = text_of(f->public_path);
    assert_string_equal(found, wanted);
}

static void a_private_key_with_any_byte_changed_or_cut_off_is_told(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(make(f), ERR_NONE);
    cleanup_free char *whole = text_of(f->private_path);
    size_t n = strlen(whole), n_refused = 0;
    for (size_t i = 0; i < n; i += 7) {
        bool is_cut = i % 2 == 0;
        char was = whole[i];
        whole[i] = (char)(was == 'x' ? 'y' : 'x');
        free(media_host_file(&f->m, "key", whole, is_cut ? i : n));
        whole[i] = was;
        (void)unlink(f->public_path);
        enum error_code code = make(f);
        n_refused += code == ERR_KEYGEN;
        assert_true(code == ERR_KEYGEN || code == ERR_NONE); /* the comment and its padding may */
    }
    assert_true(n_refused > n / 7 / 2);
}

static void two_pairs_are_made_at_once_and_differ(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *host_private = media_host_path(&f->m, "host");
    cleanup_free char *host_public = media_host_path(&f->m, "host.public");
    struct key_pair pairs[] = {
        {f->private_path, f->public_path, "vmctl-web"}, {host_private, host_public, "vmctl-web"}};
    (void)keys_make(&f->m.host, pairs, 2, media_host_done, &f->m);
    assert_int_equal(media_host_wait(&f->m, 1), ERR_NONE);
    cleanup_free char *first = text_of(f->public_path), *second = text_of(host_public);
    assert_string_not_equal(first, second);
    assert_true(is_pair(f));
}

/* Whichever step the cancelled one had reached. */
static void a_making_that_follows_cancelled_ones_leaves_one_pair(void **state)
{
    struct fixture *f = *state;
    struct key_pair pair = {
        .private_path = f->private_path, .public_path = f->public_path, .comment = "vmctl-web"};
    for (int i = 0; i < 50; i++) {
        struct op *cancelled = keys_make(&f->m.host, &pair, 1, media_host_done, &f->m);
        if (i % 2 == 1) {
            while (!fs_exists(f->private_path)) {
            }
        }
        op_cancel(cancelled);
        removal_sweep_temporary(f->m.dir);
        assert_int_equal(make(f), ERR_NONE);
        assert_true(i % 10 >= 2 || is_pair(f));
        assert_int_equal(unlink(f->private_path), 0);
        assert_int_equal(unlink(f->public_path), 0);
    }
}

static void a_full_disk_is_told_as_such(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *dir = media_host_path(&f->m, "full");
    assert_int_equal(mkdir(dir, 0700), 0);
    if (mount("vmctl-test", dir, "tmpfs", 0, "size=4k") < 0) {
        skip();
    }
    free(media_host_file(&f->m, "full/filler", "x", 1));
    cleanup_free char *private_path = fs_join(dir, "key");
    cleanup_free char *public_path = fs_join(dir, "key.pub");
    struct key_pair pair = {
        .private_path = private_path, .public_path = public_path, .comment = "x"};
    (void)keys_make(&f->m.host, &pair, 1, media_host_done, &f->m);
    enum error_code code = media_host_wait(&f->m, 1);
    bool has_key = fs_exists(private_path);
    assert_int_equal(umount(dir), 0);
    assert_int_equal(code, ERR_NO_SPACE);
    assert_false(has_key);
}

static void public_keys_are_told_from_other_text(void **state)
{
    static const char blob[] = "AAAAC3NzaC1lZDI1NTE5AAAAIEFFRkZHR0hISUlKSktLTExNTU5OT09QUFFR";
    (void)state;
    cleanup_free char *plain = mem_printf("ssh-ed25519 %s", blob);
    cleanup_free char *commented = mem_printf("ecdsa-sha2-nistp256 %s me and you", blob);
    cleanup_free char *unknown = mem_printf("ssh-what %s", blob);
    cleanup_free char *dirty = mem_printf("ssh-rsa %s!", blob);
    assert_true(keys_is_public(plain));
    assert_true(keys_is_public(commented));
    assert_false(keys_is_public(unknown));
    assert_false(keys_is_public(dirty));
    assert_false(keys_is_public("ssh-rsa AAAA"));
    assert_false(keys_is_public("-----BEGIN OPENSSH PRIVATE KEY-----"));
    assert_false(keys_is_public(""));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_pair_is_made_with_private_modes),
        TEST(a_lost_public_key_is_derived_and_the_private_one_stays),
        TEST(a_damaged_private_key_is_told_and_not_replaced),
        TEST(what_is_made_is_what_openssh_reads),
        TEST(the_public_half_of_a_key_of_ssh_keygen_is_derived),
        TEST(a_private_key_with_any_byte_changed_or_cut_off_is_told),
        TEST(two_pairs_are_made_at_once_and_differ),
        TEST(a_making_that_follows_cancelled_ones_leaves_one_pair),
        TEST(a_full_disk_is_told_as_such),
        cmocka_unit_test(public_keys_are_told_from_other_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
