/* SPDX-License-Identifier: MPL-2.0 */
/* With a thread in a switch's place. */
#include "specs/vm/network_usage.h"

#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/strings.h"
#include "specs/vm/vm_spec.h"
#include "specs/vm/vm_status.h"

struct fake {
    const char *network;
    const char *answer; /* NULL: none ever comes */
    int fd;
    pthread_t thread;
};

static void *answer_once(void *context)
{
    const struct fake *fake = context;
    struct pollfd waiting = {.fd = fake->fd, .events = POLLIN};
    char line[64] = "";
    (void)poll(&waiting, 1, -1);
    int fd = accept(fake->fd, NULL, NULL);
    ssize_t n = recv(fd, line, sizeof(line) - 1, 0);
    if (n > 0 && strcmp(line, NETWORK_USAGE_REQUEST "\n") == 0) {
        (void)send(fd, fake->answer, strlen(fake->answer), MSG_NOSIGNAL);
    }
    close(fd);
    return NULL;
}

static void begin(const struct paths *paths, struct fake *fakes, size_t n)
{
    struct error err = {.code = ERR_NONE};
    for (size_t i = 0; i < n; i++) {
        cleanup_free char *hub =
            mem_printf("%s/networks/%s/hub", paths->data_dir, fakes[i].network);
        cleanup_free char *path = mem_printf("%s/control", hub);
        assert_int_equal(fs_make_dirs(hub, 0700, &err), 0);
        assert_int_equal(fs_listen_unix(path, &fakes[i].fd, &err), 0);
        if (fakes[i].answer) {
            assert_int_equal(pthread_create(&fakes[i].thread, NULL, answer_once, &fakes[i]), 0);
        }
    }
}

static void end(struct fake *fakes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (fakes[i].answer) {
            assert_int_equal(pthread_join(fakes[i].thread, NULL), 0);
        }
        close(fakes[i].fd);
    }
}

/* A machine that runs on a project network. */
static struct vm_status *status_on(const char *network)
{
    struct vm_status *status = vm_status_new("00000000000000000000000000000001");
    struct vm_spec *spec = vm_spec_new("web");
    spec->network.mode = NETWORK_PROJECT;
    spec->network.network = mem_strdup(network);
    vm_status_take_applied_spec(status, spec);
    status->instance.pid = getpid();
    strcpy(status->instance.instance_id, "i");
    strcpy(status->instance.boot_id, clock_boot_id(clock_system()));
    return status;
}

static struct network_usage usage_on(
    const json_t *answers, const char *network, const char *vm_name)
{
    struct network_usage usage;
    struct vm_status *status = status_on(network);
    network_usage_read(answers, vm_name, status, &usage);
    vm_status_free(status);
    return usage;
}

static void all_switches_are_asked_and_none_is_waited_for_long(void **state)
{
    char dir[] = "/tmp/vmctl-usage.XXXXXX";
    struct error err = {.code = ERR_NONE};
    struct paths paths = {.data_dir = NULL};
    struct strings networks = {.count = 0};
    struct fake fakes[] = {
        {.network = "halted"},
        {.network = "shop",
            .answer = "{\"web\":[1,2,3,4],\"short\":[1,2,3],\"less\":[1,2,3,-4]}\n"},
        {.network = "old", .answer = "{\"error\":\"there is no such port\"}\n"},
        {.network = "broken", .answer = "nonsense\n"},
        {.network = "gone", .answer = "{\"web\":[1,2,3,4"},
    };
    (void)state;
    assert_non_null(mkdtemp(dir));
    assert_int_equal(paths_init(&paths, dir, &err), 0);
    begin(&paths, fakes, ARRAY_LEN(fakes));
    for (size_t i = 0; i < ARRAY_LEN(fakes); i++) {
        strings_add(&networks, fakes[i].network);
    }
    strings_add(&networks, "none");
    int64_t begun_ms = clock_monotonic_ms(clock_system());
    cleanup_json json_t *answers = network_usage_ask(&paths, &networks);
    assert_true(clock_monotonic_ms(clock_system()) - begun_ms < 5000);
    struct network_usage usage = usage_on(answers, "shop", "web");
    assert_true(usage.is_known);
    assert_int_equal(usage.received_bytes, 1);
    assert_int_equal(usage.received_packets, 2);
    assert_int_equal(usage.sent_bytes, 3);
    assert_int_equal(usage.sent_packets, 4);
    assert_false(usage_on(answers, "shop", "short").is_known);
    assert_false(usage_on(answers, "shop", "less").is_known);
    assert_false(usage_on(answers, "shop", "other").is_known);
    assert_false(usage_on(answers, "old", "error").is_known);
    assert_false(usage_on(answers, "broken", "web").is_known);
    assert_false(usage_on(answers, "gone", "web").is_known);
    assert_false(usage_on(answers, "halted", "web").is_known);
    assert_false(usage_on(NULL, "shop", "web").is_known);
    end(fakes, ARRAY_LEN(fakes));
    strings_clear(&networks);
    assert_int_equal(fs_remove_tree(dir, &err), 0);
    paths_clear(&paths);
}

static void set_mode(struct vm_status *status, enum network_mode mode)
{
    struct vm_spec *spec = vm_spec_copy(status->applied_spec);
    spec->network.mode = mode;
    vm_status_take_applied_spec(status, spec);
}

static void only_a_machine_that_runs_on_a_project_network_is_asked_for(void **state)
{
    struct strings networks = {.count = 0};
    struct vm_status *status = status_on("shop");
    (void)state;
    network_usage_add_networks(&networks, NULL);
    set_mode(status, NETWORK_USER);
    network_usage_add_networks(&networks, status);
    set_mode(status, NETWORK_PROJECT);
    status->instance.boot_id[0] = 'x'; /* from before the host was started again */
    network_usage_add_networks(&networks, status);
    assert_int_equal(networks.count, 0);
    strcpy(status->instance.boot_id, clock_boot_id(clock_system()));
    network_usage_add_networks(&networks, status);
    network_usage_add_networks(&networks, status);
    assert_int_equal(networks.count, 1);
    assert_string_equal(networks.items[0], "shop");
    vm_status_free(status);
    strings_clear(&networks);
}

static void several_networks_are_added_up_or_not_known(void **state)
{
    struct vm_status *status = status_on("shop");
    struct vm_spec *spec = vm_spec_copy(status->applied_spec);
    struct network_usage usage;
    cleanup_json json_t *answers = json_pack("{s:{s:[i,i,i,i]}, s:{s:[i,i,i,i]}}", "shop", "web", 1,
        2, 3, 4, "back", "web", 10, 20, 30, 40);
    (void)state;
    mem_grow(spec->further_networks, spec->n_further_networks);
    spec->further_networks[spec->n_further_networks++] =
        (struct spec_network){.mode = NETWORK_PROJECT, .network = mem_strdup("back")};
    vm_status_take_applied_spec(status, spec);
    network_usage_read(answers, "web", status, &usage);
    assert_true(usage.is_known);
    assert_int_equal(usage.received_bytes, 11);
    assert_int_equal(usage.sent_packets, 44);
    assert_int_equal(json_object_del(answers, "back"), 0);
    network_usage_read(answers, "web", status, &usage);
    assert_false(usage.is_known);
    vm_status_free(status);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_switches_are_asked_and_none_is_waited_for_long),
        cmocka_unit_test(only_a_machine_that_runs_on_a_project_network_is_asked_for),
        cmocka_unit_test(several_networks_are_added_up_or_not_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
