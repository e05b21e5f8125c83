/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl init: writes a VMFile to begin with. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/show/output.h"
#include "cli/show/table.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/json.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/text.h"
#include "specs/base/user_path.h"
#include "specs/vm/vm_spec.h"

struct init_values {
    const char *starter;
    const char *file;
    bool lists;
};

static const struct arg_option options[] = {
    {"starter", 't', ARG_TEXT, offsetof(struct init_values, starter),
        "debian|ubuntu|alpine|ci|multi", "what to begin with [default: debian]"},
    {"template", 0, ARG_TEXT, offsetof(struct init_values, starter), "NAME", NULL}, /* of 0.1.0 */
    {"file", 'f', ARG_TEXT, offsetof(struct init_values, file), "PATH",
        "file to write [default: $VMCTL_FILE, ./VMFile.kdl]"},
    {"list", 0, ARG_FLAG, offsetof(struct init_values, lists), NULL, "list the starters"},
    OPTIONS_END,
};

#define HEAD                                                                                       \
    "// vmctl up      creates and starts what is described here\n"                                 \
    "// vmctl ssh     a shell in it\n"                                                             \
    "// vmctl down    stops it; with --destroy removes it and its disk\n"                          \
    "// Reference: man 5 VMFile.kdl\n"

/* Of one distribution. */
#define SINGLE(image, memory, disk, install)                                                       \
    HEAD "vm \"@\" {\n"                                                                            \
         "    image \"" image                                                                      \
         "\" // of vmctl image search; or image-url \"URL\", image \"PATH\"\n"                     \
         "    vcpus 2\n"                                                                           \
         "    memory " memory " // MB\n"                                                           \
         "    disk " disk " // GB\n"                                                               \
         "\n"                                                                                      \
         "    cloud-init // makes the user, with a key of vmctl's own and ssh-key \"PATH\"\n"      \
         "    ssh // as the image's user, or user=\"NAME\"\n"                                      \
         "\n"                                                                                      \
         "    // forward host=8080 guest=80\n"                                                     \
         "    // provision \"shell\" {\n"                                                          \
         "    //     inline \"" install "\"\n"                                                     \
         "    // }\n"                                                                              \
         "}\n"

/* "@" stands for the name. */
static const struct {
    const char *name, *summary, *text;
    const char *suffix; /* the longest that it appends to the name */
} starters[] = {
    {"debian", "Debian 12",
        SINGLE("debian:12", "2048", "20", "sudo apt-get update && sudo apt-get install -y nginx"),
        ""},
    {"ubuntu", "Ubuntu 24.04",
        SINGLE(
            "ubuntu:24.04", "2048", "20", "sudo apt-get update && sudo apt-get install -y nginx"),
        ""},
    {"alpine", "Alpine 3.22, the smallest", SINGLE("alpine:3.22", "512", "4", "doas apk add nginx"),
        ""},
    {"ci", "a fresh machine for every job: vmctl run --rm -- make test",
        "// vmctl run --rm -- make test    in a fresh machine that is gone afterwards\n"
        "// The exit status is the command's.\n"
        "vm \"@\" {\n"
        "    image \"debian:12\"\n"
        "    vcpus 2\n"
        "    memory 2048 // MB\n"
        "    disk 20 // GB\n"
        "\n"
        "    cloud-init\n"
        "    ssh\n"
        "    restart \"never\"\n"
        "\n"
        "    provision \"shell\" {\n"
        "        inline \"sudo apt-get update && sudo apt-get install -y make gcc\"\n"
        "        timeout \"10m\"\n"
        "    }\n"
        "}\n",
        ""},
    {"multi", "a web server that waits for its database",
        "// vmctl up           both, the second once the first serves\n"
        "// vmctl up @-db      only this one\n"
        "// vmctl ssh @-web    with several VMs a name is needed\n"
        "vm \"@-db\" {\n"
        "    image \"debian:12\"\n"
        "    vcpus 2\n"
        "    memory 2048 // MB\n"
        "    disk 20 // GB\n"
        "\n"
        "    cloud-init\n"
        "    ssh\n"
        "    forward host=5432 guest=5432\n"
        "\n"
        "    provision \"shell\" {\n"
        "        inline \"sudo apt-get update && sudo apt-get install -y postgresql\"\n"
        "        run \"once\"\n"
        "    }\n"
        "    ready {\n"
        "        exec \"pg_isready\"\n"
        "    }\n"
        "}\n"
        "\n"
        "vm \"@-web\" {\n"
        "    image \"debian:12\"\n"
        "    vcpus 1\n"
        "    memory 1024 // MB\n"
        "    disk 10 // GB\n"
        "\n"
        "    cloud-init\n"
        "    ssh\n"
        "    forward host=8080 guest=80\n"
        "    depends-on \"@-db\"\n"
        "\n"
        "    provision \"shell\" {\n"
        "        inline \"sudo apt-get update && sudo apt-get install -y nginx\"\n"
        "        run \"once\"\n"
        "    }\n"
        "    ready {\n"
        "        http \"/\" port=80\n"
        "    }\n"
        "}\n",
        "-web"},
};

/* The count when there is none. */
static size_t find_starter(const char *name)
{
    size_t i = 0;
    while (i < ARRAY_LEN(starters) && !text_eq(starters[i].name, name)) {
        i++;
    }
    return i;
}

static int list_starters(const struct cli *cli)
{
    cleanup_json json_t *array = json_array();
    cleanup_buf struct buf out = BUF_INIT(0);
    cleanup_with(table_clear) struct table table;
    table_init(&table, 2);
    table_add(&table, "STARTER");
    table_add(&table, "DESCRIPTION");
    for (size_t i = 0; i < ARRAY_LEN(starters); i++) {
        json_t *json = json_object();
        json_put_text(json, "name", starters[i].name);
        json_put_text(json, "description", starters[i].summary);
        (void)json_array_append_new(array, json);
        table_add(&table, starters[i].name);
        table_add(&table, starters[i].summary);
        if (cli->output == OUTPUT_NAME) {
            puts(starters[i].name);
        }
    }
    table_print(&table, &out);
    if (output_is_data(cli)) {
        output_print(cli, array);
    } else if (cli->output != OUTPUT_NAME) {
        fputs(buf_str(&out), stdout);
    }
    return 0;
}

/* The name of the file's directory, as far as it can be a VM's. free() it. */
static char *default_name(const char *path)
{
    cleanup_free char *cwd = getcwd(NULL, 0);
    cleanup_free char *absolute = fs_resolve(path, cwd ? cwd : "/", paths_home());
    *strrchr(absolute, '/') = '\0';
    const char *slash = strrchr(absolute, '/');
    char *name = mem_printf("%.*s", SPEC_NAME_MAX / 2, slash ? slash + 1 : "");
    for (char *p = name; *p; p++) {
        const char one[] = {'a', *p, '\0'};
        *p = vm_spec_name_is_valid(one) ? *p : '-';
    }
    if (!vm_spec_name_is_valid(name)) { /* it begins with what only may follow */
        free(name);
        name = mem_strdup("vm");
    }
    return name;
}

static int write_new(
    const struct cli *cli, const char *path, const struct buf *text, struct error *err)
{
    struct stat st;
    const char *slash = strrchr(path, '/');
    cleanup_free char *directory =
        slash ? mem_strndup(path, (size_t)(slash - path) + 1) : mem_strdup(".");
    if (user_path_stat(directory, &st) < 0 &&
        errno == ETIMEDOUT) { /* creating it would hang, too */
        (void)error_set_errno(err, ERR_IO, errno, "cannot write '%s'", path);
        return error_help(err, "see what serves it: findmnt -T '%s'", path);
    }
    (void)umask(cli->caller_umask);
    cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0 && errno == EEXIST) {
        (void)error_set(err, ERR_IO, "'%s' exists already and was not changed", path);
        return error_help(err, "bring its VMs up: vmctl up; or write another file: --file PATH");
    }
    if (fd < 0) {
        return error_set_errno(err, ERR_IO, errno, "cannot write '%s'", path);
    }
    int rc = fs_write_all(fd, buf_str(text), text->len, err);
    if (rc < 0) {
        (void)unlink(path);
    }
    return rc;
}

static int choose_starter(
    const struct init_values *init, const char *name, size_t *ret, struct error *err)
{
    const char *names[ARRAY_LEN(starters)];
    size_t named = name ? find_starter(name) : ARRAY_LEN(starters);
    *ret = init->starter                 ? find_starter(init->starter)
           : named < ARRAY_LEN(starters) ? named /* `init alpine`, of a machine "alpine" */
                                         : 0;
    if (*ret < ARRAY_LEN(starters)) {
        return 0;
    }
    for (size_t i = 0; i < ARRAY_LEN(starters); i++) {
        names[i] = starters[i].name;
    }
    const char *nearest = text_nearest(init->starter, names, ARRAY_LEN(names));
    (void)error_set(err, ERR_USAGE, "there is no starter '%s'", init->starter);
    return nearest ? error_help(err, "did you mean '%s'? see: vmctl init --list", nearest)
                   : error_help(err, "see: vmctl init --list");
}

static int run(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    const struct init_values *init = values;
    const char *from_env = getenv("VMCTL_FILE");
    const char *path = init->file ? init->file : from_env && from_env[0] ? from_env : "VMFile.kdl";
    cleanup_buf struct buf text = BUF_INIT(0);
    size_t chosen;
    if (init->lists) {
        return list_starters(cli);
    }
    if (words->count > 1) {
        return error_set(err, ERR_USAGE, "init takes one name");
    }
    cleanup_free char *name = words->count ? mem_strdup(words->items[0]) : default_name(path);
    int rc = choose_starter(init, words->count ? name : NULL, &chosen, err);
    if (rc < 0) {
        return rc;
    }
    cleanup_free char *longest = mem_printf("%s%s", name, starters[chosen].suffix);
    if (!vm_spec_name_is_valid(longest)) {
        (void)error_set(err, ERR_USAGE, "'%s' cannot be the name of a VM", longest);
        return error_help(err,
            "1 to %d of A-Z a-z 0-9 . _ -, a letter or digit first; starters: vmctl init --list",
            SPEC_NAME_MAX);
    }
    for (const char *p = starters[chosen].text; *p; p++) {
        if (*p == '@') {
            buf_add_str(&text, name);
        } else {
            buf_add_char(&text, *p);
        }
    }
    rc = write_new(cli, path, &text, err);
    if (rc == 0) {
        printf("%s: written from '%s'\n", path, starters[chosen].name);
        cli_note(cli, "next: read it, then vmctl up");
    }
    return rc;
}

const struct command command_init = {
    .name = "init",
    .summary = "Write a first VMFile",
    .usage = "[OPTIONS] [NAME]",
    .details =
        "Writes VMFile.kdl from a starter, for a VM of that name; without a name the VM is called\n"
        "like the directory. The name of a starter alone selects it: `vmctl init alpine`. An\n"
        "existing file is not changed.",
    .examples = "  vmctl init && vmctl up\n"
                "  vmctl init web --starter ubuntu\n"
                "  vmctl init --list",
    .options = options,
    .values_size = sizeof(struct init_values),
    .needs_no_store = true,
    .run = run,
};
