/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/vm/network_usage.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/proc_stat.h"
#include "specs/base/strings.h"
#include "specs/base/text.h"
#include "specs/base/vm_name.h"
#include "specs/vm/vm_spec.h"
#include "specs/vm/vm_status.h"

/* ---- a switch's answer ---- */

json_t *network_usage_to_json(const struct network_usage *usage)
{
    return json_pack("[I,I,I,I]", (json_int_t)usage->received_bytes,
        (json_int_t)usage->received_packets, (json_int_t)usage->sent_bytes,
        (json_int_t)usage->sent_packets);
}

static bool usage_from_json(const json_t *json, struct network_usage *ret)
{
    uint64_t *const members[] = {
        &ret->received_bytes, &ret->received_packets, &ret->sent_bytes, &ret->sent_packets};
    bool is_whole = json_array_size(json) == ARRAY_LEN(members);
    for (size_t i = 0; is_whole && i < ARRAY_LEN(members); i++) {
        const json_t *number = json_array_get(json, i);
        is_whole = json_is_integer(number) && json_integer_value(number) >= 0;
        *members[i] = (uint64_t)json_integer_value(number);
    }
    return is_whole;
}

/* ---- asking ---- */

enum { WAIT_MS = 200, ASKED_AT_ONCE = 32, ANSWER_MAX = 256 << 10 };

struct question {
    const char *network; /* borrowed */
    int fd;              /* -1: it is over */
    struct buf answer;
};

static void question_begin(
    struct question *question, const struct paths *paths, const char *network)
{
    static const char line[] = NETWORK_USAGE_REQUEST "\n";
    struct error ignored = {.code = ERR_NONE};
    cleanup_free char *relative = mem_printf("networks/%s/" PATHS_SWITCH_CONTROL, network);
    cleanup_free char *path = paths_path(paths, relative);
    *question = (struct question){network, -1, BUF_INIT(ANSWER_MAX)};
    if (fs_connect_unix(path, &question->fd, &ignored) == 0) {
        (void)send(question->fd, line, strlen(line), MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    error_clear(&ignored);
}

static void question_end(struct question *question)
{
    int fd = TAKE_FD(question->fd);
    if (fd >= 0) {
        (void)close(fd);
    }
    buf_clear(&question->answer);
}

/* Its socket is readable. */
static void question_read(struct question *question, json_t *answers)
{
    char bytes[16 << 10];
    ssize_t n = recv(question->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    bool is_whole = n > 0 && bytes[n - 1] == '\n';
    bool is_over = n <= 0 || !buf_add(&question->answer, bytes, (size_t)n);
    if (is_whole && !is_over) {
        json_t *json = json_loads(buf_str(&question->answer), 0, NULL);
        json_put(answers, question->network, json ? json : json_null());
    }
    if (is_whole || is_over) {
        question_end(question);
    }
}

static void ask_some(const struct paths *paths, const struct strings *networks, size_t first,
    int64_t deadline_ms, json_t *answers)
{
    struct question questions[ASKED_AT_ONCE];
    struct pollfd polls[ASKED_AT_ONCE];
    size_t left = networks->count - first, n = left < ASKED_AT_ONCE ? left : ASKED_AT_ONCE;
    for (size_t i = 0; i < n; i++) {
        question_begin(&questions[i], paths, networks->items[first + i]);
    }
    for (bool waits = true; waits;) {
        int64_t left_ms = deadline_ms - clock_monotonic_ms(clock_system());
        waits = false;
        for (size_t i = 0; i < n; i++) {
            polls[i] = (struct pollfd){.fd = questions[i].fd, .events = POLLIN};
            waits = waits || questions[i].fd >= 0;
        }
        waits = waits && left_ms > 0 && poll(polls, n, (int)left_ms) > 0;
        for (size_t i = 0; waits && i < n; i++) {
            if (polls[i].revents) {
                question_read(&questions[i], answers);
            }
        }
    }
    for (size_t i = 0; i < n; i++) {
        question_end(&questions[i]);
    }
}

json_t *network_usage_ask(const struct paths *paths, const struct strings *networks)
{
    int64_t deadline_ms = clock_monotonic_ms(clock_system()) + WAIT_MS;
    json_t *answers = json_object();
    for (size_t i = 0; i < networks->count; i += ASKED_AT_ONCE) {
        ask_some(paths, networks, i, deadline_ms, answers);
    }
    return answers;
}

/* ---- tap ---- */

enum { INTERFACE_SIZE = 16 };

struct interfaces {
    char names[NETWORKS_MAX][INTERFACE_SIZE];
    size_t n;
};

static void find_tap(void *context, int dir_fd, const char *name)
{
    enum { FDINFO_MAX = 4096 };
    struct interfaces *found = context;
    char bytes[FDINFO_MAX];
    cleanup_close int fd =
        found->n == NETWORKS_MAX ? -1 : openat(dir_fd, name, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, bytes, sizeof(bytes) - 1);
    bytes[n > 0 ? n : 0] = '\0';
    const char *line = strstr(bytes, "\niff:");
    if (line && sscanf(line, "\niff: %15s", found->names[found->n]) == 1) {
        found->n++;
    }
}

static void usage_add(struct network_usage *sum, const struct network_usage *more)
{
    sum->is_known = true;
    sum->received_bytes += more->received_bytes;
    sum->received_packets += more->received_packets;
    sum->sent_bytes += more->sent_bytes;
    sum->sent_packets += more->sent_packets;
}

static bool read_interface(const char *all, const char *interface, struct network_usage *ret)
{
    cleanup_free char *title = mem_printf("%s:", interface);
    for (const char *line = all; line; line = strchr(line, '\n')) {
        line += strspn(line, "\n ");
        if (text_starts_with(line, title)) {
            return sscanf(line + strlen(title),
                       "%" SCNu64 " %" SCNu64 " %*u %*u %*u %*u %*u %*u %" SCNu64 " %" SCNu64,
                       &ret->sent_bytes, &ret->sent_packets, &ret->received_bytes,
                       &ret->received_packets) == 4;
        }
    }
    return false;
}

/* Of the tap devices that the process has open: /proc/PID/fdinfo names them, and /proc/PID/net is
 * of the process' own network namespace. What the host receives is what the guest sends. */
static void add_taps(const struct vm_instance *instance, struct network_usage *sum)
{
    enum { NET_DEV_MAX = 1 << 20 };
    struct interfaces found = {.n = 0};
    uint64_t start_ticks;
    cleanup_with(error_clear) struct error ignored = {.code = ERR_NONE};
    cleanup_buf struct buf text = BUF_INIT(NET_DEV_MAX);
    cleanup_free char *fds = mem_printf("/proc/%d/fdinfo", (int)instance->pid);
    cleanup_free char *path = mem_printf("/proc/%d/net/dev", (int)instance->pid);
    fs_each_entry(fds, find_tap, &found);
    if (found.n == 0 || fs_read_file(path, &text, &ignored) < 0 ||
        !proc_stat_start_ticks(instance->pid, &start_ticks) ||
        start_ticks != instance->start_ticks) {
        return; /* of another process, too */
    }
    for (size_t i = 0; i < found.n; i++) {
        struct network_usage usage = {.is_known = false};
        if (read_interface(buf_str(&text), found.names[i], &usage)) {
            usage_add(sum, &usage);
        }
    }
}

/* ---- of a machine ---- */

/* NULL: it does not run, or its backend counts nothing. */
static const struct vm_spec *running_of(const struct vm_status *status)
{
    const struct vm_spec *spec = status ? vm_status_running_spec(status) : NULL;
    bool runs = spec && spec->backend == BACKEND_QEMU && status->instance.pid > 0 &&
                text_eq(status->instance.boot_id, clock_boot_id(clock_system()));
    return runs ? spec : NULL;
}

void network_usage_add_networks(struct strings *networks, const struct vm_status *status)
{
    const struct vm_spec *spec = running_of(status);
    const struct spec_network *network;
    for (size_t i = 0; spec && (network = vm_spec_network(spec, i)); i++) {
        if (network->mode == NETWORK_PROJECT) {
            strings_add(networks, network->network);
        }
    }
}

void network_usage_read(const json_t *answers, const char *vm_name, const struct vm_status *status,
    struct network_usage *ret)
{
    const struct vm_spec *spec = running_of(status);
    const struct spec_network *network;
    cleanup_free char *port = vm_name_of_socket(vm_name);
    *ret = (struct network_usage){.is_known = false};
    for (size_t i = 0; spec && (network = vm_spec_network(spec, i)); i++) {
        struct network_usage usage;
        if (network->mode != NETWORK_PROJECT) {
            continue;
        }
        const json_t *answer = json_object_get(answers, network->network);
        if (!usage_from_json(json_object_get(answer, port), &usage)) {
            *ret = (struct network_usage){.is_known = false};
            return; /* a sum without it would be less than the one before */
        }
        usage_add(ret, &usage);
    }
    if (spec && vm_spec_network_of_mode(spec, NETWORK_TAP)) {
        add_taps(&status->instance, ret);
    }
}
