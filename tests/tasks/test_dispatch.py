"""Work on a local Ray: order, progress, errors and retries of a killed worker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lipforcing_core.base.errors import BadInputError, LipForcingError
from tasks.cluster import connect, disconnect, wants_token
from tasks.dispatch import Station, convey, fan_out, run_job
from tasks.scratch import socket_folder

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module", autouse=True)
def local_ray() -> Iterator[None]:
    connect()
    yield
    disconnect()


def test_results_keep_the_order_of_the_items() -> None:
    seen: list[tuple[int, int]] = []
    results = fan_out(
        lambda x: x * x, [3, 1, 2], name="square", advance=lambda done, total: seen.append((done, total))
    )
    assert results == [9, 1, 4]
    assert seen[-1] == (3, 3)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_an_error_of_an_item_arrives_as_itself() -> None:
    def fails(path: str) -> None:
        raise BadInputError(f"{path}: unreadable")

    with pytest.raises(BadInputError, match=r"a\.mp4: unreadable"):
        fan_out(fails, ["a.mp4"], name="fails")


def test_a_job_whose_worker_is_killed_runs_again(tmp_path: Path) -> None:
    def job(folder: Path) -> int:
        (folder / f"attempt-{len(list(folder.iterdir()))}").touch()
        if len(list(folder.iterdir())) == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return len(list(folder.iterdir()))

    watched = []
    assert run_job(job, tmp_path, name="job", num_cpus=1, watch=lambda: watched.append(1)) == 2
    assert watched


def test_an_item_that_kills_every_worker_is_one_sentence() -> None:
    """As the kernel does where memory ends."""

    def die(_item: int) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(LipForcingError, match=r"a worker of hungry died .* run the command again"):
        fan_out(die, [1], name="hungry")
    assert fan_out(str, [1], name="next") == ["1"]


def test_relative_paths_mean_the_same_on_a_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "clip.txt").write_text("here")
    monkeypatch.chdir(tmp_path)
    assert fan_out(lambda name: Path(name).read_text(), ["clip.txt"], name="read") == ["here"]


def test_a_child_leaves_the_ray_of_its_parent_alone(tmp_path: Path) -> None:
    """It shares the scratch folder by TMPDIR, and removes its own session folder only."""
    assert fan_out(str, [1], name="before") == ["1"]
    own = socket_folder()
    script = (
        "from tasks.cluster import disconnect; from tasks.dispatch import fan_out\n"
        "print(fan_out(str, [2], name='child')); disconnect()"
    )
    child = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert child.stdout == "['2']\n"
    assert any(own.glob("session_*/logs"))
    assert list(own.parent.glob("ray*")) == [own]


def test_folders_of_the_user_do_not_hide_ours(tmp_path: Path) -> None:
    """The command line may be run in a project that has a package named ``tasks`` too."""
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "__init__.py").write_text("raise ImportError('the wrong package')")
    script = (
        "from tasks.cluster import disconnect; from tasks.curation import shards; from tasks.dispatch import fan_out\n"
        "assert fan_out(shards, [[1, 2]], name='shards') == [[[1, 2]]]; disconnect()"
    )
    # -P: as for an installed console script, the current folder is not on the import path
    subprocess.run([sys.executable, "-P", "-c", script], cwd=tmp_path, check=True)


def test_nothing_to_do_starts_nothing() -> None:
    assert fan_out(lambda x: x, [], name="nothing") == []


def test_an_item_that_kills_every_worker_costs_only_itself() -> None:
    def dies_of_two(item: int) -> int:
        if item == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return item

    stations = [Station(function=dies_of_two, name="die")]
    results = convey([1, 2, 3], stations, lost=lambda item, words: f"{item}: {words}")
    assert (results[0], results[2]) == (1, 3)
    assert str(results[1]).startswith("2: a worker of die died")


class AuthenticationError(Exception):
    """Stands in for the class of this name in ray.exceptions."""


def caused(error: Exception, cause: Exception) -> Exception:
    error.__context__ = cause
    return error


NO_ANSWER = "Failed to connect to Ray cluster at 10.0.0.5:6379"
WRONG_TOKEN = (  # Ray 2.60, to a client whose RAY_AUTH_MODE is off
    "Failed to connect to GCS. Last connection error: Traceback (most recent call last): ... "
    "ray.exceptions.AuthenticationError: RPC error: InvalidAuthToken: Authentication token is missing or incorrect."
)


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        (AuthenticationError("RAY_AUTH_TOKEN_PATH is set but file cannot be opened or is empty"), True),
        (caused(ConnectionError(NO_ANSWER), RuntimeError(WRONG_TOKEN)), True),
        (caused(ConnectionError(NO_ANSWER), RuntimeError("Failed to connect to GCS: timed out")), False),
        (ConnectionError("Failed to connect to Ray cluster at token-ring:6379"), False),
    ],
)
def test_a_cluster_that_wants_a_token_is_told_from_one_that_is_not_there(
    error: Exception, wanted: bool
) -> None:
    assert wants_token(error) is wanted


@pytest.mark.parametrize("left", [None, "127.0.0.1:1"])
def test_auto_without_a_cluster_is_said_at_once(monkeypatch: pytest.MonkeyPatch, left: str | None) -> None:
    """Also where a cluster that has ended left its address behind, which Ray itself tries for minutes."""
    import ray
    from ray._private import services

    def not_reached(*_args: object, **_options: object) -> None:
        raise AssertionError("Ray was asked to connect")

    monkeypatch.setattr(services, "find_gcs_addresses", set)
    monkeypatch.setattr(services, "find_bootstrap_address", lambda _folder: left)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", not_reached)
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    with pytest.raises(
        BadInputError, match=r"^RAY_ADDRESS=auto: no Ray cluster runs on this machine; start one"
    ) as told:
        connect()
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("127.0.0.1:1", "no Ray cluster answers there"),
        ("ray://127.0.0.1:1", "no Ray cluster answers there"),
        ("nowhere", r"is no address of a Ray cluster \(HOST:PORT"),
    ],
)
def test_an_address_of_nothing_is_said_at_once(
    local_ray: None, monkeypatch: pytest.MonkeyPatch, address: str, words: str
) -> None:
    disconnect()
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(BadInputError, match=f"RAY_ADDRESS={address}: {words}"):
        connect()
    monkeypatch.delenv("RAY_ADDRESS")
    connect()


def test_a_command_line_that_is_not_utf8_is_no_matter(
    local_ray: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    disconnect()
    words = ["lipforcing", "curate", os.fsdecode(b"caf\xe9.mp4")]
    monkeypatch.setattr("psutil.Process.cmdline", lambda _process: words)
    connect()
    assert fan_out(len, ["ab"], name="length") == [2]
