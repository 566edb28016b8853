"""Messages between the runner and a forked notebook process: a length, then JSON."""
from __future__ import annotations

import json
import struct

HEAD = struct.Struct('>Q')
ENCODE = json.JSONEncoder(ensure_ascii=False,
                          default=str).encode  # bound here: a notebook may break json.dumps


def pack(message) -> bytes:
    "A message as it travels."
    body = ENCODE(message).encode('utf-8', 'surrogatepass')
    return HEAD.pack(len(body)) + body


def unpack(body: bytes):
    return json.loads(body.decode('utf-8', 'surrogatepass'))


def receive(sock):
    "Wait for one message on a blocking socket. None: the other side is gone."
    head = exactly(sock, HEAD.size)
    if head is None:
        return None
    body = exactly(sock, HEAD.unpack(head)[0])
    return None if body is None else unpack(body)


def exactly(sock, n: int) -> bytes | None:
    parts = []
    while n:
        part = sock.recv(min(n, 1 << 20))
        if not part:
            return None
        parts.append(part)
        n -= len(part)
    return b''.join(parts)


class Feed:
    "Cuts a stream of bytes into messages."

    def __init__(self):
        self.buffer = bytearray()

    def messages(self, data: bytes):
        self.buffer += data
        while len(self.buffer) >= HEAD.size:
            end = HEAD.size + HEAD.unpack_from(self.buffer)[0]
            if len(self.buffer) < end:
                return
            body = bytes(self.buffer[HEAD.size:end])
            del self.buffer[:end]
            yield unpack(body)
