/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl fleet: several hosts with one list of VMs, which they share in etcd. */
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/doctor/command_output.h"
#include "cli/fleet/fleet_view.h"
#include "cli/fleet/fleet_vms.h"
#include "cli/nodes/nodes.h"
#include "cli/options.h"
#include "cli/request/verbs.h"
#include "cli/show/output.h"
#include "cli/show/table.h"
#include "cli/wait/controller_process.h"
#include "cli/wait/wait_loop.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/fleet/fleet_ask.h"
#include "specs/fleet/fleet_config.h"
#include "specs/fleet/fleet_keys.h"
#include "specs/fleet/fleet_sources.h"
#include "specs/vmfile/nodes_file.h"
#include "store/batch.h"
#include "store/store.h"

enum { ASK_MS = 60 * 1000, ANSWER_MAX = 1 << 20 };

struct fleet_values {
    const char *fleet, *node, *ssh;
    struct arg_strings endpoints;
    struct arg_strings labels;
    const char *ca, *cert, *key, *accept;
    bool is_forced;
    bool stops;
    bool leaves_snapshots;
    struct follow_values follow; /* of `drain` */
};

static const struct arg_option options[] = {
    {"fleet", 0, ARG_TEXT, offsetof(struct fleet_values, fleet), "NAME",
        "init, join: the fleet's name [default: home]"},
    {"as", 0, ARG_TEXT, offsetof(struct fleet_values, node), "NODE",
        "init, join: this host's name in it [default: its hostname]"},
    {"etcd", 0, ARG_REPEATED, offsetof(struct fleet_values, endpoints), "URL",
        "init, join: a member of etcd, https://a.lan:2379; repeat it for each"},
    {"ca", 0, ARG_TEXT, offsetof(struct fleet_values, ca), "FILE",
        "init, join: the certificate that etcd's is signed with"},
    {"cert", 0, ARG_TEXT, offsetof(struct fleet_values, cert), "FILE",
        "init, join: this node's certificate"},
    {"key", 0, ARG_TEXT, offsetof(struct fleet_values, key), "FILE", "init, join: its key"},
    {"label", 0, ARG_REPEATED, offsetof(struct fleet_values, labels), "KEY=VALUE",
        "init, join: a label of this node, for node \"any:KEY=VALUE\"; repeatable"},
    {"accept", 0, ARG_TEXT, offsetof(struct fleet_values, accept), "WORDS",
        "init, join: what VMs of the fleet may use here, of url, cache, path "
        "[default: url,cache]; resume: etcd, as it is now"},
    {"force", 0, ARG_FLAG, offsetof(struct fleet_values, is_forced), NULL,
        "leave: without asking etcd; join: in place of a host that is gone for good"},
    {"stop", 0, ARG_FLAG, offsetof(struct fleet_values, stops), NULL,
        "drain: shut down VMs that run, and start them on their new nodes"},
    {"without-snapshots", 0, ARG_FLAG, offsetof(struct fleet_values, leaves_snapshots), NULL,
        "drain: also VMs with snapshots, which stay behind in quarantine/"},
    OPTIONS_FOLLOW(struct fleet_values),
    {"ssh", 0, ARG_TEXT, offsetof(struct fleet_values, ssh), "USER@HOST",
        "init, join: how the other nodes reach this one [default: you, and its hostname]"},
    OPTIONS_END,
};

/* ---- etcd, which vmctld asks: vmctl has no connection of its own ---- */

static int ask_etcd(struct cli *cli, const char *verb, const struct fleet_config *config,
    json_t **ret, struct error *err)
{
    cleanup_free char *program = cli_program_beside("vmctld");
    cleanup_free char *directory = paths_path(&cli->paths, "fleet");
    cleanup_free char *name = mem_printf("fleet/config.%d.new", (int)getpid());
    cleanup_free char *path = paths_path(&cli->paths, name);
    cleanup_json json_t *settings = fleet_config_to_json(config);
    cleanup_free char *text = json_dumps(settings, JSON_COMPACT);
    char where[] = "--data-dir", option[] = "--fleet-ask";
    char *const argv[] = {
        program, where, cli->paths.data_dir, option, (char *)(uintptr_t)verb, path, NULL};
    cleanup_buf struct buf out = BUF_INIT(ANSWER_MAX);
    struct error ignored = {.code = ERR_NONE};
    int rc = fs_make_dirs(directory, 0700, err);
    rc = rc == 0 ? fs_write_file(path, text, strlen(text), 0600, err) : rc;
    if (rc < 0) {
        return rc;
    }
    (void)command_output(argv, ASK_MS, &out);
    (void)fs_remove_file(path, &ignored);
    *ret = json_loadb(buf_str(&out), out.len, 0, NULL);
    return *ret ? fleet_answer_error(*ret, err)
                : error_set(err, ERR_CONTROLLER, "'%s' gave no answer from etcd", program);
}

/* ---- joining ---- */

/* "me@host"; free() it. */
static char *own_address(const char *host)
{
    const struct passwd *user = getpwuid(geteuid());
    return mem_printf("%s@%s", user ? user->pw_name : "root", host);
}

static int take_file(const char *option, const char *given, char **ret, struct error *err)
{
    if (!given) {
        return 0;
    }
    *ret = realpath(given, NULL);
    return *ret ? 0 : error_set_errno(err, ERR_FLEET_CONFIG, errno, "--%s '%s'", option, given);
}

static int take_labels(
    const struct arg_strings *given, struct fleet_config *config, struct error *err)
{
    cleanup_buf struct buf labels = BUF_INIT(0);
    for (size_t i = 0; i < given->count; i++) {
        const char *word = given->items[i], *equals = strchr(word, '=');
        if (!equals || equals == word || !equals[1] || strchr(word, ',')) {
            return error_set(err, ERR_USAGE, "--label '%s' is not KEY=VALUE", word);
        }
        buf_printf(&labels, "%s%s", i ? "," : "", word);
    }
    config->labels = labels.len > 0 ? mem_strdup(buf_str(&labels)) : NULL;
    return 0;
}

static int check_config(const struct fleet_config *config, struct error *err)
{
    cleanup_json json_t *json = fleet_config_to_json(config);
    cleanup_free char *text = json_dumps(json, JSON_COMPACT);
    if (config->n_endpoints == 0) {
        (void)error_set(err, ERR_USAGE, "no member of etcd is given");
        return error_help(err, "such as: --etcd https://a.lan:2379");
    }
    struct fleet_config *read = fleet_config_read(text, strlen(text), err);
    fleet_config_free(read);
    return read ? 0 : -(int)err->code;
}

static int config_of(
    const struct fleet_values *values, struct fleet_config *config, struct error *err)
{
    char host[65] = "";
    (void)gethostname(host, sizeof(host) - 1);
    cleanup_free char *label = mem_strndup(host, strcspn(host, "."));
    config->fleet = mem_strdup(values->fleet ? values->fleet : "home");
    config->node = mem_strdup(values->node ? values->node : label);
    config->ssh = values->ssh ? mem_strdup(values->ssh) : own_address(host);
    config->accept = mem_strdup(values->accept);
    for (size_t i = 0; i < values->endpoints.count; i++) {
        mem_grow(config->endpoints, config->n_endpoints);
        config->endpoints[config->n_endpoints++] = mem_strdup(values->endpoints.items[i]);
    }
    if (values->accept && !fleet_sources_read(values->accept)) {
        return error_set(
            err, ERR_USAGE, "--accept '%s': only url, cache and path are allowed", values->accept);
    }
    int rc = take_labels(&values->labels, config, err);
    rc = rc == 0 ? take_file("ca", values->ca, &config->ca, err) : rc;
    rc = rc == 0 ? take_file("cert", values->cert, &config->cert, err) : rc;
    rc = rc == 0 ? take_file("key", values->key, &config->key, err) : rc;
    return rc == 0 ? check_config(config, err) : rc;
}

/* What was seen of a fleet before, of this one too: it is accepted as it is now. */
static int forget_rows(struct cli *cli, struct error *err)
{
    cleanup_json json_t *rows = NULL;
    struct store_batch *batch = store_batch_new();
    const char *row;
    json_t *value;
    int rc = cli_open_store(cli, err);
    rc = rc == 0 ? store_list_json(cli->store, STORE_FLEET, &rows, err) : rc;
    json_object_foreach(rows, row, value)
    {
        store_batch_put_json(batch, STORE_FLEET, row, NULL);
    }
    rc = rc == 0 && !store_batch_is_empty(batch) ? store_commit(cli->store, batch, err) : rc;
    store_batch_free(batch);
    return rc;
}

/* Of another fleet than the one that was joined before, also one made again by its name. */
static int release_others(struct cli *cli, const struct fleet_config *config, struct error *err)
{
    struct fleet_config *before = NULL;
    int rc = fleet_config_load(&cli->paths, &before, err);
    bool is_same = before && text_eq(before->uid, config->uid);
    fleet_config_free(before);
    return rc < 0 || is_same ? rc : fleet_release_vms(cli, NULL, err);
}

static int refuse_other(struct cli *cli, const struct fleet_config *config, struct error *err)
{
    struct fleet_config *before = NULL;
    int rc = fleet_config_load(&cli->paths, &before, err);
    if (rc == 0 && before &&
        (!text_eq(before->fleet, config->fleet) || !text_eq(before->node, config->node))) {
        (void)error_set(err, ERR_VM_CONFLICT, "this host is node '%s' of fleet '%s'", before->node,
            before->fleet);
        rc = error_help(err, "leave that first: vmctl fleet leave");
    }
    fleet_config_free(before);
    return rc;
}

struct link_wait {
    struct cli *cli;
    const char *node; /* this host */
};

/* Up, with this host among the nodes that are heard of: what is placed next may go to it. */
static int check_link(void *context, bool *ret_is_done, struct error *err)
{
    const struct link_wait *wait = context;
    struct store *store = wait->cli->store;
    cleanup_json json_t *link = NULL, *alive = NULL;
    cleanup_free char *row = fleet_row(FLEET_KIND_ALIVE, wait->node, NULL);
    int rc = store_get_json(store, STORE_FLEET, "link", &link, err);
    rc = rc < 0 ? rc : store_get_json(store, STORE_FLEET, row, &alive, err);
    if (text_eq(json_text(link, "state"), "frozen")) {
        (void)error_set(err, ERR_FLEET_FROZEN, "%s", json_text(link, "message"));
        return error_help(err, "to undo the settings: vmctl fleet leave");
    }
    *ret_is_done = rc == 0 && alive && text_eq(json_text(link, "state"), "up");
    return rc;
}

static int give_up(void *context, struct error *err)
{
    const struct link_wait *wait = context;
    (void)err;
    cli_note(wait->cli, "etcd does not answer the messenger yet; see: vmctl fleet status");
    return 0;
}

/* So that the next command finds the fleet. What etcd has lost, as one that was restored, cannot be
 * asked for there any more. */
static int await_link(
    struct cli *cli, const struct fleet_config *config, bool releases, struct error *err)
{
    bool is_up = false;
    enum { LINK_MS = 10 * 1000 };
    struct link_wait wait = {cli, config->node};
    struct wait_loop loop = {.cli = cli,
        .needs_controller = true,
        .check = check_link,
        .time_out = give_up,
        .context = &wait};
    wait_loop_open(&loop, LINK_MS);
    int rc = wait_loop_run(&loop, err);
    wait_loop_close(&loop);
    rc = rc == 0 ? check_link(&wait, &is_up, err) : rc;
    return rc == 0 && is_up && releases ? fleet_release_vms(cli, config->node, err) : rc;
}

/* The messenger is started by a vmctld that finds the settings when it starts. */
static int enter(struct cli *cli, const void *values, const char *verb, struct error *err)
{
    struct fleet_config *config = fleet_config_new();
    cleanup_json json_t *answer = NULL;
    int rc = config_of(values, config, err);
    rc = rc == 0 ? refuse_other(cli, config, err) : rc;
    rc = rc == 0 ? ask_etcd(cli, verb, config, &answer, err) : rc;
    if (rc == 0) {
        config->uid = json_copy_text(answer, "uid");
        rc = controller_end(cli, err);
    }
    rc = rc == 0 ? release_others(cli, config, err) : rc;
    rc = rc == 0 ? forget_rows(cli, err) : rc;
    rc = rc == 0 ? fleet_config_save(&cli->paths, config, err) : rc;
    rc = rc == 0 ? cli_ensure_controller(cli, err) : rc;
    rc = rc == 0 ? await_link(cli, config, true, err) : rc;
    if (rc == 0) {
        cli_note(cli, "this host is node '%s' of fleet '%s' now, reached by: ssh %s", config->node,
            config->fleet, config->ssh);
    }
    fleet_config_free(config);
    return rc;
}

static int fleet_init(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    (void)words;
    return enter(cli, values, "init", err);
}

static int fleet_join(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    (void)words;
    const struct fleet_values *given = values;
    return enter(cli, values, given->is_forced ? "take" : "join", err);
}

/* ---- leaving ---- */

static int load_joined(struct cli *cli, struct fleet_config **ret, struct error *err)
{
    int rc = fleet_config_load(&cli->paths, ret, err);
    return rc == 0 && !*ret ? error_set(err, ERR_FLEET_CONFIG, "this host has joined no fleet")
                            : rc;
}

/* Without a messenger, which would register the node again. */
static int fleet_leave(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    const struct fleet_values *given = values;
    (void)words;
    struct fleet_config *config = NULL;
    struct error again = {.code = ERR_NONE};
    cleanup_json json_t *answer = NULL;
    cleanup_free char *settings = paths_path(&cli->paths, FLEET_CONFIG_FILE);
    cleanup_free char *contact = paths_path(&cli->paths, FLEET_CONTACT_FILE);
    int rc = load_joined(cli, &config, err);
    if (rc < 0) {
        return rc;
    }
    rc = controller_end(cli, err);
    if (rc == 0 && !given->is_forced) {
        rc = ask_etcd(cli, "leave", config, &answer, err);
        if (rc < 0 && rc != -ERR_VM_INVALID_STATE) {
            (void)error_help(err, "to leave without asking it: vmctl fleet leave --force");
        }
    }
    rc = rc == 0 ? fleet_release_vms(cli, NULL, err) : rc;
    rc = rc == 0 ? fs_remove_file(settings, err) : rc;
    rc = rc == 0 ? forget_rows(cli, err) : rc;
    if (rc == 0) {
        (void)fs_remove_file(contact, &again);
        cli_note(cli, "node '%s' has left fleet '%s'; its VMs stay as they are", config->node,
            config->fleet);
    }
    error_clear(&again);
    if (cli_ensure_controller(cli, rc == 0 ? err : &again) < 0 && rc == 0) {
        rc = -(int)err->code;
    }
    fleet_config_free(config);
    return rc;
}

/* ---- an etcd that was restored, emptied or made again ---- */

/* What was seen of it is forgotten, and the messenger starts afresh. VMs that etcd does not have
 * stay the fleet's: to be put there again. */
static int begin_anew(struct cli *cli, const char *verb, struct error *err)
{
    struct fleet_config *config = NULL;
    cleanup_json json_t *answer = NULL;
    bool remakes = text_eq(verb, "rebuild");
    int rc = load_joined(cli, &config, err);
    char *uid = config ? TAKE_PTR(config->uid) : NULL;
    if (rc == 0 && remakes) {
        config->uid = mem_strdup(uid);
    }
    rc = rc == 0 ? ask_etcd(cli, verb, config, &answer, err) : rc;
    if (rc == 0) {
        free(config->uid);
        config->uid = json_copy_text(answer, "uid");
        rc = controller_end(cli, err);
    }
    rc = rc == 0 ? forget_rows(cli, err) : rc;
    rc = rc == 0 ? fleet_config_save(&cli->paths, config, err) : rc;
    rc = rc == 0 ? cli_ensure_controller(cli, err) : rc;
    rc = rc == 0 ? await_link(cli, config, false, err) : rc;
    free(uid);
    fleet_config_free(config);
    return rc;
}

static int fleet_resume(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    const struct fleet_values *given = values;
    (void)words;
    if (!text_eq(given->accept, "etcd")) {
        (void)error_set(err, ERR_USAGE, "the records in etcd may be older than the VMs here");
        return error_help(err, "to accept them: vmctl fleet resume --accept etcd");
    }
    int rc = begin_anew(cli, "join", err);
    if (rc == 0) {
        cli_note(cli, "the records in etcd are accepted; VMs without one keep running, and get "
                      "one by: vmctl fleet republish");
    }
    return rc;
}

static int fleet_rebuild(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    (void)values;
    (void)words;
    int rc = begin_anew(cli, "rebuild", err);
    return rc == 0 ? fleet_republish(cli, NULL, 0, err) : rc;
}

static int fleet_put_again(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    struct fleet_config *config = NULL;
    (void)values;
    int rc = load_joined(cli, &config, err);
    fleet_config_free(config);
    return rc == 0
               ? fleet_republish(cli, (const char *const *)words->items + 1, words->count - 1, err)
               : rc;
}

/* ---- showing ---- */

static int fleet_status(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    struct fleet_config *config = NULL;
    (void)values;
    (void)words;
    int rc = load_joined(cli, &config, err);
    fleet_config_free(config);
    return rc == 0 ? fleet_show(cli, err) : rc;
}

/* Each member of etcd by itself. */
static int fleet_check(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    (void)values;
    (void)words;
    struct fleet_config *config = NULL;
    cleanup_json json_t *answer = NULL;
    size_t i;
    const json_t *member;
    bool is_well = true;
    int rc = load_joined(cli, &config, err);
    rc = rc == 0 ? ask_etcd(cli, "check", config, &answer, err) : rc;
    fleet_config_free(config);
    json_array_foreach(json_object_get(answer, "members"), i, member)
    {
        const char *fault = json_text(member, "error"), *version = json_text(member, "version");
        bool is_full = json_flag(member, "full", false);
        bool has_leader = json_flag(member, "hasLeader", false);
        is_well = is_well && !fault && !is_full && has_leader;
        if (output_is_data(cli)) {
            continue;
        }
        printf("%s: ", json_text(member, "endpoint"));
        if (fault) {
            printf("%s\n", fault);
        } else {
            printf("etcd %s%s, %lld KiB%s\n", version,
                json_flag(member, "leader", false) ? ", leader" : "",
                (long long)json_int(member, "bytes", 0) / 1024,
                is_full       ? ", full: compact and defragment it, then disarm the alarm"
                : !has_leader ? ", without a leader"
                              : "");
        }
    }
    if (answer && output_is_data(cli)) {
        output_print(cli, answer);
    }
    return rc < 0 ? rc : is_well ? 0 : error_exit_status(ERR_FLEET_UNREACHABLE);
}

/* Of another node: by settings that have its name. */
static int change_node(struct cli *cli, const char *verb, const struct arg_strings *words,
    const char *done, struct error *err)
{
    struct fleet_config *config = NULL;
    cleanup_json json_t *answer = NULL;
    int rc = load_joined(cli, &config, err);
    if (rc == 0) {
        free(config->node);
        config->node = mem_strdup(words->items[1]);
        rc = check_config(config, err);
    }
    rc = rc == 0 ? ask_etcd(cli, verb, config, &answer, err) : rc;
    if (rc == 0) {
        cli_note(cli, "%s: %s", words->items[1], done);
    }
    fleet_config_free(config);
    return rc;
}

static int fleet_cordon(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    (void)values;
    return change_node(cli, "cordon", words, "takes no new VMs; its present VMs stay", err);
}

static int fleet_uncordon(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    (void)values;
    return change_node(cli, "uncordon", words, "takes new VMs", err);
}

static int fleet_drain(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    const struct fleet_values *given = values;
    const struct fleet_drain drain = {.stops = given->stops,
        .leaves_snapshots = given->leaves_snapshots,
        .is_detached = given->follow.is_detached,
        .timeout_ms = given->follow.timeout_ms};
    int rc = fleet_cordon(cli, values, words, err);
    return rc < 0 ? rc : fleet_drain_node(cli, words->items[1], &drain, err);
}

static int fleet_forget(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    (void)values;
    return change_node(cli, "forget", words, "forgotten", err);
}

static const struct fleet_values defaults = {.follow.timeout_ms = FOLLOW_TIMEOUT_MS};

static const struct verb items[] = {
    {"init", "", 0, 0, fleet_init}, {"join", "", 0, 0, fleet_join},
    {"status", "", 0, 0, fleet_status}, {"check", "", 0, 0, fleet_check},
    {"cordon", "NODE", 1, 1, fleet_cordon}, {"uncordon", "NODE", 1, 1, fleet_uncordon},
    {"drain", "NODE", 1, 1, fleet_drain}, {"forget", "NODE", 1, 1, fleet_forget},
    {"leave", "", 0, 0, fleet_leave}, {"resume", "", 0, 0, fleet_resume},
    {"rebuild", "", 0, 0, fleet_rebuild}, {"republish", "[VM...]", 0, SIZE_MAX, fleet_put_again},
    {"fetch", "VM", 1, 1, fleet_fetch},     /* of the messenger … */
    {"send", "VM TOKEN", 2, 2, fleet_send}, /* … and of the former on the other node */
};
static const struct verbs verbs = {"fleet", items, ARRAY_LEN(items),
    "init, join, status, check, cordon, uncordon, drain, forget, leave, resume, rebuild, republish",
    "nothing", NULL, 0};

static int run(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    return verb_run(&verbs, cli, values, words, err);
}

const struct command command_fleet = {
    .name = "fleet",
    .summary = "Several hosts with one list of VMs, shared in etcd",
    .usage =
        "init | join | status | check | cordon NODE | uncordon NODE | drain NODE |\n"
        "             forget NODE | leave | resume --accept etcd | rebuild | republish [VM...]",
    .details =
        "The hosts of a fleet share their list of VMs in etcd (version 3.4 or newer, one member "
        "or\n"
        "three). init makes the fleet on the first host, join adds another host; both restart the\n"
        "controller, which leaves VMs alone. From then on `vmctl list -A` shows the VMs of all "
        "nodes\n"
        "at once, and `vmctl --node b` and a VMFile's `node \"b\"` know each node. VMs that a "
        "host\n"
        "had before stay its own. A host without etcd keeps running and healing all its VMs; it\n"
        "only learns nothing new about the other nodes.\n"
        "\n"
        "status shows the nodes as this host knows them, check asks each member of etcd, leave\n"
        "removes this host from the fleet. A cordoned node takes no new VMs; drain moves the\n"
        "fleet's VMs away from it, with --stop also those that run; forget removes a node that is\n"
        "offline and has no VMs of the fleet. If etcd was emptied, rebuild on each node fills it\n"
        "again; resume accepts an etcd that was restored, and republish adds VMs that it lacks.\n"
        "Certificates are required unless etcd is on 127.0.0.1.",
    .examples =
        "  vmctl fleet init --etcd https://a.lan:2379 --ca ca.pem --cert a.pem --key a.key\n"
        "  vmctl fleet join --etcd https://a.lan:2379 --ca ca.pem --cert b.pem --key b.key --as b\n"
        "  vmctl fleet status\n"
        "  vmctl list -A",
    .options = options,
    .values_size = sizeof(struct fleet_values),
    .defaults = &defaults,
    .run = run,
};
