/* SPDX-License-Identifier: MPL-2.0 */
/* What invalid files are told: position, message and hint, exactly. */
#include <errno.h>
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
#include "specs/base/text.h"
#include "specs/vmfile/vmfile.h"

struct invalid {
    const char *text;
    const char *diagnostics; /* a line each: "line:column+length message | hint" */
};

static const struct vmfile_env unchecked = {
    .path = "VMFile.kdl", .base_dir = "/project", .home = "/home/me"};

static char *diagnose(const char *text, size_t size, const struct vmfile_env *env)
{
    cleanup_buf struct buf out = BUF_INIT(0);
    struct vmfile *file = vmfile_parse(text, size, env);
    for (size_t i = 0; i < file->n_diagnostics; i++) {
        const struct vmfile_diagnostic *d = &file->diagnostics[i];
        buf_printf(&out, "%u:%u+%u %s%s%s\n", d->pos.line, d->pos.column, d->pos.length, d->message,
            d->hint ? " | " : "", d->hint ? d->hint : "");
    }
    vmfile_free(file);
    return buf_steal(&out);
}

static void assert_diagnosed(const struct invalid *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        cleanup_free char *found = diagnose(cases[i].text, strlen(cases[i].text), &unchecked);
        assert_string_equal(found, cases[i].diagnostics);
    }
}

static void a_path_of_a_vm_elsewhere_is_one_of_that_host(void **state)
{
    static const struct invalid cases[] = {
        {"vm a { image i; node b }", "1:14+1 `image`: \"i\" is a path of this host, and the VM is "
                                     "on node \"b\" | write an absolute path of that host, or one "
                                     "below ~/\n"},
        {"vm a node=b { image \"/i\"; ssh private-key=k }",
            "1:43+1 `private-key`: \"k\" is a path of this host, and the VM is on node \"b\" | "
            "write "
            "an absolute path of that host, or one below ~/\n"},
        {"vm a node=b { image \"/i\"; cloud-init; provision shell { script s } }", ""},
        {"vm a { node b; image \"~/i\"; ssh; share \".\" \"/w\" }",
            "1:40+3 `share`: \".\" is a path of this host, and the VM is on node \"b\" | write an "
            "absolute path of that host, or one below ~/\n"},
        {"vm a { node \"b/c\"; image \"/i\" }",
            "1:13+5 \"b/c\" cannot be the name of a node | letters, digits, '.', '_' and '-'; "
            "\"local\" is this host\n"},
        {"vm a { node b; image \"/i\"; forward host=80 guest=80 }\n"
         "vm b { image i; depends-on a; forward host=80 guest=80 }",
            "2:28+1 `depends-on` holds on one node: VM \"a\" is on another | remove it, or move "
            "one "
            "of them\n"},
        {"vm a { node local; image i }", ""},
    };
    (void)state;
    assert_diagnosed(cases, sizeof(cases) / sizeof(cases[0]));
}

static void a_share_is_a_directory_here_and_one_there(void **state)
{
    static const struct invalid cases[] = {
        {"vm a { image i; ssh; share \".\" }",
            "1:22+5 `share` needs a value | write: share \".\" \"/work\"\n"},
        {"vm a { image i; ssh; share \".\" work }",
            "1:32+4 the second value of `share` must be the absolute path of a directory in the "
            "guest, not \"work\" | write for example: share \".\" \"/work\"\n"},
        {"vm a { image i; ssh; share \".\" \"/w\" tag=\"a b\" }",
            "1:41+5 `tag` must be at most 31 letters, digits, '.', '_' and '-', not \"a b\"\n"},
        {"vm a { image i; ssh; share \".\" \"/w\" readonly=yes }",
            "1:46+3 `readonly` must be #true or #false | write: readonly=#true\n"},
        {"vm a { image i; ssh; share \".\" \"/w\"; share \".\" \"/w\" }",
            "1:38+5 `share` \"/w\" is also that of another volume or share | choose another "
            "directory\n"},
        {"vm a { image i; ssh; share \".\" \"/w/a\"; share \".\" \"/w-a\" }",
            "1:40+5 the tag \"w-a\" is also that of another share | give it its own: "
            "tag=\"src\"\n"},
        {"vm a { image i; ssh; volume v mount=\"/w\"; share \".\" \"/w\" }",
            "1:43+5 `share` \"/w\" is also that of another volume or share | choose another "
            "directory\n"},
        {"vm a { image i; share \".\" \"/w\" }",
            "1:17+5 `share` is done over SSH, and VM \"a\" has neither `ssh` nor `cloud-init` | "
            "add: cloud-init, or: ssh { user \"…\" }\n"},
        {"vm a { image i; ssh; network none; share \".\" \"/w\" }",
            "1:36+5 `share` is done over SSH, and VM \"a\" has network \"none\" | choose another "
            "network, or remove `share`\n"},
        {"vm a { image i; backend propolis; ssh; network vnic name=v0; share \".\" \"/w\" }",
            "1:62+5 `share` goes with backend \"qemu\", not \"propolis\" | remove it\n"},
    };
    (void)state;
    assert_diagnosed(cases, sizeof(cases) / sizeof(cases[0]));
}

static void a_volume_has_a_name_a_way_to_be_mounted_and_a_directory_of_its_own(void **state)
{
    static const struct invalid cases[] = {
        {"vm a { image i; volume }",
            "1:17+6 `volume` needs a value | write: volume \"data\" size=20 "
            "mount=\"/data\"\n"},
        {"vm a { image i; volume \"../x\" }",
            "1:24+6 \"../x\" cannot be the name of a volume | letters, digits, '.', '_' and '-', a "
            "letter or digit first, at most 20 characters\n"},
        {"vm a { image i; volume a12345678901234567890 }",
            "1:24+21 \"a12345678901234567890\" cannot be the name of a volume | letters, digits, "
            "'.', '_' and '-', a letter or digit first, at most 20 characters\n"},
        {"vm a { image i; volume x; volume x }",
            "1:34+1 volume \"x\" is named twice in VM \"a\" | every disk of a VM needs a name of "
            "its own\n"},
        {"vm a { image i; ssh; volume x mount=d }",
            "1:37+1 `mount` must be the absolute path of a directory in the guest, not \"d\" | "
            "write for example: mount=\"/data\"\n"},
        {"vm a { image i; ssh; volume x mount=\"/a/../b\" }",
            "1:37+9 `mount` must be the absolute path of a directory in the guest, not \"/a/../b\" "
            "| write for example: mount=\"/data\"\n"},
        {"vm a { image i; volume x mount=\"/d\" }",
            "1:26+5 `mount` is done over SSH, and VM \"a\" has neither `ssh` nor `cloud-init` | "
            "add: cloud-init, or: ssh { user \"…\" }\n"},
        {"vm a { image i; ssh; volume x mount=\"/d\"; volume y mount=\"/d\" }",
            "1:52+5 `mount` \"/d\" is also that of another volume | choose another directory\n"},
        {"vm a { image i; backend propolis; network none; volume x }",
            "1:49+6 `volume` goes with backend \"qemu\", not \"propolis\" | remove it\n"},
    };
    (void)state;
    assert_diagnosed(cases, ARRAY_LEN(cases));
}

#define FORMS                                                                                      \
    "a further `disk` has either size= and ephemeral=#true, or file= and readonly=#true | one "    \
    "that is to stay is a `volume`\n"

static void a_further_disk_has_one_of_two_forms(void **state)
{
    static const struct invalid cases[] = {
        {"vm a { image i; disk 5; disk s size=1 ephemeral=#true; disk f file=x readonly=#true }",
            ""},
        {"vm a { image i; disk s size=1 }", "1:17+4 " FORMS},
        {"vm a { image i; disk s file=x }", "1:17+4 " FORMS},
        {"vm a { image i; disk s file=x size=1 readonly=#true ephemeral=#true }", "1:17+4 " FORMS},
        {"vm a { image i; disk s size=1 ephemeral=#false }", "1:41+6 `ephemeral` must be #true\n"},
        {"vm a { image i; disk s file=x.qcow2 readonly=#true }",
            "1:24+4 `file` of a further `disk` must be a raw image | convert it: qemu-img convert "
            "-O raw\n"},
        {"vm a { image i; volume s; disk s size=1 ephemeral=#true }",
            "1:32+1 disk \"s\" is named twice in VM \"a\" | every disk of a VM needs a name of its "
            "own\n"},
        {"vm a { image i; disk \"a/b\" size=1 ephemeral=#true }",
            "1:22+5 \"a/b\" cannot be the name of a disk | letters, digits, '.', '_' and '-', a "
            "letter or digit first, at most 20 characters\n"},
        {"vm a { image i; backend propolis; network none; disk s size=1 ephemeral=#true }",
            "1:49+4 a further `disk` goes with backend \"qemu\", not \"propolis\" | remove it\n"},
    };
    (void)state;
    assert_diagnosed(cases, ARRAY_LEN(cases));
}

static void an_unknown_node_or_property_is_an_error_with_a_hint(void **state)
{
    static const struct invalid cases[] = {
        {"vm a { image i; memry 5 }",
            "1:17+5 unknown node `memry` in `vm` | did you mean `memory`?\n"},
        {"vm a { image i; mem 1 }", "1:17+3 unknown node `mem` in `vm` | did you mean `memory`?\n"},
        {"vm a { image i; ram 1 }",
            "1:17+3 unknown node `ram` in `vm` | did you mean `memory`? write: memory 2048\n"},
        {"vm a { image i; ssh { key x } }",
            "1:23+3 unknown node `key` in `ssh` | did you mean "
            "`private-key`? write: private-key \"~/.ssh/id_ed25519\"\n"},
        {"vm a image=i", "1:6+5 `image` cannot be a property | write: image \"path\"\n"},
        {"services: { a }", "1:1+9 unknown node `services:` at the top of the file, which holds "
                            "`vm` blocks | write: vm \"name\" { image \"debian:12\" }\n"},
        {"vm a { image i; env { A b } }",
            "1:17+3 unknown node `env` in `vm` | did you mean `provision`? write: provision "
            "\"shell\" { inline \"command\"; env { DEBUG \"1\" } }\n"},
        {"vm a { image i; ssh; provision shell { inline x; environment { A b } } }",
            "1:50+11 unknown node `environment` in `provision` | did you mean `env`? write: env { "
            "DEBUG \"1\" }\n"},
        {"vm a { image i; ports \"80:80\" }", "1:17+5 unknown node `ports` in `vm` | did you mean "
                                              "`forward`? write: forward host=8080 "
                                              "guest=80\n"},
        {"vm a { image i; mount \"/x\" }", "1:17+5 unknown node `mount` in `vm` | did you mean "
                                           "`share`? write: share \".\" \"/work\"\n"},
        {"vm a { image i; volumes \"x\" }",
            "1:17+7 unknown node `volumes` in `vm` | did you mean `volume`? write: volume \"data\" "
            "size=20 mount=\"/data\"\n"},
        {"vm a { image i; xyzzy }",
            "1:17+5 unknown node `xyzzy` in `vm` | known here: `image`, `image-url`, `vcpus`, "
            "`memory`, `max-vcpus`, `max-memory`, `cpu-limit`, `memory-limit`, `disk`, `io-limit`, "
            "`volume`, `share`, `network`, `vnc`, `cloud-init`, "
            "`ssh`, `provision`, `restart`, `forward`, `ready`, `live`, `depends-on`, `label`, "
            "`protect`, `arch`, `accel`, "
            "`machine`, `firmware`, `tpm`, "
            "`autostart`, `warm`, `stop-timeout`, `backend`, `propolis-server`, `node`\n"},
        {"vm a { image i; ssh { zzz 1 } }",
            "1:23+3 unknown node `zzz` in `ssh` | known here: `user`, `private-key`, `timeout`\n"},
        {"vm a { image i; ssh usr=x }",
            "1:21+3 unknown property `usr` of `ssh` | did you mean `user`?\n"},
        {"vm a { image i; network user brige=br0 }",
            "1:30+5 unknown property `brige` of `network` | did you mean `bridge`?\n"},
        {"vm a { image i; memory 5 x=1 }",
            "1:26+1 unknown property `x` of `memory` | write: memory 2048\n"},
        {"vm a foo=1 { image i }",
            "1:6+3 unknown property `foo` of `vm` | known here: `vcpus`, `memory`, "
            "`max-vcpus`, `max-memory`, `cpu-limit`, `memory-limit`, `disk`, `restart`, `arch`, "
            "`accel`, `machine`, `firmware`, "
            "`autostart`, `warm`, `stop-timeout`, `backend`, `propolis-server`, `node`\n"},
        {"vms a { image i }",
            "1:1+3 unknown node `vms` at the top of the file, which holds `vm` blocks | did "
            "you mean `vm`?\n"},
        {"xyzzy", "1:1+5 unknown node `xyzzy` at the top of the file, which holds `vm` blocks | "
                  "write: vm \"name\" { image \"debian:12\" }\n"},
    };
    (void)state;
    assert_diagnosed(cases, sizeof(cases) / sizeof(cases[0]));
}

static void a_vm_needs_a_valid_name_of_its_own(void **state)
{
    static const struct invalid cases[] = {
        {"vm { image i }", "1:1+2 `vm` needs a value | write: vm \"name\" { … }\n"},
        {"vm a b { image i }", "1:6+1 `vm` has too many values | write: vm \"name\" { … }\n"},
        {"vm 5 { image i }", "1:4+1 `name` must be a string, not a number | put it into quotes\n"},
        {"vm \"\" { image i }", "1:4+2 `name` is empty\n"},
        {"vm \"a/b\" { image i }",
            "1:4+5 \"a/b\" cannot be the name of a VM | letters, digits, '.', '_' and '-', a "
            "letter or digit first, at most 63 characters\n"},
        {"vm \"a\\nb\" { image i }", "1:4+6 `name` holds a control character or line end\n"},
        {"vm a { image i }; vm a { image i }",
            "1:22+1 VM \"a\" is defined twice: the first one is on line 1 | every VM of a file "
            "needs a name of its own\n"},
    };
    (void)state;
    assert_diagnosed(cases, sizeof(cases) / sizeof(cases[0]));
}

static void a_vm_has_exactly_one_image_source(void **state)
{
    static const struct invalid cases[] = {
        {"vm a",
            "1:4+1 VM \"a\" has no image source | add image-url \"https://…\" or image \"path\"\n"},
        {"vm a { image i; image j }",
            "1:17+5 `image` occurs a second time | the first one is on line 1\n"},
        {"vm a { image i; image-url \"https://x\" }",
            "1:17+9 VM \"a\" has both `image` and `image-url` | remove one of them\n"},
        {"vm a { image-url \"https://x\"; image i }",
            "1:31+5 VM \"a\" has both `image` and `image-url` | remove one of them\n"},
        {"vm a { image }", "1:8+5 `image` needs a value | write: image \"path/to/image.qcow2\"\n"},
        {"vm a { image i j }",
            "1:16+1 `image` has too many values | write: image \"path/to/image.qcow2\"\n"},
        {"vm a { imge \"foo\" }", "1:8+4 unknown node `imge` in `vm` | did you mean `image`?\n"},
        {"vm a { url \"https://x\" }",
            "1:8+3 unknown node `url` in `vm` | did you mean `image-url`? write: image-url "
            "\"https://…\"\n"},
        {"vm a { imge \"foo\" }; vm b { vcpus 1 }",
            "1:8+4 unknown node `imge` in `vm` | did you mean `image`?\n"
            "1:25+1 VM \"b\" has no image source | add image-url \"https://…\" or image "
            "\"path\"\n"},
        {"vm a { image 5 }",
            "1:14+1 `image` must be a string, not a number | put it into quotes\n"},
    };
    (void)state;
    assert_diagnosed(cases, sizeof(cases) / sizeof(cases[0]));
}

static void a_value_is_checked_for_its_type_and_characters(void **state)
{
    static const struct invalid cases[] = {
        {"vm a { image #null }", "1:14+5 `image` must be a string, not null\n"},
        {"vm a { image \"\" }", "1:14+2 `image` is empty\n"},
        {"vm a { image \"a\\u{0}b\" }", "1:14+9 `image` holds a NUL character\n"},
        {"vm a { image \"a\\u{7}b\" }", "1:14+9 `image` holds a control character or line end\n"},
    };
    (void)state;
    assert_diagnosed(cases, sizeof(cases) / sizeof(cases[0]));
}

static void an_image_is_a_path_and_an_image_url_a_url(void **state)
{
    static const struct invalid cases[] = {
        {"vm a { image \"https://x/y\" }",
            "1:14+13 `image` takes the path of a file, not a URL | write: image-url \"…\"\n"},
        {"vm a { image-url \"./x.img\" }",
            "1:18+9 `image-url` \"./x.img\": it has no scheme such as https:// | for a file of "
            "this host write: image \"path\"\n"},
        {"vm a { image-url \"ftp://x/y\" }",
            "1:18+11 `image-url` \"ftp://x/y\": its scheme is not http, https, file or oci\n"},
        {"vm a { image-url \"https:///y\" }",
            "1:18+12 `image-url` \"https:///y\": it names no host\n"},
        {"vm a { image-url \"https://x/a b\" }",
            "1:18+15 `image-url` \"https://x/a b\": it holds a space or a character that must "
            "be percent-encoded\n"},
        {"vm a { image-url \"file://x\" }",
            "1:18+10 `image-url` \"file://x\": file:// must be followed by an absolute path\n"},
        {"vm a { image i sha256=\"abc\" }",
            "1:23+5 `sha256` must be 64 hexadecimal digits, not \"abc\" | see what it is: "
            "sha256sum FILE\n"},
        {"vm a { image i sha256=5 }",
            "1:23+1 `sha256` must be a string, not a number | put it into quotes\n"},
        {"vm a { image i { sha256 x; sha256 y } }",
            "1:25+1 `sha256` must be 64 hexadecimal digits, not \"x\" | see what it is: "
            "sha256sum FILE\n"
            "1:28+6 `sha256` occurs a second time | the first one is on line 1\n"},
    };
    (void)state;
    assert_diagnosed(cases, sizeof(cases) / sizeof(cases[0]));
}

static void resources_are_whole_numbers_within_their_range(void **state)
{
    static const struct invalid cases[] = {
        {"vm a { image i; vcpus 0 }",
            "1:23+1 `vcpus` must be a whole number from 1 to 1024, not 0\n"},
        {"vm a { image i; vcpus 1025 }",
            "1:23+4 `vcpus` must be a whole number from 1 to 1024, not 1025\n"},
        {"vm a { image i; vcpus 2.5 }",
            "1:23+3 `vcpus` must be a whole number from 1 to 1024, not 2.5\n"},
        {"vm a { image i; max-vcpus 0 }",
            "1:27+1 `max-vcpus` must be a whole number from 1 to 1024, not 0\n"},
        {"vm a { image i; vcpus 4; max-vcpus 2 }",
            "1:26+9 `max-vcpus` 2 is less than `vcpus` 4 | raise it, or remove it\n"},
        {"vm a { image i; vcpus 1024; max-vcpus 1024; memory 512; max-memory 512 }", ""},
        {"vm a { max-memory \"512M\"; image i }",
            "1:8+10 `max-memory` 512 MiB is less than `memory` 1024 MiB | raise it, or remove "
            "it\n"},
        {"vm a { image i; vcpus \"2\" }",
            "1:23+3 `vcpus` must be a number, not a string | remove the quotes\n"},
        {"vm a { image i; vcpus #true }", "1:23+5 `vcpus` must be a number, not a boolean\n"},
        {"vm a { image i; vcpus 99999999999999999999 }",
            "1:23+20 `vcpus` must be a whole number from 1 to 1024, not 99999999999999999999\n"},
    };
    (void)state;
    assert_diagnosed(cases, sizeof(cases) / sizeof(cases[0]));
}

static void a_single_value_stands_once_and_plainly(void **state)
{
    static const struct invalid cases[] = {
        {"vm a { image i; vcpus }", "1:17+5 `vcpus` needs a value | write: vcpus 2\n"},
        {"vm a { image i; vcpus 1 2 }", "1:25+1 `vcpus` has too many values | write: vcpus 2\n"},
        {"vm a { image i; vcpus 1 { x } }", "1:17+5 `vcpus` has no block | write: vcpus 2\n"},
        {"vm a { image i; vcpus 1; vcpus 2 }",
            "1:26+5 `vcpus` occurs a second time | the first one is on line 1\n"},
        {"vm a { image i; vcpus (u8)1 }",
            "1:27+1 type annotation `(u8)` has no meaning | remove the annotation\n"},
        {"vm a { image i; (n)vcpus 1 }",
            "1:20+5 type annotation `(n)` has no meaning | remove the annotation\n"},
    };
    (void)state;
    assert_diagnosed(cases, sizeof(cases) / sizeof(cases[0]));
}

static void sizes_are_numbers_or_have_a_known_suffix(void **state)
{
    static const struct invalid cases[] = {
        {"vm a { image i; memory 0 }",
            "1:24+1 `memory` must be a whole number from 1 to 16777216, not 0\n"},
        {"vm a { image i; memory 16777217 }",
            "1:24+8 `memory` must be a whole number from 1 to 16777216, not 16777217\n"},
        {"vm a { image i; memory \"2X\" }",
            "1:24+4 `memory` is not a size: \"2X\" | write a number, or a size such as "
            "\"512M\" or \"2G\"\n"},
        {"vm a { image i; memory \"2048\" }",
            "1:24+6 `memory` is not a size: \"2048\" | remove the quotes\n"},
        {"vm a { image i; memory \"17T\" }",
            "1:24+5 `memory` must be a whole number of MiB from 1 to 16777216, not \"17T\"\n"},
        {"vm a { image i; disk \"512M\" }",
            "1:22+6 `disk` must be a whole number of GiB from 1 to 65536, not \"512M\"\n"},
        {"vm a { image i; disk -1 }",
            "1:22+2 `disk` must be a whole number from 1 to 65536, not -1\n"},
        {"vm a { image i; disk 65537 }",
            "1:22+5 `disk` must be a whole number from 1 to 65536, not 65537\n"},
    };
    (void)state;
    assert_diagnosed(cases, sizeof(cases) / sizeof(cases[0]));
}

static void limits_have_units_and_leave_room(void **state)
{
    static const struct invalid cases[] = {
        {"vm a { image i; io-limit read=\"100M\" write=\"512KiB/s\" iops=1 }", ""},
        {"vm a { image i; io-limit { read \"1G\" } }", ""},
        {"vm a { image i; io-limit }",
            "1:17+8 `io-limit` limits nothing: it needs read=, write= or iops= | write for "
            "example: io-limit read=\"100M\" write=\"50M\"\n"},
        {"vm a { image i; io-limit read=100 }",
            "1:31+3 `read` of `io-limit` has no unit: 100 | write a size such as \"512K\" or "
            "\"100M\", which is that of one second\n"},
        {"vm a { image i; io-limit write=\"5 M\" }", "1:32+5 `write` of `io-limit` is not a size: "
                                                     "\"5 M\" | write a size such as \"512K\" or "
                                                     "\"100M\", which is that of one second\n"},
        {"vm a { image i; io-limit write=\"0K\" }",
            "1:32+4 `write` of `io-limit` must be from 1 KiB to 1 TiB a second, not \"0K\"\n"},
        {"vm a { image i; io-limit write=\"2T\" }",
            "1:32+4 `write` of `io-limit` must be from 1 KiB to 1 TiB a second, not \"2T\"\n"},
        {"vm a { image i; io-limit iops=0 }",
            "1:31+1 `iops` must be a whole number from 1 to 1000000000, not 0\n"},
        {"vm a { image i; cpu-limit 0.01; memory 2048; memory-limit 2336 }", ""},
        {"vm a { image i; cpu-limit 2; memory-limit \"2G\" }", ""},
        {"vm a { image i; cpu-limit \"150%\" }",
            "1:27+6 `cpu-limit` must be a number of CPUs from 0.01 to 1024, not 150% | write for "
            "example: cpu-limit 1.5, which is 150 %\n"},
        {"vm a { image i; cpu-limit 0.001 }",
            "1:27+5 `cpu-limit` must be a number of CPUs from 0.01 to 1024, not 0.001 | write for "
            "example: cpu-limit 1.5, which is 150 %\n"},
        {"vm a { image i; cpu-limit 1.5e1 }",
            "1:27+5 `cpu-limit` must be a number of CPUs from 0.01 to 1024, not 1.5E+1 | write for "
            "example: cpu-limit 1.5, which is 150 %\n"},
        {"vm a { image i; memory 2048; memory-limit 2335 }",
            "1:30+12 `memory-limit` 2335 MiB is too little for `memory` 2048 MiB and QEMU itself | "
            "write: memory-limit 2336\n"},
        {"vm a { image i; backend propolis; network none; cpu-limit 1 }",
            "1:49+9 `cpu-limit` goes with backend \"qemu\", not \"propolis\" | remove it\n"},
        {"vm a { image i; backend propolis; network none; io-limit iops=5 }",
            "1:49+8 `io-limit` goes with backend \"qemu\", not \"propolis\" | remove it\n"},
    };
    (void)state;
    assert_diagnosed(cases, sizeof(cases) / sizeof(cases[0]));
}

static void addresses_are_those_of_one_machine(void **state)
{
    static const struct invalid cases[] = {
        {"vm a { image i; network project { address \"10.20.30.3\"; mac \"01:00:5e:00:00:01\" } }",
            "1:43+12 `address` must be a private IPv4 address that ends with .4 to .254, not "
            "\"10.20.30.3\" | write for example: address \"10.20.30.40\"\n"
            "1:61+19 `mac` must be the MAC address of one machine, not \"01:00:5e:00:00:01\" | "
            "write for example: mac \"52:54:00:12:34:56\"\n"},
        {"vm a { image i; network project { address \"8.8.8.8\"; mac \"52:55:00:00:00:01\" } }",
            "1:43+9 `address` must be a private IPv4 address that ends with .4 to .254, not "
            "\"8.8.8.8\" | write for example: address \"10.20.30.40\"\n"
            "1:58+19 `mac` must be the MAC address of one machine, not \"52:55:00:00:00:01\" | "
            "write for example: mac \"52:54:00:12:34:56\"\n"},
        {"vm a { image i; network none mac=\"52:54:00:00:00:01\" }",
            "1:30+3 `mac` goes with network \"user\", \"project\" or \"tap\", not \"none\" | "
            "remove "
            "it\n"},
        {"vm a { image i; network project address=\"10.20.30.40\" mac=\"52:54:00:00:00:0A\" }\n"
         "vm b { image i; network project address=\"10.20.30.40\" mac=\"52:54:00:00:00:0a\" }\n"
         "vm c { image i; network project address=\"10.20.31.40\" }\n"
         "vm d { image i; network project name=lan address=\"10.20.31.40\" }",
            "2:33+7 `address` \"10.20.30.40\" is also that of VM \"a\" | choose another one\n"
            "2:55+3 `mac` \"52:54:00:00:00:0a\" is also that of VM \"a\" | choose another one\n"
            "3:33+7 `address` must be in 10.20.30.0/24, as that of VM \"a\" on the same network, "
            "not \"10.20.31.40\" | or put it on a network of another `name`\n"},
    };
    (void)state;
    assert_diagnosed(cases, sizeof(cases) / sizeof(cases[0]));
}

static void the_networks_of_a_vm_go_together(void **state)
{
    static const struct invalid cases[] = {
        {"vm a { image i; network user; network user }",
            "1:31+7 VM \"a\" has network \"user\" twice | remove one; for a second network: "
            "network \"project\"\n"},
        {"vm a { image i; network user\n network project\n network project }",
            "3:2+7 VM \"a\" is on network \"project\" twice | give it a name of its own: network "
            "\"project\" name=\"lan\"\n"},
        {"vm a { image i; network project name=lan; network project name=lan }",
            "1:59+4 VM \"a\" is on network \"project\" lan twice | give it a name of its own: "
            "network \"project\" name=\"lan\"\n"},
        {"vm a { image i; network tap; network none }",
            "1:30+7 network \"none\" of VM \"a\" goes with no other network | remove it, or the "
            "others\n"},
        {"vm a { image i; network tap mac=\"52:54:00:00:00:01\"; "
         "network project mac=\"52:54:00:00:00:01\" }",
            "1:70+3 `mac` \"52:54:00:00:00:01\" is also that of another network of VM \"a\" | "
            "choose another one\n"},
        {"vm a { image i; network user; network project address=\"10.20.30.40\" }\n"
         "vm b { image i; network tap; network project address=\"10.20.30.40\" }",
            "2:46+7 `address` \"10.20.30.40\" is also that of VM \"a\" | choose another one\n"},
        {"vm a { image i; network project address=\"10.20.30.40\"; "
         "network project name=lan address=\"10.20.30.41\" }",
            "1:81+7 two networks of VM \"a\" have the addresses 10.20.30.0/24 | give them "
            "addresses "
            "of different ranges\n"},
        {"vm a { image i; network project address=\"10.0.2.40\"; network user }",
            "1:33+7 two networks of VM \"a\" have the addresses 10.0.2.0/24 | give them addresses "
            "of different ranges\n"},
        {"vm a { image i; network tap; network user; forward host=1 guest=1 }",
            "1:44+7 `forward` goes with the first network, which is \"tap\" | remove it, or put "
            "network \"user\" or \"project\" first\n"},
        {"vm a { image i; backend propolis; network vnic name=v0; network vnic name=v1 }", ""},
        {"vm a { image i; backend propolis; network vnic name=v0; network vnic name=v0 }",
            "1:57+7 VM \"a\" has VNIC \"v0\" twice | name another VNIC, or remove it\n"},
        {"vm a { image i; backend propolis; network vnic name=v0; network user }",
            "1:57+7 network \"user\" goes with backend \"qemu\", not \"propolis\" | write: network "
            "\"vnic\" { name \"vnic0\" }\n"},
        {"vm a { image i; network tap; network tap; network tap; network tap; network tap; "
         "network tap; network tap; network tap; network tap; network tap }",
            "1:121+7 VM \"a\" has more than 8 networks | remove one\n"},
    };
    (void)state;
    assert_diagnosed(cases, sizeof(cases) / sizeof(cases[0]));
}

static void network_fields_belong_to_their_mode(void **state)
{
    static const struct invalid cases[] = {
        {"vm a { image i; network }", "1:17+7 `network` needs a value | write: network \"user\"\n"},
        {"vm a { image i; network bridged }",
            "1:25+7 `network` must be \"user\", \"project\", "
            "\"tap\", \"vnic\" or \"none\", not \"bridged\" | did you mean `tap`?\n"},
        {"vm a { image i; network usr }", "1:25+3 `network` must be \"user\", \"project\", "
                                          "\"tap\", \"vnic\" or \"none\", not \"usr\" | "
                                          "did you mean `user`?\n"},
        {"vm a { image i; network user { bridge br0 } }",
            "1:32+6 `bridge` goes with network \"tap\", not \"user\" | write: network \"tap\" "
            "{ bridge \"br0\" }\n"},
        {"vm a { image i; network tap { bridge \"a-very-long-name\" } }",
            "1:38+18 `bridge` must be the name of a network interface (at most 15 characters), "
            "not \"a-very-long-name\"\n"},
        {"vm a { image i; network tap { bridge \"a/b\" } }",
            "1:38+5 `bridge` must be the name of a network interface (at most 15 characters), "
            "not \"a/b\"\n"},
        {"vm a { image i; network tap address=\"10.0.0.9\" }",
            "1:29+7 `address` goes with network \"project\", not \"tap\" | write: network "
            "\"project\" { address \"10.20.30.40\" }\n"},
        {"vm a { image i; propolis-server \"10.0.0.5\" }",
            "1:17+15 `propolis-server` goes with backend \"propolis\", not \"qemu\" | remove it, "
            "or write: backend \"propolis\"\n"},
        {"vm a { image i; network tap name=vnic0 }",
            "1:29+4 `name` goes with network \"vnic\", not \"tap\" | write: network \"vnic\" { "
            "name \"vnic0\" }\n"},
        {"vm a { image i; network user { isolate; egress { allow \"10.0.0.0/8\" } } }",
            "1:32+7 `isolate` goes with network \"project\", not \"user\" | write: network "
            "\"project\" { isolate }\n"
            "1:32+7 `isolate` leaves no way out that `egress` could allow | remove one of them\n"
            "1:41+6 `egress` goes with network \"project\", not \"user\" | write: network "
            "\"project\" { egress { allow \"10.0.0.0/8\" } }\n"},
        {"vm a { image i; network project { egress } }",
            "1:35+6 `egress` allows nothing | write: isolate, or: egress { allow "
            "\"10.0.0.0/8\" }\n"},
        {"vm a { image i; network project { egress { allow \"10.0.0.0/33\"; allow \"1.2.3\"; "
         "allow \"-x\" } } }",
            "1:50+13 `allow` must be an IPv4 address, a range of them or a host name, not "
            "\"10.0.0.0/33\" | write for example: allow \"10.0.0.0/8\"\n"
            "1:71+7 `allow` must be an IPv4 address, a range of them or a host name, not "
            "\"1.2.3\" | write for example: allow \"10.0.0.0/8\"\n"
            "1:86+4 `allow` must be an IPv4 address, a range of them or a host name, not \"-x\" "
            "| write for example: allow \"10.0.0.0/8\"\n"},
        {"vm a { image i; network project name=\".x\" }",
            "1:38+4 `name` must be letters, digits, '.', '_' and '-', a letter or digit first, "
            "not \".x\"\n"},
        {"vm a { image i; network vnic; backend propolis }",
            "1:17+7 network \"vnic\" needs the `name` of the VNIC | write: network \"vnic\" { "
            "name \"vnic0\" }\n"},
        {"vm a { image i; network vnic name=vnic; backend propolis }",
            "1:35+4 `name` must be a VNIC: a letter first, a digit last, at most 31 "
            "characters, not \"vnic\"\n"},
        {"vm a { image i; network vnic name=vnic0 }",
            "1:17+7 network \"vnic\" needs backend \"propolis\", not \"qemu\" | write: network "
            "\"user\" or network \"tap\", or backend \"propolis\"\n"},
        {"vm a { image i; backend xen; network vnic name=vnic0 }",
            "1:25+3 `backend` must be \"qemu\", \"propolis\" or \"noop\", not \"xen\"\n"},
    };
    (void)state;
    assert_diagnosed(cases, sizeof(cases) / sizeof(cases[0]));
}

static void a_host_port_is_forwarded_once_in_a_file(void **state)
{
    static const struct invalid cases[] = {
        {"vm a { image i; forward host=1 }",
            "1:17+7 `forward` needs both `host` and `guest` | write: forward host=8080 guest=80\n"},
        {"vm a { image i; forward host=0 guest=65536 }",
            "1:30+1 `host` must be a whole number from 1 to 65535, not 0\n"
            "1:38+5 `guest` must be a whole number from 1 to 65535, not 65536\n"},
        {"vm a { image i; forward host=\"8000-8010\" guest=80 }",
            "1:25+4 `host` has 11 ports, `guest` has 1 | a range leads to a range of the same "
            "length\n"},
        {"vm a { image i; forward host=\"1-1025\" guest=\"1-1025\" }",
            "1:25+4 a range has at most 1024 ports, not 1025 | for more, give the VM an address: "
            "network \"tap\"\n"},
        {"vm a { image i; forward host=\"8010-8000\" guest=\"0.0.0.0:1\" }",
            "1:30+11 `host` is not a port or a range of ports: \"8010-8000\" | write: host=8080, "
            "host=\"8000-8010\", or host=\"0.0.0.0:8080\" for all addresses of this host\n"
            "1:48+11 `guest` is not a port or a range of ports: \"0.0.0.0:1\" | write: guest=80, "
            "or guest=\"8000-8010\"\n"},
        {"vm a { image i; forward host=\"lan:8080\" guest=\"80\" }",
            "1:30+10 `host` is not a port or a range of ports: \"lan:8080\" | write: host=8080, "
            "host=\"8000-8010\", or host=\"0.0.0.0:8080\" for all addresses of this host\n"
            "1:47+4 `guest` must be a number, not a string | remove the quotes\n"},
        {"vm a { image i; forward host=\"8000-8002\" guest=\"1-3\"; forward host=\"0.0.0.0:8002\" "
         "guest=9 }",
            "1:63+4 host port 8002/tcp is already forwarded to VM \"a\" | choose another host "
            "port\n"},
        {"vm a { image i; forward 8080 80 }",
            "1:25+4 `forward` takes no value but \"auto\" | write: forward host=8080 guest=80, or: "
            "forward \"auto\"\n"
            "1:30+2 `forward` has too many values | write: forward host=8080 guest=80\n"},
        {"vm a { image i; forward socket=\"/s\"; ssh { user u } }",
            "1:17+7 `forward` needs both `socket` and `guest` | write: forward "
            "socket=\"~/docker.sock\" guest=\"/run/docker.sock\"\n"},
        {"vm a { image i; forward socket=\"/s\" guest=80; forward socket=\"/t\" guest=\"g/h\"; ssh "
         "{ "
         "user u } }",
            "1:43+2 `guest` must be the absolute path of a socket in the guest, of 107 bytes at "
            "most "
            "| write: forward socket=\"~/docker.sock\" guest=\"/run/docker.sock\"\n"
            "1:73+5 `guest` must be the absolute path of a socket in the guest, of 107 bytes at "
            "most "
            "| write: forward socket=\"~/docker.sock\" guest=\"/run/docker.sock\"\n"},
        {"vm a { image i; forward socket=\"/s\" guest=\"/g\" host=80 proto=tcp; ssh { user u } }",
            "1:48+4 `forward` leads to a port or to a socket: `host` does not go with `socket` | "
            "write: forward socket=\"~/docker.sock\" guest=\"/run/docker.sock\"\n"
            "1:56+5 `forward` leads to a port or to a socket: `proto` does not go with `socket` | "
            "write: forward socket=\"~/docker.sock\" guest=\"/run/docker.sock\"\n"},
        {"vm a { image i; forward socket=\"/s\" guest=\"/g\" direction=in; ssh { user u } }",
            "1:58+2 `direction` must be \"to-guest\" or \"to-host\", not \"in\"\n"},
        {"vm a { image i; forward host=1 guest=1 direction=to-host }",
            "1:40+9 `direction` goes with `socket`: a port leads to the guest | remove it\n"},
        {"vm a { image i; forward socket=\"/s\" guest=\"/g\" }",
            "1:25+6 this `forward` is made over SSH, and VM \"a\" has neither `ssh` nor "
            "`cloud-init` | add: cloud-init, or: ssh { user \"…\" }\n"},
        {"vm a { image i; ssh { user u }; forward socket=\"/s\" guest=\"/g\" }; vm b { image i; "
         "ssh { "
         "user u }; forward socket=\"/s\" guest=\"/h\" direction=to-host }",
            "1:107+6 the socket '/s' is forwarded already, by VM \"a\" | choose another path\n"},
        {"vm a { image i; ssh { user u }; forward socket=\"/s\" guest=\"/g\" direction=to-host; "
         "forward "
         "socket=\"/s\" guest=\"/h\" direction=to-host; forward socket=\"/t\" guest=\"/g\" "
         "direction=to-host }",
            "1:141+6 the socket '/g' is forwarded already, by VM \"a\" | choose another path\n"},
        {"vm a { image i; forward \"all\" }",
            "1:25+5 `forward` takes no value but \"auto\" | write: forward host=8080 guest=80, or: "
            "forward \"auto\"\n"},
        {"vm a { image i; forward auto guest=80; ssh { user u } }",
            "1:30+5 `forward \"auto\"` has no `guest`: it forwards what the guest listens on | "
            "write a "
            "`forward` of its own for it\n"},
        {"vm a { image i; forward auto }",
            "1:17+7 this `forward` is made over SSH, and VM \"a\" has neither `ssh` nor "
            "`cloud-init` | add: cloud-init, or: ssh { user \"…\" }\n"},
        {"vm a { image i; forward host=1 guest=1 proto=sctp }",
            "1:46+4 `proto` must be \"tcp\" or \"udp\", not \"sctp\"\n"},
        {"vm a { image i; network tap; forward host=1 guest=1 }",
            "1:30+7 `forward` goes with network \"user\", not \"tap\" | remove it, or write: "
            "network \"user\"\n"},
        {"vm a { image i; forward host=1 guest=1; forward host=1 guest=2; forward host=1 "
         "guest=1 proto=udp }",
            "1:49+4 host port 1/tcp is already forwarded to VM \"a\" | choose another host port\n"},
        {"vm a { image i; forward host=1 guest=1 }; vm b { image i; forward host=1 guest=2 }",
            "1:67+4 host port 1/tcp is already forwarded to VM \"a\" | choose another host port\n"},
        {"vm a { image i; network tap { host-services 22 } }",
            "1:31+13 `host-services` goes with network \"user\", not \"tap\" | remove it: on a "
            "bridge the host's firewall decides\n"},
        {"vm a { image i; network user { host-services 0 70000 } }",
            "1:46+1 `host-services` must be a whole number from 1 to 65535, not 0\n"
            "1:48+5 `host-services` must be a whole number from 1 to 65535, not 70000\n"},
        {"vm a { image i; vnc port=5901 }",
            "1:17+3 `vnc` needs both `port` and `password-file` | write: vnc port=5901 "
            "password-file=\"path\"\n"},
        {"vm a { image i; vnc port=590 password-file=p }",
            "1:21+4 `port` of `vnc` must be at least 5900, not 590 | write for example: "
            "port=5901\n"},
        {"vm a { image i; vnc port=5901 password-file=p; forward host=5901 guest=1 }",
            "1:17+3 host port 5901/tcp is already forwarded to VM \"a\" | choose another host "
            "port\n"},
        {"vm a { image i; machine i440fx }", "1:25+6 `machine` must be \"q35\" or a version of it, "
                                             "or of \"virt\", not \"i440fx\" | write for "
                                             "example: machine \"pc-q35-7.2\"\n"},
    };
    (void)state;
    assert_diagnosed(cases, sizeof(cases) / sizeof(cases[0]));
}

static void cloud_init_and_ssh_take_names_a_guest_can_have(void **state)
{
    static const struct invalid cases[] = {
        {"vm a { image i; cloud-init x }",
            "1:28+1 `cloud-init` takes no value | write: cloud-init { hostname \"myvm\" }\n"},
        {"vm a { image i; cloud-init { hostname \"a_b\" } }",
            "1:39+5 `hostname` is not a valid host name: \"a_b\" | letters, digits and '-' in "
            "parts of at most 63 characters\n"},
        {"vm a { image i; cloud-init { hostname \"-a\" } }",
            "1:39+4 `hostname` is not a valid host name: \"-a\" | letters, digits and '-' in "
            "parts of at most 63 characters\n"},
        {"vm a { image i; cloud-init { seed usb } }",
            "1:35+3 `seed` must be \"scsi\", \"virtio\" or \"ide\", not \"usb\"\n"},
        {"vm a { image i; cloud-init { user-data u raw=no } }",
            "1:46+2 `raw` must be #true or #false | write: user-data \"cloud-config.yaml\" "
            "raw=#false\n"},
        {"vm a { image i; cloud-init { user-data raw=#false merge=1 } }",
            "1:30+9 `user-data` needs a value | write: user-data \"cloud-config.yaml\" "
            "raw=#false\n"
            "1:51+5 unknown property `merge` of `user-data` | known here: `raw`\n"},
        {"vm a { image i; cloud-init { user-data u raw=#false; user-data v } }",
            "1:64+1 `user-data` occurs a second time, and this one is passed on as it is | of "
            "several, each is a part beside vmctl's: write raw=#false behind each\n"},
        {"vm a { image i; cloud-init user-data=u { user-data v raw=#false } }",
            "1:52+1 `user-data` occurs a second time, and the first one is passed on as it is | of "
            "several, each is a part beside vmctl's: write raw=#false behind each\n"},
        {"vm a { image i; cloud-init { user-data u raw=#false; user-data v raw=#true } }",
            "1:64+1 `user-data` occurs a second time, and this one is passed on as it is | of "
            "several, each is a part beside vmctl's: write raw=#false behind each\n"},
        {"vm a { image i; cloud-init { user-data u; user-data v } }",
            "1:43+9 `user-data` occurs a second time | the first one is on line 1\n"},
        {"vm a { image i; cloud-init { on-error ignore } }",
            "1:39+6 `on-error` must be \"fail\" or \"warn\", not \"ignore\"\n"},
        {"vm a { image i; ssh { user Root } }",
            "1:28+4 `user` is not a valid user name: \"Root\" | lower-case letters, digits, "
            "'_' and '-', at most 32 characters\n"},
        {"vm a { image i; ssh { user a; user b } }",
            "1:31+4 `user` occurs a second time | the first one is on line 1\n"},
        {"vm a { image i; ssh user=a { user b } }",
            "1:30+4 `user` occurs a second time | the first one is on line 1\n"},
        {"vm a { image i; ssh; ssh }",
            "1:22+3 `ssh` occurs a second time | the first one is on line 1\n"},
    };
    (void)state;
    assert_diagnosed(cases, sizeof(cases) / sizeof(cases[0]));
}

static void a_provision_step_is_complete_and_unambiguous(void **state)
{
    static const struct invalid cases[] = {
        {"vm a { image i; provision; ssh }",
            "1:17+9 `provision` needs a type | write: provision \"shell\" or provision \"file\"\n"},
        {"vm a { image i; provision 5; ssh }",
            "1:27+1 `provision` must be a string, not a number | put it into quotes\n"},
        {"vm a { image i; provision shel { inline x }; ssh }",
            "1:27+4 `provision` must be \"shell\" or \"file\", not \"shel\" | did you mean "
            "`shell`?\n"},
        {"vm a { image i; provision shell; ssh }",
            "1:17+9 provision \"shell\" needs `inline` or `script` | write: provision "
            "\"shell\" { inline \"command\" }\n"},
        {"vm a { image i; provision shell { inline x; script y }; ssh }",
            "1:45+6 provision \"shell\" takes either `inline` or `script`, not both | make "
            "them two provision blocks\n"},
        {"vm a { image i; provision shell { inline \"\" }; ssh }", "1:42+2 `inline` is empty\n"},
        {"vm a { image i; provision shell { source y }; ssh }",
            "1:17+9 provision \"shell\" needs `inline` or `script` | write: provision "
            "\"shell\" { inline \"command\" }\n"
            "1:35+6 unknown node `source` in `provision` | known here: `inline`, `script`, "
            "`run`, `timeout`, `per-vm`, `env`, `secret`\n"},
        {"vm a { image i; provision file { source y }; ssh }",
            "1:17+9 provision \"file\" needs both `source` and `destination` | write: "
            "provision \"file\" { source \"path\"; destination \"/path\" }\n"},
        {"vm a { image i; provision file { source y; destination z }; ssh }",
            "1:56+1 `destination` must be an absolute path in the guest, not \"z\"\n"},
        {"vm a { image i; provision file { source y; destination \"~/z\" }; ssh }",
            "1:56+5 `destination` must be an absolute path in the guest, not \"~/z\" | write "
            "the home directory out: \"/home/USER/…\"\n"},
        {"vm a { image i; provision file { source y; destination \"/z/\" }; ssh }",
            "1:56+5 `destination` names a directory: \"/z/\" | add the name of the file\n"},
        {"vm a { image i; provision shell { inline x; run sometimes }; ssh }",
            "1:49+9 `run` must be \"always\", \"once\" or \"on-change\", not \"sometimes\"\n"},
        {"vm a { image i; provision shell { inline x; timeout \"500ms\" }; ssh }",
            "1:53+7 `timeout` is not a whole number of seconds up to 604800: \"500ms\" | write "
            "a number of seconds, or a duration such as \"90s\", \"5m\" or \"2h\"\n"},
        {"vm a { image i; provision shell { inline x; timeout \"5 minutes\" }; ssh }",
            "1:53+11 `timeout` is not a whole number of seconds up to 604800: \"5 minutes\" | "
            "write a number of seconds, or a duration such as \"90s\", \"5m\" or \"2h\"\n"},
        {"vm a { image i; provision shell { inline x; timeout -1 }; ssh }",
            "1:53+2 `timeout` must be a whole number from 0 to 604800, not -1\n"},
        {"vm a { image i; network none; provision shell { inline x } }",
            "1:31+9 provisioning runs over SSH, and network \"none\" has no way to the guest | "
            "choose another network, or remove the provision blocks\n"},
        {"vm a { image i; provision shell { inline x } }",
            "1:17+9 provisioning runs over SSH, and VM \"a\" has neither `ssh` nor `cloud-init` | "
            "add: cloud-init, or for an image with a user of its own: ssh { user \"…\" }\n"},
        {"vm a { image i; backend noop; provision shell { inline x } }", ""},
    };
    (void)state;
    assert_diagnosed(cases, sizeof(cases) / sizeof(cases[0]));
}

static void ready_probes_need_a_way_to_the_guest(void **state)
{
    static const struct invalid cases[] = {
        {"vm a { image i; ready }",
            "1:17+5 `ready` needs at least one of `tcp`, `http` and `exec` | write: ready { "
            "tcp 80 }\n"},
        {"vm a { image i; ready { tcp 0 } }",
            "1:29+1 `tcp` must be a whole number from 1 to 65535, not 0\n"},
        {"vm a { image i; ready { http healthz } }",
            "1:30+7 `http` takes a path that starts with '/', percent-encoded, not \"healthz\" "
            "| write: http \"/healthz\" port=80\n"},
        {"vm a { image i; ready { http \"/a b\" } }",
            "1:30+6 `http` takes a path that starts with '/', percent-encoded, not \"/a b\" | "
            "write: http \"/healthz\" port=80\n"},
        {"vm a { image i; ready http=\"/\" }",
            "1:17+5 `ready` needs at least one of `tcp`, `http` and `exec` | write: ready { "
            "tcp 80 }\n"
            "1:23+4 `http` cannot be a property | write: http \"/healthz\" port=80\n"},
        {"vm a { image i; ready { exec x } }",
            "1:30+1 `exec` runs over SSH, and VM \"a\" has neither `ssh` nor `cloud-init` | "
            "add: ssh { user \"…\" }\n"},
        {"vm a { image i; network none; ready { tcp 80 } }",
            "1:31+5 `ready` probes the guest, and network \"none\" has no way to it | choose "
            "another network, or remove the `ready` block\n"},
        {"vm a { image i; network none; live { tcp 80 } }",
            "1:31+4 `live` probes the guest, and network \"none\" has no way to it | choose "
            "another network, or remove the `live` block\n"},
        {"vm a { image i; live failures=2 }",
            "1:17+4 `live` needs at least one of `tcp`, `http` and `exec` | write: live { "
            "tcp 80 }\n"},
        {"vm a { image i; ssh; live period=0 failures=0 { tcp 80 } }",
            "1:34+1 `period` must be at least one second\n"
            "1:45+1 `failures` must be a whole number from 1 to 1000, not 0\n"},
        {"vm a { image i; ssh; ready start-period=5 { tcp 80 } }",
            "1:28+12 unknown property `start-period` of `ready` | known here: `tcp`, `exec`, "
            "`period`, `timeout`, `failures`\n"},
        {"vm a { image i; ready { tcp 80 } }",
            "1:29+2 `tcp` without SSH proves nothing on network \"user\": QEMU accepts the "
            "connection whether or not the guest does | add: ssh { user \"…\" }, or probe by "
            "`http`\n"},
        {"vm a { image i; forward host=8080 guest=80; live { http \"/\"; http \"/\" port=81 } }",
            "1:62+4 without SSH, port 81 of VM \"a\" is reached by a `forward` only | add: ssh { "
            "user \"…\" }, or forward the port\n"},
        {"vm a { image i; network tap; ready { tcp 80 }; live { http \"/\" } }", ""},
    };
    (void)state;
    assert_diagnosed(cases, sizeof(cases) / sizeof(cases[0]));
}

static void dependencies_exist_and_do_not_go_in_a_circle(void **state)
{
    static const struct invalid cases[] = {
        {"vm a { image i; depends-on }",
            "1:17+10 `depends-on` needs a value | write: depends-on \"db\"\n"},
        {"vm a { image i; depends-on a }", "1:28+1 VM \"a\" cannot depend on itself | remove it\n"},
        {"vm web { image i; depends-on wbe }; vm wbx { image i; depends-on web }",
            "1:30+3 `depends-on`: no VM \"wbe\" in this file | did you mean `wbx`?\n"},
        {"vm a { image i; depends-on b b }; vm b { image i }",
            "1:30+1 `depends-on` names \"b\" twice\n"},
        {"vm a { image i; depends-on b }; vm b { image i; depends-on c }; vm c { image i; "
         "depends-on b }",
            "1:92+1 `depends-on` forms a cycle: b -> c -> b | remove one of these "
            "dependencies\n"},
    };
    (void)state;
    assert_diagnosed(cases, sizeof(cases) / sizeof(cases[0]));
}

static void words_and_durations_are_those_of_the_format(void **state)
{
    static const struct invalid cases[] = {
        {"vm a { image i; restart sometimes }",
            "1:25+9 `restart` must be \"on-failure\", \"always\" or \"never\", not "
            "\"sometimes\"\n"},
        {"vm a { image i; restart on-failur }",
            "1:25+9 `restart` must be \"on-failure\", \"always\" or \"never\", not "
            "\"on-failur\" | did you mean `on-failure`?\n"},
        {"vm a { image i; restart unless-stopped }",
            "1:25+14 `restart` must be \"on-failure\", \"always\" or \"never\", not "
            "\"unless-stopped\" | did you mean `always`?\n"},
        {"vm a { image i; network bridge }",
            "1:25+6 `network` must be \"user\", \"project\", \"tap\", \"vnic\" or \"none\", not "
            "\"bridge\" | did you mean `tap`?\n"},
        {"vm a { image i; restart nat }",
            "1:25+3 `restart` must be \"on-failure\", \"always\" or \"never\", not \"nat\"\n"},
        {"vm a { image i; accel hvf }",
            "1:23+3 `accel` must be \"auto\", \"kvm\" or \"tcg\", not \"hvf\"\n"},
        {"vm a { image i; firmware efi }", "1:26+3 `firmware` must be \"bios\", \"uefi\" or "
                                           "\"uefi-secure\", not \"efi\" | did you mean "
                                           "`uefi`?\n"},
        {"vm a { image i; firmware secure-boot }",
            "1:26+11 `firmware` must be \"bios\", \"uefi\" or \"uefi-secure\", not \"secure-boot\" "
            "| did you mean `uefi-secure`?\n"},
        {"vm a { image i; arch aarch64; firmware bios; max-vcpus 2; accel kvm; machine q35 }",
            "1:31+8 firmware \"bios\" does not go with arch \"aarch64\" | write: firmware "
            "\"uefi\"\n"
            "1:46+9 `max-vcpus` does not go with arch \"aarch64\" | remove it\n"
            "1:59+5 accel \"kvm\" does not go with arch \"aarch64\" | remove it: TCG runs guests "
            "of "
            "another processor\n"
            "1:70+7 this `machine` does not go with arch \"aarch64\" | write: machine \"virt\"\n"},
        {"vm a { image i; arch riscv64; firmware uefi-secure; max-memory 4096 }",
            "1:31+8 firmware \"uefi-secure\" does not go with arch \"riscv64\" | write: firmware "
            "\"uefi\"\n"
            "1:53+10 `max-memory` does not go with arch \"riscv64\" | remove it\n"},
        {"vm a { image i; machine virt-7.2 }",
            "1:17+7 this `machine` does not go with arch \"x86_64\" | write: machine \"q35\"\n"},
        {"vm a { image i; tpm 2 }", "1:21+1 `tpm` must be #true or #false | write: tpm\n"},
        {"vm a { image i; tpm; tpm }",
            "1:22+3 `tpm` occurs a second time | the first one is on line 1\n"},
        {"vm a { image i; tpm; backend propolis }",
            "1:17+3 `tpm` goes with backend \"qemu\", not \"propolis\" | remove it\n"},
        {"vm a { image i; cloud-init; warm memory }",
            "1:34+6 `warm` must be \"never\", \"disk\", \"auto\" or \"require\", not \"memory\"\n"},
        {"vm a { image i; warm disk }",
            "1:17+4 `warm` needs `cloud-init`: it gives each clone a name and keys of its own | "
            "add: cloud-init\n"},
        {"vm a { image i; cloud-init; network none; warm disk }",
            "1:43+4 `warm` runs steps over SSH, and network \"none\" has no way to the guest | "
            "choose another network, or remove `warm`\n"},
        {"vm a { image i; backend propolis; cloud-init; network none; warm disk }",
            "1:61+4 `warm` goes with backend \"qemu\", not \"propolis\" | remove it\n"},
        {"vm a { image i; ssh; provision shell { inline x; env { \"a-b\" 1; B 1; B 2; C; D \"\" } "
         "} }",
            "1:56+5 \"a-b\" cannot be the name of a variable | letters, digits and '_', no digit "
            "first\n1:70+1 `B` occurs a second time\n1:75+1 `C` needs a value | write: env { DEBUG "
            "\"1\" }\n"},
        {"vm a { image i; ssh; provision shell { inline x; env A=1 { B 1 { x } } } }",
            "1:54+1 `env` has a block only | write: env { DEBUG \"1\" }\n1:60+1 `B` has no block | "
            "write: env { DEBUG \"1\" }\n"},
        {"vm a { image i; ssh; provision shell { inline x; secret A; secret from-env=B; secret a-b "
         "from-env=B } }",
            "1:50+6 `secret` needs one of from-env, from-file and from-command | write: secret "
            "\"TOKEN\" from-env=\"TOKEN\"\n1:60+6 `secret` needs a value | write: secret \"TOKEN\" "
            "from-env=\"TOKEN\"\n1:86+3 \"a-b\" cannot be the name of a variable | letters, digits "
            "and '_', no digit first\n"},
        {"vm a { image i; ssh; provision shell { inline x; env { A 1 }; secret A from-env=B; "
         "secret B "
         "from-env=\"1\" from-command=x; secret C from-env=\"a=b\" } }",
            "1:70+1 `A` occurs a second time\n1:84+6 `secret` needs one of from-env, from-file and "
            "from-command | write: secret \"TOKEN\" from-env=\"TOKEN\"\n1:102+3 `from-env`: \"1\" "
            "cannot be the name of a variable | letters, digits and '_', no digit first\n1:140+5 "
            "`from-env`: \"a=b\" cannot be the name of a variable | letters, digits and '_', no "
            "digit "
            "first\n"},
        {"vm a { image \"/i\"; node b; ssh; provision shell { inline x; secret A from-env=B } }",
            "1:79+1 `from-env` is of this host, and the VM is on node \"b\" | use from-file or "
            "from-command, which are that host's\n"},
        {"vm a { image i; ssh; provision file { source x; destination \"/x\"; env { A 1 } } }",
            "1:67+3 unknown node `env` in `provision` | known here: `source`, `destination`, "
            "`run`, "
            "`timeout`, `per-vm`\n"},
        {"vm a { image i; ssh; provision shell per-vm=1 { inline x } }",
            "1:45+1 `per-vm` must be #true or #false | write: per-vm=#true\n"},
        {"vm a { image i; label tier }",
            "1:17+5 `label` needs a value | write: label \"tier\" \"web\"\n"},
        {"vm a { image i; label \"a b\" x; label t \"-\"; label k 1; label k 2; protect yes }",
            "1:23+5 \"a b\" cannot be the key of a label | letters, digits, '.', '_', '-' and '/', "
            "a "
            "letter or digit first, at most 63 characters\n"
            "1:40+3 \"-\" cannot be the value of a label | letters, digits, '.', '_' and '-', a "
            "letter or digit first, at most 63 characters\n"
            "1:62+1 VM \"a\" has two labels \"k\" | a key has one value: remove one of them\n"
            "1:75+3 `protect` must be #true or #false | write: protect\n"},
        {"vm a { image i; autostart no }",
            "1:27+2 `autostart` must be #true or #false | write: autostart #false\n"},
        {"vm a { image i; stop-timeout 86401 }",
            "1:30+5 `stop-timeout` must be a whole number from 0 to 86400, not 86401\n"},
    };
    (void)state;
    assert_diagnosed(cases, sizeof(cases) / sizeof(cases[0]));
}

/* Only /project/there exists, a file. */
static const char *file_problem(void *context, const char *path, bool is_directory)
{
    (void)context;
    return is_directory                      ? "no readable directory at"
           : text_eq(path, "/project/there") ? NULL
                                             : "no readable file at";
}

static void every_missing_file_is_told_with_its_absolute_path(void **state)
{
    static const char text[] = "vm a {\n"
                               "  image \"../x.img\"\n"
                               "  cloud-init { ssh-key \"~/k.pub\"; user-data \"/u\" }\n"
                               "  ssh { private-key k }\n"
                               "  provision shell { script there }\n"
                               "  provision shell { script gone }\n"
                               "  provision file { source \"./gone\"; destination \"/d\" }\n"
                               "  share \"there\" \"/work\"\n"
                               "}\n";
    struct vmfile_env env = unchecked;
    (void)state;
    env.file_problem = file_problem;
    cleanup_free char *found = diagnose(text, strlen(text), &env);
    assert_string_equal(found, "2:9+10 `image`: no readable file at '/x.img' | "
                               "relative paths start at the directory of the VMFile\n"
                               "3:24+9 `ssh-key`: no readable file at '/home/me/k.pub'\n"
                               "3:45+4 `user-data`: no readable file at '/u'\n"
                               "4:21+1 `private-key`: no readable file at '/project/k' | "
                               "relative paths start at the directory of the VMFile\n"
                               "6:28+4 `script`: no readable file at '/project/gone' | "
                               "relative paths start at the directory of the VMFile\n"
                               "7:27+8 `source`: no readable file at '/project/gone' | "
                               "relative paths start at the directory of the VMFile\n"
                               "8:9+7 `share`: no readable directory at '/project/there' | "
                               "relative paths start at the directory of the VMFile\n");
}

static bool fails_to_read(void *context, const char *path, struct buf *ret)
{
    (void)context;
    (void)path;
    (void)ret;
    errno = EIO;
    return false;
}

static void a_file_whose_content_cannot_be_read_is_an_error(void **state)
{
    static const char text[] = "vm a { image i; cloud-init { user-data u } }";
    struct vmfile_env env = unchecked;
    (void)state;
    env.read_file = fails_to_read;
    cleanup_free char *found = diagnose(text, strlen(text), &env);
    assert_string_equal(
        found, "1:40+1 `user-data` '/project/u': it cannot be read: Input/output error\n");
}

static void a_path_below_a_directory_that_is_not_utf8_is_an_error(void **state)
{
    static const char text[] = "vm a { image i }";
    struct vmfile_env env = unchecked;
    (void)state;
    env.base_dir = "/pro\xffject";
    cleanup_free char *found = diagnose(text, strlen(text), &env);
    assert_string_equal(
        found, "1:14+1 `image`: the path '/pro\\xffject/i' is not UTF-8 | rename its directory\n");
}

static void a_syntax_error_is_the_only_one_and_is_marked(void **state)
{
    static const char text[] = "vm a {\n  memry 5\n";
    (void)state;
    struct vmfile *file = vmfile_parse(text, strlen(text), &unchecked);
    assert_int_equal(file->n_diagnostics, 1);
    assert_true(file->diagnostics[0].is_syntax);
    assert_int_equal(file->n_vms, 0);
    vmfile_free(file);
}

static void a_file_without_a_vm_is_an_error(void **state)
{
    static const char *const empty[] = {"", "\n", "// nothing\n", "/- vm a { image i }"};
    (void)state;
    for (size_t i = 0; i < sizeof(empty) / sizeof(empty[0]); i++) {
        cleanup_free char *found = diagnose(empty[i], strlen(empty[i]), &unchecked);
        assert_string_equal(found, "1:1+1 the file defines no VM | "
                                   "write: vm \"name\" { image-url \"https://…\" }\n");
    }
}

static void errors_come_in_the_order_of_the_file(void **state)
{
    static const char text[] = "vm b { image i; depends-on x; memry 1 }\nvm b { vcpus 0 }\n";
    (void)state;
    cleanup_free char *found = diagnose(text, strlen(text), &unchecked);
    assert_string_equal(found,
        "1:28+1 `depends-on`: no VM \"x\" in this file\n"
        "1:31+5 unknown node `memry` in `vm` | did you mean `memory`?\n"
        "2:4+1 VM \"b\" has no image source | add image-url \"https://…\" or image \"path\"\n"
        "2:4+1 VM \"b\" is defined twice: the first one is on line 1 | "
        "every VM of a file needs a name of its own\n"
        "2:14+1 `vcpus` must be a whole number from 1 to 1024, not 0\n");
}

static void the_number_of_errors_and_of_vms_is_bounded(void **state)
{
    cleanup_buf struct buf text = BUF_INIT(0);
    (void)state;
    for (int i = 0; i < 300; i++) {
        buf_add_str(&text, "nonsense\n");
    }
    struct vmfile *file = vmfile_parse(text.data, text.len, &unchecked);
    assert_int_equal(file->n_diagnostics, 100);
    vmfile_free(file);
    buf_reset(&text);
    for (int i = 0; i < 1100; i++) {
        buf_printf(&text, "vm v%d { image i }\n", i);
    }
    cleanup_free char *found = diagnose(text.data, text.len, &unchecked);
    assert_string_equal(found, "1025:1+2 a file can have at most 1024 VMs | split the file\n");
}

static void a_long_chain_of_dependencies_is_no_error(void **state)
{
    cleanup_buf struct buf text = BUF_INIT(0);
    (void)state;
    for (int i = 0; i < 1023; i++) {
        buf_printf(&text, "vm v%d { image i; depends-on v%d }\n", i, i + 1);
    }
    buf_add_str(&text, "vm v1023 { image i }\n");
    cleanup_free char *found = diagnose(text.data, text.len, &unchecked);
    assert_string_equal(found, "");
}

static void a_message_is_one_printable_line_whatever_the_file_holds(void **state)
{
    static const char text[] = "\"a\\u{1b}[31m\\n\\tb\"";
    cleanup_buf struct buf name = BUF_INIT(0);
    (void)state;
    cleanup_free char *found = diagnose(text, strlen(text), &unchecked);
    assert_string_equal(found,
        "1:1+18 unknown node `a\\x1b[31m\\n\\tb` at the top of the file, "
        "which holds `vm` blocks | write: vm \"name\" { image \"debian:12\" }\n");
    for (int i = 0; i < 3000; i++) {
        buf_add_str(&name, "é");
    }
    struct vmfile *file = vmfile_parse(name.data, name.len, &unchecked);
    assert_in_range(strlen(file->diagnostics[0].message), 700, 810);
    assert_true(text_ends_with(file->diagnostics[0].message, "é…"));
    vmfile_free(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_unknown_node_or_property_is_an_error_with_a_hint),
        cmocka_unit_test(a_further_disk_has_one_of_two_forms),
        cmocka_unit_test(a_path_of_a_vm_elsewhere_is_one_of_that_host),
        cmocka_unit_test(a_share_is_a_directory_here_and_one_there),
        cmocka_unit_test(a_volume_has_a_name_a_way_to_be_mounted_and_a_directory_of_its_own),
        cmocka_unit_test(a_vm_needs_a_valid_name_of_its_own),
        cmocka_unit_test(a_vm_has_exactly_one_image_source),
        cmocka_unit_test(a_value_is_checked_for_its_type_and_characters),
        cmocka_unit_test(an_image_is_a_path_and_an_image_url_a_url),
        cmocka_unit_test(resources_are_whole_numbers_within_their_range),
        cmocka_unit_test(a_single_value_stands_once_and_plainly),
        cmocka_unit_test(sizes_are_numbers_or_have_a_known_suffix),
        cmocka_unit_test(limits_have_units_and_leave_room),
        cmocka_unit_test(addresses_are_those_of_one_machine),
        cmocka_unit_test(the_networks_of_a_vm_go_together),
        cmocka_unit_test(network_fields_belong_to_their_mode),
        cmocka_unit_test(a_host_port_is_forwarded_once_in_a_file),
        cmocka_unit_test(cloud_init_and_ssh_take_names_a_guest_can_have),
        cmocka_unit_test(a_provision_step_is_complete_and_unambiguous),
        cmocka_unit_test(ready_probes_need_a_way_to_the_guest),
        cmocka_unit_test(dependencies_exist_and_do_not_go_in_a_circle),
        cmocka_unit_test(words_and_durations_are_those_of_the_format),
        cmocka_unit_test(every_missing_file_is_told_with_its_absolute_path),
        cmocka_unit_test(a_file_whose_content_cannot_be_read_is_an_error),
        cmocka_unit_test(a_path_below_a_directory_that_is_not_utf8_is_an_error),
        cmocka_unit_test(a_syntax_error_is_the_only_one_and_is_marked),
        cmocka_unit_test(a_file_without_a_vm_is_an_error),
        cmocka_unit_test(errors_come_in_the_order_of_the_file),
        cmocka_unit_test(the_number_of_errors_and_of_vms_is_bounded),
        cmocka_unit_test(a_long_chain_of_dependencies_is_no_error),
        cmocka_unit_test(a_message_is_one_printable_line_whatever_the_file_holds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
