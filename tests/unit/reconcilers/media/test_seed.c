/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/media/seed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <archive.h>
#include <archive_entry.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "reconcilers/media/user_data.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/vm/vm_spec.h"
#include "specs/vm/vm_status.h"
#include "tests/support/media_host.h"

enum { VOLUME_ID_AT = 16 * 2048 + 40 }; /* ECMA-119, 8.4.7 */

struct fixture {
    struct media_host m;
    struct vm_spec *spec;
    char *dir;
};

static int setup(void **state)
{
    struct fixture *f = mem_new(struct fixture);
    struct error err = {0};
    media_host_setup(&f->m);
    f->spec = vm_spec_new("web");
    f->spec->cloud_init.is_set = true;
    f->dir = paths_vm(&f->m.paths, "web", VM_DIR);
    assert_int_equal(fs_make_dirs(f->dir, 0700, &err), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    vm_spec_free(f->spec);
    free(f->dir);
    media_host_teardown(&f->m);
    free(f);
    return 0;
}

static void make_keys(struct fixture *f, enum vm_file private_file, enum vm_file public_file)
{
    cleanup_free char *private_path = paths_vm(&f->m.paths, "web", private_file);
    cleanup_free char *public_path = paths_vm(&f->m.paths, "web", public_file);
    struct key_pair pair = {
        .private_path = private_path, .public_path = public_path, .comment = "vmctl-web"};
    (void)keys_make(&f->m.host, &pair, 1, media_host_done, &f->m);
    assert_int_equal(media_host_wait(&f->m, 1), ERR_NONE);
}

static enum error_code make(struct fixture *f)
{
    (void)seed_make(
        &f->m.host, f->spec, "0123456789abcdef", false, VM_SEED, media_host_done, &f->m);
    return media_host_wait(&f->m, 1);
}

static char *vm_text(struct fixture *f, enum vm_file file)
{
    cleanup_free char *path = paths_vm(&f->m.paths, "web", file);
    struct buf text = BUF_INIT(0);
    struct error err = {0};
    assert_int_equal(fs_read_file(path, &text, &err), 0);
    return buf_steal(&text);
}

/* Appends what the seed holds under `name`. */
static void read_seed(struct fixture *f, const char *name, struct buf *out)
{
    cleanup_free char *path = paths_vm(&f->m.paths, "web", VM_SEED);
    struct archive *archive = archive_read_new();
    struct archive_entry *entry;
    archive_read_support_format_iso9660(archive);
    assert_int_equal(archive_read_open_filename(archive, path, 10240), ARCHIVE_OK);
    bool is_found = false;
    while (archive_read_next_header(archive, &entry) == ARCHIVE_OK) {
        char chunk[4096];
        la_ssize_t n;
        if (strcmp(archive_entry_pathname(entry), name) == 0) {
            is_found = true;
            while ((n = archive_read_data(archive, chunk, sizeof(chunk))) > 0) {
                buf_add(out, chunk, (size_t)n);
            }
        }
    }
    archive_read_free(archive);
    assert_true(is_found);
}

/* The default route by the first card, names by the first network of the project. */
static void the_cards_of_several_networks_are_named_by_their_mac(void **state)
{
    struct fixture *f = *state;
    cleanup_buf struct buf text = BUF_INIT(0);
    struct vm_status *status = vm_status_new("0123");
    make_keys(f, VM_KEY, VM_KEY_PUBLIC);
    make_keys(f, VM_HOST_KEY, VM_HOST_KEY_PUBLIC);
    mem_grow(f->spec->further_networks, f->spec->n_further_networks);
    f->spec->further_networks[f->spec->n_further_networks++] =
        (struct spec_network){.mode = NETWORK_PROJECT, .mac = mem_strdup("52:54:00:00:00:0b")};
    status->mac = mem_strdup("52:54:00:00:00:0a");
    seed_name_cards(f->spec, status);
    assert_int_equal(make(f), ERR_NONE);
    read_seed(f, "network-config", &text);
    assert_string_equal(buf_str(&text),
        "version: 2\n"
        "ethernets:\n"
        "  eth0:\n"
        "    match: {macaddress: \"52:54:00:00:00:0a\"}\n"
        "    set-name: eth0\n"
        "    dhcp4: true\n"
        "    dhcp4-overrides: {use-dns: false, use-domains: false}\n"
        "  eth1:\n"
        "    match: {macaddress: \"52:54:00:00:00:0b\"}\n"
        "    set-name: eth1\n"
        "    dhcp4: true\n"
        "    accept-ra: false\n"
        "    optional: true\n"
        "    dhcp4-overrides: {use-routes: false, use-dns: true, use-domains: true}\n");
    vm_status_free(status);
}

/* Its image sets it up, as ever. */
static void a_vm_on_one_network_is_given_no_configuration_of_it(void **state)
{
    struct fixture *f = *state;
    cleanup_buf struct buf text = BUF_INIT(0);
    struct vm_status *status = vm_status_new("0123");
    status->mac = mem_strdup("52:54:00:00:00:0a");
    seed_name_cards(f->spec, status);
    assert_null(f->spec->network.mac);
    network_config_write(f->spec, &text);
    assert_int_equal(text.len, 0);
    vm_status_free(status);
}

static void the_volume_is_what_cloud_init_looks_for(void **state)
{
    struct fixture *f = *state;
    cleanup_buf struct buf iso = BUF_INIT(0), meta = BUF_INIT(0);
    struct error err = {0};
    struct stat st;
    make_keys(f, VM_KEY, VM_KEY_PUBLIC);
    make_keys(f, VM_HOST_KEY, VM_HOST_KEY_PUBLIC);
    assert_int_equal(make(f), ERR_NONE);
    cleanup_free char *path = paths_vm(&f->m.paths, "web", VM_SEED);
    assert_int_equal(fs_read_file(path, &iso, &err), 0);
    assert_memory_equal(iso.data + VOLUME_ID_AT, "CIDATA    ", 10);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    read_seed(f, "meta-data", &meta);
    assert_string_equal(
        buf_str(&meta), "instance-id: \"0123456789abcdef\"\nlocal-hostname: \"web\"\n");
}

/* The text, each line indented by four blanks, as it stands in the block scalar. */
static char *indented(const char *text)
{
    struct buf out = BUF_INIT(0);
    while (*text) {
        size_t n = strcspn(text, "\n");
        buf_printf(&out, "    %.*s\n", (int)n, text);
        text += n + 1;
    }
    return buf_steal(&out);
}

static void the_guest_gets_our_key_and_the_identity_we_expect(void **state)
{
    struct fixture *f = *state;
    cleanup_buf struct buf user_data = BUF_INIT(0);
    make_keys(f, VM_KEY, VM_KEY_PUBLIC);
    make_keys(f, VM_HOST_KEY, VM_HOST_KEY_PUBLIC);
    assert_int_equal(make(f), ERR_NONE);
    read_seed(f, "user-data", &user_data);
    cleanup_free char *public_key = vm_text(f, VM_KEY_PUBLIC);
    cleanup_free char *host_key = vm_text(f, VM_HOST_KEY);
    cleanup_free char *host_public = vm_text(f, VM_HOST_KEY_PUBLIC);
    cleanup_free char *block = indented(host_key);
    public_key[strcspn(public_key, "\n")] = '\0';
    assert_non_null(strstr(buf_str(&user_data), public_key));
    assert_non_null(strstr(buf_str(&user_data), block));
    host_public[strcspn(host_public, "\n")] = '\0';
    assert_non_null(strstr(buf_str(&user_data), host_public));
    cleanup_free char *known_hosts = vm_text(f, VM_KNOWN_HOSTS);
    cleanup_free char *expected =
        mem_printf("vmctl-web %.*s\n", (int)(strrchr(host_public, ' ') - host_public), host_public);
    assert_string_equal(known_hosts, expected);
}

/* cloud-init reads it below our user-data, so that our user and our keys stay. */
static void vendor_data_and_network_config_stand_beside_our_user_data(void **state)
{
    static const char vendor[] = "#cloud-config\npackages: [nginx]\n", config[] = "version: 2\n";
    static const char list[] = "- version: 2\n";
    struct fixture *f = *state;
    struct spec_cloud_init *cloud_init = &f->spec->cloud_init;
    cleanup_buf struct buf text = BUF_INIT(0);
    make_keys(f, VM_KEY, VM_KEY_PUBLIC);
    make_keys(f, VM_HOST_KEY, VM_HOST_KEY_PUBLIC);
    cloud_init->vendor_data.path = media_host_file(&f->m, "vendor", vendor, sizeof(vendor) - 1);
    cloud_init->network_config.path = media_host_file(&f->m, "net", config, sizeof(config) - 1);
    assert_true(vm_spec_has_our_seed(f->spec));
    assert_int_equal(make(f), ERR_NONE);
    read_seed(f, "user-data", &text);
    assert_non_null(strstr(buf_str(&text), "ssh_authorized_keys"));
    buf_reset(&text);
    read_seed(f, "vendor-data", &text);
    assert_string_equal(buf_str(&text), vendor);
    buf_reset(&text);
    read_seed(f, "network-config", &text);
    assert_string_equal(buf_str(&text), config);
    free(TAKE_PTR(cloud_init->network_config.path));
    cloud_init->network_config.path = media_host_file(&f->m, "net", list, sizeof(list) - 1);
    assert_int_equal(make(f), ERR_SEED);
    assert_non_null(strstr(f->m.error.message, "network-config '"));
}

/* It was valid when the VMFile was applied, and edited before the disk was made. */
static void user_data_that_cloud_init_would_ignore_makes_no_seed(void **state)
{
    static const char text[] = "users: [default]\n";
    struct fixture *f = *state;
    f->spec->cloud_init.user_data.path =
        media_host_file(&f->m, "user-data", text, sizeof(text) - 1);
    assert_int_equal(make(f), ERR_SEED);
    assert_non_null(strstr(f->m.error.message, "line 1 must say what it is"));
}

static void users_own_user_data_is_not_touched(void **state)
{
    static const char text[] = "#!/bin/sh\necho \"as it is\"\r\n\xff\0end";
    struct fixture *f = *state;
    cleanup_buf struct buf user_data = BUF_INIT(0);
    f->spec->cloud_init.user_data.path =
        media_host_file(&f->m, "user-data", text, sizeof(text) - 1);
    assert_false(vm_spec_has_our_seed(f->spec));
    assert_int_equal(make(f), ERR_NONE);
    read_seed(f, "user-data", &user_data);
    assert_int_equal(user_data.len, sizeof(text) - 1);
    assert_memory_equal(user_data.data, text, sizeof(text) - 1);
    cleanup_free char *known_hosts = paths_vm(&f->m.paths, "web", VM_KNOWN_HOSTS);
    assert_false(fs_exists(known_hosts));
}

/* tests/e2e/cloud_init.bats has the real cloud-init read it. */
static void joined_user_data_has_theirs_and_ours(void **state)
{
    static const char text[] = "#!/bin/sh\ntrue\n", encoded[] = "\n\nIyEvYmluL3NoCnRydWUK\n";
    struct fixture *f = *state;
    cleanup_buf struct buf user_data = BUF_INIT(0);
    make_keys(f, VM_KEY, VM_KEY_PUBLIC);
    make_keys(f, VM_HOST_KEY, VM_HOST_KEY_PUBLIC);
    f->spec->cloud_init.user_data.path =
        media_host_file(&f->m, "user-data", text, sizeof(text) - 1);
    f->spec->cloud_init.is_joined = true;
    assert_true(vm_spec_has_our_seed(f->spec));
    assert_int_equal(make(f), ERR_NONE);
    read_seed(f, "user-data", &user_data);
    assert_non_null(strstr(buf_str(&user_data), encoded));
    assert_non_null(strstr(buf_str(&user_data), "\nMerge-Type: "));
    cleanup_free char *known_hosts = paths_vm(&f->m.paths, "web", VM_KNOWN_HOSTS);
    assert_true(fs_exists(known_hosts));
    free(TAKE_PTR(f->spec->cloud_init.user_data.path));
    f->spec->cloud_init.user_data.path = mem_strdup("/nowhere/user-data");
    assert_int_equal(make(f), ERR_SEED);
}

static void the_users_public_keys_are_used_besides_ours(void **state)
{
    static const char keys[] =
        "# mine\n"
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEFFRkZHR0hISUlKSktLTExNTU5OT09QUFFR me\n"
        "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQDFFRkZHR0hISUlKSktLTExNTU5OT09QUFF\n";
    struct fixture *f = *state;
    cleanup_buf struct buf user_data = BUF_INIT(0);
    f->spec->cloud_init.ssh_key.path = media_host_file(&f->m, "id.pub", keys, strlen(keys));
    f->spec->cloud_init.hostname = mem_strdup("www");
    assert_true(vm_spec_has_our_seed(f->spec));
    make_keys(f, VM_KEY, VM_KEY_PUBLIC);
    make_keys(f, VM_HOST_KEY, VM_HOST_KEY_PUBLIC);
    assert_int_equal(make(f), ERR_NONE);
    read_seed(f, "user-data", &user_data);
    assert_non_null(strstr(buf_str(&user_data), "      - \"ssh-ed25519 AAAAC3"));
    assert_non_null(strstr(buf_str(&user_data), "      - \"ssh-rsa AAAAB3"));
    cleanup_free char *ours = vm_text(f, VM_KEY_PUBLIC);
    ours[strcspn(ours, "\n")] = '\0';
    cleanup_free char *line = mem_printf("      - \"%s\"\n", ours);
    assert_non_null(strstr(buf_str(&user_data), line));
    assert_non_null(strstr(buf_str(&user_data), "hostname: \"www\"\n"));
}

static enum error_code make_with_key_file(struct fixture *f, const char *text)
{
    free(f->spec->cloud_init.ssh_key.path);
    f->spec->cloud_init.ssh_key.path = media_host_file(&f->m, "id.pub", text, strlen(text));
    return make(f);
}

static void a_private_key_in_place_of_the_public_one_is_told(void **state)
{
    struct fixture *f = *state;
    make_keys(f, VM_HOST_KEY, VM_HOST_KEY_PUBLIC);
    assert_int_equal(
        make_with_key_file(f, "-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n"), ERR_KEY_UNREADABLE);
    assert_non_null(strstr(f->m.error.message, "is a private key"));
    assert_non_null(strstr(error_help_text(&f->m.error), "id.pub.pub"));
    assert_int_equal(make_with_key_file(f, "hello\n"), ERR_KEY_UNREADABLE);
    assert_int_equal(make_with_key_file(f, "# nothing\n"), ERR_KEY_UNREADABLE);
    cleanup_free char *seed = paths_vm(&f->m.paths, "web", VM_SEED);
    assert_false(fs_exists(seed));
}

static void missing_files_are_told(void **state)
{
    struct fixture *f = *state;
    make_keys(f, VM_HOST_KEY, VM_HOST_KEY_PUBLIC);
    f->spec->cloud_init.ssh_key.path = mem_strdup("/nowhere/id.pub");
    assert_int_equal(make(f), ERR_KEY_UNREADABLE);
    assert_non_null(strstr(f->m.error.message, "/nowhere/id.pub"));
    f->spec->cloud_init.user_data.path = mem_strdup("/nowhere/user-data");
    assert_int_equal(make(f), ERR_SEED);
    assert_non_null(strstr(f->m.error.message, "/nowhere/user-data"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(the_cards_of_several_networks_are_named_by_their_mac),
        TEST(a_vm_on_one_network_is_given_no_configuration_of_it),
        TEST(the_volume_is_what_cloud_init_looks_for),
        TEST(the_guest_gets_our_key_and_the_identity_we_expect),
        TEST(vendor_data_and_network_config_stand_beside_our_user_data),
        TEST(user_data_that_cloud_init_would_ignore_makes_no_seed),
        TEST(users_own_user_data_is_not_touched),
        TEST(joined_user_data_has_theirs_and_ours),
        TEST(the_users_public_keys_are_used_besides_ours),
        TEST(a_private_key_in_place_of_the_public_one_is_told),
        TEST(missing_files_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
