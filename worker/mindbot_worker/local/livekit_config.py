"""Configuration of a livekit-server that never leaves loopback and shares its host with others."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import dataclass

HOST = "127.0.0.1"
NOWHERE = f"{HOST}:9"
"""Nobody listens there: the discard service of RFC 863 is history."""
API_KEY, API_SECRET = "devkey", "secret"  # what `livekit-server --dev` uses


@dataclass(frozen=True, slots=True)
class Ports:
    http: int
    udp: int


def environment(ports: Ports) -> dict[str, str]:
    """The configuration, without what LIVEKIT_… variables meant for agents would change in it."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return kept | {"LIVEKIT_CONFIG": json.dumps(_configuration(ports))}  # JSON is YAML


def _configuration(ports: Ports) -> dict[str, object]:
    """Development mode in which nothing listens or sends outside loopback.

    A node_ip that is given also keeps the server from asking public STUN servers, and NOWHERE its clients, which it
    would tell to. ICE over TCP would listen on every address, and is of no use here.
    """
    return {
        "port": ports.http,
        "bind_addresses": [HOST],
        "development": True,
        "keys": {API_KEY: API_SECRET},
        "logging": {"level": "warn", "json": True},
        "rtc": {
            "udp_port": ports.udp,
            "tcp_port": 0,
            "node_ip": HOST,
            "use_external_ip": False,
            "enable_loopback_candidate": True,
            "stun_servers": [NOWHERE],
            "ips": {"includes": [f"{HOST}/32"]},
        },
    }


def free_ports(http: int) -> Ports:
    """`http` if it is free now, else another port, with a UDP port beside it. Raises OSError if there is none."""
    return Ports(_free(socket.SOCK_STREAM, http), _free(socket.SOCK_DGRAM, 0))


def _free(kind: socket.SocketKind, wanted: int) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        if kind is socket.SOCK_STREAM:
            # As the server will: a port with connections that have just ended is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, wanted))
        except OSError:
            probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
