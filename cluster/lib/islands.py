"""Parts of the machine that can be cut off from the rest: network namespaces, and one wire to each."""

import ctypes
import itertools
import os
import random
import subprocess

CLONE_NEWNET = 0x40000000
# Nobody has this address, so that nobody takes what is sent to it: a cut wire says nothing, as a firewall or a dead switch.
NOBODY = "02:00:00:00:00:01"

_libc = ctypes.CDLL(None, use_errno=True)
_numbers = itertools.count(random.randrange(1 << 12))


def ip(*words):
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout


def why_not():
    """Why there can be no island here; nothing where there can."""
    name = f"sluice-{os.getpid()}-x"
    try:
        ip("netns", "add", name)
        ip("netns", "del", name)
        return ""
    except (OSError, subprocess.CalledProcessError) as error:
        return f"no network namespaces here: {getattr(error, 'stderr', None) or error}".strip()


class Island:
    """`with island:` opens sockets and starts processes on it, by the calling thread alone."""

    def __init__(self):
        number = next(_numbers)
        self.name = f"sluice-{os.getpid()}-{number}"
        self.wire = f"sl{os.getpid() % 100_000}n{number % 1000}"
        # Addresses for tests of networks (RFC 2544).
        net = f"198.18.{number // 64 % 256}.{number % 64 * 4}".rsplit(".", 1)
        self.shore, self.address = (f"{net[0]}.{int(net[1]) + n}" for n in (1, 2))
        ip("netns", "add", self.name)
        try:
            ip("link", "add", self.wire, "type", "veth", "peer", "name", "wire", "netns", self.name)
            ip("addr", "add", f"{self.shore}/30", "dev", self.wire)
            ip("link", "set", self.wire, "up")
            ip("-n", self.name, "addr", "add", f"{self.address}/30", "dev", "wire")
            for device in ("wire", "lo"):
                ip("-n", self.name, "link", "set", device, "up")
            # To the shore's other addresses, and to other islands by way of it.
            ip("-n", self.name, "route", "add", "default", "via", self.shore)
            self.file = os.open(f"/run/netns/{self.name}", os.O_RDONLY | os.O_CLOEXEC)
        except BaseException:
            ip("netns", "del", self.name)
            raise
        self.home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    def move(self, file):
        if _libc.setns(file, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")

    def __enter__(self):
        self.move(self.file)
        return self

    def __exit__(self, *_):
        self.move(self.home)

    def cut(self):
        """From now on nothing arrives on either side."""
        ip("neigh", "replace", self.address, "lladdr", NOBODY, "dev", self.wire, "nud", "permanent")
        ip("-n", self.name, "neigh", "replace", self.shore, "lladdr", NOBODY, "dev", "wire", "nud", "permanent")

    def heal(self):
        ip("neigh", "del", self.address, "dev", self.wire)
        ip("-n", self.name, "neigh", "del", self.shore, "dev", "wire")

    def close(self):
        os.close(self.file)
        os.close(self.home)
        ip("netns", "del", self.name)
