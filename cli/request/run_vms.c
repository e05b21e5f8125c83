/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/request/run_vms.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "cli/request/project.h"
#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "specs/base/vm_name.h"
#include "store/desired/change.h"

/* Cut where it would be too long: the suffix makes it unique. */
static char *new_name(const char *name, const char *suffix)
{
    int room = VM_NAME_MAX - (int)strlen(suffix) - 1 + (int)(vm_name_plain(name) - name);
    return mem_printf("%.*s-%s", room, name, suffix);
}

static void rename_all(struct vm_spec *spec, const char *suffix)
{
    cleanup_free char *name = spec->name;
    spec->name = new_name(name, suffix);
    for (size_t i = 0; i < spec->n_depends_on; i++) {
        cleanup_free char *dependency = spec->depends_on[i];
        spec->depends_on[i] = new_name(dependency, suffix);
    }
}

bool port_is_free(enum forward_protocol protocol, uint16_t port)
{
    int type = protocol == FORWARD_UDP ? SOCK_DGRAM : SOCK_STREAM;
    cleanup_close int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    const struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    return fd >= 0 && bind(fd, (const struct sockaddr *)&address, sizeof(address)) == 0;
}

uint16_t free_port_next(enum forward_protocol protocol, uint32_t *cursor)
{
    uint16_t port = FREE_PORT_FIRST;
    for (int i = 0; i < FREE_PORT_COUNT; i++) {
        port = (uint16_t)(FREE_PORT_FIRST + (*cursor)++ % FREE_PORT_COUNT);
        if (port_is_free(protocol, port)) {
            break;
        }
    }
    return port;
}

static void take_free_ports(struct vm_spec *spec, uint32_t *cursor)
{
    vm_spec_leave_sockets(spec, false);
    for (size_t i = 0; i < spec->network.n_forwards; i++) {
        struct spec_forward *forward = &spec->network.forwards[i];
        forward->host_port = free_port_next(forward->protocol, cursor);
    }
    if (spec->vnc.port) {
        spec->vnc.port = free_port_next(FORWARD_TCP, cursor);
    }
}

int run_vms_make(const struct project *project, const char *name, const char *suffix,
    bool keeps_ports, struct run_vms *ret, struct error *err)
{
    uint32_t cursor = 0;
    cleanup_with(strings_clear) struct strings originals = {.count = 0};
    cleanup_with(run_vms_clear) struct run_vms made = {.specs = NULL};
    (void)!getrandom(&cursor, sizeof(cursor), 0); /* jobs that begin at once seldom meet */
    strings_add(&originals, name);
    targets_add_dependencies(project, &originals);
    made.specs = mem_calloc(originals.count, sizeof(*made.specs));
    for (size_t i = 0; i < originals.count; i++) {
        struct vm_spec *spec = vm_spec_copy(project_find_vm(project, originals.items[i], i));
        rename_all(spec, suffix);
        vm_spec_leave_identity(spec);
        if (!keeps_ports) {
            take_free_ports(spec, &cursor);
        }
        strings_add(&made.names, spec->name);
        made.specs[i] = spec;
        int rc = change_read_files(spec, err);
        if (rc < 0) {
            return rc;
        }
    }
    *ret = made;
    made = (struct run_vms){.specs = NULL};
    return 0;
}

void run_vms_clear(struct run_vms *run_vms)
{
    for (size_t i = 0; i < run_vms->names.count; i++) {
        vm_spec_free(run_vms->specs[i]);
    }
    free(TAKE_PTR(run_vms->specs));
    strings_clear(&run_vms->names);
}
