/* SPDX-License-Identifier: MPL-2.0 */
/* libFuzzer target: any bytes are a frame of a guest, or of slirp's, or none. What comes out of the
 * switch is what went in, or an answer that can be read; and no guest gets a frame from itself,
 * also when another claims to be it. The first byte says who sends. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "reconcilers/network/switch/fabric.h"
#include "specs/base/fields.h"
#include "specs/base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void to_port(void *context, struct fabric_port *port, const uint8_t *frame, size_t n)
{
    struct packet packet;
    bool is_of_guest = *(const uint8_t *)context % 3 != 2;
    if (!packet_parse(frame, n, &packet) ||
        (is_of_guest && memcmp(packet.from_mac, port->mac, MAC_SIZE) == 0)) {
        abort();
    }
}

static void to_world(void *context, const uint8_t *frame, size_t n)
{
    struct packet packet;
    (void)context;
    if (!packet_parse(frame, n, &packet)) {
        abort();
    }
}

static struct fabric_port *add(struct fabric *fabric, const char *name, char last)
{
    struct switch_port *config = fields_new(&switch_port_fields);
    config->name = mem_strdup(name);
    config->project = mem_strdup("p");
    config->mac = mem_printf("52:54:00:00:00:0%c", last);
    config->address = mem_printf("10.0.0.2%c", last);
    if (last == '1') {
        config->n_egress = 1;
        config->egress = mem_calloc(1, sizeof(char *));
        config->egress[0] = mem_strdup("a");
    }
    return fabric_put(fabric, config);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t none;
    struct fabric_output output = {
        to_port, to_world, NULL, (void *)(uintptr_t)(size ? data : &none)};
    struct fabric *fabric = fabric_new(&output);
    struct fabric_port *a = add(fabric, "a", '1');
    struct fabric_port *b = add(fabric, "b", '2');
    if (size > 1 && size < FRAME_MAX) {
        /* of its own size on the heap, so that the sanitizer sees a byte read beyond the end */
        uint8_t *frame = mem_dup(data + 1, size - 1);
        if (data[0] % 3 == 2) {
            fabric_from_world(fabric, frame, size - 1);
        } else {
            fabric_from_port(fabric, data[0] % 3 ? b : a, frame, size - 1);
        }
        free(frame);
    }
    fabric_free(fabric);
    return 0;
}
