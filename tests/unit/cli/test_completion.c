/* SPDX-License-Identifier: MPL-2.0 */
/* The script for bash is run by bash, where `vmctl` is a function that knows two VMs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/completion.h"
#include "specs/base/buf.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"

/* What bash prints for the script; its standard error is the test's. */
static void run_bash(const char *script, struct buf *out)
{
    char path[] = "/tmp/vmctl-test-completion-XXXXXX";
    int pipe_fds[2];
    struct error err = {.code = ERR_NONE};
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(fs_write_all(fd, script, strlen(script), &err), 0);
    close(fd);
    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        (void)dup2(pipe_fds[1], STDOUT_FILENO);
        (void)execlp("bash", "bash", "--norc", path, (char *)NULL);
        _exit(127);
    }
    close(pipe_fds[1]);
    char bytes[4096];
    for (ssize_t n; (n = read(pipe_fds[0], bytes, sizeof(bytes))) > 0;) {
        buf_add(out, bytes, (size_t)n);
    }
    close(pipe_fds[0]);
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(unlink(path), 0);
}

/* The words offered when the cursor is behind the last of `words`, separated by spaces. */
static void check_offers(const char *words, const char *expected)
{
    cleanup_buf struct buf script = BUF_INIT(0), out = BUF_INIT(0);
    assert_true(completion_add(&script, "bash"));
    buf_printf(&script,
        "timeout() { shift; \"$@\"; }\n"
        "vmctl() {\n"
        "    case $* in\n"
        "    'list -o name') printf 'db\\nweb\\n' ;;\n"
        "    'validate -o name') printf 'new\\nweb\\n' ;;\n"
        "    'validate -o name --file=other.kdl') printf 'other\\n' ;;\n"
        "    'image search -o name') printf 'debian:12\\ndebian:13\\nubuntu:24.04\\n' ;;\n"
        "    'image list -o name') printf 'debian:12\\n' ;;\n"
        "    'snapshot list web -o name') printf 'before\\nclean\\n' ;;\n"
        "    'volume list -o name') printf 'data\\n' ;;\n"
        "    'node list -o name') printf 'b\\nc\\n' ;;\n"
        "    'explain -o name') printf 'vmctl::io\\nvmctl::vm::failed\\n' ;;\n"
        "    'init --list -o name') printf 'debian\\nci\\n' ;;\n"
        "    '-q exec --ssh-opt BatchMode=yes web -- '*' sh /et') printf '/etc/\\n' ;;\n"
        "    '-q exec --ssh-opt BatchMode=yes web -- '*' sh ') printf 'a b\\nc\\n' ;;\n"
        "    esac\n"
        "}\n"
        "COMP_LINE='%s'\nCOMP_POINT=${#COMP_LINE}\nCOMP_LINE=${COMP_LINE// :: /::}\n"
        "COMP_WORDS=(%s)\nCOMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n_vmctl\n"
        "printf '%%s' \"${COMPREPLY[*]}\"\n",
        words, words);
    run_bash(buf_str(&script), &out);
    assert_string_equal(buf_str(&out), expected);
}

static void commands_are_offered_first(void **state)
{
    (void)state;
    check_offers("vmctl desto", "");
    check_offers("vmctl destr", "destroy");
    check_offers("vmctl --output json destr", "destroy");
}

static void vms_and_options_are_offered_behind_a_command(void **state)
{
    (void)state;
    check_offers("vmctl destroy ''", "db web");
    check_offers("vmctl destroy w", "web");
    check_offers("vmctl up --no-prov", "--no-provision");
    check_offers("vmctl restart --name d", "db");
    check_offers("vmctl ps -o js", "json");
    check_offers("vmctl list --output = y", "yaml");
}

static void words_of_a_command_are_offered(void **state)
{
    (void)state;
    check_offers("vmctl controller st", "start stop status");
    check_offers("vmctl image p", "pull prune");
    check_offers("vmctl image D", "");
    check_offers("vmctl image P", "");
    check_offers("vmctl volume ''", "list attach detach rm"); /* and neither VMs nor files */
    check_offers("vmctl volume attach w", "web");
}

/* Each word has a kind of its own; options and their values in between do not count. */
static void what_a_word_names_is_offered_at_its_place(void **state)
{
    (void)state;
    check_offers("vmctl snapshot restore ''", "db web");
    check_offers("vmctl snapshot restore web ''", "before clean");
    check_offers("vmctl snapshot --timeout 5 rm web b", "before");
    check_offers("vmctl snapshot restore web clean ''", "");
    check_offers("vmctl snapshot create web ''", "");
    check_offers("vmctl snapshot list web ''", "db web");
    check_offers("vmctl template build ''", "new web"); /* of the VMFile: none need be made */
    check_offers("vmctl import /etc/hostn", "/etc/hostname");
    check_offers("vmctl import FILE", "");
    check_offers("vmctl volume attach web ''", "data");
    check_offers("vmctl volume rm ''", "data");
    check_offers("vmctl exec db ''", "");
    check_offers("vmctl exec --user root ''", "db web");
    check_offers("vmctl clone ''", "db web");
    check_offers("vmctl clone web ''", "");
    check_offers("vmctl node rm ''", "b c");
    check_offers("vmctl --node ''", "b c");
    check_offers("vmctl explain ''", "vmctl::io vmctl::vm::failed");
    check_offers("vmctl explain fa", "failed");
    check_offers("vmctl explain vmctl :: vm :: fa", "failed");
    check_offers("vmctl init ''", "debian ci");
    check_offers("vmctl init ci ''", "");
}

/* bash takes the colon for a word: what stands before it is not offered again. */
static void images_are_offered_by_name(void **state)
{
    (void)state;
    check_offers("vmctl image pull deb", "debian:12 debian:13");
    check_offers("vmctl image pull debian :", "12 13");
    check_offers("vmctl image pull debian : 1", "12 13");
    check_offers("vmctl image pull debian:1", "debian:12 debian:13");
    check_offers("vmctl create --name w", ""); /* a new one */
    check_offers("vmctl create --image ubu", "ubuntu:24.04");
    check_offers("vmctl create --image ubuntu : 24", "24.04");
    check_offers("vmctl create --image = ubuntu : 24", "24.04");
    check_offers("vmctl create --image /proc/self/cmdl", "/proc/self/cmdline");
    check_offers("vmctl image rm ''", "debian:12");
}

/* What `up` can be given are the VMs that the file describes, also before they are made. */
static void vms_of_the_vmfile_are_offered_to_what_reads_it(void **state)
{
    (void)state;
    check_offers("vmctl up ''", "new web");
    check_offers("vmctl up --name n", "new");
    check_offers("vmctl up -f other.kdl ''", "other");
    check_offers("vmctl diff --file = other.kdl ''", "other");
    check_offers("vmctl down n", "");
}

static void values_of_few_words_are_offered(void **state)
{
    (void)state;
    check_offers("vmctl up --prune =", "stop destroy");
    check_offers("vmctl up --prune = d", "destroy");
    check_offers("vmctl up --prune ''", "new web"); /* its value stands behind `=` */
    check_offers("vmctl wait --for d", "delete");
    check_offers("vmctl wait --for c", "condition=");
    check_offers("vmctl wait --for condition = Read", "Ready");
    check_offers("vmctl wait --for = condition = Prov", "Provisioned");
    check_offers("vmctl help reso", "");
    check_offers("vmctl help resu", "resume");
}

static void of_a_verb_its_own_options_are_offered(void **state)
{
    (void)state;
    check_offers("vmctl image list --d", "--data-dir");
    check_offers("vmctl image prune --d", "--data-dir --dry-run --detach");
    check_offers("vmctl image pull --n", "--node --name");
    check_offers("vmctl controller stop --sh", "--shut-down-vms");
    check_offers("vmctl controller status --sh", "");
    check_offers("vmctl image list p", "");
}

static void files_of_the_guest_are_offered_behind_a_colon(void **state)
{
    (void)state;
    check_offers("vmctl cp we", "web:");
    check_offers("vmctl cp /proc/self/cmdl", "/proc/self/cmdline");
    check_offers("vmctl cp web : /et", "/etc/");
    check_offers("vmctl cp /proc/version web :", "a\\ b c");
    check_offers("vmctl cp web:/et", "web:/etc/"); /* of a shell that keeps it one word */
    check_offers("vmctl cp db : /et", "");
}

static void files_are_offered_where_a_path_is_meant(void **state)
{
    (void)state;
    check_offers("vmctl up --file /proc/self/cmdl", "/proc/self/cmdline");
    check_offers("vmctl up --timeout ''", "");
}

static void every_command_and_option_is_in_every_script(void **state)
{
    (void)state;
    static const char *const shells[] = {"bash", "zsh", "fish"};
    for (size_t i = 0; i < 3; i++) {
        cleanup_buf struct buf script = BUF_INIT(0);
        assert_true(completion_add(&script, shells[i]));
        for (size_t c = 0; cli_commands[c]; c++) {
            assert_non_null(strstr(buf_str(&script), cli_commands[c]->name));
            const struct arg_option *o = cli_commands[c]->options;
            for (; o && o->name; o++) {
                assert_true(!o->help || strstr(buf_str(&script), o->name));
            }
        }
    }
}

static void another_shell_is_unknown(void **state)
{
    (void)state;
    cleanup_buf struct buf script = BUF_INIT(0);
    assert_false(completion_add(&script, "tcsh"));
    assert_int_equal(script.len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands_are_offered_first),
        cmocka_unit_test(vms_and_options_are_offered_behind_a_command),
        cmocka_unit_test(words_of_a_command_are_offered),
        cmocka_unit_test(what_a_word_names_is_offered_at_its_place),
        cmocka_unit_test(images_are_offered_by_name),
        cmocka_unit_test(vms_of_the_vmfile_are_offered_to_what_reads_it),
        cmocka_unit_test(values_of_few_words_are_offered),
        cmocka_unit_test(of_a_verb_its_own_options_are_offered),
        cmocka_unit_test(files_of_the_guest_are_offered_behind_a_colon),
        cmocka_unit_test(files_are_offered_where_a_path_is_meant),
        cmocka_unit_test(every_command_and_option_is_in_every_script),
        cmocka_unit_test(another_shell_is_unknown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
