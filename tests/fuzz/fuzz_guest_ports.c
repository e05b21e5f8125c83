/* SPDX-License-Identifier: MPL-2.0 */
/* Any line of a guest as its ports. What must hold: no more than fit, each once, in order, with an
 * address. */
#include <stdint.h>
#include <stdlib.h>

#include "reconcilers/tunnel/guest_ports.h"
#include "specs/base/cleanup.h"
#include "specs/base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct tunnel_port ports[TUNNEL_PORTS_MAX];
    cleanup_free char *line = mem_strndup((const char *)data, size);
    size_t n = guest_ports_parse(line, ports);
    for (size_t i = 0; i < n; i++) {
        bool is_in_order = i == 0 || ports[i].port > ports[i - 1].port;
        if (n > TUNNEL_PORTS_MAX || ports[i].port == 0 || !is_in_order || !ports[i].address[0]) {
            abort();
        }
    }
    return 0;
}
