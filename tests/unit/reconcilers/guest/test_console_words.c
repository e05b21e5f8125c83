/* SPDX-License-Identifier: MPL-2.0 */
/* Lines as Debian 12's cloud-init prints them on ttyS0. */
#include "reconcilers/guest/console_words.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/mem.h"

#define BOOT                                                                                       \
    "[    0.000000] Linux version 6.1.0-56-cloud-amd64 (debian-kernel@lists.debian.org)\r\n"
#define FAILURE                                                                                    \
    "[   21.3] cloud-init[301]: 2026-11-28 21:40:11,123 - util.py[WARNING]: Failed to create "     \
    "user "                                                                                        \
    "debian\r\n"
#define CONSEQUENCE                                                                                \
    "[   21.4] cloud-init[301]: 2026-11-28 21:40:11,200 - util.py[WARNING]: Running module "       \
    "users-groups failed\r\n"
#define KEYS                                                                                       \
    "ci-info: ++++++Authorized keys from /home/ubuntu/.ssh/authorized_keys for user "              \
    "ubuntu++++++\r\n"
#define NO_KEYS "ci-info: no authorized SSH keys fingerprints found for user debian.\r\n"
#define THROUGH                                                                                    \
    "[   30.0] cloud-init[402]: Cloud-init v. 22.4.2 finished at Sat, 28 Nov 2026 21:40:20 "       \
    "+0000. "                                                                                      \
    "Datasource DataSourceNoCloud [seed=/dev/sr0].  Up 30.00 seconds\r\n"

#define SEEDLESS                                                                                   \
    "[   30.0] cloud-init[402]: Cloud-init v. 22.4.2 finished at Sat, 28 Nov 2026 21:40:20 "       \
    "+0000. Datasource DataSourceNone.  Up 30.00 seconds\r\n"

static struct console_words words_of(const char *text)
{
    struct console_words words;
    console_words_find(text, strlen(text), &words);
    return words;
}

static void the_first_complaint_is_the_cause(void **state)
{
    (void)state;
    struct console_words words = words_of(BOOT FAILURE CONSEQUENCE);
    assert_string_equal(words.complaint, "Failed to create user debian");
    assert_false(words.is_through);
}

static void those_with_keys_are_named(void **state)
{
    (void)state;
    struct console_words words = words_of(BOOT KEYS KEYS NO_KEYS THROUGH);
    assert_string_equal(words.users, "'ubuntu', 'ubuntu'");
    assert_true(words.is_through);
    assert_string_equal(words.complaint, "");
}

static void the_boot_before_says_nothing(void **state)
{
    (void)state;
    struct console_words words =
        words_of(BOOT FAILURE KEYS THROUGH BOOT "[    1.0] systemd[1]\r\n");
    assert_string_equal(words.complaint, "");
    assert_string_equal(words.users, "");
    assert_false(words.is_through);
}

static void a_quiet_kernel_separates_boots_by_its_farewell(void **state)
{
    static const char *const between[] = {
        "[  401.73] reboot: Power down\r\n",
        "[  401.73] reboot: Restarting system\r\n",
        "[  401.73] reboot: System halted\r\n",
        "[   12.3] cloud-init[244]: Cloud-init v. 22.4.2 running 'init-local' at Sun, 29 Nov\r\n",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(between); i++) {
        cleanup_free char *text =
            mem_printf("%s%sSYSLINUX 6.04\r\n", BOOT FAILURE KEYS THROUGH, between[i]);
        struct console_words words = words_of(text);
        assert_string_equal(words.complaint, "");
        assert_string_equal(words.users, "");
        assert_false(words.is_through);
    }
}

static void nothing_and_half_a_line_are_read_too(void **state)
{
    (void)state;
    assert_false(words_of("").is_through);
    assert_true(words_of("Cloud-init v. 25.1 finished").is_through);
    assert_string_equal(words_of("ci-info: Authorized keys from /x for user ").users, "''");
}

static void a_long_complaint_and_many_users_are_cut(void **state)
{
    (void)state;
    cleanup_buf struct buf text = BUF_INIT(0);
    buf_add_str(&text, "a.py[ERROR]: ");
    for (int i = 0; i < 500; i++) {
        buf_add_str(&text, "long ");
    }
    buf_add_char(&text, '\n');
    for (int i = 0; i < 100; i++) {
        buf_add_str(&text, KEYS);
    }
    struct console_words words = words_of(buf_str(&text));
    assert_int_equal(strlen(words.complaint), sizeof(words.complaint) - 1);
    assert_int_equal(strlen(words.users), sizeof(words.users) - 1);
}

static void a_refusal_is_explained_as_far_as_it_can_be(void **state)
{
    (void)state;
    static const struct {
        const char *text, *user, *seed, *why;
    } rows[] = {
        {BOOT THROUGH, "debian", "ide", ""},
        {BOOT KEYS, "ubuntu", NULL, ""},
        {BOOT KEYS, "debian", "scsi", "; cloud-init set up keys for 'ubuntu' and not for 'debian'"},
        {BOOT KEYS, "ubunt", "scsi", "; cloud-init set up keys for 'ubuntu' and not for 'ubunt'"},
        {BOOT FAILURE, "debian", "scsi", "; cloud-init reported: Failed to create user debian"},
        {BOOT SEEDLESS, "debian", NULL,
            "; cloud-init found no seed, and the VMFile has no `cloud-init` block"},
        {BOOT SEEDLESS, "debian", "scsi", "; cloud-init did not find its seed on scsi"},
        {BOOT SEEDLESS, "debian", "ide",
            "; cloud-init did not find its seed on ide: more kernels have a driver for "
            "`seed \"scsi\"`"},
        {BOOT SEEDLESS BOOT THROUGH, "debian", "virtio", ""},
        {BOOT, "debian", "ide",
            "; its cloud-init printed nothing, and may not have found its seed on ide: more "
            "kernels have a driver for `seed \"scsi\"`"},
        {BOOT, "debian", "scsi", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        cleanup_buf struct buf out = BUF_INIT(0);
        struct console_words words = words_of(rows[i].text);
        console_words_explain(&words, rows[i].user, rows[i].seed, &out);
        assert_string_equal(buf_str(&out), rows[i].why);
    }
}

static void a_file_that_is_not_there_says_nothing(void **state)
{
    (void)state;
    struct console_words words = {.is_through = true};
    console_words_read("/nowhere/console.log", &words);
    assert_false(words.is_through);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_complaint_is_the_cause),
        cmocka_unit_test(those_with_keys_are_named),
        cmocka_unit_test(the_boot_before_says_nothing),
        cmocka_unit_test(a_quiet_kernel_separates_boots_by_its_farewell),
        cmocka_unit_test(nothing_and_half_a_line_are_read_too),
        cmocka_unit_test(a_long_complaint_and_many_users_are_cut),
        cmocka_unit_test(a_refusal_is_explained_as_far_as_it_can_be),
        cmocka_unit_test(a_file_that_is_not_there_says_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
