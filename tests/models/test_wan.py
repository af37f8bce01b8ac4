"""The bidirectional transformer: conditions, initialisation, types, rotary tables, compilation."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.diffusion.samplers import few_step_chunk
from lipforcing_core.models.causal import CausalStudent
from lipforcing_core.models.conditions import Conditions, pad_text
from lipforcing_core.models.config import DiTConfig
from lipforcing_core.models.rope import RotaryTables, rotary_tables, rotate, rotate_real
from lipforcing_core.models.wan import WanTransformer
from lipforcing_core.models.window import WindowConfig
from tests.models.tiny import HEIGHT, WIDTH, random_conditions, random_latents, tiny_config, tiny_student


@torch.no_grad()
def test_chunks_can_be_encoded_one_by_one() -> None:
    """As a stream does: pictures and audio of a later chunk alone, text taken over from the first."""
    student = tiny_student()
    cond = random_conditions(9)
    whole = student.cache_text(student.encode_conditions(cond))
    first = student.cache_text(student.encode_conditions(slice_conditions(cond, 0, 3)))
    later = student.encode_conditions(slice_conditions(cond, 3, 6), starts_clip=False, text_from=first)
    for part, (start, stop) in ((first, (0, 3)), (later, (3, 6))):
        want = whole.chunk(start, stop)
        assert torch.equal(part.y_BCTHW, want.y_BCTHW)
        torch.testing.assert_close(part.audio_BPTD, want.audio_BPTD, atol=1e-6, rtol=0)
    assert later.text_kv is first.text_kv


def slice_conditions(cond: Conditions, start: int, stop: int) -> Conditions:
    assert cond.audio_BND is not None
    assert cond.masked_video_BCTHW is not None
    assert cond.reference_sequence_BCTHW is not None
    return replace(
        cond,
        audio_BND=cond.audio_BND[:, max(0, 4 * start - 3) : 4 * stop - 3],
        masked_video_BCTHW=cond.masked_video_BCTHW[:, :, start:stop],
        reference_sequence_BCTHW=cond.reference_sequence_BCTHW[:, :, start:stop],
    )


@torch.no_grad()
def test_latent_i_hears_exactly_its_own_frames() -> None:
    """Latent 0 hears frame 0, latent i the frames 4i-3 ... 4i (method A.6)."""
    model = tiny_student()
    cond = random_conditions(6)
    base = model.encode_conditions(cond).audio_BPTD
    assert base is not None
    assert cond.audio_BND is not None
    for frame in range(21):
        audio = cond.audio_BND.clone()
        audio[:, frame] += 1.0
        moved = model.encode_conditions(replace(cond, audio_BND=audio)).audio_BPTD
        assert moved is not None
        latents = (moved - base).abs().sum(dim=(0, 1, 3)).nonzero().flatten().tolist()
        assert latents == [(frame + 3) // 4]


def test_audio_enters_the_layers_of_the_specification() -> None:
    def layers(num_layers: int) -> list[int]:
        config = tiny_config(num_layers=num_layers)
        return [layer for layer in range(num_layers) if config.audio_index(layer) is not None]

    assert layers(40) == list(range(2, 21))
    assert layers(30) == list(range(2, 16))
    assert tiny_config(num_layers=40).num_audio_projections == 19


@torch.no_grad()
def test_mask_is_inverted_and_reference_repeated() -> None:
    cond = random_conditions(3)
    y = tiny_student().encode_conditions(cond).y_BCTHW
    assert y is not None
    assert cond.keep_mask_HW is not None
    assert y.shape == (2, 13, 3, HEIGHT, WIDTH)
    assert torch.equal(y[:, 4], (1 - cond.keep_mask_HW).expand(2, 3, -1, -1))
    assert torch.equal(y[:, :4], cond.reference_BC1HW.expand(-1, -1, 3, -1, -1))  # type: ignore[union-attr]


@torch.no_grad()
def test_one_mask_and_one_text_per_sample_or_for_all() -> None:
    model, cond, x = tiny_student(), random_conditions(3), random_latents(3)
    assert cond.keep_mask_HW is not None
    masks = torch.stack([cond.keep_mask_HW, 1 - cond.keep_mask_HW])
    encoded = model.encode_conditions(replace(cond, keep_mask_HW=masks))
    both = model(x, 0.5, encoded)
    for i in range(2):
        alone = model(x[[i]], 0.5, encoded.select([i]))
        torch.testing.assert_close(alone[0], both[i], atol=1e-5, rtol=0)
    shared = model(x, 0.5, model.encode_conditions(replace(cond, text_BLD=cond.text_BLD[:1])))
    repeated = replace(cond, text_BLD=cond.text_BLD[:1].expand(2, -1, -1))
    torch.testing.assert_close(shared, model(x, 0.5, model.encode_conditions(repeated)), atol=1e-6, rtol=0)


@torch.no_grad()
def test_null_conditions_drop_text_and_audio_and_keep_pictures() -> None:
    cond = random_conditions(3)
    null = cond.null(torch.zeros(1, 5, 8))
    assert null.audio_BND is not None
    assert not null.audio_BND.any()
    assert not null.text_BLD.any()
    assert null.masked_video_BCTHW is cond.masked_video_BCTHW
    model = tiny_student()
    torch.nn.init.normal_(model.audio_proj.proj.bias, generator=torch.Generator().manual_seed(0))
    encoded = model.encode_conditions(null)
    assert encoded.audio_BPTD is not None
    assert encoded.audio_BPTD.abs().sum() > 0, "zero features pass through Linear and LayerNorm"


@torch.no_grad()
def test_times_per_call_sample_and_latent_agree() -> None:
    model, x = tiny_student(), random_latents(3)
    encoded = model.encode_conditions(random_conditions(3))
    want = model(x, 0.769, encoded)
    for t in (torch.tensor(0.769), torch.full((2,), 0.769), torch.full((2, 3), 0.769).double()):
        torch.testing.assert_close(model(x, t, encoded), want, atol=1e-5, rtol=0)
    other = model(x, torch.tensor([0.769, 0.1]), encoded)
    torch.testing.assert_close(other[0], want[0], atol=1e-5, rtol=0)
    assert not torch.allclose(other[1], want[1], atol=1e-2)
    with pytest.raises(BadInputError, match=r"t is \[2, 5\]"):
        model(x, torch.zeros(2, 5), encoded)


@torch.no_grad()
def test_text_to_video_without_conditions() -> None:
    model = WanTransformer(tiny_config(in_channels=4, audio_dim=None)).init_weights(0)
    encoded = model.encode_conditions(Conditions(text_BLD=pad_text(torch.ones(1, 2, 8), 5)))
    assert (encoded.y_BCTHW, encoded.audio_BPTD, encoded.num_latents) == (None, None, None)
    assert model(random_latents(2), 0.5, encoded).shape == (2, 4, 2, HEIGHT, WIDTH)


def test_fresh_weights_depend_on_the_seed_alone_and_predict_zero() -> None:
    first, second, third = (WanTransformer(tiny_config()).init_weights(seed) for seed in (0, 0, 1))
    for (name, a), b in zip(first.state_dict().items(), second.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    assert not torch.equal(first.blocks[0].self_attn.q.weight, third.blocks[0].self_attn.q.weight)
    with torch.no_grad():
        velocity = first(random_latents(3), 0.5, first.encode_conditions(random_conditions(3)))
    assert not velocity.any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"text_BLD": torch.zeros(2, 3, 8)}, "pad_text"),
        ({"audio_BND": torch.zeros(2, 10, 6)}, "4T-3 frames"),
        ({"audio_BND": torch.zeros(2, 13, 6)}, "different numbers of latents"),
        ({"audio_BND": None}, "audio_BND is None"),
        ({"masked_video_BCTHW": None}, "masked_video_BCTHW"),
        ({"reference_BC1HW": torch.zeros(2, 4, 2, HEIGHT, WIDTH)}, "reference_BC1HW is"),
        ({"keep_mask_HW": torch.zeros(3, 3)}, "keep_mask_HW is"),
        ({"reference_sequence_BCTHW": None}, "reference_sequence_BCTHW"),
    ],
)
def test_unfit_conditions_are_named(change: dict[str, torch.Tensor | None], message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        tiny_student().encode_conditions(replace(random_conditions(3), **change))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dim": 25}, "num_heads"),
        ({"in_channels": 18}, "in_channels=18"),
        ({"patch_size": (2, 2, 2)}, "never merged"),
        ({"num_layers": 3}, "at least 4 layers"),
        ({"freq_dim": 31}, "even"),
        ({"num_heads": 6}, "too small"),
    ],
)
def test_unfit_sizes_are_named(change: dict[str, object], message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        tiny_config(**change)


def test_rotation_is_the_same_with_and_without_complex_numbers() -> None:
    x = torch.randn(2, 3, 24, 2, 12, generator=torch.Generator().manual_seed(0))
    rotation = RotaryTables(12)(range(4, 7), 4, 6)
    torch.testing.assert_close(rotate(x, rotation), rotate_real(x, rotation), atol=1e-6, rtol=0)
    torch.testing.assert_close(rotate(x, rotation).norm(dim=-1), x.norm(dim=-1), atol=1e-5, rtol=0)


def test_attention_scores_depend_on_distances_only() -> None:
    q, k = torch.randn(2, 1, 4, 1, 12, generator=torch.Generator().manual_seed(0)).unbind(0)
    tables = RotaryTables(12)

    def score(at_q: int, at_k: int) -> torch.Tensor:
        turned = (
            rotate(q, tables(range(at_q, at_q + 1), 2, 2)),
            rotate(k, tables(range(at_k, at_k + 1), 2, 2)),
        )
        return (turned[0] * turned[1]).sum(-1)

    torch.testing.assert_close(score(5, 2), score(603, 600), atol=1e-4, rtol=0)
    assert not torch.allclose(score(5, 2), score(5, 3), atol=1e-3)


def test_rotary_tables_survive_casts_and_meta_devices() -> None:
    want = rotary_tables(12)["time_cos"].float()
    model = tiny_student().to(torch.bfloat16)
    assert torch.equal(model.rope.time_cos, want)
    with torch.device("meta"):
        empty = WanTransformer(tiny_config())
    assert torch.equal(empty.to_empty(device="cpu").rope.time_cos, want)
    assert not any(name.startswith("rope") for name in model.state_dict())


def test_positions_beyond_the_tables_are_refused() -> None:
    with pytest.raises(BadInputError, match="0 to 1023"):
        RotaryTables(12)(range(1022, 1025), 2, 2)


@torch.no_grad()
def test_bfloat16_and_autocast_stay_close() -> None:
    model, x = tiny_student(), random_latents(6)
    cond = random_conditions(6)
    want = model.forward_full(x, 0.769, model.encode_conditions(cond))
    with torch.autocast("cpu", torch.bfloat16):
        mixed = model.forward_full(x, 0.769, model.encode_conditions(cond)).float()
    model.to(torch.bfloat16)
    half = model.forward_full(x, 0.769, model.encode_conditions(cond))
    assert half.dtype == torch.bfloat16
    for got in (mixed, half.float()):
        assert (got - want).norm() / want.norm() < 0.03


@torch.no_grad()
def test_the_sampler_compiles_into_one_graph_for_all_of_the_steady_state() -> None:
    """As a stream calls it. ``fullgraph`` turns any graph break, host synchronisation included, into an error."""
    student = tiny_student()
    encoded = student.cache_text(student.encode_conditions(random_conditions(18)))
    cache = student.new_cache(2, HEIGHT, WIDTH)
    graphs: list[torch.fx.GraphModule] = []

    def keep_graph(graph: torch.fx.GraphModule, _inputs: object) -> torch.fx.GraphModule:
        graphs.append(graph)
        return graph

    eager = student.denoise_chunk
    torch.compiler.reset()
    compiled = torch.compile(eager, fullgraph=True, dynamic=False, backend=keep_graph)
    graphs_before_chunk = []
    for start in range(0, 18, 3):
        graphs_before_chunk.append(len(graphs))
        chunk, noise = encoded.chunk(start, start + 3), random_latents(3, seed=start)
        made = []
        for denoise in (eager, compiled):
            student.denoise_chunk = denoise  # type: ignore[method-assign]
            rng = torch.Generator().manual_seed(start)
            made.append(
                few_step_chunk(student, chunk, cache, t_list=(0.999, 0.769, 0.0), noise=noise, generator=rng)
            )
        torch.testing.assert_close(made[1], made[0], atol=1e-5, rtol=0)
        student.store_chunk(made[0], chunk, cache)
    assert graphs_before_chunk == [0, 1, 2, 3, 3, 3], (
        "one while there is no past, one for chunk 1, one for all others"
    )


def test_nano_sized_student_is_small() -> None:
    config = DiTConfig(
        dim=144, ffn_dim=432, num_heads=4, num_layers=6, freq_dim=64, text_dim=32, text_len=8, audio_dim=320
    )
    student = CausalStudent(config, WindowConfig())
    assert 1_500_000 < sum(p.numel() for p in student.parameters()) < 2_500_000
