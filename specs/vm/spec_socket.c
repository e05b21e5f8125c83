/* SPDX-License-Identifier: MPL-2.0 */
/* The unix sockets that a spec forwards (vm_spec.h). */
#include <stdlib.h>
#include <string.h>

#include "specs/base/error.h"
#include "specs/base/fields.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/vm/vm_spec.h"

DEFINE_WORDS(
    socket_direction, enum socket_direction, SOCKET_DIRECTION_COUNT_, "to-guest", "to-host")

static const struct field socket_rows[] = {
    FIELD(struct spec_socket, host, "socket"),
    FIELD(struct spec_socket, guest, "guestSocket"),
    FIELD_ENUM(struct spec_socket, direction, "direction", &socket_direction_words),
};

/* They become words of a program in the guest, and names of files. */
static int check_socket(const void *object, struct error *err)
{
    const struct spec_socket *one = object;
    return socket_path_is_valid(one->host) && socket_path_is_valid(one->guest)
               ? 0
               : error_set(err, ERR_STORE, "the path of a socket is not valid");
}

const struct fields spec_socket_fields = {
    FIELDS_OF(socket_rows, struct spec_socket), .is_strict = true, .check = check_socket};

void vm_spec_leave_sockets(struct vm_spec *spec, bool all)
{
    struct spec_network *network = &spec->network;
    size_t n = 0;
    for (size_t i = 0; i < network->n_sockets; i++) {
        if (all || network->sockets[i].direction == SOCKET_TO_GUEST) {
            free(network->sockets[i].host);
            free(network->sockets[i].guest);
        } else {
            network->sockets[n++] = network->sockets[i];
        }
    }
    network->n_sockets = n;
}

bool socket_path_is_valid(const char *path)
{
    size_t n = path ? strlen(path) : 0;
    if (n < 2 || n > SOCKET_PATH_MAX || path[0] != '/' || path[n - 1] == '/') {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if ((unsigned char)path[i] < ' ' || path[i] == 0x7f) {
            return false;
        }
    }
    return true;
}
