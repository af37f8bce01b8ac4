"""A picture of pictures: rows of samples under column titles, for places that show no HTML."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from lipforcing_core.base.products import atomic_path
from warehouse.report.context import SampleRow

GAP = 6
TITLE_HEIGHT = 26
PAPER, INK = (255, 255, 255), (40, 40, 40)


def write_contact_sheet(rows: Sequence[SampleRow], path: Path) -> None:
    """Write a PNG with one line of pictures a row; the place of a picture that a row lacks stays empty."""
    titles = list(dict.fromkeys(title for row in rows for title in row.images))
    lines = [{title: Image.open(io.BytesIO(png)) for title, png in row.images.items()} for row in rows]
    width = max(picture.width for line in lines for picture in line.values())
    height = max(picture.height for line in lines for picture in line.values())
    size = (len(titles) * (width + GAP) + GAP, TITLE_HEIGHT + len(rows) * (height + GAP))
    sheet = Image.new("RGB", size, PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=14)
    for column, title in enumerate(titles):
        x = GAP + column * (width + GAP)
        draw.text((x + width / 2, TITLE_HEIGHT / 2), title, INK, font=font, anchor="mm")
        for row, line in enumerate(lines):
            if title in line:
                sheet.paste(line[title], (x, TITLE_HEIGHT + row * (height + GAP)))
    with atomic_path(path) as temporary:
        sheet.save(temporary, optimize=True)
