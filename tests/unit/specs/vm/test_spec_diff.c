/* SPDX-License-Identifier: MPL-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "specs/vm/spec_diff.h"

static struct vm_spec *a_spec(void)
{
    struct vm_spec *spec = vm_spec_new("web");
    spec->image.location = mem_strdup("/images/base.qcow2");
    return spec;
}

static void set_text(char **text, const char *value)
{
    free(*text);
    *text = mem_strdup(value);
}

/* ---- one change of each field ---- */

static void change_backend(struct vm_spec *s)
{
    s->backend = BACKEND_NOOP;
}
static void change_image(struct vm_spec *s)
{
    set_text(&s->image.location, "/images/new.qcow2");
}
static void change_sha256(struct vm_spec *s)
{
    set_text(&s->image.sha256, "00ff");
}
static void change_vcpus(struct vm_spec *s)
{
    s->vcpus = 4;
}
static void change_memory(struct vm_spec *s)
{
    s->memory_mib = 2048;
}
static void change_max_vcpus(struct vm_spec *s)
{
    s->max_vcpus = 8;
}
static void change_max_memory(struct vm_spec *s)
{
    s->max_memory_mib = 8192;
}
static void change_cpu_limit(struct vm_spec *s)
{
    s->cpu_limit_milli = 1500;
}
static void change_memory_limit(struct vm_spec *s)
{
    s->memory_limit_mib = 64 << 10;
}
static void change_io_limit(struct vm_spec *s)
{
    s->io_limit.write_kib = 1024;
}
static void change_disk(struct vm_spec *s)
{
    s->disk_gib = 40;
}
static void change_network(struct vm_spec *s)
{
    s->network.mode = NETWORK_NONE;
}
static void change_bridge(struct vm_spec *s)
{
    set_text(&s->network.bridge, "br7");
}
static void change_address(struct vm_spec *s)
{
    set_text(&s->network.address, "10.0.0.9");
}

static void change_propolis_server(struct vm_spec *s)
{
    set_text(&s->propolis_server, "10.0.0.5:12400");
}

static void change_vnic(struct vm_spec *s)
{
    set_text(&s->network.vnic, "vnic7");
}
static void change_cloud_init(struct vm_spec *s)
{
    s->cloud_init.is_set = true;
}
static void change_hostname(struct vm_spec *s)
{
    set_text(&s->cloud_init.hostname, "db");
}
static void change_ssh_key(struct vm_spec *s)
{
    set_text(&s->cloud_init.ssh_key.path, "/k.pub");
}
static void change_user_data(struct vm_spec *s)
{
    set_text(&s->cloud_init.user_data.path, "/u");
}

static void join_user_data(struct vm_spec *s)
{
    s->cloud_init.is_joined = true;
}

static void add_user_data(struct vm_spec *s)
{
    mem_grow(s->cloud_init.further_user_data, s->cloud_init.n_further_user_data);
    s->cloud_init.further_user_data[s->cloud_init.n_further_user_data++] =
        (struct spec_file){.path = mem_strdup("/u2")};
}

static void change_vendor_data(struct vm_spec *s)
{
    set_text(&s->cloud_init.vendor_data.path, "/v");
}

static void change_network_config(struct vm_spec *s)
{
    set_text(&s->cloud_init.network_config.path, "/n");
}
static void change_seed(struct vm_spec *s)
{
    s->cloud_init.bus = SEED_IDE;
}
static void change_on_error(struct vm_spec *s)
{
    s->cloud_init.on_error = SETUP_WARN;
}
static void change_ssh(struct vm_spec *s)
{
    s->ssh.is_set = true;
}
static void change_accel(struct vm_spec *s)
{
    s->accel = ACCEL_TCG;
}
static void change_arch(struct vm_spec *s)
{
    s->image.arch = ARCH_AARCH64;
}

static void change_tpm(struct vm_spec *s)
{
    s->has_tpm = true;
}

static void change_firmware(struct vm_spec *s)
{
    s->firmware = FIRMWARE_UEFI;
}
static void change_machine(struct vm_spec *s)
{
    set_text(&s->machine, "q35");
}
static void change_vnc(struct vm_spec *s)
{
    s->vnc.port = 5901;
}
static void change_services(struct vm_spec *s)
{
    mem_grow(s->network.services, s->network.n_services);
    s->network.services[s->network.n_services++].port = 5432;
}
static void change_restart(struct vm_spec *s)
{
    s->restart = RESTART_NEVER;
}
static void change_autostart(struct vm_spec *s)
{
    s->autostart = AUTOSTART_OFF;
}
static void change_labels(struct vm_spec *s)
{
    mem_grow(s->labels, s->n_labels);
    s->labels[s->n_labels++] =
        (struct spec_label){.key = mem_strdup("tier"), .value = mem_strdup("web")};
}
static void change_protect(struct vm_spec *s)
{
    s->is_protected = true;
}
static void change_warm(struct vm_spec *s)
{
    s->warm = WARM_DISK;
}
static void change_stop_timeout(struct vm_spec *s)
{
    s->stop_timeout_s = 1;
}

static struct spec_network *add_network(struct vm_spec *s, const char *network)
{
    mem_grow(s->further_networks, s->n_further_networks);
    struct spec_network *added = &s->further_networks[s->n_further_networks++];
    *added = (struct spec_network){
        .mode = NETWORK_PROJECT, .project = mem_strdup("shop"), .network = mem_strdup(network)};
    return added;
}
static void change_further_networks(struct vm_spec *s)
{
    (void)add_network(s, "shop-1.lan");
}

static void change_forward(struct vm_spec *s)
{
    mem_grow(s->network.forwards, s->network.n_forwards);
    s->network.forwards[s->network.n_forwards++] =
        (struct spec_forward){.host_port = 8080, .guest_port = 80};
}
static void change_provision(struct vm_spec *s)
{
    mem_grow(s->steps, s->n_steps);
    s->steps[s->n_steps++] = (struct spec_step){.kind = STEP_INLINE, .command = mem_strdup("true")};
}
static void change_ready(struct vm_spec *s)
{
    struct spec_check *ready = &s->checks[CHECK_READY];
    mem_grow(ready->probes, ready->n_probes);
    ready->probes[ready->n_probes++] = (struct spec_probe){.kind = PROBE_TCP, .port = 80};
}
static void change_live(struct vm_spec *s)
{
    s->checks[CHECK_LIVE].failures++;
}
static void change_depends_on(struct vm_spec *s)
{
    mem_grow(s->depends_on, s->n_depends_on);
    s->depends_on[s->n_depends_on++] = mem_strdup("db");
}

/* The column "On change" of specs/VMFILE.md. */
static const struct {
    void (*change)(struct vm_spec *spec);
    const char *field;
    enum disposition disposition;
} fields[] = {
    {change_backend, "backend", DISPOSITION_RECREATE},
    {change_image, "image", DISPOSITION_RECREATE},
    {change_sha256, "image", DISPOSITION_RECREATE},
    {change_vcpus, "vcpus", DISPOSITION_RESTART},
    {change_memory, "memory", DISPOSITION_RESTART},
    {change_max_vcpus, "max-vcpus", DISPOSITION_RESTART},
    {change_max_memory, "max-memory", DISPOSITION_RESTART},
    {change_disk, "disk", DISPOSITION_LIVE},
    {change_cpu_limit, "cpu-limit", DISPOSITION_LIVE},
    {change_memory_limit, "memory-limit", DISPOSITION_LIVE},
    {change_io_limit, "io-limit", DISPOSITION_LIVE},
    {change_network, "network", DISPOSITION_RESTART},
    {change_bridge, "bridge", DISPOSITION_RESTART},
    {change_vnic, "vnic", DISPOSITION_RESTART},
    {change_address, "address", DISPOSITION_RESTART},
    {change_propolis_server, "propolis-server", DISPOSITION_RESTART},
    {change_forward, "forward", DISPOSITION_LIVE},
    {change_cloud_init, "cloud-init", DISPOSITION_RECREATE},
    {change_hostname, "hostname", DISPOSITION_RECREATE},
    {change_ssh_key, "ssh-key", DISPOSITION_RECREATE},
    {change_user_data, "user-data", DISPOSITION_RECREATE},
    {join_user_data, "user-data raw", DISPOSITION_RECREATE},
    {add_user_data, "further user-data", DISPOSITION_RECREATE},
    {change_vendor_data, "vendor-data", DISPOSITION_RECREATE},
    {change_network_config, "network-config", DISPOSITION_RECREATE},
    {change_seed, "seed", DISPOSITION_RESTART},
    {change_on_error, "on-error", DISPOSITION_LIVE},
    {change_ssh, "ssh", DISPOSITION_LIVE},
    {change_provision, "provision", DISPOSITION_PROVISION},
    {change_ready, "ready", DISPOSITION_LIVE},
    {change_live, "live", DISPOSITION_LIVE},
    {change_depends_on, "depends-on", DISPOSITION_LIVE},
    {change_accel, "accel", DISPOSITION_RESTART},
    {change_firmware, "firmware", DISPOSITION_RECREATE},
    {change_tpm, "tpm", DISPOSITION_RESTART},
    {change_arch, "image", DISPOSITION_RECREATE},
    {change_machine, "machine", DISPOSITION_RESTART},
    {change_vnc, "vnc", DISPOSITION_RESTART},
    {change_services, "host-services", DISPOSITION_RESTART},
    {change_further_networks, "further network", DISPOSITION_RESTART},
    {change_restart, "restart", DISPOSITION_LIVE},
    {change_autostart, "autostart", DISPOSITION_LIVE},
    {change_labels, "label", DISPOSITION_LIVE},
    {change_protect, "protect", DISPOSITION_LIVE},
    {change_warm, "warm", DISPOSITION_LIVE},
    {change_stop_timeout, "stop-timeout", DISPOSITION_LIVE},
};

static void each_field_is_told_alone_with_its_disposition(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        struct vm_spec *before = a_spec(), *after = a_spec();
        fields[i].change(after);
        struct spec_diff diff = spec_diff(before, after);
        assert_int_equal(diff.count, 1);
        assert_string_equal(diff.changes[0].field, fields[i].field);
        assert_int_equal(diff.changes[0].disposition, fields[i].disposition);
        assert_int_equal(diff.strongest, fields[i].disposition);
        assert_string_not_equal(diff.changes[0].before, diff.changes[0].after);
        spec_diff_clear(&diff);
        vm_spec_free(before);
        vm_spec_free(after);
    }
}

static void equal_specs_do_not_differ(void **state)
{
    (void)state;
    struct vm_spec *spec = a_spec();
    change_forward(spec);
    change_provision(spec);
    struct vm_spec *copy = vm_spec_copy(spec);
    struct spec_diff diff = spec_diff(spec, copy);
    assert_int_equal(diff.count, 0);
    assert_int_equal(diff.strongest, DISPOSITION_LIVE);
    spec_diff_clear(&diff);
    vm_spec_free(spec);
    vm_spec_free(copy);
}

/* A key of the spec's JSON that no field looks at would be a change that is never reported. */
static void whatever_changes_the_digest_is_told(void **state)
{
    (void)state;
    struct vm_spec *before = a_spec(), *after = a_spec();
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        fields[i].change(after);
    }
    cleanup_json json_t *old = vm_spec_to_json(before);
    cleanup_json json_t *new = vm_spec_to_json(after);
    const char *key;
    json_t *value;
    json_object_foreach(new, key, value)
    {
        cleanup_free char *a = json_canonical(json_object_get(old, key));
        cleanup_free char *b = json_canonical(value);
        if (strcmp(key, "name") != 0 && strcmp(a, b) == 0) {
            fail_msg("no change of this test touches '%s'", key);
        }
    }
    vm_spec_free(before);
    vm_spec_free(after);
}

static void values_are_told_in_a_few_words(void **state)
{
    (void)state;
    struct vm_spec *before = a_spec(), *after = a_spec();
    after->memory_mib = 2048;
    change_image(after);
    change_bridge(after);
    struct spec_diff diff = spec_diff(before, after);
    assert_int_equal(diff.count, 3);
    assert_string_equal(diff.changes[0].before, "/images/base.qcow2");
    assert_string_equal(diff.changes[0].after, "/images/new.qcow2");
    assert_string_equal(diff.changes[1].before, "1024");
    assert_string_equal(diff.changes[1].after, "2048");
    assert_string_equal(diff.changes[2].before, "(not set)");
    assert_string_equal(diff.changes[2].after, "br7");
    assert_int_equal(diff.strongest, DISPOSITION_RECREATE);
    spec_diff_clear(&diff);
    assert_int_equal(diff.count, 0);
    vm_spec_free(before);
    vm_spec_free(after);
}

static void a_change_the_words_do_not_show_is_told_nevertheless(void **state)
{
    (void)state;
    struct vm_spec *before = a_spec(), *after = a_spec();
    change_sha256(after);
    struct spec_diff diff = spec_diff(before, after);
    assert_string_equal(diff.changes[0].after, "/images/base.qcow2 (changed)");
    spec_diff_clear(&diff);
    vm_spec_free(before);
    vm_spec_free(after);
}

/* What a change of CPUs and memory needs on an instance that was started with headroom. */
static void cpus_and_memory_are_added_live_as_far_as_there_is_room(void **state)
{
    (void)state;
    static const struct {
        uint32_t vcpus, memory_mib;
        enum disposition disposition;
    } changes[] = {
        {2, 1024, DISPOSITION_LIVE}, {4, 1024, DISPOSITION_LIVE},
        {5, 1024, DISPOSITION_RESTART}, /* more than max-vcpus */
        {1, 1024, DISPOSITION_RESTART}, /* less */
        {2, 1024 + 128, DISPOSITION_LIVE}, {2, 2048, DISPOSITION_LIVE},
        {2, 2048 + 128, DISPOSITION_RESTART}, /* more than max-memory */
        {2, 1024 + 100, DISPOSITION_RESTART}, /* no whole block */
        {2, 1024 - 128, DISPOSITION_RESTART}, {4, 2048, DISPOSITION_LIVE},
        {4, 1000, DISPOSITION_RESTART}, /* one of them */
    };
    struct vm_spec *running = a_spec();
    running->vcpus = 2;
    running->max_vcpus = 4;
    running->max_memory_mib = 2048;
    for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
        struct vm_spec *after = vm_spec_copy(running);
        after->vcpus = changes[i].vcpus;
        after->memory_mib = changes[i].memory_mib;
        struct spec_diff diff = spec_diff(running, after);
        if (diff.strongest != changes[i].disposition) {
            fail_msg("vcpus %u, memory %u: %s", after->vcpus, after->memory_mib,
                disposition_name(diff.strongest));
        }
        spec_diff_clear(&diff);
        vm_spec_free(after);
    }
    vm_spec_free(running);
}

/* The room counts that the instance has, not the one that was asked for since. */
static void what_a_change_needs_is_asked_of_the_running_instance(void **state)
{
    (void)state;
    struct vm_spec *running = a_spec(), *before = a_spec(), *after = a_spec();
    before->max_vcpus = after->max_vcpus = 8;
    after->vcpus = 2;
    struct spec_diff diff = spec_diff_on(before, after, running);
    assert_int_equal(diff.count, 1);
    assert_int_equal(diff.changes[0].disposition, DISPOSITION_RESTART);
    spec_diff_clear(&diff);
    diff = spec_diff(before, after);
    assert_int_equal(diff.changes[0].disposition, DISPOSITION_LIVE);
    spec_diff_clear(&diff);
    vm_spec_free(running);
    vm_spec_free(before);
    vm_spec_free(after);
}

static void expect_further(
    const struct vm_spec *before, const struct vm_spec *after, enum disposition disposition)
{
    struct spec_diff diff = spec_diff(before, after);
    assert_int_equal(diff.count, 1);
    assert_string_equal(diff.changes[0].field, "further network");
    assert_int_equal(diff.changes[0].disposition, disposition);
    spec_diff_clear(&diff);
}

static void the_ways_out_of_a_further_network_change_at_once(void **state)
{
    (void)state;
    struct vm_spec *before = a_spec(), *after = a_spec();
    (void)add_network(before, "shop-1.lan");
    struct spec_network *network = add_network(after, "shop-1.lan");
    network->is_isolated = true;
    expect_further(before, after, DISPOSITION_LIVE);
    set_text(&network->mac, "52:54:00:00:00:09");
    expect_further(before, after, DISPOSITION_RESTART);
    set_text(&network->mac, NULL);
    network->mode = NETWORK_USER; /* the guard has them from the start on */
    before->further_networks[0].mode = NETWORK_USER;
    network->is_isolated = false;
    mem_grow(network->services, network->n_services);
    network->services[network->n_services++].port = 5432;
    expect_further(before, after, DISPOSITION_RESTART);
    vm_spec_free(before);
    vm_spec_free(after);
}

static void a_further_network_is_told_as_the_vmfile_has_it(void **state)
{
    (void)state;
    struct vm_spec *before = a_spec(), *after = a_spec();
    struct spec_network *network = add_network(after, "shop-1.lan");
    network->is_isolated = true;
    network->address = mem_strdup("10.20.30.40");
    network = add_network(after, "shop-1");
    network->egress = mem_calloc(2, sizeof(char *));
    network->egress[network->n_egress++] = mem_strdup("10.0.0.0/8");
    network->egress[network->n_egress++] = mem_strdup("example.org");
    struct spec_diff diff = spec_diff(before, after);
    assert_string_equal(diff.changes[0].before, "(not set)");
    assert_string_equal(diff.changes[0].after,
        "\"project\" name=\"lan\" address=\"10.20.30.40\" { isolate; }, "
        "\"project\" { egress { allow \"10.0.0.0/8\"; allow \"example.org\" } }");
    spec_diff_clear(&diff);
    vm_spec_free(before);
    vm_spec_free(after);
}

static void forwards_of_another_network_wait_for_it(void **state)
{
    (void)state;
    struct vm_spec *before = a_spec(), *after = a_spec();
    before->network.mode = NETWORK_NONE;
    change_forward(after);
    struct spec_diff diff = spec_diff(before, after);
    assert_int_equal(diff.count, 2);
    assert_int_equal(diff.changes[1].disposition, DISPOSITION_RESTART);
    spec_diff_clear(&diff);
    vm_spec_free(before);
    vm_spec_free(after);
}

static void a_number_taken_out_is_not_set(void **state)
{
    (void)state;
    struct vm_spec *before = a_spec(), *after = a_spec();
    before->disk_gib = 3;
    after->disk_gib = 0;
    struct spec_diff diff = spec_diff(before, after);
    assert_int_equal(diff.count, 1);
    assert_string_equal(diff.changes[0].before, "3");
    assert_string_equal(diff.changes[0].after, "(not set)");
    spec_diff_clear(&diff);
    vm_spec_free(before);
    vm_spec_free(after);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_number_taken_out_is_not_set),
        cmocka_unit_test(each_field_is_told_alone_with_its_disposition),
        cmocka_unit_test(equal_specs_do_not_differ),
        cmocka_unit_test(whatever_changes_the_digest_is_told),
        cmocka_unit_test(values_are_told_in_a_few_words),
        cmocka_unit_test(a_change_the_words_do_not_show_is_told_nevertheless),
        cmocka_unit_test(cpus_and_memory_are_added_live_as_far_as_there_is_room),
        cmocka_unit_test(what_a_change_needs_is_asked_of_the_running_instance),
        cmocka_unit_test(the_ways_out_of_a_further_network_change_at_once),
        cmocka_unit_test(a_further_network_is_told_as_the_vmfile_has_it),
        cmocka_unit_test(forwards_of_another_network_wait_for_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
