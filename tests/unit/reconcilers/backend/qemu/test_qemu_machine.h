/* SPDX-License-Identifier: MPL-2.0 */
/* A VM directory with an empty disk, and one machine of the QEMU backend on the real loop. */
#pragma once

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/select.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "reconcilers/backend/qemu/machine.h"
#include "reconcilers/backend/qemu/qmp_message.h"
#include "specs/base/cleanup.h"
#include "specs/base/digest.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/paths.h"
#include "tests/unit/reconcilers/backend/qemu/test_qemu.h"

enum { PATIENCE_MS = 30000 };

struct fixture {
    char dir[512];
    struct paths paths;
    struct reconciler_host host;
    struct vm_spec *spec;
    struct vm_status *status;
    struct vm_env env;
    struct machine *machine;
    struct boot_result boot;
    struct error err;
    bool is_done;
    int n_changed;
    enum run_state awaited;
};

static inline const struct machine_ops *ops(void)
{
    return &qemu_machine_ops;
}

static inline void on_changed(void *context)
{
    ((struct fixture *)context)->n_changed++;
}

static inline void on_done(void *context, const struct error *err)
{
    struct fixture *f = context;
    f->is_done = true;
    f->err = err ? *err : (struct error){0};
}

static inline bool is_done(void *context)
{
    return ((struct fixture *)context)->is_done;
}

static inline struct machine_facts observe(struct fixture *f)
{
    struct machine_facts facts;
    ops()->observe(f->machine, &f->env, &facts);
    return facts;
}

static inline bool is_dead(void *context)
{
    return !observe(context).is_alive;
}

static inline bool is_in_state(void *context)
{
    struct fixture *f = context;
    return observe(f).run_state == f->awaited;
}

static inline bool has_changed(void *context)
{
    return ((struct fixture *)context)->n_changed > 0;
}

static inline void await_state(struct fixture *f, enum run_state state)
{
    f->awaited = state;
    assert_true(run_until(f->host.loop, is_in_state, f, PATIENCE_MS));
}

static inline char *vm_path(const struct fixture *f, enum vm_file file)
{
    return paths_vm(&f->paths, f->spec->name, file);
}

static inline void open_machine(struct fixture *f)
{
    f->machine = ops()->open(&f->host, f->spec->name, on_changed, f);
}

static inline void make_vm_files(struct fixture *f)
{
    cleanup_free char *dir = vm_path(f, VM_DIR);
    cleanup_free char *overlay = vm_path(f, VM_OVERLAY);
    struct error err = {0};
    assert_int_equal(fs_make_dirs(dir, 0700, &err), 0);
    cleanup_free char *command =
        mem_printf("qemu-img create -q -f qcow2 '%s' 64M </dev/null", overlay);
    assert_int_equal(system(command), 0);
}

static inline void set_up_in(struct fixture *f, const char *sub_dir)
{
    struct error err = {0};
    strcpy(f->dir, "/tmp/vmctl-machine-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    cleanup_free char *data_dir = fs_join(f->dir, sub_dir);
    assert_int_equal(paths_init(&f->paths, data_dir, &err), 0);
    assert_int_equal(loop_new(&f->host.loop, &err), 0);
    f->host.paths = &f->paths;
    f->host.clock = loop_clock(f->host.loop);
    f->spec = vm_spec_new("web");
    f->spec->accel = ACCEL_TCG;
    f->spec->memory_mib = 64;
    f->status = vm_status_new("u");
    f->env = (struct vm_env){
        .host = &f->host, .name = f->spec->name, .spec = f->spec, .uid = "u", .status = f->status};
    make_vm_files(f);
    open_machine(f);
}

static inline int set_up(void **state)
{
    *state = mem_new(struct fixture);
    set_up_in(*state, "data");
    return 0;
}

/* Longer than the 108 bytes of a socket address, and with the characters that options trip over. */
static inline int set_up_long_path(void **state)
{
    *state = mem_new(struct fixture);
    set_up_in(*state, "a,b=c d/0123456789012345678901234567890123456789012345678901234567890123"
                      "/4567890123456789012345678901234567890123456789012345678901234567");
    return 0;
}

static inline int tear_down(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    if (observe(f).is_alive) {
        ops()->command(f->machine, &f->env, MACHINE_KILL);
        assert_true(run_until(f->host.loop, is_dead, f, PATIENCE_MS));
    }
    ops()->close(f->machine);
    assert_int_equal(fs_remove_tree(f->dir, &err), 0);
    paths_clear(&f->paths);
    loop_free(f->host.loop);
    vm_spec_free(f->spec);
    vm_status_free(f->status);
    free(f->boot.vnc);
    free(f->boot.machine);
    free(f->boot.changes);
    free(f->boot.taken_port);
    free(f);
    return 0;
}

static inline void try_launch(struct fixture *f)
{
    f->is_done = false;
    digest_random_id(f->status->instance.instance_id);
    assert_non_null(ops()->launch(f->machine, &f->env, &f->status->instance, on_done, f));
    assert_false(f->is_done);
    assert_true(run_until(f->host.loop, is_done, f, PATIENCE_MS));
}

static inline void expect_ok(const struct fixture *f)
{
    if (f->err.code) {
        fail_msg("%s", f->err.message);
    }
}

static inline void launch(struct fixture *f)
{
    try_launch(f);
    expect_ok(f);
}

static inline void start(struct fixture *f)
{
    launch(f);
    ops()->release(f->machine);
    await_state(f, RUN_STATE_PRELAUNCH);
}

static inline void try_boot(struct fixture *f)
{
    f->is_done = false;
    assert_non_null(ops()->boot(f->machine, &f->env, &f->boot, on_done, f));
    assert_false(f->is_done);
    assert_true(run_until(f->host.loop, is_done, f, PATIENCE_MS));
}

static inline void start_and_boot(struct fixture *f)
{
    start(f);
    try_boot(f);
    expect_ok(f);
}

static inline void expect_death(struct fixture *f, int wait_status)
{
    assert_true(run_until(f->host.loop, is_dead, f, PATIENCE_MS));
    struct machine_facts facts = observe(f);
    assert_int_equal(facts.exit_status, wait_status);
    assert_int_equal(facts.run_state, RUN_STATE_UNKNOWN);
    assert_false(facts.is_waiting);
}

/* One command on the user's QMP socket, the blocking way. The answer's line, free() it. */
static inline char *ask_user_socket(struct fixture *f, const char *command)
{
    struct error err = {0};
    cleanup_free char *path = vm_path(f, VM_QMP_SOCKET);
    cleanup_close int fd = -1;
    assert_int_equal(fs_connect_unix(path, &fd, &err), 0);
    cleanup_free char *text = mem_printf("{\"execute\":\"qmp_capabilities\"}\n%s\n", command);
    assert_int_equal(fs_write_all(fd, text, strlen(text), &err), 0);
    struct qmp_stream stream;
    qmp_stream_init(&stream);
    char *answer = NULL;
    int n_returns = 0;
    while (n_returns < 2) {
        struct timeval patience = {.tv_sec = PATIENCE_MS / 1000};
        fd_set set;
        FD_ZERO(&set);
        FD_SET(fd, &set);
        assert_int_equal(select(fd + 1, &set, NULL, NULL, &patience), 1);
        char bytes[4096];
        ssize_t n = recv(fd, bytes, sizeof(bytes), 0);
        assert_true(n > 0);
        assert_int_equal(qmp_stream_feed(&stream, bytes, (size_t)n, &err), 0);
        struct qmp_message message;
        while (qmp_stream_next(&stream, &message, &err) == 1) {
            n_returns += message.kind == QMP_RETURN || message.kind == QMP_ERROR;
            if (n_returns == 2 && !answer) {
                answer = message.kind == QMP_RETURN ? json_canonical(message.value)
                                                    : mem_strdup(message.text);
            }
            qmp_message_clear(&message);
        }
    }
    qmp_stream_clear(&stream);
    return answer;
}

static inline bool qemu_is_installed(void)
{
    return system("command -v qemu-system-x86_64 qemu-img >/dev/null") == 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
