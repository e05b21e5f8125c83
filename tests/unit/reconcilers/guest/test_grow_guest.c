/* SPDX-License-Identifier: MPL-2.0 */
/* grow_guest.sh, by a real shell: the guest's /sys and /proc are directories of the test, and so
 * are its programs, whose words are kept in the file "calls". */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "tests/support/sshd.h"

static const char *const shells[] = {"dash", "bash"};

/* Two CPUs, of which one is offline; two blocks of 128 MiB, of which one is offline; / on a disk of
 * 2 GiB, on a partition of 1 GiB. What a program of the test does to them is in its text. */
static const char guest[] =
    "mkdir -p bin sys/devices/system/cpu/cpu0 sys/devices/system/cpu/cpu1 proc/self\n"
    "mkdir -p sys/devices/system/memory/memory0 sys/devices/system/memory/memory1\n"
    "mkdir -p sys/devices/pci/block/vda/vda1 sys/dev/block sys/class/block\n"
    "cd sys/devices/system\n"
    "echo 0 >cpu/cpu1/online; echo 8000000 >memory/block_size_bytes\n"
    "echo online >memory/memory0/state; echo offline >memory/memory1/state\n"
    "cd ../pci/block/vda\n"
    "echo 4194304 >size; echo 1 >vda1/partition; echo 2048 >vda1/start; echo 2095104 >vda1/size\n"
    "ln -sf ../../devices/pci/block/vda/vda1 ../../../../dev/block/254:1\n"
    "cd ../../../../..\n"
    "echo '21 26 0:20 / /proc rw - proc proc rw' >proc/self/mountinfo\n"
    "echo '26 1 254:1 / / rw,relatime shared:1 - ext4 /dev/root rw' >>proc/self/mountinfo\n"
    "program() { cat >bin/$1; chmod +x bin/$1; }\n"
    "program id <<'E'\n#!/bin/sh\necho 0\nE\n"
    "program sleep <<'E'\n#!/bin/sh\nE\n"
    "program df <<'E'\n#!/bin/sh\necho name; echo x $(cat $ROOT/kib)\nE\n"
    "program growpart <<'E'\n#!/bin/sh\n"
    "echo growpart $* >>$ROOT/calls; echo 4190208 >$ROOT/sys/devices/pci/block/vda/vda1/size\nE\n"
    "program resize2fs <<'E'\n#!/bin/sh\necho resize2fs $* >>$ROOT/calls; echo 2000000 "
    ">$ROOT/kib\nE\n"
    "program xfs_growfs <<'E'\n#!/bin/sh\necho xfs_growfs $* >>$ROOT/calls; exit 1\nE\n"
    "echo 1000000 >kib\n";

static void run(const char *dir, const char *script, const char *prelude, struct buf *out)
{
    cleanup_buf struct buf command = BUF_INIT(0);
    buf_printf(&command, "cd %s && export ROOT=$PWD && %s\n%s 2>&1", dir, prelude, script);
    buf_reset(out);
    FILE *pipe = popen(buf_str(&command), "r");
    assert_non_null(pipe);
    char line[256];
    while (fgets(line, sizeof(line), pipe)) {
        buf_add_str(out, line);
    }
    (void)pclose(pipe);
}

static void assert_grown(const char *prelude, const char *arguments, const char *answer)
{
    for (size_t i = 0; i < ARRAY_LEN(shells); i++) {
        cleanup_buf struct buf out = BUF_INIT(0);
        char *dir = test_dir_make();
        cleanup_free char *script =
            mem_printf("PATH=$ROOT/bin:$PATH; export PATH; : >calls; %s %s $ROOT %s; cat calls",
                shells[i], VMCTL_SOURCE_DIR "/reconcilers/guest/grow_guest.sh", arguments);
        cleanup_free char *begin = mem_printf("{ %s\n}; %s", guest, prelude);
        run(dir, script, begin, &out);
        if (strcmp(buf_str(&out), answer) != 0) {
            fail_msg("%s: %s; %s: '%s'", shells[i], prelude, arguments, buf_str(&out));
        }
        test_dir_remove(dir);
    }
}

static void what_was_plugged_in_is_brought_online(void **state)
{
    (void)state;
    assert_grown("", "2 256 0", "+ 2 CPUs are online\n+ 256 MiB of memory are online\n");
    assert_grown("", "0 256 0", "+ 256 MiB of memory are online\n");
    assert_grown("", "0 0 0", "");
}

/* udev was there first. */
static void what_is_online_is_left_alone(void **state)
{
    (void)state;
    assert_grown("", "1 100 0", "");
    assert_grown("echo 1 >sys/devices/system/cpu/cpu1/online", "2 0 0", "");
}

static void a_kernel_that_sees_it_late_is_waited_for(void **state)
{
    (void)state;
    assert_grown("printf '#!/bin/sh\\nmkdir -p $ROOT/sys/devices/system/cpu/cpu2\\n' >bin/sleep",
        "3 0 0", "+ 3 CPUs are online\n");
}

static void what_the_guest_does_not_use_is_named(void **state)
{
    (void)state;
    assert_grown("", "4 0 0", "- 2 of 4 CPUs are online\n");
    assert_grown("", "0 1024 0", "- 256 of 1024 MiB of memory are online\n");
    assert_grown("rm -r sys/devices/system/memory", "0 256 0",
        "- 0 of 256 MiB of memory are online: its kernel cannot add any\n");
}

static void a_user_goes_by_way_of_sudo_and_its_refusal_is_reported(void **state)
{
    (void)state;
    static const char user[] = "printf '#!/bin/sh\\necho 1000\\n' >bin/id; ";
    cleanup_free char *may = mem_printf(
        "%s printf '#!/bin/sh\\nshift; exec \"$@\"\\n' >bin/sudo; chmod +x bin/sudo", user);
    assert_grown(may, "2 0 0", "+ 2 CPUs are online\n");
    cleanup_free char *may_not = mem_printf(
        "%s printf '#!/bin/sh\\necho no, >&2; exit 1\\n' >bin/sudo; chmod +x bin/sudo", user);
    assert_grown(may_not, "2 0 0", "- 1 of 2 CPUs are online: no,\n");
}

static void the_partition_and_the_file_system_are_grown(void **state)
{
    (void)state;
    assert_grown("", "0 0 2048", "+ / has 1953 MiB\ngrowpart /dev/vda 1\nresize2fs /dev/vda1\n");
    /* the partition is as large as it can be; the file system was left behind */
    assert_grown("echo 4190208 >sys/devices/pci/block/vda/vda1/size", "0 0 2048",
        "+ / has 1953 MiB\nresize2fs /dev/vda1\n");
    /* both are: a second time nothing is reported */
    assert_grown("echo 4190208 >sys/devices/pci/block/vda/vda1/size; echo 2000000 >kib", "0 0 2048",
        "resize2fs /dev/vda1\n");
    /* without a partition */
    assert_grown("rm sys/dev/block/254:1 sys/devices/pci/block/vda/vda1 -r; "
                 "ln -s ../../devices/pci/block/vda sys/dev/block/254:1",
        "0 0 2048", "+ / has 1953 MiB\nresize2fs /dev/vda\n");
}

static void what_is_not_safe_to_grow_is_left_alone(void **state)
{
    (void)state;
    assert_grown("rm bin/growpart", "0 0 2048",
        "- the partition of / is not grown: growpart is not installed "
        "(package cloud-guest-utils or cloud-utils-growpart)\n");
    assert_grown("printf '#!/bin/sh\\necho NOCHANGE: another one follows; exit 1\\n' >bin/growpart",
        "0 0 2048", "- the partition of / is not grown: NOCHANGE: another one follows\n");
    assert_grown("sed -i s/ext4/xfs/ proc/self/mountinfo", "0 0 2048",
        "- the file system of / is not grown: \ngrowpart /dev/vda 1\nxfs_growfs /\n");
    assert_grown("sed -i s/ext4/ntfs/ proc/self/mountinfo", "0 0 2048",
        "- the file system of / is not grown: it is ntfs, which vmctl does not grow\n"
        "growpart /dev/vda 1\n");
    assert_grown(
        "mkdir -p sys/devices/virtual/block/dm-0; echo 1 >sys/devices/virtual/block/dm-0/size; "
        "ln -sfn ../../devices/virtual/block/dm-0 sys/dev/block/254:1; "
        "sed -i s,/dev/root,/dev/mapper/vg-root, proc/self/mountinfo",
        "0 0 2048",
        "- the disk of / is not grown: it is on /dev/mapper/vg-root (ext4), neither a disk nor a "
        "partition: that is done by hand\n");
    assert_grown("echo '26 1 0:25 / / rw - overlay overlay rw' >proc/self/mountinfo", "0 0 2048",
        "- the disk of / is not grown: it is on overlay (overlay), neither a disk nor a "
        "partition: that is done by hand\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_plugged_in_is_brought_online),
        cmocka_unit_test(what_is_online_is_left_alone),
        cmocka_unit_test(a_kernel_that_sees_it_late_is_waited_for),
        cmocka_unit_test(what_the_guest_does_not_use_is_named),
        cmocka_unit_test(a_user_goes_by_way_of_sudo_and_its_refusal_is_reported),
        cmocka_unit_test(the_partition_and_the_file_system_are_grown),
        cmocka_unit_test(what_is_not_safe_to_grow_is_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
