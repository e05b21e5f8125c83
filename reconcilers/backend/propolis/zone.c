/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/backend/propolis/zone.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reconcilers/backend/propolis/script.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/vm/vm_spec.h"

static struct zone_facts parse_line(char *id, char *state)
{
    bool is_alive = !text_eq(id, "-");
    return (struct zone_facts){
        .is_known = true,
        .is_installed = !text_eq(state, "configured") && !text_eq(state, "incomplete"),
        .is_alive = is_alive,
        .id = is_alive ? (int32_t)strtol(id, NULL, 10) : 0,
    };
}

struct zone_facts zone_parse(const char *list, const char *name)
{
    cleanup_free char *copy = mem_strdup(list);
    char *rest = copy;
    for (char *line; (line = strsep(&rest, "\n"));) {
        char *id = strsep(&line, ":");
        char *zone = line ? strsep(&line, ":") : NULL;
        char *state = line ? strsep(&line, ":") : NULL;
        if (state && text_eq(zone, name)) {
            return parse_line(id, state);
        }
    }
    return (struct zone_facts){.is_known = false};
}

/* One `net` of a zone. */
struct zone_net {
    char link[64];
    char address[INET6_ADDRSTRLEN];
};

static bool is_guests(const struct zone_net *net, const struct vm_spec *spec)
{
    const struct spec_network *network;
    for (size_t i = 0; (network = vm_spec_network(spec, i)); i++) {
        if (network->vnic && text_eq(net->link, network->vnic)) {
            return true;
        }
    }
    return false;
}

static void take_net(const struct zone_net *net, const struct vm_spec *spec, struct zone_facts *ret)
{
    bool is_first = spec->network.vnic && text_eq(net->link, spec->network.vnic);
    if (!net->address[0]) {
        return;
    }
    if (is_first && !ret->guest[0]) {
        memcpy(ret->guest, net->address, sizeof(net->address));
    } else if (!is_guests(net, spec) && !ret->server[0]) {
        bool is_ipv6 = strchr(net->address, ':') != NULL;
        (void)snprintf(ret->server, sizeof(ret->server), "%s%s%s", is_ipv6 ? "[" : "", net->address,
            is_ipv6 ? "]" : "");
    }
}

/* "10.0.0.5/24", or several of them with commas in between. */
static void read_address(const char *text, struct zone_net *net)
{
    uint8_t bytes[sizeof(struct in6_addr)];
    cleanup_free char *address = mem_strndup(text, strcspn(text, "/, "));
    if (strlen(address) < sizeof(net->address) &&
        (inet_pton(AF_INET, address, bytes) == 1 || inet_pton(AF_INET6, address, bytes) == 1)) {
        (void)snprintf(net->address, sizeof(net->address), "%s", address);
    }
}

void zone_parse_net(const char *info, const struct vm_spec *spec, struct zone_facts *ret)
{
    cleanup_free char *copy = mem_strdup(info);
    char *rest = copy;
    struct zone_net net = {.link = ""};
    ret->server[0] = ret->guest[0] = '\0';
    for (char *line; (line = strsep(&rest, "\n"));) {
        if (text_starts_with(line, "net")) { /* "net:"; its properties are indented */
            take_net(&net, spec, ret);
            net = (struct zone_net){.link = ""};
        }
        char *value = strchr(line, ':');
        if (!value || !isspace((unsigned char)line[0])) {
            continue; /* "address not specified" */
        }
        *value++ = '\0';
        const char *key = line + strspn(line, " \t");
        value += strspn(value, " \t");
        if (text_eq(key, "address") || text_eq(key, "allowed-address")) {
            read_address(value, &net);
        } else if (text_eq(key, "physical")) {
            (void)snprintf(net.link, sizeof(net.link), "%s", value);
        }
    }
    take_net(&net, spec, ret);
}

/* Reads the state, changes it if necessary, reads it again: a second call only reads. After a kill,
 * the next controller's first read shows whether the command has run. */
struct zone_work {
    char *name;
    enum zone_wanted wanted;
    struct vm_spec *spec; /* NULL: its addresses are not read */
    enum { BEGINNING, READING, ACTING, READING_AGAIN, READING_NET } stage;
    struct zone_facts *ret; /* borrowed from the caller, until `done` */
};

static void free_work(void *context)
{
    struct zone_work *work = context;
    free(work->name);
    vm_spec_free(work->spec);
    free(work);
}

static int handle_state(
    struct zone_work *work, const char *list, struct script_step *ret, struct error *err)
{
    struct zone_facts facts = zone_parse(list, work->name);
    bool wants_alive = work->wanted == ZONE_UP;
    const char *command = wants_alive ? "boot" : "halt";
    if (work->wanted == ZONE_AS_IT_IS || facts.is_alive == wants_alive) {
        *work->ret = facts;
        if (wants_alive) {
            work->stage = READING_NET;
            *ret = (struct script_step){
                {"zonecfg", "-z", work->name, "info", "net"}, .what = "read the network of zone"};
        }
        return 0;
    }
    if (wants_alive && !facts.is_installed) {
        error_set(err, ERR_BACKEND_UNAVAILABLE, "there is no installed zone '%s'", work->name);
        return error_help(err,
            "configure one of brand nebula-vm: zonecfg -z %s; then zoneadm -z %s install",
            work->name, work->name);
    }
    if (work->stage == READING_AGAIN) {
        return error_set(err, ERR_IO, "zoneadm %s succeeded, but zone '%s' is %s", command,
            work->name, facts.is_alive ? "still alive" : "down");
    }
    work->stage = ACTING;
    *ret = (struct script_step){
        {"zoneadm", "-z", work->name, command}, .what = wants_alive ? "boot zone" : "halt zone"};
    return 0;
}

static int zone_next(void *context, const char *output, struct script_step *ret, struct error *err)
{
    struct zone_work *work = context;
    if (work->stage == BEGINNING || work->stage == ACTING) {
        work->stage++;
        *ret = (struct script_step){{"zoneadm", "list", "-cp"}, .what = "find zone"};
        return 0;
    }
    if (work->stage == READING_NET) {
        zone_parse_net(output, work->spec, work->ret);
        return 0;
    }
    return handle_state(work, output, ret, err);
}

struct op *zone_start(struct loop *loop, const struct zone_request *request, struct zone_facts *ret,
    op_done_fn *done, void *context)
{
    struct zone_work *work = mem_new(struct zone_work);
    work->name = mem_strdup(request->name);
    work->wanted = request->wanted;
    work->spec = request->spec ? vm_spec_copy(request->spec) : NULL;
    work->ret = ret;
    return script_start(loop, request->name, zone_next, free_work, work, done, context);
}
