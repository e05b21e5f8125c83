/* SPDX-License-Identifier: MPL-2.0 */
/* What valid files mean. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "specs/vmfile/vmfile.h"

static const struct vmfile_env env = {
    .path = "VMFile.kdl", .base_dir = "/project", .home = "/home/me"};

static struct vmfile *parse_valid(const char *text)
{
    struct vmfile *file = vmfile_parse(text, strlen(text), &env);
    for (size_t i = 0; i < file->n_diagnostics; i++) {
        const struct vmfile_diagnostic *d = &file->diagnostics[i];
        print_error("%u:%u %s\n", d->pos.line, d->pos.column, d->message);
    }
    assert_int_equal(file->n_diagnostics, 0);
    return file;
}

/* A file of one VM with an image and these lines. */
static struct vmfile *parse_vm(const char *lines)
{
    char text[2048];
    assert_in_range(snprintf(text, sizeof(text), "vm \"a\" {\nimage \"i\"\n%s\n}\n", lines), 1,
        sizeof(text) - 1);
    return parse_valid(text);
}

static void the_full_example_of_the_book_means_what_the_book_says(void **state)
{
    (void)state;
    struct vmfile *file = parse_valid(
        "// Development VM with all options specified\n"
        "vm \"full-example\" {\n"
        "  image-url \"https://cloud-images.ubuntu.com/noble.img\"\n"
        "  vcpus 4\n  memory 4096\n  disk 40\n  network \"user\"\n"
        "  cloud-init {\n    hostname \"full-example\"\n  }\n"
        "  ssh {\n    user \"ubuntu\"\n  }\n"
        "  provision \"shell\" {\n    inline \"sudo apt-get update\"\n  }\n"
        "  provision \"file\" {\n    source \"config/bashrc\"\n"
        "    destination \"/home/ubuntu/.bashrc\"\n  }\n"
        "  provision \"shell\" {\n    script \"scripts/setup.sh\"\n  }\n}\n"
        "vm \"tap-example\" {\n"
        "  image \"~/images/debian-12.qcow2\"\n  vcpus 2\n  memory 2048\n"
        "  network \"tap\" {\n    bridge \"br0\"\n  }\n"
        "  cloud-init {\n    hostname \"tap-vm\"\n    ssh-key \"~/.ssh/id_ed25519.pub\"\n  }\n"
        "  ssh {\n    user \"debian\"\n    private-key \"~/.ssh/id_ed25519\"\n  }\n}\n"
        "vm \"minimal\" {\n  image-url \"https://cloud-images.ubuntu.com/noble.img\"\n}\n");
    assert_int_equal(file->n_vms, 3);

    const struct vm_spec *full = file->vms[0];
    assert_string_equal(full->name, "full-example");
    assert_int_equal(file->positions[0].line, 2);
    assert_int_equal(full->image.kind, IMAGE_URL);
    assert_string_equal(full->image.location, "https://cloud-images.ubuntu.com/noble.img");
    assert_int_equal(full->vcpus, 4);
    assert_int_equal(full->memory_mib, 4096);
    assert_int_equal(full->disk_gib, 40);
    assert_int_equal(full->network.mode, NETWORK_USER);
    assert_true(full->cloud_init.is_set);
    assert_string_equal(full->cloud_init.hostname, "full-example");
    assert_true(full->ssh.is_set);
    assert_string_equal(full->ssh.user, "ubuntu");
    assert_int_equal(full->n_steps, 3);
    assert_int_equal(full->steps[0].kind, STEP_INLINE);
    assert_string_equal(full->steps[0].command, "sudo apt-get update");
    assert_int_equal(full->steps[1].kind, STEP_FILE);
    assert_string_equal(full->steps[1].file.path, "/project/config/bashrc");
    assert_string_equal(full->steps[1].destination, "/home/ubuntu/.bashrc");
    assert_int_equal(full->steps[2].kind, STEP_SCRIPT);
    assert_string_equal(full->steps[2].file.path, "/project/scripts/setup.sh");

    const struct vm_spec *tap = file->vms[1];
    assert_int_equal(tap->image.kind, IMAGE_FILE);
    assert_string_equal(tap->image.location, "/home/me/images/debian-12.qcow2");
    assert_int_equal(tap->network.mode, NETWORK_TAP);
    assert_string_equal(tap->network.bridge, "br0");
    assert_string_equal(tap->cloud_init.ssh_key.path, "/home/me/.ssh/id_ed25519.pub");
    assert_string_equal(tap->ssh.private_key, "/home/me/.ssh/id_ed25519");

    const struct vm_spec *minimal = file->vms[2];
    assert_int_equal(minimal->vcpus, 1);
    assert_int_equal(minimal->memory_mib, 1024);
    assert_int_equal(minimal->disk_gib, 0);
    assert_int_equal(minimal->network.mode, NETWORK_USER);
    assert_false(vm_spec_expects_ssh(minimal));
    vmfile_free(file);
    vmfile_free(NULL);
}

static void an_address_is_the_range_of_its_network(void **state)
{
    static const char text[] =
        "vm a { image i; network project }\n"
        "vm b { image i; network project { address \"10.20.30.40\"; mac \"52:54:00:AB:CD:EF\" } }\n"
        "vm c { image i; network project name=lan }\n";
    (void)state;
    struct vmfile *file = vmfile_parse(text, strlen(text), &env);
    assert_int_equal(file->n_diagnostics, 0);
    assert_string_equal(file->vms[0]->network.range, "10.20.30.0/24");
    assert_null(file->vms[0]->network.address);
    assert_string_equal(file->vms[1]->network.range, "10.20.30.0/24");
    assert_string_equal(file->vms[1]->network.mac, "52:54:00:ab:cd:ef");
    assert_null(file->vms[2]->network.range);
    vmfile_free(file);
}

static void the_first_network_has_the_forwards_and_the_others_come_behind(void **state)
{
    static const char text[] =
        "defaults { network tap; network project }\n"
        "vm a { image i; forward host=1 guest=1; network user; network project name=lan { isolate "
        "};\n"
        " network tap bridge=br7 mac=\"52:54:00:AB:CD:EF\"; forward host=2 guest=2 }\n"
        "vm b { image i; network project name=lan address=\"10.20.30.40\" }\n"
        "vm c { image i }\n";
    (void)state;
    struct vmfile *file = vmfile_parse(text, strlen(text), &env);
    assert_int_equal(file->n_diagnostics, 0);
    const struct vm_spec *a = file->vms[0], *b = file->vms[1], *c = file->vms[2];
    assert_int_equal(a->network.mode, NETWORK_USER);
    assert_int_equal(a->network.n_forwards, 2);
    assert_int_equal(a->n_further_networks, 2);
    assert_int_equal(vm_spec_network(a, 1)->mode, NETWORK_PROJECT);
    assert_true(vm_spec_network(a, 1)->is_isolated);
    assert_string_equal(vm_spec_network(a, 1)->range, "10.20.30.0/24");
    assert_string_equal(vm_spec_network(a, 1)->network, b->network.network);
    assert_string_equal(vm_spec_network(a, 2)->bridge, "br7");
    assert_string_equal(vm_spec_network(a, 2)->mac, "52:54:00:ab:cd:ef");
    assert_null(vm_spec_network(a, 3));
    assert_ptr_equal(vm_spec_name_server(a), vm_spec_network(a, 1));
    /* those of a VM take the place of the defaults', all of them */
    assert_int_equal(b->n_further_networks, 0);
    assert_int_equal(c->network.mode, NETWORK_TAP);
    assert_int_equal(c->n_further_networks, 1);
    vmfile_free(file);
}

static void a_project_is_the_vmfiles_folder(void **state)
{
    static const char text[] = "vm a { image i; network project { host-services 80; egress { "
                               "allow \"10.0.0.0/8\"; allow example.org; } } }\n"
                               "vm b { image i; network project name=lan { isolate }; "
                               "forward host=80 guest=80 }";
    struct vmfile_env folder = {
        .path = "VMFile.kdl", .base_dir = "/home/me/.My_Shop!", .home = "/home/me"};
    (void)state;
    struct vmfile *file = vmfile_parse(text, strlen(text), &folder);
    assert_int_equal(file->n_diagnostics, 0);
    const struct spec_network *a = &file->vms[0]->network, *b = &file->vms[1]->network;
    assert_int_equal(a->mode, NETWORK_PROJECT);
    assert_string_equal(a->project, "my-shop");
    assert_int_equal(strlen(a->network), strlen("my-shop-01234567"));
    assert_int_equal(a->n_services, 1);
    assert_int_equal(a->n_egress, 2);
    assert_string_equal(a->egress[1], "example.org");
    assert_false(a->is_isolated);
    assert_true(b->is_isolated);
    assert_string_equal(b->project, "my-shop");
    assert_memory_equal(b->network, a->network, strlen(a->network));
    assert_string_equal(b->network + strlen(a->network), ".lan");

    folder.base_dir = "/elsewhere/My_Shop";
    struct vmfile *other = vmfile_parse(text, strlen(text), &folder);
    assert_string_equal(other->vms[0]->network.project, "my-shop");
    assert_string_not_equal(other->vms[0]->network.network, a->network);
    folder.base_dir = "/";
    struct vmfile *root = vmfile_parse(text, strlen(text), &folder);
    assert_string_equal(root->vms[0]->network.project, "project");
    vmfile_free(root);
    vmfile_free(other);
    vmfile_free(file);
}

static void the_added_nodes_are_read(void **state)
{
    (void)state;
    struct vmfile *file = parse_vm(
        "restart \"always\"\nforward host=8080 guest=80\n"
        "forward host=53 guest=53 proto=\"udp\"\n"
        "forward host=\"0.0.0.0:8000-8001\" guest=\"90-91\"\nforward host=\"127.0.0.1:9\" "
        "guest=9\naccel \"tcg\"\n"
        "label \"tier\" \"web\"\nlabel \"n\" 1\nprotect\n"
        "firmware \"uefi\"\ntpm\nautostart #false\nwarm \"disk\"\nstop-timeout 5\nbackend "
        "\"noop\"\n"
        "network \"user\" { host-services 5432 6379 }\n"
        "vnc port=5901 password-file=\"p\"\nmachine \"pc-q35-7.2\"\n"
        "cloud-init { seed \"ide\"; on-error \"warn\"; user-data \"u.yaml\"; vendor-data \"v\"; "
        "network-config \"n\" }\n"
        "ready { tcp 80; http \"/healthz\" port=81; http \"/\"; exec "
        "\"true\" }");
    const struct vm_spec *spec = file->vms[0];
    assert_int_equal(spec->restart, RESTART_ALWAYS);
    assert_int_equal(spec->network.n_forwards, 5);
    assert_string_equal(spec->network.forwards[0].address, "");
    assert_string_equal(spec->network.forwards[3].address, "0.0.0.0");
    assert_int_equal(spec->network.forwards[3].host_port, 8001);
    assert_int_equal(spec->network.forwards[3].guest_port, 91);
    assert_string_equal(spec->network.forwards[4].address, "");
    assert_int_equal(spec->network.forwards[0].host_port, 8080);
    assert_int_equal(spec->network.forwards[0].guest_port, 80);
    assert_int_equal(spec->network.forwards[0].protocol, FORWARD_TCP);
    assert_int_equal(spec->network.forwards[1].protocol, FORWARD_UDP);
    assert_int_equal(spec->network.n_services, 2);
    assert_int_equal(spec->network.services[1].port, 6379);
    assert_int_equal(spec->vnc.port, 5901);
    assert_string_equal(spec->vnc.password_file, "/project/p");
    assert_string_equal(spec->machine, "pc-q35-7.2");
    assert_int_equal(spec->accel, ACCEL_TCG);
    assert_int_equal(spec->firmware, FIRMWARE_UEFI);
    assert_true(spec->has_tpm);
    assert_int_equal(spec->autostart, AUTOSTART_OFF);
    assert_int_equal(spec->warm, WARM_DISK);
    assert_int_equal(spec->n_labels, 2);
    assert_string_equal(spec->labels[0].key, "tier");
    assert_string_equal(spec->labels[0].value, "web");
    assert_string_equal(spec->labels[1].value, "1");
    assert_true(spec->is_protected);
    assert_int_equal(spec->stop_timeout_s, 5);
    assert_int_equal(spec->backend, BACKEND_NOOP);
    assert_int_equal(spec->cloud_init.bus, SEED_IDE);
    assert_int_equal(spec->cloud_init.on_error, SETUP_WARN);
    assert_string_equal(spec->cloud_init.user_data.path, "/project/u.yaml");
    assert_false(spec->cloud_init.is_joined);
    assert_int_equal(spec->checks[CHECK_READY].n_probes, 4);
    assert_int_equal(spec->checks[CHECK_READY].probes[0].kind, PROBE_TCP);
    assert_int_equal(spec->checks[CHECK_READY].probes[0].port, 80);
    assert_string_equal(spec->checks[CHECK_READY].probes[1].text, "/healthz");
    assert_int_equal(spec->checks[CHECK_READY].probes[1].port, 81);
    assert_int_equal(spec->checks[CHECK_READY].probes[2].port, 80);
    assert_int_equal(spec->checks[CHECK_READY].probes[3].kind, PROBE_EXEC);
    assert_string_equal(spec->checks[CHECK_READY].probes[3].text, "true");
    vmfile_free(file);
}

static void probes_have_a_period_a_timeout_and_a_number_of_failures(void **state)
{
    (void)state;
    struct vmfile *file = parse_vm("ssh\nready timeout=\"1m\" { tcp 80; period 5 }\n"
                                   "live failures=7 start-period=\"2m\" { exec \"true\" }");
    const struct spec_check *checks = file->vms[0]->checks;
    assert_int_equal(checks[CHECK_READY].timeout_s, 60);
    assert_int_equal(checks[CHECK_READY].period_s, 5);
    assert_int_equal(checks[CHECK_READY].failures, SPEC_DEFAULT_FAILURES);
    assert_int_equal(checks[CHECK_READY].n_probes, 1);
    assert_int_equal(checks[CHECK_LIVE].timeout_s, SPEC_DEFAULT_PROBE_TIMEOUT_S);
    assert_int_equal(checks[CHECK_LIVE].period_s, SPEC_DEFAULT_PERIOD_S);
    assert_int_equal(checks[CHECK_LIVE].failures, 7);
    assert_int_equal(checks[CHECK_LIVE].start_period_s, 120);
    assert_string_equal(checks[CHECK_LIVE].probes[0].text, "true");
    vmfile_free(file);
}

static void assert_same_meaning(const char *one, const char *other)
{
    char digest[DIGEST_SIZE], other_digest[DIGEST_SIZE];
    struct vmfile *file = parse_vm(one), *other_file = parse_vm(other);
    vm_spec_digest(file->vms[0], digest);
    vm_spec_digest(other_file->vms[0], other_digest);
    assert_string_equal(digest, other_digest);
    vmfile_free(file);
    vmfile_free(other_file);
}

static void a_field_of_one_value_may_be_a_property(void **state)
{
    (void)state;
    assert_same_meaning("network \"tap\" { bridge \"br7\" }", "network \"tap\" bridge=\"br7\"");
    assert_same_meaning("network \"tap\"", "network \"tap\" { bridge \"br0\" }");
    assert_same_meaning("ssh { user \"u\" }", "ssh user=\"u\"");
    assert_same_meaning("forward host=1 guest=2", "forward { host 1; guest 2; proto \"tcp\" }");
    assert_same_meaning("ssh; provision \"shell\" { inline \"x\"; timeout 300; run \"once\" }",
        "ssh; provision \"shell\" timeout=\"5m\" run=\"once\" inline=\"x\"");
}

static void a_step_with_a_secret_is_per_vm_whatever_it_says(void **state)
{
    (void)state;
    assert_same_meaning("ssh; provision \"shell\" { inline \"x\"; secret \"A\" from-env=\"A\" }",
        "ssh; provision \"shell\" { inline \"x\"; secret \"A\" from-env=\"A\"; per-vm #false }");
}

static void comments_formatting_and_order_do_not_change_the_digest(void **state)
{
    (void)state;
    assert_same_meaning(
        "vcpus 2\nforward host=1 guest=2\nforward host=3 guest=4\nready { tcp 1 }\nssh",
        "/* c */ ready {\n tcp 1 // d\n}\nforward host=3 guest=4;forward guest=2 host=1;vcpus "
        "0x2;ssh");
}

static void sizes_and_durations_have_units(void **state)
{
    (void)state;
    assert_same_meaning("memory 2048", "memory \"2G\"");
    assert_same_meaning("memory 2048", "memory \"2GiB\"");
    assert_same_meaning("memory 512", "memory \"512mb\"");
    assert_same_meaning("disk 1024", "disk \"1T\"");
    assert_same_meaning("stop-timeout 120", "stop-timeout \"2m\"");
    assert_same_meaning("autostart #true", "");
    assert_same_meaning("protect #false", "");
    assert_same_meaning("stop-timeout 0", "stop-timeout \"0s\"");
}

static void a_sha256_is_kept_as_lower_case_digits(void **state)
{
    (void)state;
    static const char text[] =
        "vm \"a\" { image-url \"https://x/i\" sha256=\"SHA256:"
        "E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855\" }";
    struct vmfile *file = parse_valid(text);
    assert_string_equal(file->vms[0]->image.sha256,
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    vmfile_free(file);
}

static void dependencies_may_stand_in_one_node_or_several(void **state)
{
    (void)state;
    struct vmfile *file = parse_valid("vm a { image i; depends-on b c; depends-on d }\n"
                                      "vm b { image i; depends-on d }\n"
                                      "vm c { image i }\nvm d { image i }\n");
    assert_int_equal(file->vms[0]->n_depends_on, 3);
    assert_string_equal(file->vms[0]->depends_on[2], "d");
    vmfile_free(file);
}

static void a_vnic_goes_with_propolis(void **state)
{
    (void)state;
    struct vmfile *file =
        parse_vm("backend \"propolis\"\nnetwork \"vnic\" { name \"vnic0\"; address \"10.0.0.9\" }\n"
                 "propolis-server \"10.0.0.5\"");
    assert_int_equal(file->vms[0]->network.mode, NETWORK_VNIC);
    assert_string_equal(file->vms[0]->network.vnic, "vnic0");
    assert_string_equal(file->vms[0]->network.address, "10.0.0.9");
    assert_string_equal(file->vms[0]->propolis_server, "10.0.0.5");
    vmfile_free(file);
}

static void an_empty_ssh_block_means_the_default_user(void **state)
{
    (void)state;
    struct vmfile *file = parse_vm("ssh");
    assert_true(file->vms[0]->ssh.is_set);
    assert_string_equal(file->vms[0]->ssh.user, "vm");
    vmfile_free(file);
}

static void version_1_files_are_read_too(void **state)
{
    (void)state;
    struct vmfile *file =
        parse_valid("vm \"a\" {\n  image r\"C:\\i\"\n  ssh\n  provision \"shell\" {\n    inline "
                    "r#\"echo \"hi\"\"#\n  }\n}\n");
    assert_string_equal(file->vms[0]->steps[0].command, "echo \"hi\"");
    assert_string_equal(file->vms[0]->image.location, "/project/C:\\i");
    vmfile_free(file);
}

static void user_data_that_is_not_raw_is_joined_with_ours(void **state)
{
    (void)state;
    struct vmfile *file = parse_vm("cloud-init { user-data \"u.yaml\" raw=#false }");
    assert_true(file->vms[0]->cloud_init.is_joined);
    assert_string_equal(file->vms[0]->cloud_init.user_data.path, "/project/u.yaml");
    vmfile_free(file);
    file = parse_vm("cloud-init { user-data \"u\" raw=#false; user-data \"v\" raw=#false; "
                    "user-data \"w\" { raw #false } }");
    const struct spec_cloud_init *cloud_init = &file->vms[0]->cloud_init;
    assert_true(cloud_init->is_joined);
    assert_string_equal(cloud_init->user_data.path, "/project/u");
    assert_int_equal(cloud_init->n_further_user_data, 2);
    assert_string_equal(cloud_init->further_user_data[0].path, "/project/v");
    assert_string_equal(cloud_init->further_user_data[1].path, "/project/w");
    vmfile_free(file);
    file = parse_vm("cloud-init { user-data \"u.yaml\" raw=#true }");
    assert_false(file->vms[0]->cloud_init.is_joined);
    vmfile_free(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(user_data_that_is_not_raw_is_joined_with_ours),
        cmocka_unit_test(the_full_example_of_the_book_means_what_the_book_says),
        cmocka_unit_test(an_address_is_the_range_of_its_network),
        cmocka_unit_test(the_first_network_has_the_forwards_and_the_others_come_behind),
        cmocka_unit_test(a_project_is_the_vmfiles_folder),
        cmocka_unit_test(the_added_nodes_are_read),
        cmocka_unit_test(probes_have_a_period_a_timeout_and_a_number_of_failures),
        cmocka_unit_test(a_field_of_one_value_may_be_a_property),
        cmocka_unit_test(a_step_with_a_secret_is_per_vm_whatever_it_says),
        cmocka_unit_test(comments_formatting_and_order_do_not_change_the_digest),
        cmocka_unit_test(sizes_and_durations_have_units),
        cmocka_unit_test(a_sha256_is_kept_as_lower_case_digits),
        cmocka_unit_test(dependencies_may_stand_in_one_node_or_several),
        cmocka_unit_test(a_vnic_goes_with_propolis),
        cmocka_unit_test(an_empty_ssh_block_means_the_default_user),
        cmocka_unit_test(version_1_files_are_read_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
