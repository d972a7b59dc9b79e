# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""app.py PORT: an app that says which instance it is, echoes a websocket's frames and sends events."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import socket
import sys

PORT = int(sys.argv[1])
NAME = f"{socket.gethostname()}:{PORT}".encode()


async def websocket(reader, writer, key):
    accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n")
    while True:
        head = await reader.readexactly(2)
        mask = await reader.readexactly(4)
        data = await reader.readexactly(head[1] & 127)
        writer.write(bytes((head[0], len(data))) + bytes(byte ^ mask[i % 4] for i, byte in enumerate(data)))
        await writer.drain()


async def events(writer):
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    number = 0
    while True:
        text = b"data: %d\n\n" % number
        writer.write(b"%x\r\n%s\r\n" % (len(text), text))
        await writer.drain()
        await asyncio.sleep(0.2)
        number += 1


async def serve(reader, writer):
    try:
        while True:
            lines = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
            headers = dict(line.lower().split(b": ", 1) for line in lines[1:] if b": " in line)
            path = lines[0].split(b" ")[1]
            if path == b"/socket":
                key = next(line.split(b": ", 1)[1] for line in lines if line.lower().startswith(b"sec-websocket-key"))
                await websocket(reader, writer, key)
            if path == b"/events":
                await events(writer)
            await reader.readexactly(int(headers.get(b"content-length", 0)))
            more = b"Strict-Transport-Security: max-age=1\r\n" if path == b"/strict" else b""
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n%sContent-Length: %d\r\n\r\n%s" % (more, len(NAME), NAME))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main():
    server = await asyncio.start_server(serve, "0.0.0.0", PORT)
    await server.serve_forever()


asyncio.run(main())
