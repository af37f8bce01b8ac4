"""Pictures of several systems on one sheet."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from tasks.contact_sheet import GAP, PAPER, TITLE_HEIGHT, write_contact_sheet
from warehouse.report.context import SampleRow

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def _png(color: tuple[int, int, int]) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (20, 10), color).save(stream, "PNG")
    return stream.getvalue()


def test_every_picture_stands_below_its_title_and_a_missing_one_leaves_its_place_empty(
    tmp_path: Path,
) -> None:
    rows = [
        SampleRow(caption="a", images={"Source": _png(RED), "Student": _png(GREEN)}),
        SampleRow(caption="b", images={"Student": _png(BLUE)}),
    ]
    write_contact_sheet(rows, tmp_path / "sheet.png")
    sheet = Image.open(tmp_path / "sheet.png")
    assert sheet.size == (3 * GAP + 2 * 20, TITLE_HEIGHT + 2 * (10 + GAP))
    first, second = (GAP + 10, 2 * GAP + 20 + 10)
    top, bottom = (TITLE_HEIGHT + 5, TITLE_HEIGHT + 10 + GAP + 5)
    seen = [[sheet.getpixel((x, y)) for x in (first, second)] for y in (top, bottom)]
    assert seen == [[RED, GREEN], [PAPER, BLUE]]
