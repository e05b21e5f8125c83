/* SPDX-License-Identifier: MPL-2.0 */
/*
 * QEMU's command line, word by word, against the files in golden/: one word a line. After a wanted
 * change run with VMCTL_UPDATE_GOLDEN=1 and review the difference.
 */
#include "reconcilers/backend/qemu/argv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "reconcilers/backend/instance_id.h"
#include "reconcilers/backend/qemu/firmware.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/vm/vm_spec.h"

static char *golden_path(const char *name)
{
    return mem_printf(VMCTL_SOURCE_DIR "/tests/unit/reconcilers/backend/qemu/golden/%s.args", name);
}

static void expect_golden(const char *name, const struct qemu_config *config)
{
    cleanup_buf struct buf words = BUF_INIT(0);
    char **argv = qemu_argv(config);
    for (char **word = argv; *word; word++) {
        buf_printf(&words, "%s\n", *word);
    }
    qemu_argv_free(argv);
    cleanup_free char *path = golden_path(name);
    struct error err = {0};
    if (getenv("VMCTL_UPDATE_GOLDEN")) {
        assert_int_equal(fs_write_file(path, words.data, words.len, 0644, &err), 0);
    }
    cleanup_buf struct buf golden = BUF_INIT(0);
    if (fs_read_file(path, &golden, &err) < 0) {
        fail_msg("%s", err.message);
    }
    assert_string_equal(buf_str(&words), buf_str(&golden));
}

static int set_up(void **state)
{
    struct qemu_config *config = mem_new(struct qemu_config);
    *config = (struct qemu_config){.spec = vm_spec_new("web"),
        .binary = "/usr/bin/qemu-system-x86_64",
        .uuid = "01234567-89ab-cdef-0123-456789abcdef",
        .machine = "q35",
        .accel = "tcg",
        .macs = {"52:54:00:12:34:56"},
        .overlay = "/data/vms/web/overlay.qcow2",
        .console_log = "/data/vms/web/console.log",
        .pidfile = "/data/vms/web/pidfile"};
    *state = config;
    return 0;
}

static int tear_down(void **state)
{
    struct qemu_config *config = *state;
    vm_spec_free((struct vm_spec *)(uintptr_t)config->spec);
    free(config);
    return 0;
}

static struct vm_spec *spec_of(struct qemu_config *config)
{
    return (struct vm_spec *)(uintptr_t)config->spec;
}

static void the_defaults_are_one_cpu_user_network_and_no_seed(void **state)
{
    expect_golden("defaults", *state);
}

/* Where no other device is or comes to be, whatever else the machine has. */
static void a_channel_to_the_agent_moves_no_other_device(void **state)
{
    struct qemu_config *config = *state;
    config->has_agent = true;
    expect_golden("agent", config);
}

/* On root ports of their own, behind those that are free; the ninth port is in another slot. */
static void volumes_have_a_port_and_a_serial_number_each(void **state)
{
    static const char *const names[] = {"data", "b.2", "c", "d", "e", "f-g"};
    struct qemu_config *config = *state;
    char data_dir[] = "/data,1";
    const struct paths paths = {.data_dir = data_dir};
    struct vm_spec *spec = spec_of(config);
    config->paths = &paths;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        mem_grow(spec->volumes, spec->n_volumes);
        spec->volumes[spec->n_volumes++] = (struct spec_volume){.name = mem_strdup(names[i])};
    }
    expect_golden("volumes", config);
}

/* At addresses of their own; its memory is one that their servers can map. */
static void shares_have_a_device_each_of_either_kind(void **state)
{
    static const struct spec_share shares[] = {
        {(char *)"/home/me/a,b", (char *)"/work", (char *)"work", false},
        {(char *)"/srv", (char *)"/srv/www", (char *)"srv-www", true},
    };
    struct qemu_config *config = *state;
    struct vm_spec *spec = spec_of(config);
    for (size_t i = 0; i < ARRAY_LEN(shares); i++) {
        mem_grow(spec->shares, spec->n_shares);
        spec->shares[spec->n_shares++] = (struct spec_share){mem_strdup(shares[i].host),
            mem_strdup(shares[i].guest), mem_strdup(shares[i].tag), shares[i].is_readonly};
    }
    config->has_virtiofs = true;
    expect_golden("shares", config);
    config->has_virtiofs = false;
    expect_golden("shares-9p", config);
}

/* The two differ in nothing that the guest can see: what the one is frozen to, the other takes. */
static void memory_in_a_file_comes_with_a_second_serial_port(void **state)
{
    struct qemu_config *config = *state;
    config->memory = "/data/vms/web/memory";
    expect_golden("frozen", config);
    config->is_woken = true;
    expect_golden("woken", config);
}

static void further_disks_come_last_and_move_no_other_device(void **state)
{
    struct qemu_config *config = *state;
    char data_dir[] = "/data";
    const struct paths paths = {.data_dir = data_dir};
    struct vm_spec *spec = spec_of(config);
    config->paths = &paths;
    mem_grow(spec->disks, spec->n_disks);
    spec->disks[spec->n_disks++] = (struct spec_disk){.name = mem_strdup("scratch"), .size_gib = 5};
    mem_grow(spec->disks, spec->n_disks);
    spec->disks[spec->n_disks++] =
        (struct spec_disk){.name = mem_strdup("iso"), .file = mem_strdup("/srv/a,b.iso")};
    expect_golden("further-disks", config);
}

static void kvm_gives_the_guest_the_hosts_cpu(void **state)
{
    struct qemu_config *config = *state;
    config->accel = "kvm";
    expect_golden("kvm", config);
}

/* Its buffer is one of those that the limit counts; KVM has none. */
static void tcg_translates_less_where_its_memory_is_limited(void **state)
{
    struct qemu_config *config = *state;
    spec_of(config)->memory_limit_mib = 1296;
    spec_of(config)->cpu_limit_milli = 1500;
    expect_golden("memory-limit", config);
    config->accel = "kvm";
    expect_golden("kvm", config);
}

static void cpus_and_memory_are_the_specs(void **state)
{
    struct qemu_config *config = *state;
    spec_of(config)->vcpus = 6;
    spec_of(config)->memory_mib = 12288;
    expect_golden("cpus-and-memory", config);
}

static void room_for_more_is_a_maximum_of_each(void **state)
{
    struct qemu_config *config = *state;
    spec_of(config)->max_vcpus = 8;
    spec_of(config)->max_memory_mib = 1024 + 3 * 128;
    expect_golden("headroom", config);
}

static void a_maximum_that_is_reached_already_is_no_room(void **state)
{
    struct qemu_config *config = *state;
    spec_of(config)->max_vcpus = 1;
    spec_of(config)->max_memory_mib = 1024;
    expect_golden("defaults", config);
}

static void a_seed_is_a_scsi_cdrom_by_default(void **state)
{
    struct qemu_config *config = *state;
    config->seed = "/data/vms/web/seed.iso";
    expect_golden("seed-scsi", config);
}

static void a_seed_may_be_a_virtio_disk(void **state)
{
    struct qemu_config *config = *state;
    config->seed = "/data/vms/web/seed.iso";
    spec_of(config)->cloud_init.bus = SEED_VIRTIO;
    expect_golden("seed-virtio", config);
}

static void a_seed_may_be_an_ide_cdrom(void **state)
{
    struct qemu_config *config = *state;
    config->seed = "/data/vms/web/seed.iso";
    spec_of(config)->cloud_init.bus = SEED_IDE;
    expect_golden("seed-ide", config);
}

static void a_tap_network_uses_the_inherited_descriptor(void **state)
{
    struct qemu_config *config = *state;
    spec_of(config)->network.mode = NETWORK_TAP;
    expect_golden("tap", config);
}

static void a_project_network_is_reached_by_datagrams(void **state)
{
    struct qemu_config *config = *state;
    spec_of(config)->network.mode = NETWORK_PROJECT;
    expect_golden("project", config);
}

static void further_networks_come_last_in_a_slot_of_their_own(void **state)
{
    struct qemu_config *config = *state;
    struct vm_spec *spec = spec_of(config);
    static const enum network_mode modes[] = {NETWORK_PROJECT, NETWORK_TAP};
    for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
        mem_grow(spec->further_networks, spec->n_further_networks);
        spec->further_networks[spec->n_further_networks++] =
            (struct spec_network){.mode = modes[i]};
    }
    config->macs[1] = "52:54:00:12:34:57";
    expect_golden("networks", config);
}

static void no_network_means_no_card(void **state)
{
    struct qemu_config *config = *state;
    spec_of(config)->network.mode = NETWORK_NONE;
    expect_golden("no-network", config);
}

static void without_a_mac_qemu_chooses_one(void **state)
{
    struct qemu_config *config = *state;
    config->macs[0] = NULL;
    expect_golden("no-mac", config);
}

static void uefi_firmware_is_two_flash_devices(void **state)
{
    struct qemu_config *config = *state;
    struct firmware_build build = {.code = (char *)"/usr/share/OVMF/OVMF_CODE_4M.fd",
        .code_format = (char *)"raw",
        .vars_format = (char *)"raw"};
    config->firmware = &build;
    config->firmware_vars = "/data/vms/web/uefi_vars.fd";
    expect_golden("uefi", config);
    build.needs_smm = true;
    build.vars_format = (char *)"qcow2";
    expect_golden("uefi-secure", config);
}

/* The parts that only this machine has; where the others are stays. */
static void an_arm_guest_has_a_machine_of_its_own(void **state)
{
    struct qemu_config *config = *state;
    struct firmware_build build = {.code = (char *)"/usr/share/AAVMF/AAVMF_CODE.fd",
        .code_format = (char *)"raw",
        .vars_format = (char *)"raw"};
    spec_of(config)->image.arch = ARCH_AARCH64;
    spec_of(config)->has_tpm = true;
    config->binary = "/usr/bin/qemu-system-aarch64";
    config->machine = qemu_newest_machine(config->spec);
    config->firmware = &build;
    config->firmware_vars = "/data/vms/web/uefi_vars.fd";
    expect_golden("arm", config);
}

/* U-Boot has no variables, and is loaded as a kernel is. */
static void a_riscv_guest_is_booted_by_u_boot(void **state)
{
    struct qemu_config *config = *state;
    struct firmware_build build = {.code = (char *)"/usr/lib/u-boot/qemu-riscv64_smode/uboot.elf"};
    spec_of(config)->image.arch = ARCH_RISCV64;
    config->binary = "/usr/bin/qemu-system-riscv64";
    config->machine = qemu_newest_machine(config->spec);
    config->firmware = &build;
    config->firmware_vars = "/data/vms/web/uefi_vars.fd";
    expect_golden("riscv", config);
}

static void a_tpm_comes_last_and_moves_no_other_device(void **state)
{
    struct qemu_config *config = *state;
    spec_of(config)->has_tpm = true;
    expect_golden("tpm", config);
}

static void a_screen_with_a_port_has_a_password_and_still_a_socket(void **state)
{
    struct qemu_config *config = *state;
    spec_of(config)->vnc = (struct spec_vnc){5901, mem_strdup("/home/me/password")};
    expect_golden("vnc-port", config);
}

static void roots_qemu_becomes_another_user_of_an_old_machine(void **state)
{
    struct qemu_config *config = *state;
    struct spec_network *network = &spec_of(config)->network;
    network->forwards = mem_calloc(2, sizeof(*network->forwards));
    network->n_forwards = 2;
    network->forwards[0] = (struct spec_forward){FORWARD_UDP, 53, 5353, ""};
    network->forwards[1] = (struct spec_forward){FORWARD_TCP, 1024, 80, ""};
    config->run_as = "991:990";
    config->early_ports_end = 1024;
    config->machine = "pc-q35-6.2";
    expect_golden("run-as", config);
}

static void commas_in_paths_are_doubled(void **state)
{
    struct qemu_config *config = *state;
    config->overlay = "/a,b/c=d/overlay.qcow2";
    config->seed = "/a,b/c=d/seed.iso";
    config->console_log = "/a,b/c=d/console.log";
    config->pidfile = "/a,b/c=d/pidfile";
    expect_golden("commas", config);
}

static void an_instance_id_becomes_a_uuid(void **state)
{
    (void)state;
    char uuid[IID_UUID_SIZE];
    assert_true(instance_id_to_uuid("0123456789abcdef0123456789abcdef", uuid));
    assert_string_equal(uuid, "01234567-89ab-cdef-0123-456789abcdef");
}

static void what_is_not_an_instance_id_is_refused(void **state)
{
    (void)state;
    char uuid[IID_UUID_SIZE] = "untouched";
    assert_false(instance_id_to_uuid("", uuid));
    assert_false(instance_id_to_uuid("0123456789abcdef0123456789abcde", uuid));
    assert_false(instance_id_to_uuid("0123456789abcdef0123456789abcdef0", uuid));
    assert_false(instance_id_to_uuid("0123456789abcdef0123456789abcde,", uuid));
    assert_string_equal(uuid, "untouched");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_defaults_are_one_cpu_user_network_and_no_seed),
        TEST(a_channel_to_the_agent_moves_no_other_device),
        TEST(volumes_have_a_port_and_a_serial_number_each),
        TEST(shares_have_a_device_each_of_either_kind),
        TEST(memory_in_a_file_comes_with_a_second_serial_port),
        TEST(further_disks_come_last_and_move_no_other_device),
        TEST(kvm_gives_the_guest_the_hosts_cpu),
        TEST(tcg_translates_less_where_its_memory_is_limited),
        TEST(cpus_and_memory_are_the_specs),
        TEST(room_for_more_is_a_maximum_of_each),
        TEST(a_maximum_that_is_reached_already_is_no_room),
        TEST(a_seed_is_a_scsi_cdrom_by_default),
        TEST(a_seed_may_be_a_virtio_disk),
        TEST(a_seed_may_be_an_ide_cdrom),
        TEST(a_tap_network_uses_the_inherited_descriptor),
        TEST(a_project_network_is_reached_by_datagrams),
        TEST(further_networks_come_last_in_a_slot_of_their_own),
        TEST(no_network_means_no_card),
        TEST(without_a_mac_qemu_chooses_one),
        TEST(uefi_firmware_is_two_flash_devices),
        TEST(a_tpm_comes_last_and_moves_no_other_device),
        TEST(an_arm_guest_has_a_machine_of_its_own),
        TEST(a_riscv_guest_is_booted_by_u_boot),
        TEST(a_screen_with_a_port_has_a_password_and_still_a_socket),
        TEST(roots_qemu_becomes_another_user_of_an_old_machine),
        TEST(commas_in_paths_are_doubled),
        cmocka_unit_test(an_instance_id_becomes_a_uuid),
        cmocka_unit_test(what_is_not_an_instance_id_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
