"""Hallo3's training data: ``videos/0001.mp4`` and ``caption/0001.txt``, as they come out of the published archives.

The published set says nothing of who is seen. Its authors say that all speech is English.
"""

from __future__ import annotations

from pathlib import Path

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.corpora.disk import look, require_folder
from lipforcing_core.corpora.official_test import Candidate, hold_out
from lipforcing_core.corpora.protocol import CorpusListing, TestList, by_rule, counted
from lipforcing_core.curation.records import SourceFacts

LAYOUT = (
    "Hallo3 needs its unpacked archives: videos/0001.mp4 ... and beside videos/ the folder caption/ with 0001.txt ... "
    "(tar -xzf each .tgz)"
)


class Hallo3:
    """Clips of single speakers without further annotations."""

    def read(self, given: Path, test: TestList | None) -> CorpusListing:
        """List the corpus in a folder; see ``LAYOUT`` for what must be there."""
        root = require_folder(given, LAYOUT)
        for name in ("videos", "caption"):
            if not (root / name).is_dir():
                archive = root / f"{name}.tgz"
                packed = f" ({archive.name} is here and must be unpacked)" if archive.is_file() else ""
                raise BadInputError(f"{root}: the folder {name}/ is missing{packed}; {LAYOUT}")
        captions = root / "caption"
        disk = look(root, LAYOUT, is_about=lambda path: path.parent == captions and path.suffix == ".txt")
        missing = [path.stem for path in captions.glob("*.txt") if path.stem not in disk.videos]
        facts = SourceFacts(language="en")
        candidates, elsewhere = [], []
        for path in sorted(disk.paths()):
            if path.is_relative_to(root / "videos"):
                candidates.append(Candidate(path=path, facts=facts))
            else:
                elsewhere.append(path.relative_to(root).as_posix())
        divided = hold_out(candidates, test)
        return CorpusListing(
            root=root,
            sources=divided.sources,
            ignored=disk.ignored,
            left_out=(
                *counted("captions whose video is not on disk", missing),
                *counted("videos outside the folder videos/", elsewhere),
                *divided.left_out,
            ),
            omitted={root / name: by_rule("it lies outside the folder videos/") for name in elsewhere}
            | divided.omitted,
        )
