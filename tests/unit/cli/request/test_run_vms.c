/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/request/run_vms.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "cli/request/project.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

static struct project a_project(const char *text)
{
    const struct vmfile_env env = {.path = "VMFile.kdl", .base_dir = "/p", .home = "/h"};
    struct vmfile *file = vmfile_parse(text, strlen(text), &env);
    struct project project = {
        .path = mem_strdup("/p/VMFile.kdl"), .file = file, .load = {.file = file}};
    assert_int_equal(project.file->n_diagnostics, 0);
    return project;
}

static void what_it_depends_on_comes_along_under_the_same_suffix(void **state)
{
    (void)state;
    cleanup_with(project_clear) struct project project =
        a_project("vm \"web\" { image \"/i\"; vcpus 3; depends-on \"db\" }\n"
                  "vm \"db\" { image \"/i\"; depends-on \"san\" }\n"
                  "vm \"san\" { image \"/i\" }\nvm \"other\" { image \"/i\" }\n");
    cleanup_with(run_vms_clear) struct run_vms vms = {.specs = NULL};
    struct error err = {0};
    assert_int_equal(run_vms_make(&project, "web", "run-a1b2", false, &vms, &err), 0);
    assert_int_equal(vms.names.count, 3);
    assert_string_equal(vms.names.items[0], "web-run-a1b2");
    assert_string_equal(vms.specs[0]->name, "web-run-a1b2");
    assert_int_equal(vms.specs[0]->vcpus, 3);
    assert_string_equal(vms.specs[0]->depends_on[0], "db-run-a1b2");
    assert_string_equal(vms.specs[1]->depends_on[0], "san-run-a1b2");
    assert_string_equal(vms.specs[2]->name, "san-run-a1b2");
    assert_string_equal(project.file->vms[0]->name, "web"); /* the VMFile's own is as it was */
    assert_string_equal(project.file->vms[0]->depends_on[0], "db");
}

static void a_long_name_is_cut_for_the_suffix(void **state)
{
    (void)state;
    char name[SPEC_NAME_MAX + 1] = "", text[128];
    memset(name, 'a', SPEC_NAME_MAX);
    (void)snprintf(text, sizeof(text), "vm \"%s\" { image \"/i\" }", name);
    cleanup_with(project_clear) struct project project = a_project(text);
    cleanup_with(run_vms_clear) struct run_vms vms = {.specs = NULL};
    struct error err = {0};
    assert_int_equal(run_vms_make(&project, name, "run-a1b2", false, &vms, &err), 0);
    assert_int_equal(strlen(vms.names.items[0]), SPEC_NAME_MAX);
    assert_true(vm_spec_name_is_valid(vms.names.items[0]));
    assert_string_equal(vms.names.items[0] + SPEC_NAME_MAX - 9, "-run-a1b2");
}

static void a_script_that_cannot_be_read_is_an_error(void **state)
{
    (void)state;
    cleanup_with(project_clear) struct project project =
        a_project("vm \"web\" { image \"/i\"; ssh\n"
                  "provision \"shell\" { script \"/nowhere/x.sh\" } }");
    cleanup_with(run_vms_clear) struct run_vms vms = {.specs = NULL};
    struct error err = {0};
    assert_true(run_vms_make(&project, "web", "run-a1b2", false, &vms, &err) < 0);
    assert_non_null(strstr(err.message, "/nowhere/x.sh"));
    assert_int_equal(vms.names.count, 0);
}

static void forwards_lead_from_free_ports_unless_the_vmfiles_are_kept(void **state)
{
    (void)state;
    cleanup_with(project_clear) struct project project =
        a_project("vm \"web\" { image \"/i\"; depends-on \"db\"; forward host=8080 guest=80;"
                  "forward host=8080 guest=53 proto=\"udp\";"
                  "vnc port=5901 password-file=\"/p/vnc.pass\" }\n"
                  "vm \"db\" { image \"/i\"; forward host=5432 guest=5432 }\n");
    cleanup_with(run_vms_clear) struct run_vms vms = {.specs = NULL};
    cleanup_with(run_vms_clear) struct run_vms kept = {.specs = NULL};
    struct error err = {0};
    assert_int_equal(run_vms_make(&project, "web", "run-a1b2", false, &vms, &err), 0);
    const struct spec_forward *web = vms.specs[0]->network.forwards;
    const struct spec_forward *db = vms.specs[1]->network.forwards;
    assert_in_range(web[0].host_port, FREE_PORT_FIRST, FREE_PORT_FIRST + FREE_PORT_COUNT - 1);
    assert_int_equal(web[0].guest_port, 80);
    assert_int_equal(web[1].protocol, FORWARD_UDP);
    assert_int_not_equal(web[0].host_port, web[1].host_port);
    assert_int_not_equal(web[0].host_port, db->host_port);
    assert_int_not_equal(web[1].host_port, db->host_port);
    const uint16_t screen = vms.specs[0]->vnc.port;
    assert_in_range(screen, FREE_PORT_FIRST, FREE_PORT_FIRST + FREE_PORT_COUNT - 1);
    assert_true(screen != web[0].host_port && screen != db->host_port);
    assert_int_equal(vms.specs[1]->vnc.port, 0);
    assert_int_equal(project.file->vms[0]->network.forwards[0].host_port, 8080);
    assert_int_equal(run_vms_make(&project, "web", "run-a1b2", true, &kept, &err), 0);
    assert_int_equal(kept.specs[0]->network.forwards[0].host_port, 8080);
    assert_int_equal(kept.specs[0]->vnc.port, 5901);
    assert_int_equal(kept.specs[1]->network.forwards[0].host_port, 5432);
}

/* A socket that has a free port of the range, so that only others are left. */
static int take_a_port(int type, uint32_t *cursor, uint16_t *ret_port)
{
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    do {
        *ret_port = (uint16_t)(FREE_PORT_FIRST + (*cursor)++ % FREE_PORT_COUNT);
        address.sin_port = htons(*ret_port);
    } while (bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0);
    return fd;
}

static void a_port_that_is_in_use_is_passed_over(void **state)
{
    (void)state;
    const struct {
        enum forward_protocol protocol;
        int type;
    } kinds[] = {{FORWARD_TCP, SOCK_STREAM}, {FORWARD_UDP, SOCK_DGRAM}};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        uint32_t cursor = 100;
        uint16_t taken = 0;
        cleanup_close int fd = take_a_port(kinds[i].type, &cursor, &taken);
        assert_true(fd >= 0);
        cursor--; /* just before it */
        assert_int_not_equal(free_port_next(kinds[i].protocol, &cursor), taken);
    }
}

static void no_port_is_told_twice_and_all_are_of_the_range(void **state)
{
    (void)state;
    uint32_t cursor = FREE_PORT_COUNT - 3; /* the range starts over */
    uint16_t ports[8];
    for (size_t i = 0; i < ARRAY_LEN(ports); i++) {
        ports[i] = free_port_next(FORWARD_TCP, &cursor);
        assert_in_range(ports[i], FREE_PORT_FIRST, FREE_PORT_FIRST + FREE_PORT_COUNT - 1);
        for (size_t j = 0; j < i; j++) {
            assert_int_not_equal(ports[i], ports[j]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_it_depends_on_comes_along_under_the_same_suffix),
        cmocka_unit_test(a_long_name_is_cut_for_the_suffix),
        cmocka_unit_test(a_script_that_cannot_be_read_is_an_error),
        cmocka_unit_test(forwards_lead_from_free_ports_unless_the_vmfiles_are_kept),
        cmocka_unit_test(a_port_that_is_in_use_is_passed_over),
        cmocka_unit_test(no_port_is_told_twice_and_all_are_of_the_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
