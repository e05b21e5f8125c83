/* SPDX-License-Identifier: MPL-2.0 */
/*
 * vmctl-switch: one process per project network. It moves frames between the sockets of its VMs
 * (fabric.h) and slirp, which makes their connections to the world and listens for their forwards.
 *
 * vmctld starts it in the network's directory with the lock as descriptor 3 (port.h). It reads the
 * ports' files at its start, when it is asked to, and when the directory changes; it ends when
 * there has been none for a moment, or the directory is gone. The sockets are of datagrams, so it
 * may be killed and started again: QEMU notices nothing, and TCP between guests sends again.
 *
 * Its control socket takes lines: "apply VM" reads all ports and answers, about that VM's, with
 * one line: {}, or {"error": …, "port": "tcp/8080"}; "count" is answered with what each port's
 * guest has received and sent (specs/vm/network_usage.h).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "reconcilers/network/switch/fabric.h"
#include "reconcilers/network/switch/guard_ports.h"
#include "reconcilers/network/switch/port.h"
#include "reconcilers/network/switch/world.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fields.h"
#include "specs/base/fs.h"
#include "specs/base/json.h"
#include "specs/base/log.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/vm/network_usage.h"

enum { TICK_MS = 500, LINGER_MS = 2000, CLIENTS_MAX = 512, QUEUE_MAX = 512, TURN_MAX = 64 };
/* Of those that stand still, a guest that floods the others fills so much each. */
enum { QUEUE_BYTES_MAX = 1 << 20 };

/* A frame that waits because QEMU has not read those before it. */
struct waiting {
    struct waiting *next;
    size_t n;
    uint8_t bytes[];
};

/* What a port has besides its addresses: fabric_port.owner. */
struct uplink {
    struct waiting *first, **end;
    size_t n_waiting, waiting_bytes;
    bool is_connected;
    struct world_forwards forwards;
    bool is_listed; /* its file was seen in this round */
    struct network_usage usage;
};

struct client {
    int fd;
    struct buf line;
};

static struct {
    struct fabric *fabric;
    int control;
    struct client clients[CLIENTS_MAX];
    size_t n_clients;
    struct pollfd *polls;
    size_t n_polls;
    int64_t empty_since_ms;
    bool has_failed;
    uint32_t range;          /* of slirp: that of the first port; 0: not known yet */
    struct timespec read_at; /* the directory's time of change when it was last read */
    uint8_t frame[FRAME_MAX];
} hub = {.control = -1};

static int64_t hub_now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/* ---- a VM's sockets ---- */

static struct sockaddr_un address_of(const char *directory, const char *name, const char *suffix)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s%s%s", directory, name, suffix);
    return address;
}

/* QEMU's socket is a new one with each start. */
static bool connect_port(const struct fabric_port *port)
{
    struct sockaddr_un address = address_of("", port->config->name, SWITCH_GUEST_SUFFIX);
    struct uplink *uplink = port->owner;
    uplink->is_connected = connect(port->fd, (struct sockaddr *)&address, sizeof(address)) == 0;
    return uplink->is_connected;
}

static void drop_waiting(struct uplink *uplink)
{
    while (uplink->first) {
        struct waiting *gone = uplink->first;
        uplink->first = gone->next;
        free(gone);
    }
    uplink->end = &uplink->first;
    uplink->n_waiting = uplink->waiting_bytes = 0;
}

/* False: QEMU has to read first. A frame that cannot be sent is lost, as on a wire. */
static bool send_frame(const struct fabric_port *port, const uint8_t *frame, size_t n)
{
    struct uplink *uplink = port->owner;
    if (!uplink->is_connected && !connect_port(port)) {
        return true;
    }
    if (send(port->fd, frame, n, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) {
        uplink->usage.received_bytes += n;
        uplink->usage.received_packets++;
        return true;
    }
    if (errno == EAGAIN || errno == ENOBUFS) {
        return false;
    }
    if (errno == ECONNREFUSED || errno == ENOTCONN || errno == ECONNRESET) {
        uplink->is_connected = false;
    }
    return true;
}

static void to_port(void *context, struct fabric_port *port, const uint8_t *frame, size_t n)
{
    struct uplink *uplink = port->owner;
    (void)context;
    if ((!uplink->first && send_frame(port, frame, n)) || uplink->n_waiting == QUEUE_MAX ||
        uplink->waiting_bytes + n > QUEUE_BYTES_MAX) {
        return;
    }
    struct waiting *waiting = mem_calloc(1, sizeof(*waiting) + n);
    waiting->n = n;
    memcpy(waiting->bytes, frame, n);
    *uplink->end = waiting;
    uplink->end = &waiting->next;
    uplink->n_waiting++;
    uplink->waiting_bytes += n;
}

static void send_waiting(const struct fabric_port *port)
{
    struct uplink *uplink = port->owner;
    while (uplink->first && send_frame(port, uplink->first->bytes, uplink->first->n)) {
        struct waiting *sent = uplink->first;
        uplink->first = sent->next;
        uplink->end = uplink->first ? uplink->end : &uplink->first;
        uplink->n_waiting--;
        uplink->waiting_bytes -= sent->n;
        free(sent);
    }
}

static void to_world(void *context, const uint8_t *frame, size_t n)
{
    (void)context;
    world_input(frame, n);
}

static void from_world(const uint8_t *frame, size_t n)
{
    fabric_from_world(hub.fabric, frame, n);
}

static void receive_frames(struct fabric_port *port)
{
    struct network_usage *usage = &((struct uplink *)port->owner)->usage;
    for (int i = 0; i < TURN_MAX; i++) {
        ssize_t n = recv(port->fd, hub.frame, sizeof(hub.frame), MSG_DONTWAIT | MSG_TRUNC);
        if (n <= 0) {
            return;
        }
        usage->sent_bytes += (size_t)n;
        usage->sent_packets++;
        if ((size_t)n <= sizeof(hub.frame)) {
            fabric_from_port(hub.fabric, port, hub.frame, (size_t)n);
        }
    }
}

/* ---- ports ---- */

static struct switch_port *read_port(const char *path)
{
    cleanup_buf struct buf text = BUF_INIT(SWITCH_PORT_FILE_MAX);
    struct error err = {0};
    if (fs_read_file(path, &text, &err) < 0) {
        return NULL;
    }
    struct switch_port *config = fields_new(&switch_port_fields);
    struct bytes json = {buf_str(&text), text.len};
    if (fields_read(&switch_port_fields, json, config, NULL, &err) < 0) {
        log_warn("switch", "%s: %s", path, err.message);
        fields_free(&switch_port_fields, config);
        return NULL;
    }
    return config;
}

struct search {
    const char *directory, *name;
    uint32_t address; /* 0: not found yet */
};

/* A file of another network is read for the name that it has, not for what it says. */
static void search_entry(void *context, int dir_fd, const char *file)
{
    struct search *search = context;
    struct in_addr address = {0};
    size_t n = strlen(search->name);
    (void)dir_fd;
    bool is_it = strncasecmp(file, search->name, n) == 0 &&
                 (text_eq(file + n, SWITCH_PORT_SUFFIX) ||
                     (file[n] == '+' && text_ends_with(file, SWITCH_PORT_SUFFIX)));
    if (search->address || !is_it) {
        return;
    }
    cleanup_free char *path = mem_printf("%s/%s", search->directory, file);
    struct switch_port *config = read_port(path);
    if (config && inet_pton(AF_INET, config->address, &address) == 1) {
        search->address = ntohl(address.s_addr);
    }
    if (config) {
        fields_free(&switch_port_fields, config);
    }
}

/* By the ports' files in the directory beside this one: vmctld puts them there and takes them away.
 */
static bool find_elsewhere(
    void *context, const char *network, const char *name, uint32_t *ret_address)
{
    (void)context;
    cleanup_free char *directory = mem_printf("../%s", network);
    struct search search = {directory, name, 0};
    if (name[0] && !strchr(network, '/')) {
        fs_each_entry(directory, search_entry, &search);
    }
    *ret_address = search.address ? search.address : *ret_address;
    return search.address;
}

static void close_port(struct fabric_port *port)
{
    struct uplink *uplink = port->owner;
    struct sockaddr_un address = address_of(SWITCH_HUB "/", port->config->name, SWITCH_HUB_SUFFIX);
    world_clear_forwards(&uplink->forwards);
    (void)unlink(address.sun_path);
    close(port->fd);
    drop_waiting(uplink);
    free(uplink);
    fabric_remove(hub.fabric, port);
}

static void open_port(struct fabric_port *port)
{
    struct sockaddr_un address = address_of(SWITCH_HUB "/", port->config->name, SWITCH_HUB_SUFFIX);
    struct uplink *uplink = mem_new(struct uplink);
    uplink->end = &uplink->first;
    port->owner = uplink;
    port->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    (void)unlink(address.sun_path);
    (void)fchmod(port->fd, 0600);
    if (port->fd < 0 || bind(port->fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        log_error("switch", "%s: cannot bind: %s", port->config->name, strerror(errno));
        hub.has_failed = true; /* it ends, to be started again */
    }
}

static void read_entry(void *context, int dir_fd, const char *name)
{
    struct in_addr address = {0};
    (void)context;
    (void)dir_fd;
    struct switch_port *config = text_ends_with(name, SWITCH_PORT_SUFFIX) ? read_port(name) : NULL;
    if (!config) {
        return;
    }
    cleanup_free char *own = mem_printf("%s" SWITCH_PORT_SUFFIX, config->name);
    if (!text_eq(own, name)) {
        fields_free(&switch_port_fields, config);
        return;
    }
    (void)inet_pton(AF_INET, config->address, &address); /* it was checked */
    hub.range = hub.range ? hub.range : ntohl(address.s_addr) & 0xffffff00;
    if (!world_start(hub.range, from_world)) {
        log_error("switch", "libslirp does not start");
        hub.has_failed = true;
    }
    struct fabric_port *port = fabric_put(hub.fabric, config);
    if (port && port->fd < 0) {
        open_port(port);
    }
    if (port) {
        ((struct uplink *)port->owner)->is_listed = true;
    }
}

/* Of another one there is no way out: its VM was started with a new range, and others still run. */
static bool is_in_range(const struct fabric_port *port)
{
    return (port->address & 0xffffff00) == hub.range;
}

/* slirp keeps its range. When no port is in it any more, this process ends, and vmctld starts
 * another one. */
static bool has_moved(void)
{
    size_t n = fabric_count(hub.fabric), n_within = 0;
    for (size_t i = 0; i < n; i++) {
        n_within += is_in_range(fabric_at(hub.fabric, i));
    }
    return n > 0 && n_within == 0;
}

/* Removals come first: they may free a port of the host that another VM is to get. */
static void read_ports(void)
{
    uint16_t services[256];
    size_t n_services = 0;
    struct stat st;
    if (stat(".", &st) == 0) {
        hub.read_at = st.st_mtim;
    }
    for (size_t i = 0; i < fabric_count(hub.fabric); i++) {
        ((struct uplink *)fabric_at(hub.fabric, i)->owner)->is_listed = false;
    }
    fs_each_entry(".", read_entry, NULL);
    for (size_t i = fabric_count(hub.fabric); i > 0; i--) {
        struct fabric_port *port = fabric_at(hub.fabric, i - 1);
        if (!((struct uplink *)port->owner)->is_listed) {
            close_port(port);
        } else {
            struct uplink *uplink = port->owner;
            world_remove_forwards(&uplink->forwards, port->config);
        }
    }
    for (size_t i = 0; i < fabric_count(hub.fabric); i++) {
        const struct fabric_port *port = fabric_at(hub.fabric, i);
        if (is_in_range(port)) {
            world_add_forwards(
                &((struct uplink *)port->owner)->forwards, port->config, port->address);
        }
        for (size_t j = 0; j < port->config->n_services && n_services < ARRAY_LEN(services); j++) {
            services[n_services++] = port->config->services[j].port;
        }
    }
    guard_set_ports(services, n_services);
    hub.has_failed |= has_moved();
    hub.empty_since_ms = fabric_count(hub.fabric) > 0 ? 0
                         : hub.empty_since_ms         ? hub.empty_since_ms
                                                      : hub_now_ms();
}

/* ---- control ---- */

static json_t *count(void)
{
    json_t *json = json_object();
    for (size_t i = 0; i < fabric_count(hub.fabric); i++) {
        const struct fabric_port *port = fabric_at(hub.fabric, i);
        const struct uplink *uplink = port->owner;
        json_put(json, port->config->name, network_usage_to_json(&uplink->usage));
    }
    return json;
}

static json_t *apply(const char *vm_name)
{
    json_t *json = json_object();
    read_ports();
    struct fabric_port *port = fabric_find(hub.fabric, vm_name);
    if (!port) {
        json_put_text(json, "error", "there is no such port");
    } else if (!is_in_range(port)) {
        json_put_text(json, "error",
            "the network's other VMs run in another range of addresses; restart them, too");
    } else {
        const struct uplink *uplink = port->owner;
        (void)connect_port(port);
        json_put_text(json, "error", uplink->forwards.failure);
        json_put_text(json, "port", uplink->forwards.failed_port);
    }
    return json;
}

static void answer(const struct client *client, const char *line)
{
    static const char verb[] = "apply ";
    cleanup_json json_t *json = text_starts_with(line, verb) ? apply(line + strlen(verb))
                                : text_eq(line, NETWORK_USAGE_REQUEST)
                                    ? count()
                                    : json_pack("{s:s}", "error", "there is no such request");
    if (hub.has_failed) {
        return; /* the next one answers */
    }
    cleanup_free char *text = json_canonical(json);
    cleanup_free char *whole = mem_printf("%s\n", text);
    (void)send(client->fd, whole, strlen(whole), MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* False: it has gone, or writes what is not a line. */
static bool serve(struct client *client)
{
    char bytes[256];
    ssize_t n = recv(client->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    if (n <= 0) {
        return n < 0 && (errno == EAGAIN || errno == EINTR);
    }
    if (!buf_add(&client->line, bytes, (size_t)n)) {
        return false;
    }
    char *end;
    while (client->line.len > 0 && (end = strchr(client->line.data, '\n'))) {
        *end = '\0';
        answer(client, client->line.data);
        buf_consume(&client->line, (size_t)(end - client->line.data) + 1);
    }
    return true;
}

static void accept_client(void)
{
    int fd = accept4(hub.control, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0 && hub.n_clients < CLIENTS_MAX) {
        hub.clients[hub.n_clients++] = (struct client){fd, BUF_INIT(1024)};
    } else if (fd >= 0) {
        close(fd);
    }
}

/* ---- the loop ---- */

static int add_poll(int fd, short events)
{
    mem_grow(hub.polls, hub.n_polls);
    hub.polls[hub.n_polls] = (struct pollfd){.fd = fd, .events = events};
    return (int)hub.n_polls++;
}

static short poll_result(int index)
{
    return hub.polls[index].revents;
}

/* Until something happens. What it polls, in this order: the control socket, its clients, the
 * ports, slirp's. */
static void wait_for_events(void)
{
    uint32_t timeout_ms = TICK_MS;
    hub.n_polls = 0;
    (void)add_poll(hub.control, POLLIN);
    for (size_t i = 0; i < hub.n_clients; i++) {
        (void)add_poll(hub.clients[i].fd, POLLIN);
    }
    for (size_t i = 0; i < fabric_count(hub.fabric); i++) {
        const struct fabric_port *port = fabric_at(hub.fabric, i);
        bool has_waiting = ((struct uplink *)port->owner)->first;
        (void)add_poll(port->fd, has_waiting ? POLLIN | POLLOUT : POLLIN);
    }
    world_prepare(&timeout_ms, add_poll);
    world_handle(poll(hub.polls, hub.n_polls, (int)timeout_ms) < 0, poll_result);
}

/* From the last to the first, for a client that goes gives its place to the last. The ports go
 * before the clients: those may change them. */
static void handle_events(void)
{
    size_t first_port = 1 + hub.n_clients;
    for (size_t i = 0; i < fabric_count(hub.fabric); i++) {
        struct fabric_port *port = fabric_at(hub.fabric, i);
        short got = hub.polls[first_port + i].revents;
        if (got & POLLIN) {
            receive_frames(port);
        }
        if (got & POLLOUT) {
            send_waiting(port);
        }
    }
    for (size_t i = hub.n_clients; i > 0; i--) {
        struct client *client = &hub.clients[i - 1];
        if (hub.polls[i].revents && !serve(client)) {
            close(client->fd);
            buf_clear(&client->line);
            *client = hub.clients[--hub.n_clients];
        }
    }
    if (hub.polls[0].revents) {
        accept_client();
    }
}

/* False: it is over. */
static bool is_wanted(void)
{
    struct stat st;
    bool is_there = stat(".", &st) == 0 && st.st_nlink > 0;
    if (is_there &&
        (st.st_mtim.tv_sec != hub.read_at.tv_sec || st.st_mtim.tv_nsec != hub.read_at.tv_nsec)) {
        read_ports();
    }
    bool is_unused = hub.empty_since_ms && hub_now_ms() - hub.empty_since_ms > LINGER_MS;
    return is_there && !is_unused;
}

/* With its user go root's capabilities, for good. `user`: "UID:GID"; NULL: it stays who it is. */
static bool become_user(const char *user)
{
    unsigned uid, gid;
    if (!user) {
        return true;
    }
    return sscanf(user, "%u:%u", &uid, &gid) == 2 && setgroups(0, NULL) == 0 && setgid(gid) == 0 &&
           setuid(uid) == 0;
}

int main(int argc, char **argv)
{
    struct error err = {0};
    if (argc < 2 || argc > 3 || strcmp(argv[1], "--in-directory") != 0) {
        (void)fputs("vmctl-switch is started by vmctld, once for each project network\n", stderr);
        return 2;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (!become_user(argc > 2 ? argv[2] : NULL)) {
        log_error("switch", "cannot become user %s: %s", argv[2], strerror(errno));
        return EXIT_FAILURE;
    }
    (void)fcntl(SWITCH_LOCK_FD, F_SETFD, FD_CLOEXEC);
    if (!guard_is_in_place()) {
        log_error("switch", "the guard of this host's services is not loaded");
        return EXIT_FAILURE;
    }
    if (fs_listen_unix(SWITCH_CONTROL, &hub.control, &err) < 0) {
        log_error("switch", "%s", err.message);
        return EXIT_FAILURE;
    }
    struct fabric_output output = {to_port, to_world, find_elsewhere, NULL};
    hub.fabric = fabric_new(&output);
    read_ports();
    int64_t checked_ms = hub_now_ms();
    while (!hub.has_failed) {
        wait_for_events();
        handle_events();
        if (hub_now_ms() - checked_ms >= TICK_MS) {
            checked_ms = hub_now_ms();
            if (!is_wanted()) {
                return EXIT_SUCCESS; /* with it go the lock, the sockets and the forwards */
            }
        }
    }
    return EXIT_FAILURE;
}
