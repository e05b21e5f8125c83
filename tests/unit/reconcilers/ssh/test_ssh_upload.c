/* SPDX-License-Identifier: MPL-2.0 */
/* Uploads over SFTP, and through `cat`, against a real sshd. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "specs/base/cleanup.h"
#include "specs/base/digest.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "tests/support/ssh_fixture.h"

enum { BIG = 8 << 20 };

struct upload_test {
    struct ssh_fixture fixture; /* first */
    char *local, *remote;
};

static struct upload_test *start(struct sshd_options options)
{
    struct upload_test *test = mem_new(struct upload_test);
    ssh_fixture_init(&test->fixture, options);
    ssh_fixture_open(&test->fixture);
    test->local = mem_printf("%s/local file", test->fixture.dir);
    test->remote = mem_printf("%s/remote 'file'", test->fixture.dir);
    return test;
}

static int setup(void **state)
{
    *state = start((struct sshd_options){.dir = NULL});
    return 0;
}

static int setup_without_sftp(void **state)
{
    *state = start((struct sshd_options){.has_no_sftp = true});
    return 0;
}

static int setup_with_broken_sftp(void **state)
{
    *state = start((struct sshd_options){.has_broken_sftp = true});
    return 0;
}

static int setup_trickling(void **state)
{
    *state = start((struct sshd_options){.is_trickling = true});
    return 0;
}

static int teardown(void **state)
{
    struct upload_test *test = *state;
    ssh_fixture_clear(&test->fixture);
    free(test->local);
    free(test->remote);
    free(test);
    return 0;
}

static void make_local(const struct upload_test *test, size_t size)
{
    struct error err = {.code = ERR_NONE};
    cleanup_free char *bytes = mem_calloc(size + 1, 1);
    uint32_t x = 1;
    for (size_t i = 0; i < size; i++) {
        x = x * 1664525 + 1013904223;
        bytes[i] = (char)(uint8_t)(x >> 24);
    }
    assert_int_equal(fs_write_file(test->local, bytes, size, 0600, &err), 0);
}

static struct op *start_upload(struct upload_test *test, unsigned mode)
{
    struct ssh_upload_request request = {
        .local_path = test->local, .remote_path = test->remote, .mode = mode};
    return ssh_upload(test->fixture.session, &request, ssh_fixture_done, &test->fixture);
}

static enum error_code upload(struct upload_test *test, unsigned mode)
{
    (void)start_upload(test, mode);
    return ssh_fixture_wait(&test->fixture);
}

static void assert_identical(const struct upload_test *test, unsigned mode)
{
    struct error err = {.code = ERR_NONE};
    char local[DIGEST_SIZE], remote[DIGEST_SIZE];
    struct stat st;
    assert_int_equal(digest_file(test->local, NULL, local, &err), 0);
    assert_int_equal(digest_file(test->remote, NULL, remote, &err), 0);
    assert_string_equal(local, remote);
    assert_int_equal(stat(test->remote, &st), 0);
    assert_int_equal(st.st_mode & 07777, mode);
}

static void a_big_file_arrives_identical_with_its_mode(void **state)
{
    struct upload_test *test = *state;
    make_local(test, BIG);
    assert_int_equal(upload(test, 0775), ERR_NONE);
    assert_identical(test, 0775);
}

static void files_of_odd_sizes_arrive_identical(void **state)
{
    static const size_t sizes[] = {0, 1, 29999, 30000, 30001, 32768, 239999, 240000, 240001};
    struct upload_test *test = *state;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        make_local(test, sizes[i]);
        assert_int_equal(upload(test, 0600), ERR_NONE);
        assert_identical(test, 0600);
    }
}

static void a_longer_file_in_place_is_cut(void **state)
{
    struct upload_test *test = *state;
    make_local(test, 100000);
    assert_int_equal(upload(test, 0644), ERR_NONE);
    make_local(test, 10);
    assert_int_equal(upload(test, 0644), ERR_NONE);
    assert_identical(test, 0644);
}

static void a_missing_local_file_is_an_error_and_the_session_goes_on(void **state)
{
    struct upload_test *test = *state;
    assert_int_equal(upload(test, 0644), ERR_IO);
    assert_non_null(strstr(test->fixture.err.message, test->local));
    make_local(test, 10);
    assert_int_equal(upload(test, 0644), ERR_NONE);
}

static void a_missing_remote_directory_is_an_error_and_the_session_goes_on(void **state)
{
    struct upload_test *test = *state;
    struct ssh_exit exit;
    free(test->remote);
    test->remote = mem_printf("%s/no/such", test->fixture.dir);
    make_local(test, 10);
    assert_int_equal(upload(test, 0644), ERR_PROVISION);
    assert_non_null(strstr(test->fixture.err.message, test->remote));
    assert_int_equal(ssh_fixture_exec(&test->fixture, "exit 4", &exit), ERR_NONE);
    assert_int_equal(exit.status, 4);
}

/* /dev/full fails each write with ENOSPC (full(4)). */
static void a_full_disk_is_an_error_and_the_session_goes_on(void **state)
{
    struct upload_test *test = *state;
    struct ssh_exit exit;
    cleanup_free char *link = mem_printf("ln -s /dev/full \"%s\"", test->remote);
    assert_int_equal(ssh_fixture_exec(&test->fixture, link, &exit), ERR_NONE);
    assert_int_equal(exit.status, 0);
    make_local(test, 1000000);
    assert_int_equal(upload(test, 0666), ERR_PROVISION);
    assert_non_null(strstr(test->fixture.err.message, test->remote));
    assert_false(fs_exists(test->remote)); /* what was begun is removed */
    assert_int_equal(ssh_fixture_exec(&test->fixture, "exit 4", &exit), ERR_NONE);
    assert_int_equal(exit.status, 4);
}

static void cancelling_an_upload_at_any_moment_leaves_nothing_open(void **state)
{
    struct upload_test *test = *state;
    struct ssh_fixture *fixture = &test->fixture;
    unsigned before = count_open_descriptors();
    unsigned n_cancelled = 0;
    make_local(test, 200000);
    for (int64_t ms = 0;; ms += 1 + ms / 8) {
        struct op *op = start_upload(test, 0600);
        if (ssh_fixture_run_ms(fixture, ms)) {
            break;
        }
        op_cancel(op);
        n_cancelled++;
        assert_int_equal(count_open_descriptors(), before - 1);
        ssh_session_close(TAKE_PTR(fixture->session));
        ssh_fixture_open(fixture);
    }
    assert_int_equal(fixture->err.code, ERR_NONE);
    assert_true(n_cancelled >= 2);
}

static void a_server_that_dies_during_an_upload_is_an_error(void **state)
{
    struct upload_test *test = *state;
    make_local(test, BIG);
    (void)start_upload(test, 0600);
    (void)ssh_fixture_run_ms(&test->fixture, 5);
    assert_int_equal(test->fixture.n_done, 1); /* the login */
    sshd_kill(test->fixture.sshd);
    assert_int_equal(ssh_fixture_wait(&test->fixture), ERR_SSH);
    assert_false(ssh_session_is_usable(test->fixture.session));
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define test_without_sftp(name)                                                                    \
    {                                                                                              \
#name "_without_sftp", name, setup_without_sftp, teardown, NULL                            \
    }
#define test_with_broken_sftp(name)                                                                \
    {                                                                                              \
#name "_with_broken_sftp", name, setup_with_broken_sftp, teardown, NULL                    \
    }
#define test_trickling(name) cmocka_unit_test_setup_teardown(name, setup_trickling, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(a_big_file_arrives_identical_with_its_mode),
        test(files_of_odd_sizes_arrive_identical),
        test(a_longer_file_in_place_is_cut),
        test(a_missing_local_file_is_an_error_and_the_session_goes_on),
        test(a_missing_remote_directory_is_an_error_and_the_session_goes_on),
        test(a_full_disk_is_an_error_and_the_session_goes_on),
        test_trickling(cancelling_an_upload_at_any_moment_leaves_nothing_open),
        test(a_server_that_dies_during_an_upload_is_an_error),
        test_without_sftp(a_big_file_arrives_identical_with_its_mode),
        test_without_sftp(files_of_odd_sizes_arrive_identical),
        test_without_sftp(a_longer_file_in_place_is_cut),
        test_without_sftp(a_missing_remote_directory_is_an_error_and_the_session_goes_on),
        test_without_sftp(a_full_disk_is_an_error_and_the_session_goes_on),
        test_with_broken_sftp(a_longer_file_in_place_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
