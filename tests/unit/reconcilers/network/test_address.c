/* SPDX-License-Identifier: MPL-2.0 */
/* Neighbours are the kernel's own, on a bridge in a network namespace of this process; the tests
 * that need one are skipped where it cannot be made. */
#include "reconcilers/network/address.h"

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <setjmp.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"

#define MAC "52:54:00:12:34:56"
#define OTHER_MAC "52:54:00:65:43:21"

enum { NOW_S = 1700000000, ARGUMENTS_MAX = 16, MANY = 600 };

extern char **environ;

struct fixture {
    char dir[64];
    bool has_bridge;
};

/* ---- the world: br7 and br8, each with a port that is up, so that neighbours can be added ---- */

/* "ip ARGUMENTS", which contain no spaces themselves. */
static bool ip(const char *arguments)
{
    cleanup_free char *text = mem_strdup(arguments);
    char name[] = "ip";
    char *argv[ARGUMENTS_MAX + 1] = {name};
    char *rest = NULL;
    int n = 1;
    for (char *word = strtok_r(text, " ", &rest); word && n < ARGUMENTS_MAX;
         word = strtok_r(NULL, " ", &rest)) {
        argv[n++] = word;
    }
    pid_t pid;
    int status = -1;
    return posix_spawnp(&pid, "ip", NULL, NULL, argv, environ) == 0 &&
           waitpid(pid, &status, 0) == pid && status == 0;
}

static bool make_bridges(void)
{
    return ip("link add br7 type bridge") && ip("link add br8 type bridge") &&
           ip("link add v7 type veth peer name v8") && ip("link set v7 master br7") &&
           ip("link set v8 master br8") && ip("link set v7 up") && ip("link set v8 up") &&
           ip("link set br7 up") && ip("link set br8 up");
}

static int make_world(void **state)
{
    struct fixture *fixture = mem_new(struct fixture);
    strcpy(fixture->dir, "/tmp/vmctl-address-XXXXXX");
    assert_non_null(mkdtemp(fixture->dir));
    fixture->has_bridge = unshare(CLONE_NEWNET) == 0 && make_bridges();
    *state = fixture;
    return 0;
}

static int end_world(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {.code = ERR_NONE};
    assert_int_equal(fs_remove_tree(fixture->dir, &err), 0);
    free(fixture);
    return 0;
}

/* ---- each test: no neighbours, no leases ---- */

static char *file_in(const struct fixture *fixture, const char *name)
{
    return fs_join(fixture->dir, name);
}

static int begin(void **state)
{
    struct fixture *fixture = *state;
    cleanup_free char *nothing = file_in(fixture, "nothing");
    setenv("VMCTL_DNSMASQ_LEASES", nothing, 1);
    if (fixture->has_bridge) {
        assert_true(ip("neigh flush nud all dev br7"));
        assert_true(ip("neigh flush nud all dev br8")); /* all but noarp */
    }
    return 0;
}

static void need_bridge(void **state)
{
    if (!((const struct fixture *)*state)->has_bridge) {
        skip();
    }
}

static void write_leases(const struct fixture *fixture, const char *name, const char *text)
{
    cleanup_free char *path = file_in(fixture, name);
    struct error err = {.code = ERR_NONE};
    assert_int_equal(fs_write_file(path, text, strlen(text), 0600, &err), 0);
}

static void name_leases(const struct fixture *fixture, const char *pattern)
{
    cleanup_free char *path = file_in(fixture, pattern);
    setenv("VMCTL_DNSMASQ_LEASES", path, 1);
}

static void expect(const char *bridge, const char *wanted)
{
    char found[INET6_ADDRSTRLEN] = "";
    assert_true(address_find(bridge, MAC, NOW_S, found));
    assert_string_equal(found, wanted);
}

static void expect_none(const char *bridge)
{
    char found[INET6_ADDRSTRLEN] = "before";
    assert_false(address_find(bridge, MAC, NOW_S, found));
    assert_string_equal(found, "before");
}

/* ---- neighbours ---- */

static void a_neighbour_is_found_by_its_mac_address(void **state)
{
    need_bridge(state);
    assert_true(ip("neigh add 10.77.0.11 lladdr " OTHER_MAC " dev br7 nud permanent"));
    expect_none("br7");
    assert_true(ip("neigh add 10.77.0.12 lladdr " MAC " dev br7 nud permanent"));
    expect("br7", "10.77.0.12");
}

static void a_neighbour_on_another_bridge_is_another_ones(void **state)
{
    need_bridge(state);
    assert_true(ip("neigh add 10.77.0.12 lladdr " MAC " dev br8 nud permanent"));
    expect_none("br7");
    expect("br8", "10.77.0.12");
}

static void a_bridge_that_is_not_there_has_no_neighbours(void **state)
{
    (void)state;
    expect_none("nobridge7");
    expect_none("a-name-of-20-letters");
}

static void what_is_no_mac_address_is_nobodys(void **state)
{
    need_bridge(state);
    char found[INET6_ADDRSTRLEN];
    assert_true(ip("neigh add 10.77.0.12 lladdr " MAC " dev br7 nud permanent"));
    assert_false(address_find("br7", MAC ":00", NOW_S, found));
    assert_false(address_find("br7", "52:54:00:12:34", NOW_S, found));
    assert_false(address_find("br7", "", NOW_S, found));
    assert_true(address_find("br7", "52:54:0:12:34:56", NOW_S, found));
}

static void only_states_that_can_be_sent_to_count(void **state)
{
    need_bridge(state);
    static const char *const usable[] = {"permanent", "reachable", "stale", "delay", "probe"};
    for (size_t i = 0; i < ARRAY_LEN(usable); i++) {
        cleanup_free char *command =
            mem_printf("neigh replace 10.77.0.12 lladdr " MAC " dev br7 nud %s", usable[i]);
        assert_true(ip(command));
        expect("br7", "10.77.0.12");
    }
    assert_true(ip("neigh del 10.77.0.12 dev br7"));
    assert_true(ip("neigh add 10.77.0.19 lladdr " MAC " dev br7 nud noarp"));
    expect_none("br7");
}

static void a_confirmed_neighbour_goes_before_a_stale_one(void **state)
{
    need_bridge(state);
    assert_true(ip("neigh add 10.77.0.12 lladdr " MAC " dev br7 nud permanent"));
    assert_true(ip("neigh add 10.77.0.11 lladdr " MAC " dev br7 nud stale"));
    assert_true(ip("neigh add 10.77.0.13 lladdr " MAC " dev br7 nud stale"));
    expect("br7", "10.77.0.12");
}

static void ipv4_goes_before_ipv6(void **state)
{
    need_bridge(state);
    assert_true(ip("-6 neigh add fd77::12 lladdr " MAC " dev br7 nud permanent"));
    expect("br7", "fd77::12");
    assert_true(ip("neigh add 10.77.0.12 lladdr " MAC " dev br7 nud stale"));
    expect("br7", "10.77.0.12");
}

static void a_link_local_address_is_no_use(void **state)
{
    need_bridge(state);
    assert_true(ip("-6 neigh add fe80::12 lladdr " MAC " dev br7 nud permanent"));
    expect_none("br7");
}

/* More than one datagram of the dump. */
static void one_among_many_is_found(void **state)
{
    struct fixture *fixture = *state;
    need_bridge(state);
    cleanup_free char *path = file_in(fixture, "batch");
    cleanup_free char *command = mem_printf("-batch %s", path);
    FILE *batch = fopen(path, "we");
    assert_non_null(batch);
    for (unsigned i = 0; i < MANY; i++) {
        fprintf(batch, "neigh add 10.78.%u.%u lladdr 52:54:01:00:%02x:%02x dev br7 nud permanent\n",
            i / 200, i % 200 + 1, i / 200, i % 200);
    }
    fprintf(batch, "neigh add 10.77.0.12 lladdr " MAC " dev br7 nud permanent\n");
    assert_int_equal(fclose(batch), 0);
    assert_true(ip(command));
    expect("br7", "10.77.0.12");
}

static void no_descriptor_is_left_open(void **state)
{
    need_bridge(state);
    int before = open("/dev/null", O_RDONLY | O_CLOEXEC);
    close(before);
    expect_none("br7");
    int after = open("/dev/null", O_RDONLY | O_CLOEXEC);
    close(after);
    assert_int_equal(after, before);
}

/* ---- leases ---- */

static void without_a_neighbour_the_lease_reports(void **state)
{
    struct fixture *fixture = *state;
    write_leases(fixture, "one.leases", "1700003600 " MAC " 10.77.0.20 web *\n");
    name_leases(fixture, "one.leases");
    expect("br7", "10.77.0.20");
    expect("nobridge7", "10.77.0.20");
}

static void a_neighbour_goes_before_a_lease(void **state)
{
    struct fixture *fixture = *state;
    need_bridge(state);
    write_leases(fixture, "one.leases", "1700003600 " MAC " 10.77.0.20 web *\n");
    name_leases(fixture, "one.leases");
    assert_true(ip("neigh add 10.77.0.12 lladdr " MAC " dev br7 nud stale"));
    expect("br7", "10.77.0.12");
}

static void of_several_files_the_lease_that_ends_last_counts(void **state)
{
    struct fixture *fixture = *state;
    write_leases(fixture, "a.pool", "1700003600 " MAC " 10.77.0.20 web *\n");
    write_leases(fixture, "b.pool", "1700007200 " MAC " 10.77.0.21 web *\n");
    write_leases(fixture, "c.pool", "1600000000 " MAC " 10.77.0.22 web *\n");
    name_leases(fixture, "*.pool");
    expect("br7", "10.77.0.21");
}

static void a_file_without_end_is_not_read(void **state)
{
    struct fixture *fixture = *state;
    cleanup_free char *fifo = file_in(fixture, "fifo");
    assert_int_equal(mkfifo(fifo, 0600), 0);
    name_leases(fixture, "fifo"); /* opening it would wait for a writer */
    expect_none("br7");
    setenv("VMCTL_DNSMASQ_LEASES", "/dev/zero", 1);
    expect_none("br7");
    setenv("VMCTL_DNSMASQ_LEASES", fixture->dir, 1);
    expect_none("br7");
}

static void without_a_named_file_the_usual_ones_are_read(void **state)
{
    (void)state;
    unsetenv("VMCTL_DNSMASQ_LEASES");
    char found[INET6_ADDRSTRLEN];
    assert_false(address_find("nobridge7", "02:00:00:00:00:00", NOW_S, found));
}

#define TEST(name) cmocka_unit_test_setup(name, begin)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_neighbour_is_found_by_its_mac_address),
        TEST(a_neighbour_on_another_bridge_is_another_ones),
        TEST(a_bridge_that_is_not_there_has_no_neighbours),
        TEST(what_is_no_mac_address_is_nobodys),
        TEST(only_states_that_can_be_sent_to_count),
        TEST(a_confirmed_neighbour_goes_before_a_stale_one),
        TEST(ipv4_goes_before_ipv6),
        TEST(a_link_local_address_is_no_use),
        TEST(one_among_many_is_found),
        TEST(no_descriptor_is_left_open),
        TEST(without_a_neighbour_the_lease_reports),
        TEST(a_neighbour_goes_before_a_lease),
        TEST(of_several_files_the_lease_that_ends_last_counts),
        TEST(a_file_without_end_is_not_read),
        TEST(without_a_named_file_the_usual_ones_are_read),
    };
    return cmocka_run_group_tests(tests, make_world, end_world);
}
