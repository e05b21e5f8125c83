/* SPDX-License-Identifier: MPL-2.0 */
/* What the tests of reconcilers/ssh share: a loop, a directory, an sshd, and waiting with a limit.
 */
#pragma once

#include <stdbool.h>

#include "controller/loop/loop.h"
#include "reconcilers/ssh/ssh.h"
#include "specs/base/buf.h"
#include "specs/base/error.h"
#include "tests/support/sshd.h"

struct ssh_fixture {
    struct loop *loop;
    char *dir;
    struct sshd *sshd;
    struct ssh_session *session; /* of ssh_fixture_open() */
    unsigned n_done;             /* calls of ssh_fixture_done() */
    struct error err;            /* of the last one */
    bool is_late;
    struct buf output; /* of ssh_fixture_output() */
};

void ssh_fixture_init(struct ssh_fixture *fixture, struct sshd_options options);
void ssh_fixture_clear(struct ssh_fixture *fixture);

/* An op_done_fn and an ssh_output_fn; the context is the fixture. */
void ssh_fixture_done(void *context, const struct error *err);
void ssh_fixture_output(void *context, const char *bytes, size_t n);

/* Runs the loop until ssh_fixture_done(); fails the test after 20 s. Returns the error's code. */
enum error_code ssh_fixture_wait(struct ssh_fixture *fixture);

/* Runs the loop for so long; true when ssh_fixture_done() was called meanwhile. */
bool ssh_fixture_run_ms(struct ssh_fixture *fixture, int64_t ms);

/* Everything right: the sshd's address, user, key and host key. Borrowed from the fixture. */
struct ssh_target ssh_fixture_target(const struct ssh_fixture *fixture);

/* Opens fixture->session; fails the test when that fails. */
void ssh_fixture_open(struct ssh_fixture *fixture);

/* Runs a command to its end with its output in fixture->output. */
enum error_code ssh_fixture_exec(
    struct ssh_fixture *fixture, const char *command, struct ssh_exit *exit);

unsigned count_open_descriptors(void);
