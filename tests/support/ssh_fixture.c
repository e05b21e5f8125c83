/* SPDX-License-Identifier: MPL-2.0 */
#include "tests/support/ssh_fixture.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "specs/base/cleanup.h"

enum { WAIT_MS = 20000 };

unsigned count_open_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned n = 0;
    assert_non_null(dir);
    while (readdir(dir)) {
        n++;
    }
    closedir(dir);
    return n;
}

void ssh_fixture_init(struct ssh_fixture *fixture, struct sshd_options options)
{
    *fixture = (struct ssh_fixture){.output = BUF_INIT(0)};
    ssh_library_init();
    fixture->dir = test_dir_make();
    options.dir = fixture->dir;
    fixture->sshd = sshd_start(&options);
    assert_int_equal(loop_new(&fixture->loop, &fixture->err), 0);
}

void ssh_fixture_clear(struct ssh_fixture *fixture)
{
    ssh_session_close(TAKE_PTR(fixture->session));
    loop_free(fixture->loop);
    sshd_stop(fixture->sshd);
    test_dir_remove(fixture->dir);
    buf_clear(&fixture->output);
}

void ssh_fixture_done(void *context, const struct error *err)
{
    struct ssh_fixture *fixture = context;
    fixture->n_done++;
    fixture->err = err ? *err : (struct error){.code = ERR_NONE};
    loop_stop(fixture->loop);
}

void ssh_fixture_output(void *context, const char *bytes, size_t n)
{
    struct ssh_fixture *fixture = context;
    assert_true(buf_add(&fixture->output, bytes, n));
}

static void on_limit(void *context)
{
    struct ssh_fixture *fixture = context;
    fixture->is_late = true;
    loop_stop(fixture->loop);
}

bool ssh_fixture_run_ms(struct ssh_fixture *fixture, int64_t ms)
{
    unsigned n_done = fixture->n_done;
    struct loop_timer *limit = loop_timer_new(fixture->loop, on_limit, fixture);
    fixture->is_late = false;
    loop_timer_start(limit, ms);
    while (fixture->n_done == n_done && !fixture->is_late) {
        loop_run(fixture->loop);
    }
    loop_timer_free(limit);
    return fixture->n_done != n_done;
}

enum error_code ssh_fixture_wait(struct ssh_fixture *fixture)
{
    unsigned n_done = fixture->n_done;
    assert_true(ssh_fixture_run_ms(fixture, WAIT_MS));
    assert_int_equal(fixture->n_done, n_done + 1);
    return fixture->err.code;
}

struct ssh_target ssh_fixture_target(const struct ssh_fixture *fixture)
{
    const struct sshd *sshd = fixture->sshd;
    return (struct ssh_target){
        .host = "127.0.0.1",
        .port = sshd->port,
        .user = sshd->user,
        .keys = {{.path = sshd->client_key, .is_explicit = true}},
        .n_keys = 1,
        .host_key_path = sshd->host_key_public,
        .connect_ms = 2000,
        .banner_ms = 5000,
        .login_ms = 15000,
    };
}

void ssh_fixture_open(struct ssh_fixture *fixture)
{
    struct ssh_target target = ssh_fixture_target(fixture);
    (void)ssh_session_open(fixture->loop, &target, &fixture->session, ssh_fixture_done, fixture);
    (void)ssh_fixture_wait(fixture);
    assert_string_equal(fixture->err.message, "");
    assert_non_null(fixture->session);
}

enum error_code ssh_fixture_exec(
    struct ssh_fixture *fixture, const char *command, struct ssh_exit *exit)
{
    struct ssh_exec_request request = {
        .command = command, .output = ssh_fixture_output, .output_context = fixture};
    buf_reset(&fixture->output);
    (void)ssh_exec(fixture->session, &request, exit, ssh_fixture_done, fixture);
    return ssh_fixture_wait(fixture);
}
