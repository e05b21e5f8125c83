/* SPDX-License-Identifier: MPL-2.0 */
/* unix_peer PATH TEXT: serves a unix socket: each connection gets TEXT, and is closed.
 * unix_peer PATH: connects to one, and prints what comes from it. For guests that have no such
 * program; linked statically. */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const struct sockaddr *at = (const struct sockaddr *)&address;
    char bytes[256];
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (argc < 2 || strlen(argv[1]) >= sizeof(address.sun_path)) {
        return 2;
    }
    memcpy(address.sun_path, argv[1], strlen(argv[1]));
    if (argc == 2) {
        ssize_t n = connect(fd, at, sizeof(address)) == 0 ? read(fd, bytes, sizeof(bytes)) : -1;
        return n > 0 && write(STDOUT_FILENO, bytes, (size_t)n) == n ? 0 : 1;
    }
    (void)unlink(argv[1]);
    if (bind(fd, at, sizeof(address)) < 0 || listen(fd, 8) < 0) {
        perror(argv[1]);
        return 1;
    }
    for (;;) {
        int peer = accept(fd, NULL, NULL);
        (void)!write(peer, argv[2], strlen(argv[2]));
        (void)close(peer);
    }
}
