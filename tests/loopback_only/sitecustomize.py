"""Put on PYTHONPATH, this ends a process that looks a name up or connects anywhere but to this machine.

The workers keep PYTHONPATH, so the service and every child of it run under it in the end-to-end tests.
"""

import ipaddress
import os
import sys


def _is_local(address):
    if not isinstance(address, tuple):
        return True  # unix socket
    host = address[0]
    if host in {"", "localhost"}:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback or ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def _audit(event, args):
    outside = (event in {"socket.connect", "socket.sendto", "socket.bind"} and not _is_local(args[1])) or (
        event == "socket.getaddrinfo" and not _is_local((args[0] or "",))
    )
    if outside:
        marker = os.environ.get("LOOPBACK_ONLY_MARKER")
        if marker:
            with open(marker, "a") as stream:
                stream.write(f"{event}\n")
        raise OSError("outside connection refused by the tests")


sys.addaudithook(_audit)
