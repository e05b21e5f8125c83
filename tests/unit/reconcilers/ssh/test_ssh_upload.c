/* SPDX-License-Identifier: MPL-2.0 */
/* Uploads over SFTP, and through `cat`, against a real sshd. */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "specs/base/cleanup.h"
#include "specs/base/digest.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/remote_mount.h"
#include "specs/base/user_path.h"
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

/* ---- a local file on a file system whose server falls silent (tests/support/silent-fs) ---- */

static bool can_mount;

/* Before anything reads the mount table, which user_path.c keeps open. */
static int enter_namespace(void **state)
{
    (void)state;
    can_mount =
        unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
    return 0;
}

/* Its pid, or 0: nothing can be mounted here. */
static pid_t serve(const struct upload_test *test, const char *mount_point)
{
    struct error err = {.code = ERR_NONE};
    cleanup_free char *served = mem_printf("%s/served", test->fixture.dir);
    assert_int_equal(fs_make_dirs(served, 0700, &err), 0);
    assert_int_equal(fs_make_dirs(mount_point, 0700, &err), 0);
    pid_t server = can_mount ? fork() : 0;
    if (!can_mount) {
        return 0;
    }
    if (server == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* also when the test fails */
        execl(VMCTL_SOURCE_DIR "/tests/support/silent-fs", "silent-fs", served, mount_point, NULL);
        _exit(1);
    }
    for (int i = 0; i < 200 && !remote_mount_has(mount_point); i++) {
        if (waitpid(server, NULL, WNOHANG) > 0) {
            return 0;
        }
        (void)poll(NULL, 0, 50);
    }
    assert_true(remote_mount_has(mount_point));
    return server;
}

static void end_serving(pid_t server, const char *mount_point)
{
    (void)kill(server, SIGKILL); /* its clients' calls end with it */
    assert_int_equal(waitpid(server, NULL, 0), server);
    assert_int_equal(umount2(mount_point, MNT_DETACH), 0);
}

static void a_file_system_that_falls_silent_amid_an_upload_is_an_error(void **state)
{
    struct upload_test *test = *state;
    struct error err = {.code = ERR_NONE};
    struct ssh_exit exit;
    cleanup_free char *mount_point = mem_printf("%s/mounted", test->fixture.dir);
    cleanup_free char *silent = mem_printf("%s/served.silent", test->fixture.dir);
    pid_t server = serve(test, mount_point);
    if (server == 0) {
        print_message("no FUSE, or no python3-fusepy\n");
        skip();
    }
    free(test->local);
    test->local = mem_printf("%s/served/file", test->fixture.dir);
    make_local(test, BIG);
    free(test->local);
    test->local = mem_printf("%s/file", mount_point);
    assert_int_equal(upload(test, 0600), ERR_NONE);
    assert_identical(test, 0600);

    assert_int_equal(fs_write_file(silent, "middle", 6, 0600, &err), 0);
    (void)start_upload(test, 0600);
    assert_true(ssh_fixture_run_ms(&test->fixture, 2 * USER_STREAM_LIMIT_MS));
    assert_int_equal(test->fixture.err.code, ERR_IO);
    assert_non_null(strstr(test->fixture.err.message, test->local));
    assert_non_null(strstr(test->fixture.err.help, "does not answer"));
    assert_int_equal(unlink(silent), 0);
    end_serving(server, mount_point);
    if (ssh_session_is_usable(test->fixture.session)) { /* over SFTP what was begun is removed */
        assert_false(fs_exists(test->remote));
        assert_int_equal(ssh_fixture_exec(&test->fixture, "exit 4", &exit), ERR_NONE);
    }
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
        test(a_file_system_that_falls_silent_amid_an_upload_is_an_error),
        test_without_sftp(a_file_system_that_falls_silent_amid_an_upload_is_an_error),
        test_without_sftp(a_big_file_arrives_identical_with_its_mode),
        test_without_sftp(files_of_odd_sizes_arrive_identical),
        test_without_sftp(a_longer_file_in_place_is_cut),
        test_without_sftp(a_missing_remote_directory_is_an_error_and_the_session_goes_on),
        test_without_sftp(a_full_disk_is_an_error_and_the_session_goes_on),
        test_with_broken_sftp(a_longer_file_in_place_is_cut),
    };
    return cmocka_run_group_tests(tests, enter_namespace, NULL);
}
