"""A network namespace for every node, joined by tunnels whose packets ``router`` carries. Implements Network.

Needs root (or CAP_NET_ADMIN), iproute2 and /dev/net/tun. The tunnels vanish with the process that holds them; the names
of namespaces do not, so they carry the number of the process that made them, and whoever comes next removes those of
processes that are gone.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from struct import Struct

from loadtest.faults.carrier import Carrier
from loadtest.faults.links import CLIENTS, Links
from loadtest.faults.network import NetworkError
from loadtest.faults.router import MTU

PREFIX = "threefold"
SUBNET = "198.18.77"
"""Of the addresses set aside for measuring networks (RFC 2544): nobody's real ones."""
_TUNNELS = Path("/dev/net/tun")
_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000
_REQUEST = Struct("16sH22x")


def are_permitted() -> bool:
    """Whether this process can make what it takes; leaves nothing behind."""
    if not _TUNNELS.exists() or shutil.which("ip") is None:
        return False
    probe = f"{PREFIX}-{os.getpid()}-probe"
    try:
        os.close(_tunnel("tf-probe"))
        _ip("netns", "add", probe)
        _ip("netns", "delete", probe)
    except (NetworkError, OSError):
        return False
    return True


class NamespaceNetwork:
    name = "a network namespace per node"

    def __init__(self) -> None:
        self._places: dict[str, str] = {}
        self._handles: dict[str, int] = {}
        self._carrier: Carrier | None = None

    def open(self, places: Mapping[str, str]) -> None:
        remove_leftovers()
        self._places = dict(places)
        try:
            for node in places:
                self._settle(node)
            self._settle_clients()
            ends = [f"{self._handles[node]}:{self.own(node)}:{place}" for node, place in places.items()]
            ends.append(f"{self._handles[CLIENTS]}:{SUBNET}.1:{CLIENTS}")
            self._carrier = Carrier("loadtest.faults.router", ends, list(self._handles.values()))
        except OSError as error:
            self.close()
            raise NetworkError(f"no tunnel could be made: {error}") from None
        except BaseException:
            self.close()
            raise

    def own(self, node: str) -> str:
        return f"{SUBNET}.{10 + list(self._places).index(node)}"

    seen = own

    def prefix(self, node: str) -> tuple[str, ...]:
        return ("ip", "netns", "exec", _namespace(node))

    def arguments(self, _node: str) -> tuple[str, ...]:
        return ()

    def shape(self, links: Links) -> None:
        assert self._carrier is not None
        self._carrier.shape(links)

    def close(self) -> None:
        if self._carrier is not None:
            self._carrier.close()
            self._carrier = None
        for handle in self._handles.values():
            os.close(handle)
        self._handles.clear()
        for node in self._places:
            _remove(_namespace(node))

    def _settle(self, node: str) -> None:
        name = _namespace(node)
        _ip("netns", "add", name)
        self._handles[node] = _tunnel("tf-node")
        _ip("link", "set", "tf-node", "netns", name)
        _ip("-n", name, "link", "set", "lo", "up")
        _bring_up("tf-node", self.own(node), "-n", name)

    def _settle_clients(self) -> None:
        self._handles[CLIENTS] = _tunnel("tf-clients")
        _bring_up("tf-clients", f"{SUBNET}.1")


def remove_leftovers() -> None:
    """Namespaces of runs that are gone, with what still runs in them."""
    found = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=False).stdout
    for line in found.splitlines():
        name = line.split()[0]
        parts = name.split("-")
        if parts[0] == PREFIX and len(parts) > 2 and parts[1].isdigit() and not Path(f"/proc/{parts[1]}").exists():
            _remove(name)


def _namespace(node: str) -> str:
    return f"{PREFIX}-{os.getpid()}-{node}"


def _bring_up(device: str, address: str, *where: str) -> None:
    _ip(*where, "link", "set", device, "mtu", str(MTU), "txqueuelen", "5000", "up")
    _ip(*where, "address", "add", f"{address}/24", "dev", device)


def _tunnel(name: str) -> int:
    """The handle of a new tunnel of that name, which lives as long as the handle is open."""
    handle = os.open(_TUNNELS, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.ioctl(handle, _TUNSETIFF, _REQUEST.pack(name.encode(), _IFF_TUN | _IFF_NO_PI))
    except OSError:
        os.close(handle)
        raise
    return handle


def _remove(name: str) -> None:
    found = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True, check=False).stdout
    for pid in found.split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise NetworkError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
