"""The registry is complete and honest, and its states tell what is in the folder."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from lipforcing_core.base.errors import BadInputError, IncompatibleCheckpointError, MissingWeightsError
from lipforcing_core.checkpoints.networks import meta_tensors
from lipforcing_core.checkpoints.verify import verify_fetched, verify_weights
from lipforcing_core.faces.mask import mask_source
from lipforcing_core.weights.keymaps import find_key_map, key_map_names, wan_diffusers_key
from lipforcing_core.weights.registry import (
    WeightFile,
    WeightSpec,
    WeightState,
    all_weights,
    find_weight,
    given_weight,
    require_all_weights,
    require_weight,
    require_weights,
    state_of,
)
from tests.checkpoints.full_size import write_shards

SPECS = [pytest.param(spec, id=spec.name) for spec in all_weights()]


@pytest.mark.parametrize("spec", SPECS)
def test_entries_are_well_formed(spec) -> None:  # type: ignore[no-untyped-def]
    assert spec.page.startswith("https://")
    assert spec.licence
    assert spec.source
    assert spec.used_by
    assert spec.size_mb > 0
    assert (spec.network is None) == (not any(file.tensors for file in spec.files))
    if spec.key_map:
        assert callable(find_key_map(spec.key_map))
    known = [file.size for file in spec.files]
    if None not in known:
        assert sum(known) == pytest.approx(spec.size_mb * 1e6, rel=0.01)
    for file in spec.files:
        assert not Path(file.path).is_absolute()
        assert file.url is None or file.url.startswith("https://")
        assert file.sha256 is None or re.fullmatch("[0-9a-f]{64}", file.sha256)
        if file.sha256_prefix:
            assert file.sha256_prefix in Path(file.path).name  # torch.hub puts it into the name
        if file.url and "/raw/" in file.url and file.sha256 is None:
            assert re.search("/raw/[0-9a-f]{40}/", file.url), "a branch moves: name the commit"


def test_names_and_paths_are_unique() -> None:
    names = [spec.name for spec in all_weights()]
    paths = [file.path for spec in all_weights() for file in spec.files]
    assert len(set(names)) == len(names)
    assert len(set(paths)) == len(paths)


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(BadInputError, match=r"unknown weights 'x'; known: .*wan2\.1-vae"):
        find_weight("x")
    with pytest.raises(BadInputError, match=r"unknown key map 'x'; known: .*adapter.*wav2vec2"):
        find_key_map("x")


def test_states(tmp_path: Path) -> None:
    spec = find_weight("insightface-buffalo-l")
    assert state_of(spec, tmp_path) is WeightState.MISSING
    first, *others = spec.files
    (tmp_path / first.path).parent.mkdir(parents=True)
    (tmp_path / first.path).write_bytes(b"\0" * first.size)
    assert state_of(spec, tmp_path) is WeightState.PARTIAL
    with pytest.raises(MissingWeightsError, match=re.escape(others[0].path)):
        require_weights(spec.name, tmp_path)
    assert [file.needed for file in others] == [True, False, False, False]
    for file in others:
        if not file.needed:
            assert state_of(spec, tmp_path) is WeightState.PRESENT
            assert require_weights(spec.name, tmp_path) == spec.paths(tmp_path)
        with open(tmp_path / file.path, "wb") as stream:
            stream.truncate(file.size)
    assert state_of(spec, tmp_path) is WeightState.PRESENT
    with pytest.raises(IncompatibleCheckpointError, match=r"det_10g\.onnx: sha256 is"):
        verify_weights(spec, tmp_path)
    (tmp_path / first.path).write_bytes(b"short")
    assert state_of(spec, tmp_path) is WeightState.WRONG_SIZE
    with pytest.raises(IncompatibleCheckpointError, match=r"5 bytes, expected 16923827"):
        verify_weights(spec, tmp_path)


def test_files_that_are_not_needed_are_checked_where_they_are(tmp_path: Path) -> None:
    needed, spare = (
        WeightFile(path=name, sha256=hashlib.sha256(b"x").hexdigest(), tensors=False, needed=name == "a")
        for name in "ab"
    )
    spec = replace(find_weight("yunet"), files=(needed, spare))
    (tmp_path / "a").write_bytes(b"x")
    assert verify_weights(spec, tmp_path) == "hash of 1 of 1 files known and right"
    (tmp_path / "b").write_bytes(b"y")
    with pytest.raises(IncompatibleCheckpointError, match="b: sha256 is"):
        verify_weights(spec, tmp_path)


def test_a_missing_file_says_where_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(MissingWeightsError) as caught:
        require_weight("scrfd-500m", tmp_path)
    spec = find_weight("scrfd-500m")
    for part in (spec.source, spec.url, spec.licence, "2.5 MB", str(spec.path(tmp_path))):
        assert part in str(caught.value)


def place(name: str, folder: Path) -> None:
    for path in find_weight(name).paths(folder):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_all_that_is_missing_is_told_with_one_command(tmp_path: Path) -> None:
    """Only what is missing is told; only those with an address are in the command; the others say where they are."""
    names = ["wan2.1-vae", "umt5-xxl", "hyperiqa", "scrfd-500m", "taew2.1", "umt5-xxl"]
    place("taew2.1", tmp_path)
    encoder, tokenizer = find_weight("umt5-xxl").paths(tmp_path)
    place("umt5-xxl", tmp_path)
    tokenizer.unlink()
    with pytest.raises(MissingWeightsError) as caught:
        require_all_weights(names, tmp_path)
    message = str(caught.value)
    assert message.startswith("4 checkpoints are needed and not here: ")
    for name in ("wan2.1-vae", "umt5-xxl", "hyperiqa", "scrfd-500m"):
        spec = find_weight(name)
        assert f"({name}, {spec.size_mb:g} MB, licence: {spec.licence})" in message
        assert message.count(str(spec.paths(tmp_path)[-1])) == 1
    assert str(encoder) not in message
    assert "taew2.1" not in message
    assert message.count("weights fetch") == 1
    assert (
        "Get those with an address with `lipforcing weights fetch wan2.1-vae umt5-xxl hyperiqa --accept-licence`"
        in message
    )
    spec = find_weight("scrfd-500m")
    _, _, by_hand = message.partition("scrfd-500m has no direct address: ")
    assert f"by hand from {spec.page}" in by_hand
    assert f"put it into {spec.path(tmp_path).parent}" in by_hand
    for name in names:
        place(name, tmp_path)
    require_all_weights(names, tmp_path)


def test_a_licence_is_accepted_only_where_the_command_needs_it(tmp_path: Path) -> None:
    """And the restricted weights that must be got by hand are not fetched by it."""
    with pytest.raises(MissingWeightsError, match=r"weights fetch taew2\.1 wan2\.1-vae`"):
        require_all_weights(["taew2.1", "wan2.1-vae", "scrfd-500m"], tmp_path)
    with pytest.raises(MissingWeightsError) as caught:
        require_all_weights(["scrfd-500m", "yunet"], tmp_path)
    assert "`" not in str(caught.value), "there is no command for these"
    assert str(caught.value).count("by hand from") == 2


def test_one_missing_checkpoint_keeps_its_sentence(tmp_path: Path) -> None:
    place("taew2.1", tmp_path)
    with pytest.raises(MissingWeightsError) as one:
        require_weights("umt5-xxl", tmp_path)
    with pytest.raises(MissingWeightsError) as of_two:
        require_all_weights(["taew2.1", "umt5-xxl"], tmp_path)
    assert str(of_two.value) == str(one.value)
    with pytest.raises(
        MissingWeightsError, match=r"^taew2\.1, umt5-xxl must be downloaded, and no weights folder"
    ):
        require_all_weights(["taew2.1", "umt5-xxl", "taew2.1"], None)
    with pytest.raises(MissingWeightsError) as of_one_named_twice:
        require_all_weights(["umt5-xxl", "umt5-xxl"], tmp_path)
    assert str(of_one_named_twice.value) == str(one.value)


def test_nothing_is_required_where_nothing_is_named(tmp_path: Path) -> None:
    require_all_weights([], None)
    require_all_weights([], tmp_path)


def test_a_file_that_a_user_must_name(tmp_path: Path) -> None:
    (tmp_path / "own.onnx").touch()
    assert given_weight("scrfd-500m", tmp_path / "own.onnx") == tmp_path / "own.onnx"
    spec = find_weight("scrfd-500m")
    for given, problem in ((None, "no file was given"), (tmp_path / "none.onnx", "none.onnx does not exist")):
        with pytest.raises(MissingWeightsError) as caught:
            given_weight("scrfd-500m", given, instead="lbp")
        for part in (
            problem,
            "scrfd_500m_kps.onnx",
            spec.source,
            spec.url,
            spec.licence,
            "give its path",
            "'lbp'",
        ):
            assert part in str(caught.value)
    with pytest.raises(MissingWeightsError) as caught:
        given_weight("umt5-xxl", None)
    assert "`lipforcing weights fetch umt5-xxl`" in str(caught.value)
    assert "which needs no file" not in str(caught.value)


def test_hashes_and_their_prefixes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"content")
    digest = hashlib.sha256(b"content").hexdigest()
    for right in ({"sha256": digest}, {"sha256_prefix": digest[:8]}, {"size": 7}, {}):
        WeightFile(path="a", **right).check_content(tmp_path / "a")
    for wrong in ({"sha256": "0" * 64}, {"sha256_prefix": "00000000"}, {"size": 8}):
        with pytest.raises(IncompatibleCheckpointError):
            WeightFile(path="a", **wrong).check_content(tmp_path / "a")


ONNX_SPECS = [spec for spec in all_weights() if any(file.path.endswith(".onnx") for file in spec.files)]


@pytest.mark.parametrize("spec", [pytest.param(spec, id=spec.name) for spec in ONNX_SPECS])
def test_every_onnx_file_is_known_by_its_hash(spec: WeightSpec, tmp_path: Path) -> None:
    """A graph has no header of tensors to check: what is truncated or foreign shows by its hash alone."""
    assert all(file.sha256 for file in spec.files)
    contents = {file.path: f"the whole of {file.path}".encode() for file in spec.files}
    for path, content in contents.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)
    small = replace(
        spec,
        files=tuple(
            replace(file, size=None, sha256=hashlib.sha256(contents[file.path]).hexdigest())
            for file in spec.files
        ),
    )
    assert f"{len(spec.files)} of {len(spec.files)} files known and right" in verify_weights(small, tmp_path)
    for path, content in contents.items():
        for wrong in (content[:-1], content[::-1], b"<html>"):
            (tmp_path / path).write_bytes(wrong)
            with pytest.raises(IncompatibleCheckpointError, match=f"{re.escape(Path(path).name)}: sha256 is"):
                verify_weights(small, tmp_path)
        (tmp_path / path).write_bytes(content)


def test_sizes_are_checked_without_hashes(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"graph")
    file = WeightFile(path="a.onnx", sha256="0" * 64, size=5, tensors=False)
    spec = replace(ONNX_SPECS[0], files=(file,))
    assert verify_weights(spec, tmp_path, hashes=False) == "present, nothing to check without hashes"
    (tmp_path / "a.onnx").write_bytes(b"grap")
    with pytest.raises(IncompatibleCheckpointError, match=r"a\.onnx: 4 bytes, expected 5"):
        verify_weights(spec, tmp_path, hashes=False)


@pytest.mark.parametrize("content", ["not a png", b"\x89PNG\r\n\x1a\n", None])
def test_a_mask_that_is_none_is_wrong(tmp_path: Path, content: str | bytes | None) -> None:
    """With and without hashes: there is no public one. None: a picture of another size."""
    spec = find_weight("latentsync-mask")
    path = spec.path(tmp_path)
    path.parent.mkdir(parents=True)
    picture = cv2.imencode(".png", np.zeros((64, 64), np.uint8))[1].tobytes()
    path.write_bytes(
        picture if content is None else content.encode() if isinstance(content, str) else content
    )
    for hashes in (True, False):
        with pytest.raises(
            IncompatibleCheckpointError, match=r"latentsync_mask\.png: is not a 256 x 256 mask"
        ):
            verify_weights(spec, tmp_path, hashes=hashes)
    path.write_bytes(cv2.imencode(".png", mask_source())[1].tobytes())
    assert verify_weights(spec, tmp_path, hashes=False) == "latentsync_mask.png can be read"


@pytest.mark.parametrize("content", ["<html>please log in</html>", "", "[1]", "[" * 100_000, "\udcff"])
def test_json_that_is_none_is_wrong(tmp_path: Path, content: str) -> None:
    files = (WeightFile(path="config.json", tensors=False),)
    spec = replace(find_weight("yunet"), files=files)
    path = tmp_path / "config.json"
    path.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(IncompatibleCheckpointError, match=r"config\.json: is not a JSON object"):
        verify_weights(spec, tmp_path)
    path.write_text("{}")
    assert verify_weights(spec, tmp_path, hashes=False) == "config.json can be read"


def test_only_what_was_fetched_and_is_wrong_is_moved_aside(tmp_path: Path) -> None:
    spec = replace(
        find_weight("taew2.1"), files=tuple(WeightFile(path=f"{index}.safetensors") for index in range(2))
    )
    paths = first, second = spec.paths(tmp_path)
    whole = {name: list(value.shape) for name, value in meta_tensors("taehv").items()}
    largest = max(whole)

    def attempt(fetched: list[Path], *, damaged: bool = False, extra: str | None = None) -> str:
        held = {name: shape for name, shape in whole.items() if name != largest}
        write_shards(paths, held | ({largest: whole[largest], extra: [1]} if extra else {}))
        if damaged:
            second.write_bytes(b"damaged")
        with pytest.raises(IncompatibleCheckpointError) as caught:
            verify_fetched(spec, tmp_path, fetched)
        return str(caught.value)

    assert f"{largest} is missing; what came was moved aside ({second}.wrong)" in attempt([second])
    assert first.is_file(), "was here before"
    assert not second.exists()
    attempt([first, second])
    assert not first.exists(), "which of them is wrong cannot be told"
    assert f"moved aside ({second}.wrong)" in attempt([first, second], damaged=True)
    assert first.is_file(), "the error names the other"
    assert "moved aside" not in attempt([first], damaged=True)
    assert first.is_file()
    assert "moved aside" not in attempt([second], extra="a"), "which is in the first"
    assert second.is_file()


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("condition_embedder.time_embedder.linear_1.weight", "time_embedding.0.weight"),
        ("condition_embedder.text_embedder.linear_2.bias", "text_embedding.2.bias"),
        ("condition_embedder.time_proj.weight", "time_projection.1.weight"),
        ("patch_embedding.bias", "patch_embedding.bias"),
        ("blocks.7.attn1.to_q.weight", "blocks.7.self_attn.q.weight"),
        ("blocks.7.attn2.to_out.0.bias", "blocks.7.cross_attn.o.bias"),
        ("blocks.7.attn1.norm_k.weight", "blocks.7.self_attn.norm_k.weight"),
        ("blocks.39.ffn.net.0.proj.weight", "blocks.39.ffn.0.weight"),
        ("blocks.39.ffn.net.2.bias", "blocks.39.ffn.2.bias"),
        ("blocks.0.norm2.weight", "blocks.0.norm3.weight"),
        ("blocks.0.scale_shift_table", "blocks.0.modulation"),
        ("transformer.scale_shift_table", "head.modulation"),
        ("proj_out.weight", "head.head.weight"),
        ("rope.freqs", None),
        ("unknown.weight", "unknown.weight"),
    ],
)
def test_names_of_diffusers(theirs: str, ours: str | None) -> None:
    assert wan_diffusers_key(theirs) == ours


@pytest.mark.parametrize("key_map", key_map_names())
def test_maps_keep_the_names_of_the_network(key_map: str) -> None:
    """So that files under this project's names stand for what they were converted from."""
    networks = {"wav2vec2": ["wav2vec2-base"], "umt5": ["umt5-xxl"], "strip-model": ["wan-vae"]}
    for network in networks.get(key_map, ["wan-t2v-1.3b", "lipsync-1.3b", "omniavatar-adapter-1.3b"]):
        names = list(meta_tensors(network))
        assert [find_key_map(key_map)(name) for name in names] == names
