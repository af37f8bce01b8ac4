"""``python -m tests.mutation PACKAGE``: how many planted faults in a package its tests notice.

The score is the share of noticed faults among those that are not listed as equivalent in ``equivalent.toml`` (a fault
that changes nothing anybody could see). A report with every survivor goes to ``build/mutants/``.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
import tomllib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.mutation.operators import Mutant, mutants
from tests.mutation.run import Verdict, judge, measure_reach, preload

HERE = Path(__file__).parent
REPORTS = Path("build/mutants")
EXTRA_TESTS = {
    "lipforcing_core/training": ("tests/training", "tests/models/test_lora.py"),
    "lipforcing_core/faces": ("tests/faces",),
    "lipforcing_core/media": ("tests/media_core",),
    "lipforcing_core/base": ("tests/base",),
}
"""Packages whose tests are not simply in the folder of the same name below ``tests``."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("package", help="a folder or file, e.g. lipforcing_core/diffusion")
    parser.add_argument(
        "--tests", nargs="*", help="test folders or files (default: the mirror of the package)"
    )
    parser.add_argument("--sample", type=int, help="at most this many faults of a package, drawn by --seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()

    root = Path(options.package)
    files = sorted(root.rglob("*.py")) if root.is_dir() else [root]
    tests = options.tests or list(EXTRA_TESTS.get(str(root), (mirror(root),)))
    preload()
    name = "-".join(root.with_suffix("").parts)
    print(f"running {' '.join(tests)} once, unchanged", flush=True)
    reach = measure_reach(files, tests, REPORTS / f"{name}.reach.json")
    chosen = draw(files, options.sample, options.seed)
    print(f"{len(chosen)} planted faults, {options.workers} at a time", flush=True)
    started = time.monotonic()
    with ThreadPoolExecutor(options.workers) as pool:
        rows = []
        work = ((file, mutant, pool.submit(judge, mutant, file, reach)) for file, mutant in chosen)
        for done, (file, mutant, verdict) in enumerate(list(work), start=1):
            rows.append((file, mutant, verdict.result()[0]))
            if done % 25 == 0:
                left = (time.monotonic() - started) / done * (len(chosen) - done)
                print(f"  {done} of {len(chosen)}, about {left / 60:.0f} minutes left", flush=True)
    report(rows, REPORTS / f"{name}.json")
    return 0


def mirror(root: Path) -> str:
    """The tests that mirror a package: ``lipforcing_core/diffusion`` is tested by ``tests/diffusion``."""
    parts = root.with_suffix("").parts
    folder = Path("tests", *(parts[1:] if parts[0] == "lipforcing_core" else parts))
    while not folder.is_dir() and len(folder.parts) > 1:
        folder = folder.parent
    return str(folder)


def draw(files: list[Path], sample: int | None, seed: int) -> list[tuple[Path, Mutant]]:
    """The faults to plant: all, or a sample; in the order of files and lines."""
    every = [(file, mutant) for file in files for mutant in mutants(file.read_text(encoding="utf-8"))]
    if sample is not None and sample < len(every):
        every = random.Random(seed).sample(every, sample)
    return sorted(every, key=lambda pair: (pair[0], pair[1].line, pair[1].label))


def report(rows: list[tuple[Path, Mutant, Verdict]], path: Path) -> None:
    """Print a line a file, every survivor and every time-out, and write all verdicts as JSON."""
    equivalent = _equivalent()
    counts: dict[str, Counter[str]] = {}
    survivors = []
    for file, mutant, verdict in rows:
        kind = "equivalent" if (str(file), mutant.scope, mutant.label) in equivalent else verdict.value
        counts.setdefault(str(file), Counter())[kind] += 1
        if kind in {Verdict.SURVIVED, Verdict.UNREACHED, Verdict.TIMEOUT}:
            survivors.append((file, mutant, kind))
    for file, mutant, kind in survivors:
        print(f"{file}:{mutant.line} {mutant.scope}: {mutant.label}  [{kind}]")
    total: Counter[str] = sum(counts.values(), Counter())
    for name, own in [*counts.items(), ("all", total)]:
        print(f"{_score(own):6.1%}  {own.total() - own['equivalent']:5d} faults  {name}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        json.dumps(
            [
                {"file": str(f), "line": m.line, "scope": m.scope, "fault": m.label, "verdict": v.value}
                for f, m, v in rows
            ],
            indent=1,
        )
    )


def _score(counts: Counter[str]) -> float:
    judged = counts.total() - counts["equivalent"]
    noticed = counts[Verdict.NOTICED] + counts[Verdict.TIMEOUT]
    return noticed / judged if judged else 1.0


def _equivalent() -> set[tuple[str, str, str]]:
    """Faults that nobody could see, each with its reason, as reviewed by a person."""
    entries = tomllib.loads((HERE / "equivalent.toml").read_text(encoding="utf-8")).get("fault", [])
    return {(entry["file"], entry["scope"], entry["change"]) for entry in entries}


if __name__ == "__main__":
    sys.exit(main())
