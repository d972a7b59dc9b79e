# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""check_http.py URL [ADDRESS]: 0 when URL, asked at ADDRESS, answers 200 within 4 s; else 2.

The certificate is not looked at: its issue and renewal have checks of their own, and an address cannot be in it.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import sys
from urllib.parse import urlsplit

SECONDS = 4


def main() -> int:
    url = urlsplit(sys.argv[1])
    address = sys.argv[2] if len(sys.argv) > 2 else url.hostname
    port = url.port or (443 if url.scheme == "https" else 80)
    try:
        connection = http.client.HTTPConnection(url.hostname, port, timeout=SECONDS)
        connection.sock = socket.create_connection((address, port), timeout=SECONDS)
        if url.scheme == "https":
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            connection.sock = context.wrap_socket(connection.sock, server_hostname=url.hostname)
        connection.request("GET", url.path or "/", headers={"Host": url.hostname})
        answer = connection.getresponse()
    except (OSError, http.client.HTTPException) as error:
        print(f"no answer: {error}")
        return 2
    print(f"status {answer.status}")
    return 0 if answer.status == 200 else 2


if __name__ == "__main__":
    sys.exit(main())
