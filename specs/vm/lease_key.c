/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/vm/lease_key.h"

#include <string.h>

#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/vm/vm_spec.h"

char *address_lease_key(const char *network, const char *address)
{
    return mem_printf("net/%s/%s", network, address);
}

char *mac_lease_key(const char *mac)
{
    return mem_printf("mac/%s", mac);
}

char *name_lease_key(const char *vm_name)
{
    return mem_printf("name/%s", vm_name);
}

static const char socket_key[] = "socket/";

char *socket_lease_key(const char *path)
{
    return mem_printf("%s%s", socket_key, path);
}

char *vm_spec_lease_key(const struct vm_spec *spec, size_t i)
{
    const struct spec_network *network = &spec->network;
    size_t n = network_has_forwards(network->mode) ? network->n_forwards : 0;
    if (i < n) {
        return forward_lease_key(&network->forwards[i]);
    }
    if (spec->vnc.port && n++ == i) {
        return mem_printf("tcp/%u", spec->vnc.port);
    }
    for (size_t at = 0; (network = vm_spec_network(spec, at)); at++) {
        bool has_address = network->mode == NETWORK_PROJECT && network->address;
        if (network->mac && n++ == i) {
            return mac_lease_key(network->mac);
        }
        if (has_address && n++ == i) {
            return address_lease_key(network->network, network->address);
        }
    }
    return NULL;
}

char *lease_in_words(const char *key)
{
    const char *slash = strrchr(key, '/');
    const char *value = slash ? slash + 1 : key;
    return text_starts_with(key, "mac/")       ? mem_printf("MAC address %s", value)
           : text_starts_with(key, socket_key) ? mem_printf("socket '%s'", key + strlen(socket_key))
           : text_starts_with(key, "net/")     ? mem_printf("address %s", value)
           : text_starts_with(key, "name/")    ? mem_printf("name '%s'", key + strlen("name/"))
                                               : mem_printf("host port %s", key);
}

const char *lease_purpose(const char *key)
{
    return text_starts_with(key, "mac/")       ? "mac"
           : text_starts_with(key, "name/")    ? "name"
           : text_starts_with(key, socket_key) ? "socket"
                                               : "port";
}
