/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/request/free_port.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "specs/base/cleanup.h"

static bool is_free(enum forward_protocol protocol, uint16_t port)
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
        if (is_free(protocol, port)) {
            break;
        }
    }
    return port;
}
