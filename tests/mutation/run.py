"""Which tests run which line, and which planted faults they notice.

The parent process imports heavy third-party packages once and none of the project. For every fault it forks a child in
which an import hook hands out the changed source of one module; the child runs the tests that reach the changed line,
until the first failure. Nothing on disk is changed.
"""

from __future__ import annotations

import contextlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from tests.mutation.operators import Mutant

PRELOADED = (
    "numpy", "scipy", "pandas", "pyarrow", "torch", "cv2", "av", "pydantic", "pytest", "hypothesis",
    "safetensors.torch", "torch.testing", "torch._dynamo",  # the last is imported by the first optimiser, for seconds
)  # fmt: skip
PYTEST_OPTIONS = ("-x", "-q", "-p", "no:cacheprovider", "-p", "pytest_timeout", "--no-header")
SLOWEST_FACTOR = 5.0
SPARE_S = 20.0


class Verdict(StrEnum):
    """What became of a planted fault."""

    NOTICED = "noticed"
    TIMEOUT = "noticed by time-out"
    SURVIVED = "survived"
    UNREACHED = "no test reaches the line"


@dataclass
class Reach:
    """What the unchanged tests do: ``lines[file][line]`` are the tests (or whole files, for fixtures) that run a line.

    seconds: how long each test took.
    """

    lines: dict[str, dict[int, set[str]]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def tests_of(self, file: str, line: int) -> list[str]:
        """The tests that run a line, the fastest first.

        Of a line that runs at import: all tests of the test files that use the file, since a test that only reads a
        constant runs no line of it.
        """
        own = self.lines.get(file, {})
        chosen = own.get(line, set()) - {""}
        if not chosen and "" in own.get(line, set()):
            users = {test.split("::")[0] for tests in own.values() for test in tests if test}
            chosen = {test for test in self.seconds if test.split("::")[0] in users}
        files = {test for test in chosen if "::" not in test}
        single = [test for test in chosen if "::" in test and test.split("::")[0] not in files]
        return sorted(single, key=lambda test: self.seconds.get(test, 0.0)) + sorted(files)

    def limit_s(self, tests: Sequence[str]) -> float:
        """How long these tests may take with a fault before it counts as noticed."""
        wanted = set(tests)
        plain = sum(s for test, s in self.seconds.items() if test in wanted or test.split("::")[0] in wanted)
        return SPARE_S + SLOWEST_FACTOR * plain


def preload() -> None:
    """Import what every child would import first; load no pytest plug-in but those in ``PYTEST_OPTIONS``."""
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    for name in PRELOADED:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    import torch

    torch.set_num_threads(1)


def measure_reach(files: Sequence[Path], tests: Sequence[str], cache: Path) -> Reach:
    """Run the tests once, unchanged, and remember which lines each one runs. Raises ``SystemExit`` if one fails."""
    _in_child(lambda: _record(files, tests, cache), None)
    if not cache.is_file():
        raise SystemExit("the tests do not pass without a planted fault; mend them first")
    stored = json.loads(cache.read_text())
    lines = {
        file: {int(line): set(names) for line, names in own.items()} for file, own in stored["lines"].items()
    }
    return Reach(lines=lines, seconds=stored["seconds"])


def judge(mutant: Mutant, file: Path, reach: Reach) -> tuple[Verdict, float]:
    """Plant one fault, run the tests that reach it; the verdict and how long it took."""
    tests = reach.tests_of(str(file), mutant.line)
    if not tests:
        return Verdict.UNREACHED, 0.0
    started = time.monotonic()
    code = _in_child(lambda: _run_with(mutant, file, tests), reach.limit_s(tests))
    verdict = {None: Verdict.TIMEOUT, 0: Verdict.SURVIVED}.get(code, Verdict.NOTICED)
    return verdict, time.monotonic() - started


def _in_child(work: Callable[[], int], limit_s: float | None) -> int | None:
    """Exit status of ``work`` in a forked child with a process group of its own; None if it ran out of time."""
    child = os.fork()
    if child == 0:
        os.setsid()
        code = 1
        try:
            code = int(work())
        finally:
            os._exit(code)
    deadline = None if limit_s is None else time.monotonic() + limit_s
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)  # what the tests may have left running
            return os.waitstatus_to_exitcode(status)
        if deadline is not None and time.monotonic() > deadline:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return None
        time.sleep(0.02)


def _run_with(mutant: Mutant, file: Path, tests: Sequence[str]) -> int:
    import pytest

    _silence()
    sys.meta_path.insert(0, _ChangedModule(file, mutant.source))
    return int(pytest.main([*PYTEST_OPTIONS, *tests]))


def _record(files: Sequence[Path], tests: Sequence[str], cache: Path) -> int:
    import coverage
    import pytest

    cover = coverage.Coverage(data_file=None, include=[str(file.resolve()) for file in files])
    recorder = _Recorder(cover)
    cover.start()
    code = int(pytest.main([*PYTEST_OPTIONS[1:], *tests], plugins=[recorder]))
    cover.stop()
    if code == 0:
        names = {str(file.resolve()): str(file) for file in files}
        data = cover.get_data()
        lines: dict[str, dict[int, list[str]]] = {}
        for measured in data.measured_files():
            own = data.contexts_by_lineno(measured)
            lines[names[measured]] = {line: sorted(contexts) for line, contexts in own.items()}
        cache.parent.mkdir(parents=True, exist_ok=True)
        cache.write_text(json.dumps({"lines": lines, "seconds": recorder.seconds}))
    return code


class _Recorder:
    """A pytest plug-in: lines run by a test belong to it, lines run while fixtures are made to its whole file."""

    def __init__(self, cover: Any) -> None:
        self.cover = cover
        self.seconds: Mapping[str, float] = defaultdict(float)

    def pytest_runtest_setup(self, item: Any) -> None:
        self.cover.switch_context(item.nodeid.split("::")[0])

    def pytest_runtest_call(self, item: Any) -> None:
        self.cover.switch_context(item.nodeid)

    def pytest_runtest_teardown(self, item: Any) -> None:
        self.cover.switch_context(item.nodeid.split("::")[0])

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.seconds[report.nodeid] += report.duration  # type: ignore[index]


class _ChangedModule(importlib.abc.MetaPathFinder):
    """Hands out the changed source of one file, and leaves all others to the usual finders."""

    def __init__(self, file: Path, source: str) -> None:
        self._file, self._source = file, source
        self._name = ".".join(file.with_suffix("").parts)

    def find_spec(self, name: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if name != self._name:
            return None
        loader = _TextLoader(name, str(self._file.resolve()), self._source)
        return importlib.util.spec_from_file_location(name, self._file.resolve(), loader=loader)


class _TextLoader(importlib.machinery.SourceFileLoader):
    def __init__(self, name: str, path: str, source: str) -> None:
        super().__init__(name, path)
        self._source = source

    def get_code(self, fullname: str) -> Any:
        return compile(self._source, self.path, "exec", dont_inherit=True)


def _silence() -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
