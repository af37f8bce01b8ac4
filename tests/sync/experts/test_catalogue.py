"""The table of sync experts: what loading by it refuses, and the advice for real people."""

from __future__ import annotations

from pathlib import Path

import pytest

from lipforcing_core.base.catalogue import either
from lipforcing_core.base.errors import BadInputError, MissingWeightsError
from lipforcing_core.sync.experts.catalogue import SYNC_EXPERTS, advice_for_people, load_sync_expert


def test_unknown_name_lists_the_known_ones() -> None:
    assert SYNC_EXPERTS.names[:2] == ("nano", "syncnet-v2")
    with pytest.raises(BadInputError, match=f"known: {', '.join(SYNC_EXPERTS.names)}$"):
        load_sync_expert("wav2lip")


@pytest.mark.parametrize("given", [None, Path("absent.model")])
def test_missing_syncnet_names_source_and_licence(given: Path | None) -> None:
    with pytest.raises(MissingWeightsError, match=r"(?s)syncnet_v2\.model.*54 MB.*MIT.*joonson"):
        load_sync_expert("syncnet-v2", given)


def test_advice_for_people() -> None:
    others = either([entry.name for entry in SYNC_EXPERTS if entry.knows_people])
    assert others.startswith("syncnet-v2")
    assert advice_for_people("nano").endswith(f"knows only puppets: for real people give {others}.")
    assert advice_for_people("syncnet-v2") == ""
