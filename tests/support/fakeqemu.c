/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A program that looks like qemu-system-x86_64 from outside, for faults that the real one cannot be
 * made to have: VMCTL_QEMU=…/fakeqemu. It reads -uuid, -pidfile and the -chardev descriptors "ctl"
 * and "usr" of the command line, speaks QMP on both, has volumes attached and detached, and runs no
 * guest. What it does wrong is said in the file `fakeqemu` beside the pidfile, or in $FAKEQEMU, as
 * words between spaces or commas:
 *
 *   exit=N              says why on stderr and exits with N at once
 *   mute                never greets
 *   garbage             greets with something that is not QMP
 *   ignore-powerdown    as a guest without ACPI
 *   ignore-quit         answers `quit` and stays
 *   ignore-term         also SIGTERM
 *   busy-port=N         cannot forward host port N
 *   die-after=MS        ends by SIGKILL, MS milliseconds after the start
 *   hang-after=MS       answers nothing any more
 *   shutdown-after=MS   the guest powers itself off (run state `shutdown`)
 *   panic-after=MS      run state `guest-panicked`
 *   broken-after=MS     run state `internal-error`
 *   log                 writes each command that comes as a line of the file `commands` there
 */
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/json.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

enum { CONTROL, USER, SOCKETS, FORWARDS_MAX = 64, NAMES_MAX = 64, LINE_MAX_BYTES = 1 << 16 };

static const char *const chardev_ids[SOCKETS] = {"ctl", "usr"};

struct connection {
    int listener;
    int fd; /* -1: nobody; QMP serves one client at a time */
    bool is_negotiated;
    struct buf input;
};

struct timed {
    const char *word;
    const char *state; /* NULL: no run state but something worse */
    int64_t at_ms;     /* -1: never, or over */
};

struct names {
    char *items[NAMES_MAX]; /* owned */
    size_t n;
};

struct fake {
    struct connection sockets[SOCKETS];
    char *uuid;
    char *pidfile;
    char *script;
    const char *state;
    int64_t disk_bytes;
    char *forwards[FORWARDS_MAX]; /* "tcp 10022 22" */
    size_t n_forwards;
    struct names devices, nodes; /* of volumes */
    bool is_hanging;
    bool is_over;
};

enum { DIE, HANG, SHUTDOWN, PANIC, BROKEN, TIMED };

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- the script ---- */

/* The text after "word" in the script ("" for a word without value), NULL when it is not there. */
static const char *find_word(const struct fake *fake, const char *word)
{
    size_t n = strlen(word);
    const char *at = fake->script;
    while (at && *at) {
        at += strspn(at, " ,\n");
        if (strncmp(at, word, n) == 0 && strchr("= ,\n", at[n])) {
            return at + n + (at[n] == '=');
        }
        at += strcspn(at, " ,\n");
    }
    return NULL;
}

static bool is_told(const struct fake *fake, const char *word)
{
    return find_word(fake, word) != NULL;
}

static int64_t number_of(const struct fake *fake, const char *word, int64_t otherwise)
{
    const char *text = find_word(fake, word);
    return text ? strtoll(text, NULL, 10) : otherwise;
}

/* A file beside the pidfile. free() it. */
static char *beside_pidfile(const struct fake *fake, const char *name)
{
    const char *slash = fake->pidfile ? strrchr(fake->pidfile, '/') : NULL;
    return slash ? mem_printf("%.*s/%s", (int)(slash - fake->pidfile), fake->pidfile, name)
                 : mem_strdup(name);
}

static void read_script(struct fake *fake)
{
    struct buf text = BUF_INIT(LINE_MAX_BYTES);
    struct error err = {0};
    cleanup_free char *path = beside_pidfile(fake, "fakeqemu");
    if (fs_read_file(path, &text, &err) < 0 && getenv("FAKEQEMU")) {
        buf_add_str(&text, getenv("FAKEQEMU"));
    }
    fake->script = buf_steal(&text);
}

/* ---- volumes ---- */

static void add_name(struct names *names, const char *name)
{
    if (name && names->n < NAMES_MAX) {
        names->items[names->n++] = mem_strdup(name);
    }
}

static bool drop_name(struct names *names, const char *name)
{
    for (size_t i = 0; i < names->n; i++) {
        if (text_eq(names->items[i], name)) {
            free(names->items[i]);
            names->items[i] = names->items[--names->n];
            return true;
        }
    }
    return false;
}

static void clear_names(struct names *names)
{
    while (names->n > 0) {
        free(names->items[--names->n]);
    }
}

/* What "…,KEYvolume-NAME,…" names, into `names`. */
static void read_name(struct names *names, const char *value, const char *key)
{
    cleanup_free char *start = mem_printf(",%svolume-", key);
    const char *at = strstr(value, start);
    if (at) {
        at += 1 + strlen(key);
        cleanup_free char *name = mem_strndup(at, strcspn(at, ","));
        add_name(names, name);
    }
}

static json_t *list_devices(const struct fake *fake)
{
    json_t *list = json_array();
    for (size_t i = 0; i < fake->devices.n; i++) {
        (void)json_array_append_new(
            list, json_pack("{s:s, s:s}", "name", fake->devices.items[i], "type", "child"));
    }
    return list;
}

/* Those of volumes are as large as any may be asked to be. */
static json_t *list_nodes(const struct fake *fake)
{
    json_t *list = json_pack("[{s:s, s:{s:I}}]", "node-name", "disk0", "image", "virtual-size",
        (json_int_t)fake->disk_bytes);
    for (size_t i = 0; i < fake->nodes.n; i++) {
        (void)json_array_append_new(
            list, json_pack("{s:s, s:{s:I}}", "node-name", fake->nodes.items[i], "image",
                      "virtual-size", (json_int_t)1 << 50));
    }
    return list;
}

/* NULL: it is none of these commands, or has no such device or node. */
static json_t *change_volumes(struct fake *fake, const char *command, const json_t *arguments)
{
    const char *id = json_text(arguments, "id"), *node = json_text(arguments, "node-name");
    bool is_done = true;
    if (text_eq(command, "add-fd")) {
        return json_pack("{s:i, s:i}", "fdset-id", 1, "fd", 1);
    }
    if (text_eq(command, "device_add")) {
        add_name(&fake->devices, id);
    } else if (text_eq(command, "blockdev-add")) {
        add_name(&fake->nodes, node);
    } else if (text_eq(command, "device_del")) {
        is_done = drop_name(&fake->devices, id);
    } else if (text_eq(command, "blockdev-del")) {
        is_done = drop_name(&fake->nodes, node);
    } else {
        is_done = text_eq(command, "remove-fd");
    }
    return is_done ? json_object() : NULL;
}

/* ---- the command line ---- */

static void read_chardev(struct fake *fake, const char *value)
{
    for (int i = 0; i < SOCKETS; i++) {
        cleanup_free char *prefix = mem_printf("socket,id=%s,fd=", chardev_ids[i]);
        if (text_starts_with(value, prefix)) {
            fake->sockets[i].listener = (int)strtol(value + strlen(prefix), NULL, 10);
        }
    }
}

static void read_arguments(struct fake *fake, int argc, char **argv)
{
    for (int i = 1; i + 1 < argc; i++) {
        if (text_eq(argv[i], "-uuid")) {
            fake->uuid = argv[i + 1];
        } else if (text_eq(argv[i], "-pidfile")) {
            fake->pidfile = argv[i + 1];
        } else if (text_eq(argv[i], "-chardev")) {
            read_chardev(fake, argv[i + 1]);
        } else if (text_eq(argv[i], "-device")) {
            read_name(&fake->devices, argv[i + 1], "id=");
        } else if (text_eq(argv[i], "-blockdev")) {
            read_name(&fake->nodes, argv[i + 1], "node-name=");
        }
    }
}

static void write_pidfile(const struct fake *fake)
{
    FILE *file = fake->pidfile ? fopen(fake->pidfile, "we") : NULL;
    if (file) {
        fprintf(file, "%d\n", (int)getpid());
        fclose(file);
    }
}

/* ---- speaking ---- */

static void say(const struct connection *connection, const char *text)
{
    if (connection->fd >= 0) {
        ssize_t n = send(connection->fd, text, strlen(text), MSG_NOSIGNAL);
        (void)n; /* a client that does not listen misses it */
    }
}

static void say_event(struct fake *fake, const char *name)
{
    cleanup_free char *text = mem_printf(
        "{\"timestamp\": {\"seconds\": 0, \"microseconds\": 0}, \"event\": \"%s\"}\r\n", name);
    for (int i = 0; i < SOCKETS; i++) {
        if (fake->sockets[i].is_negotiated) {
            say(&fake->sockets[i], text);
        }
    }
}

static void enter_state(struct fake *fake, const char *state, const char *event)
{
    if (!text_eq(fake->state, state)) {
        fake->state = state;
        say_event(fake, event);
    }
}

static void greet(const struct fake *fake, const struct connection *connection)
{
    if (is_told(fake, "garbage")) {
        say(connection, "\x01\x02 this is no QMP \xff\r\n");
    } else if (!is_told(fake, "mute")) {
        say(connection,
            "{\"QMP\": {\"version\": {\"qemu\": {\"major\": 7, \"minor\": 2, \"micro\": 0}, "
            "\"package\": \"fake\"}, \"capabilities\": [\"oob\"]}}\r\n");
    }
}

/* ---- commands: each returns what to return (owned), NULL for an error of this text ---- */

static json_t *refuse(const char **ret_why, const char *why)
{
    *ret_why = why;
    return NULL;
}

static json_t *usernet(const struct fake *fake)
{
    cleanup_buf struct buf text = BUF_INIT(0);
    buf_add_str(&text, "Hub -1 (net0):\r\n  Protocol[State]    FD  Source Address  Port   "
                       "Dest. Address  Port RecvQ SendQ\r\n");
    for (size_t i = 0; i < fake->n_forwards; i++) {
        char protocol[8];
        unsigned host, guest;
        if (sscanf(fake->forwards[i], "%7s %u %u", protocol, &host, &guest) == 3) {
            buf_printf(&text, "  %s[HOST_FORWARD]  13  127.0.0.1 %u  10.0.2.15 %u  0  0\r\n",
                protocol[0] == 'u' ? "UDP" : "TCP", host, guest);
        }
    }
    return json_string(buf_str(&text));
}

static json_t *add_forward(struct fake *fake, const char *rule)
{
    char protocol[8];
    unsigned host, guest;
    bool is_rule = sscanf(rule, "%7[a-z]:127.0.0.1:%u-:%u", protocol, &host, &guest) == 3;
    if (!is_rule || fake->n_forwards == FORWARDS_MAX || number_of(fake, "busy-port", -1) == host) {
        cleanup_free char *why = mem_printf("Could not set up host forwarding rule '%s'\r\n", rule);
        return json_string(why);
    }
    fake->forwards[fake->n_forwards++] = mem_printf("%s %u %u", protocol, host, guest);
    return json_string("");
}

static json_t *remove_forward(struct fake *fake, const char *rule)
{
    char protocol[8];
    unsigned host;
    if (sscanf(rule, "%7[a-z]:127.0.0.1:%u", protocol, &host) != 2) {
        return json_string("invalid format\r\n");
    }
    cleanup_free char *start = mem_printf("%s %u ", protocol, host);
    for (size_t i = 0; i < fake->n_forwards; i++) {
        if (text_starts_with(fake->forwards[i], start)) {
            free(fake->forwards[i]);
            fake->forwards[i] = fake->forwards[--fake->n_forwards];
            return json_string("host forwarding rule removed\r\n");
        }
    }
    return json_string("host forwarding rule not found\r\n");
}

static json_t *run_human(struct fake *fake, const char *line)
{
    static const char add[] = "hostfwd_add net0 ", drop[] = "hostfwd_remove net0 ";
    if (text_eq(line, "info usernet")) {
        return usernet(fake);
    }
    if (line && text_starts_with(line, add)) {
        return add_forward(fake, line + strlen(add));
    }
    if (line && text_starts_with(line, drop)) {
        return remove_forward(fake, line + strlen(drop));
    }
    return json_string("unknown command\r\n");
}

static json_t *query(struct fake *fake, const char *command)
{
    if (text_eq(command, "query-status")) {
        bool is_running = text_eq(fake->state, "running");
        return json_pack("{s:s, s:b}", "status", fake->state, "running", is_running);
    }
    if (text_eq(command, "query-uuid")) {
        return json_pack("{s:s}", "UUID", fake->uuid ? fake->uuid : "");
    }
    if (text_eq(command, "query-vnc")) {
        return json_pack("{s:b, s:s, s:s}", "enabled", 1, "host", "127.0.0.1", "service", "5900");
    }
    if (text_eq(command, "query-block")) {
        return json_array();
    }
    if (text_eq(command, "query-named-block-nodes")) {
        return list_nodes(fake);
    }
    return text_eq(command, "qom-list") ? list_devices(fake) : NULL;
}

static json_t *control_guest(struct fake *fake, const char *command, const char **ret_why)
{
    if (text_eq(command, "cont")) {
        if (text_eq(fake->state, "shutdown") || text_eq(fake->state, "internal-error") ||
            text_eq(fake->state, "guest-panicked")) {
            return refuse(ret_why, "Resetting the Virtual Machine is required");
        }
        enter_state(fake, "running", "RESUME");
    } else if (text_eq(command, "stop")) {
        if (text_eq(fake->state, "running")) {
            enter_state(fake, "paused", "STOP");
        }
    } else if (text_eq(command, "system_powerdown")) {
        say_event(fake, "POWERDOWN");
        if (text_eq(fake->state, "running") && !is_told(fake, "ignore-powerdown")) {
            enter_state(fake, "shutdown", "SHUTDOWN");
        }
    } else if (text_eq(command, "quit")) {
        fake->is_over = !is_told(fake, "ignore-quit");
    } else {
        return refuse(ret_why, "The command has not been found");
    }
    return json_object();
}

static json_t *run(
    struct fake *fake, const char *command, const json_t *arguments, const char **ret_why)
{
    if (text_eq(command, "human-monitor-command")) {
        return run_human(fake, json_text(arguments, "command-line"));
    }
    if (text_eq(command, "block_resize")) {
        fake->disk_bytes = json_int(arguments, "size", fake->disk_bytes);
        return json_object();
    }
    json_t *value = query(fake, command);
    value = value ? value : change_volumes(fake, command, arguments);
    return value ? value : control_guest(fake, command, ret_why);
}

/* ---- connections ---- */

static void log_command(const struct fake *fake, const json_t *request)
{
    const char *line = json_text(json_object_get(request, "arguments"), "command-line");
    cleanup_free char *path = beside_pidfile(fake, "commands");
    FILE *file = is_told(fake, "log") ? fopen(path, "ae") : NULL;
    if (file) {
        fprintf(file, "%s\n", line ? line : json_text(request, "execute"));
        fclose(file);
    }
}

static void answer(struct fake *fake, struct connection *connection, const json_t *request)
{
    log_command(fake, request);
    const char *command = json_text(request, "execute");
    const char *why = "The command has not been found";
    json_t *value = NULL;
    bool is_handshake = text_eq(command, "qmp_capabilities");
    if (is_handshake != connection->is_negotiated && command) {
        connection->is_negotiated = true;
        value = is_handshake ? json_object()
                             : run(fake, command, json_object_get(request, "arguments"), &why);
    }
    cleanup_json json_t *reply = json_object();
    if (value) {
        json_put(reply, "return", value);
    } else {
        json_put(reply, "error", json_pack("{s:s, s:s}", "class", "GenericError", "desc", why));
    }
    json_put(reply, "id", json_incref(json_object_get(request, "id")));
    cleanup_free char *text = json_canonical(reply);
    cleanup_free char *line = mem_printf("%s\r\n", text);
    say(connection, line);
}

static void hang_up(struct connection *connection)
{
    close(TAKE_FD(connection->fd));
    connection->is_negotiated = false;
    buf_reset(&connection->input);
}

static void read_commands(struct fake *fake, struct connection *connection)
{
    char bytes[4096];
    ssize_t n = recv(connection->fd, bytes, sizeof(bytes), 0);
    if (n <= 0 || !buf_add(&connection->input, bytes, (size_t)n)) {
        hang_up(connection);
        return;
    }
    struct buf *input = &connection->input;
    char *newline;
    while (input->len > 0 && (newline = memchr(input->data, '\n', input->len)) != NULL) {
        size_t size = (size_t)(newline - input->data) + 1;
        cleanup_json json_t *request = json_loadb(input->data, size, 0, NULL);
        buf_consume(input, size);
        answer(fake, connection, request);
    }
}

static void serve(struct fake *fake, struct connection *connection)
{
    if (connection->fd < 0) {
        connection->fd = accept4(connection->listener, NULL, NULL, SOCK_CLOEXEC);
        if (connection->fd >= 0) {
            greet(fake, connection);
        }
    } else {
        read_commands(fake, connection);
    }
}

/* ---- time ---- */

static void happen(struct fake *fake, int what, const char *state)
{
    if (what == DIE) {
        raise(SIGKILL);
    } else if (what == HANG) {
        fake->is_hanging = true;
        (void)signal(SIGTERM, SIG_IGN); /* QEMU's main loop does the rest of its handler */
    } else if (what == SHUTDOWN) {
        enter_state(fake, state, "SHUTDOWN");
    } else {
        enter_state(fake, state, "STOP"); /* as QEMU does for both */
    }
}

/* Milliseconds until the next one, -1: none. */
static int run_timed(struct fake *fake, struct timed *timed)
{
    int64_t next_ms = -1;
    int64_t now = now_ms();
    for (int i = 0; i < TIMED; i++) {
        if (timed[i].at_ms >= 0 && timed[i].at_ms <= now) {
            timed[i].at_ms = -1;
            happen(fake, i, timed[i].state);
        }
        if (timed[i].at_ms >= 0 && (next_ms < 0 || timed[i].at_ms - now < next_ms)) {
            next_ms = timed[i].at_ms - now;
        }
    }
    return (int)next_ms;
}

static void turn(struct fake *fake, int timeout_ms)
{
    struct pollfd fds[SOCKETS];
    for (int i = 0; i < SOCKETS; i++) {
        const struct connection *connection = &fake->sockets[i];
        fds[i] = (struct pollfd){
            .fd = connection->fd >= 0 ? connection->fd : connection->listener, .events = POLLIN};
    }
    int n = poll(fds, fake->is_hanging ? 0 : SOCKETS, timeout_ms);
    for (int i = 0; n > 0 && i < SOCKETS && !fake->is_over; i++) {
        if (fds[i].revents) {
            serve(fake, &fake->sockets[i]);
        }
    }
}

static void end_by_term(int number)
{
    (void)number;
    _exit(0); /* as QEMU */
}

static void fake_clear(struct fake *fake)
{
    for (int i = 0; i < SOCKETS; i++) {
        cleanup_close_(&fake->sockets[i].fd);
        buf_clear(&fake->sockets[i].input);
    }
    for (size_t i = 0; i < fake->n_forwards; i++) {
        free(fake->forwards[i]);
    }
    clear_names(&fake->devices);
    clear_names(&fake->nodes);
    free(fake->script);
}

static void arm(const struct fake *fake, struct timed *timed)
{
    for (int i = 0; i < TIMED; i++) {
        int64_t after_ms = number_of(fake, timed[i].word, -1);
        timed[i].at_ms = after_ms < 0 ? -1 : now_ms() + after_ms;
    }
}

static void live(struct fake *fake)
{
    struct timed timed[TIMED] = {
        [DIE] = {.word = "die-after"},
        [HANG] = {.word = "hang-after"},
        [SHUTDOWN] = {.word = "shutdown-after", .state = "shutdown"},
        [PANIC] = {.word = "panic-after", .state = "guest-panicked"},
        [BROKEN] = {.word = "broken-after", .state = "internal-error"},
    };
    (void)signal(SIGTERM, is_told(fake, "ignore-term") ? SIG_IGN : end_by_term);
    arm(fake, timed);
    write_pidfile(fake);
    while (!fake->is_over) {
        turn(fake, run_timed(fake, timed));
    }
    (void)unlink(fake->pidfile ? fake->pidfile : "");
}

int main(int argc, char **argv)
{
    struct fake fake = {.state = "prelaunch", .disk_bytes = 64 << 20};
    for (int i = 0; i < SOCKETS; i++) {
        fake.sockets[i] =
            (struct connection){.listener = -1, .fd = -1, .input = BUF_INIT(LINE_MAX_BYTES)};
    }
    read_arguments(&fake, argc, argv);
    read_script(&fake);
    int status = 0;
    if (is_told(&fake, "exit")) {
        fprintf(stderr, "fakeqemu: told to exit\n");
        status = (int)number_of(&fake, "exit", 1);
    } else {
        live(&fake);
    }
    fake_clear(&fake);
    return status;
}
