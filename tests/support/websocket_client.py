#!/usr/bin/env python3
# SPDX-License-Identifier: MPL-2.0
"""A WebSocket (RFC 6455) to the screen that vmctl-serve shows, for tests.

websocket_client.py HOST:PORT [--token TOKEN] [--say TEXT] [--origin O] [--host H] [--protocol P] [--path PATH] [--times N] [--count]

Prints "refused"; or what comes until it is as long as TEXT, which is sent; or how the server closes it, with --count and how much came before.
"""
import argparse
import base64
import os
import socket
import struct

TEXT, BINARY, CLOSE = 1, 2, 8


def send(s, kind, payload):
    mask = os.urandom(4)
    size = struct.pack("!BB", 0x80 | kind, 0x80 | len(payload)) if len(payload) < 126 else struct.pack("!BBH", 0x80 | kind, 0xfe, len(payload))
    s.sendall(size + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(payload)))


def receive(stream):
    head = stream.read(2)
    if len(head) < 2:
        return CLOSE, b""
    n = head[1] & 127
    if n == 126:
        n = struct.unpack("!H", stream.read(2))[0]
    return head[0] & 15, stream.read(n)


def view(options):
    address, port = options.address.rsplit(":", 1)
    s = socket.create_connection((address, int(port)), timeout=30)
    stream = s.makefile("rb")
    lines = ["GET %s HTTP/1.1" % options.path, "Host: " + (options.host or options.address), "Upgrade: websocket", "Connection: Upgrade",
             "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: " + base64.b64encode(os.urandom(16)).decode()]
    if options.origin:
        lines.append("Origin: " + options.origin)
    if options.protocol:
        lines.append("Sec-WebSocket-Protocol: " + options.protocol)
    s.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
    if b" 101 " not in stream.readline():
        return "refused"
    while stream.readline().strip():
        pass
    send(s, TEXT, ("Bearer " + options.token).encode())
    if options.say:
        send(s, BINARY, options.say.encode())
    said = b""
    while True:
        kind, payload = receive(stream)
        if kind == CLOSE:
            said_first = "%d bytes, " % len(said) if options.count else ""
            return said_first + ("%d %s" % (struct.unpack("!H", payload[:2])[0], payload[2:].decode()) if payload else "ended")
        said += payload
        if options.say and len(said) >= len(options.say):
            s.close()
            return said.decode()


parser = argparse.ArgumentParser()
parser.add_argument("address")
for name in ("token", "say", "origin", "host"):
    parser.add_argument("--" + name, default="")
parser.add_argument("--protocol", default="binary")
parser.add_argument("--path", default="/v1/vms/web/vnc")
parser.add_argument("--times", type=int, default=1)
parser.add_argument("--count", action="store_true")
options = parser.parse_args()
for _ in range(options.times):
    print(view(options))
