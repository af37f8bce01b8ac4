"""What ours listens on: the loopback interface and nothing else, with a secret; and what it leaves behind: nothing."""

from __future__ import annotations

import ipaddress
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]

REPOSITORY = Path(__file__).resolve().parents[2]
RAY = """
import sys
from pathlib import Path
from tasks.environment import configure
configure(Path(sys.argv[1]))
from tasks.cluster import disconnect
from tasks.dispatch import fan_out
from tasks.scratch import socket_folder
assert fan_out(str, [1], name="at-work") == ["1"]
print("at work", flush=True)
print(socket_folder(), flush=True)
sys.stdin.read()
disconnect()
"""
PREFECT = """
import sys
from pathlib import Path
from tasks.environment import configure
configure(Path(sys.argv[1]))
from tasks.serving import prefect_server
from tasks.workspace import Workspace
with prefect_server(Workspace(Path(sys.argv[1])), int(sys.argv[2])):
    print("at work", flush=True)
    sys.stdin.read()
"""
LISTEN = "0A"


@contextmanager
def at_work(script: str, *arguments: str, place: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that starts what a command starts, as a user's shell would run it."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "PREFECT_"))}
    environment |= {"PYTHONPATH": str(REPOSITORY), "TMPDIR": str(place)}
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(place / "ws"), *arguments],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "at work\n"
        yield process
        process.communicate(timeout=120)
    finally:
        process.kill()


def listening(process: subprocess.Popen[str]) -> set[tuple[str, int]]:
    """Address and port of every TCP socket that the process and its descendants listen on."""
    root = psutil.Process(process.pid)
    inodes = set()
    for each in (root, *root.children(recursive=True)):
        for descriptor in Path(f"/proc/{each.pid}/fd").iterdir():
            try:
                target = os.readlink(descriptor)
            except OSError:  # closed meanwhile
                continue
            if target.startswith("socket:["):
                inodes.add(target.removeprefix("socket:[").removesuffix("]"))
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{process.pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTEN and fields[9] in inodes:
                address, port = fields[1].split(":")
                words = [int(address[i : i + 8], 16).to_bytes(4, "little") for i in range(0, len(address), 8)]
                found.add((str(ipaddress.ip_address(b"".join(words))), int(port, 16)))
    return found


def elsewhere(sockets: set[tuple[str, int]]) -> list[tuple[str, int]]:
    """Those that are not on the loopback interface."""
    found = []
    for address, port in sorted(sockets):
        ip = ipaddress.ip_address(address)
        if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped:
            ip = ip.ipv4_mapped
        if not ip.is_loopback:
            found.append((address, port))
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_list_of_sockets_sees_what_listens_elsewhere() -> None:
    script = (
        "import socket, sys\n"
        "everywhere, here = socket.create_server(('', 0)), socket.create_server(('127.0.0.1', 0))\n"
        "six = socket.create_server(('::1', 0), family=socket.AF_INET6) if socket.has_ipv6 else here\n"
        "print(everywhere.getsockname()[1], here.getsockname()[1], flush=True)\n"
        "sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        everywhere, here = map(int, process.stdout.readline().split())
        sockets = listening(process)
        assert ("127.0.0.1", here) in sockets
        assert elsewhere(sockets) == [("0.0.0.0", everywhere)]
    finally:
        process.kill()
        process.wait()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_local_ray_listens_on_loopback_with_a_secret_and_leaves_nothing(tmp_path: Path) -> None:
    with at_work(RAY, place=tmp_path) as process:
        sockets, folder = listening(process), folder_of_ray(process)
        assert len(sockets) > 3, "Ray has servers of its own"
        assert elsewhere(sockets) == []
        token = tmp_path / "ws" / "state" / "ray_token"
        assert token.stat().st_mode & 0o077 == 0
        for each in psutil.Process(process.pid).children(recursive=True):
            assert token.read_text() not in " ".join(each.cmdline())
        assert list(folder.glob("session_*"))
        assert folder.parent.parent.stat().st_mode & 0o077 == 0
    assert not folder.parent.exists()
    assert left_in(tmp_path) == []


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_folder_of_a_killed_ray_is_gone_with_the_next_command(tmp_path: Path) -> None:
    with at_work(RAY, place=tmp_path) as process:
        folder = folder_of_ray(process)
        tree = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        for each in tree:  # as the kernel ends a container
            with suppress(psutil.NoSuchProcess):
                each.kill()
    assert list(folder.glob("session_*"))
    subprocess.run(
        [sys.executable, "-c", "from tasks.scratch import socket_folder; socket_folder()"],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY), "TMPDIR": str(tmp_path)},
        check=True,
    )
    assert not folder.exists()
    assert left_in(tmp_path) == []


def folder_of_ray(process: subprocess.Popen[str]) -> Path:
    """Where its sockets and logs are, as the process says in its second line."""
    assert process.stdout is not None
    return Path(process.stdout.readline().strip())


def left_in(place: Path) -> list[Path]:
    """Files beside the workspace."""
    return [path for path in place.rglob("*") if path.is_file() and not path.is_relative_to(place / "ws")]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_prefect_server_listens_on_loopback_and_asks_for_its_password(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = int(taken.getsockname()[1])
    with at_work(PREFECT, str(port), place=tmp_path) as process:
        sockets = listening(process)
        assert ("127.0.0.1", port) in sockets
        assert elsewhere(sockets) == []
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/api/admin/version", timeout=60)
        assert refused.value.code == 401
        password = (tmp_path / "ws" / "state" / "prefect" / "password").read_text()
        for each in (psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)):
            assert password not in " ".join(each.cmdline())
