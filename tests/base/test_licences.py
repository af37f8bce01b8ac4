"""Which licences allow commercial use, in the spellings that corpora and people use."""

from __future__ import annotations

import pytest

from lipforcing_core.base.licences import (
    commercial_ok,
    commercial_ok_of_all,
    commercial_use,
    licence_address,
    spdx_id,
)
from lipforcing_core.weights.registry import all_weights

ALLOWED = [
    "CC-BY-4.0",
    "CC BY 4.0",
    "cc_by",
    "CC BY 3.0 US",
    "CC BY-SA 4.0",
    "CC0",
    "CC0-1.0",
    "CC0 1.0 Universal",
    "Creative Commons Zero v1.0 Universal",
    "Creative Commons Attribution 4.0 International",
    "creative commons attribution share-alike 4.0",
    "https://creativecommons.org/licenses/by/4.0/deed.en",
    "https://creativecommons.org/publicdomain/zero/1.0/",
    "https://creativecommons.org/publicdomain/mark/1.0/",
    "Public Domain",
    "public-domain (NASA)",
    "U.S. Government Work",
    "MIT",
    "The MIT License",
    "Apache-2.0",
    "Apache License, Version 2.0",
    "BSD-3-Clause",
    "GPL-3.0-or-later",
    "GPLv3",
    "Unlicense",
    "MIT OR CC-BY-NC-4.0",
    "CC-BY-4.0; MIT",
]
REFUSED = [
    "CC-BY-NC 4.0",
    "CC-BY-NC-SA-4.0",
    "cc_by_nc",
    "by-nc",
    "Creative Commons Attribution-NonCommercial 4.0 International License",
    "Creative Commons Attribution Non-Commercial No Derivatives",
    "https://creativecommons.org/licenses/by-nc/4.0/",
    "PolyForm-Noncommercial-1.0.0",
    "InsightFace model licence: non-commercial research only",
    "CC BY-NC-SA 4.0 (weights), PolyForm-Noncommercial-1.0.0 (pyiqa)",
    "CC-BY 4.0 (non-commercial use only)",
    "CC-BY-4.0; CC-BY-NC-4.0",
    "CC-BY-4.0 and house footage, not for commercial use",
    "for research purposes only",
    "academic use only",
    "only for academic research",
    "commercial use not permitted",
    "All rights reserved.",
    "CC-BY-NC-4.0 OR CC-BY-NC-SA-4.0",
]
UNKNOWN = [
    None,
    "",
    "  ",
    "house footage",
    "CC-BY-ND-4.0",
    "YouTube standard",
    "Mitchell",
    "not public domain",
    "MIT; house footage",
    "(see contract)",
    "house footage OR CC-BY-NC-4.0",
]


@pytest.mark.parametrize(
    ("licence", "expected"),
    [(x, True) for x in ALLOWED] + [(x, False) for x in REFUSED] + [(x, None) for x in UNKNOWN],
)
def test_spellings(licence: str | None, expected: bool | None) -> None:
    assert commercial_use(licence) is expected


@pytest.mark.parametrize(
    ("licence", "claimed", "expected"),
    [
        ("CC-BY-NC-4.0", True, False),
        ("CC-BY-NC-4.0", None, False),
        ("CC-BY-4.0", None, True),
        ("CC-BY-4.0", False, False),
        ("house footage", None, None),
        ("house footage", True, True),
        (None, True, True),
        (None, False, False),
        (None, None, None),
    ],
)
def test_the_licence_wins_over_a_claim(
    licence: str | None, claimed: bool | None, expected: bool | None
) -> None:
    assert commercial_ok(licence, claimed) is expected


@pytest.mark.parametrize(
    ("answers", "expected"),
    [([], None), ([True, True], True), ([True, None], None), ([True, None, False], False)],
)
def test_a_set_is_as_free_as_its_parts(answers: list[bool | None], expected: bool | None) -> None:
    assert commercial_ok_of_all(answers) is expected


def test_the_rule_agrees_with_what_the_registry_of_weights_says() -> None:
    for spec in all_weights():
        assert commercial_use(spec.licence) in (spec.commercial_ok, None), spec.name


@pytest.mark.parametrize(
    ("licence", "identifier"),
    [
        ("CC BY 4.0", "CC-BY-4.0"),
        ("Creative Commons Attribution-NonCommercial 4.0", "CC-BY-NC-4.0"),
        ("creative commons attribution share-alike 3.0", "CC-BY-SA-3.0"),
        ("CC BY-ND-NC 4.0", "CC-BY-NC-ND-4.0"),
        ("https://creativecommons.org/licenses/by-nc/4.0/deed.en", "CC-BY-NC-4.0"),
        ("http://creativecommons.org/publicdomain/zero/1.0/", "CC0-1.0"),
        ("CC0 1.0 Universal", "CC0-1.0"),
        ("CC0", "CC0-1.0"),
        ("CC-BY-NC-4.0 (see the site)", "CC-BY-NC-4.0"),
        ("The MIT License", "MIT"),
        ("Apache License, Version 2.0", "Apache-2.0"),
        ("ODbL", "ODbL-1.0"),
        ("cc_by", None),
        ("CC BY 3.0 US", None),
        ("MIT OR CC-BY-NC-4.0", None),
        ("CC-BY-4.0; MIT", None),
        ("Public Domain", None),
        ("house footage", None),
        ("CC NC-SA 4.0", None),
        ("", None),
        (None, None),
    ],
)
def test_the_spdx_identifier_where_the_text_determines_it(
    licence: str | None, identifier: str | None
) -> None:
    assert spdx_id(licence) == identifier


@pytest.mark.parametrize(
    ("licence", "address"),
    [
        ("CC BY-NC-SA 4.0", "https://creativecommons.org/licenses/by-nc-sa/4.0/"),
        ("CC0", "https://creativecommons.org/publicdomain/zero/1.0/"),
        ("MIT", "https://spdx.org/licenses/MIT.html"),
        ("https://example.org/terms", "https://example.org/terms"),
        ("house footage", None),
        (None, None),
    ],
)
def test_where_a_licence_can_be_read(licence: str | None, address: str | None) -> None:
    assert licence_address(licence) == address
