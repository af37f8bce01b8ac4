"""Named key maps: from the names in a released file to the names in this project's networks (method A.9).

Every map keeps the names of the network, so that a file that was converted still loads as what it was.
"""

from __future__ import annotations

import re

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.suggestions import unknown
from lipforcing_core.weights.load import KeyMap

_DIFFUSERS_TOP = {
    "condition_embedder.time_embedder.linear_1": "time_embedding.0",
    "condition_embedder.time_embedder.linear_2": "time_embedding.2",
    "condition_embedder.text_embedder.linear_1": "text_embedding.0",
    "condition_embedder.text_embedder.linear_2": "text_embedding.2",
    "condition_embedder.time_proj": "time_projection.1",
    "proj_out": "head.head",
}
_DIFFUSERS_BLOCK = {
    "attn1": "self_attn",
    "attn2": "cross_attn",
    "ffn.net.0.proj": "ffn.0",
    "ffn.net.2": "ffn.2",
    "norm2": "norm3",  # the affine one, before cross-attention
}
_DIFFUSERS_ATTENTION = {"to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "o"}


_LAYERS_OF_A_BLOCK = (
    *(f"{part}.{name}" for part in ("self_attn", "cross_attn") for name in ("q", "k", "v", "o")),
    *("cross_attn.k_img", "cross_attn.v_img", "ffn.0", "ffn.2", "ffn.net.0.proj", "ffn.net.2"),
    *(f"{part}.{name}" for part in ("attn1", "attn2") for name in _DIFFUSERS_ATTENTION),
)
_FOREIGN_PREFIXES = ("diffusion_model.", "transformer.")
_KOHYA_PREFIXES = ("lora_unet_", "lora_transformer_")
_T5_FROM_TRANSFORMERS = {
    "shared.weight": "token_embedding.weight",
    "encoder.final_layer_norm.weight": "norm.weight",
}
_T5_BLOCK_FROM_TRANSFORMERS = {
    "0.layer_norm": "norm1",
    "0.SelfAttention.q": "attn.q",
    "0.SelfAttention.k": "attn.k",
    "0.SelfAttention.v": "attn.v",
    "0.SelfAttention.o": "attn.o",
    "0.SelfAttention.relative_attention_bias": "pos_embedding.embedding",
    "1.layer_norm": "norm2",
    "1.DenseReluDense.wi_0": "ffn.gate.0",
    "1.DenseReluDense.wi_1": "ffn.fc1",
    "1.DenseReluDense.wo": "ffn.fc2",
}


def find_key_map(name: str) -> KeyMap:
    """The map called ``name``; raises ``BadInputError`` that lists the known names."""
    if name not in _MAPS:
        raise BadInputError(unknown("key map", name, key_map_names()))
    return _MAPS[name]


def key_map_names() -> list[str]:
    """All names that ``find_key_map`` knows."""
    return sorted(_MAPS)


def strip_model(name: str) -> str:
    """Without the ``model.`` that some loaders put before every name."""
    return name.removeprefix("model.")


def student_key(name: str) -> str:
    """Names of the official student: in memory it prefixes ``_core.`` (causal) or ``model.``, its release neither."""
    return name.removeprefix("module.").removeprefix("_core.").removeprefix("model.")


def adapter_key(name: str) -> str:
    """Names of adapters as peft, trainers and the official code write them, to ``LAYER.lora_A.weight``.

    peft: ``get_peft_model_state_dict`` writes that already; ``save_pretrained`` prefixes ``base_model.model.``, and a
    training state inserts the adapter's name (``.default``) and ``.base_layer``. ComfyUI: ``diffusion_model.`` before
    the names of Wan. diffusers: ``transformer.`` before its own names. kohya: ``lora_unet_`` and the name of the layer
    with ``_`` for every dot. The last three may call A and B ``lora_down`` and ``lora_up`` (or ``lora.down``,
    ``lora.up``), and keep an alpha for every layer. Names of other kinds stay as they are, so that errors tell them.
    """
    for prefix in ("base_model.model.", *_FOREIGN_PREFIXES):
        name = name.removeprefix(prefix)
    name = student_key(name)
    for kohya in _KOHYA_PREFIXES:
        if name.startswith(kohya):
            flat, dot, leaf = name.removeprefix(kohya).partition(".")
            name = f"{_unflattened(flat)}{dot}{leaf}"
    name = re.sub(r"\.lora[_.]down\.weight$", ".lora_A.weight", name)
    name = re.sub(r"\.lora[_.]up\.weight$", ".lora_B.weight", name)
    name = re.sub(r"\.(lora_[AB])\.default\.weight$", r".\1.weight", name)
    found = re.fullmatch(r"(.+?)\.(lora_[AB]\.weight|alpha)", name)
    if found and (ours := wan_diffusers_key(f"{found[1]}.weight")):
        name = f"{ours.removesuffix('.weight')}.{found[2]}"
    return name.replace(".base_layer.", ".")


def is_foreign_adapter(name: str) -> bool:
    """Whether ComfyUI, diffusers or kohya wrote this name; where they keep no alpha, the adapter adds just B A."""
    return name.startswith((*_FOREIGN_PREFIXES, *_KOHYA_PREFIXES)) or bool(
        re.search(r"\.lora[_.](?:down|up)\.weight$", name)
    )


def _unflattened(layer: str) -> str:
    """The layer that kohya calls ``blocks_0_self_attn_q``; an unknown one stays as it is."""
    block = re.fullmatch(r"blocks_(\d+)_(.+)", layer)
    if block is None:
        top = {name.replace(".", "_"): name for name in (*_DIFFUSERS_TOP, *_DIFFUSERS_TOP.values())}
        return top.get(layer, layer)
    inner = {name.replace(".", "_"): name for name in _LAYERS_OF_A_BLOCK}
    return f"blocks.{block[1]}.{inner.get(block[2], block[2])}"


def wan_diffusers_key(name: str) -> str | None:
    """Names of the transformer of Wan 2.1 in diffusers to the original ones; its rotary tables are computed here."""
    name = name.removeprefix("transformer.")
    if name.startswith("rope."):
        return None
    if name == "scale_shift_table":
        return "head.modulation"
    layer, _, leaf = name.rpartition(".")
    block = re.fullmatch(r"(blocks\.\d+)\.(.+)", name)
    if block is None:
        return f"{_DIFFUSERS_TOP[layer]}.{leaf}" if layer in _DIFFUSERS_TOP else name
    prefix, inner = block.groups()
    if inner == "scale_shift_table":
        return f"{prefix}.modulation"
    attention = re.fullmatch(r"(attn[12])\.(.+)\.(weight|bias)", inner)
    if attention:
        part, linear, leaf = attention.groups()
        return f"{prefix}.{_DIFFUSERS_BLOCK[part]}.{_DIFFUSERS_ATTENTION.get(linear, linear)}.{leaf}"
    if inner == "modulation":
        return name
    inner = inner.removesuffix(f".{leaf}")
    return f"{prefix}.{_DIFFUSERS_BLOCK.get(inner, inner)}.{leaf}"


def wav2vec2_key(name: str) -> str | None:
    """The name in ``Wav2Vec2Features`` of a tensor of an official file; ``None`` for one that is not needed.

    Official files prefix ``wav2vec2.`` (or nothing, if saved without a head), call magnitude and direction of the
    positional convolution ``weight_g`` and ``weight_v`` where newer torch has a parametrization, and hold the letter
    classifier ``lm_head``, which features do not use. Other names are kept, so that a strict load reports them.
    """
    name = name.removeprefix("wav2vec2.")
    if name.startswith("lm_head."):
        return None
    stem, _, last = name.rpartition(".")
    renamed = {"weight_g": "original0", "weight_v": "original1"}.get(last)
    return f"model.{stem}.parametrizations.weight.{renamed}" if renamed else f"model.{name}"


def umt5_key(name: str) -> str | None:
    """The name in ``UMT5Network`` of a tensor of a checkpoint; ``None`` for one that is not needed.

    Names of Wan's file are those of the network. Names of ``transformers.UMT5EncoderModel`` are translated;
    its ``encoder.embed_tokens.weight`` is ``shared.weight`` a second time and is not needed. Other names are kept,
    so that a strict load reports them.
    """
    if name == "encoder.embed_tokens.weight":
        return None
    in_block = re.fullmatch(r"encoder\.block\.(\d+)\.layer\.(.+)\.weight", name)
    if in_block and in_block[2] in _T5_BLOCK_FROM_TRANSFORMERS:
        return f"blocks.{in_block[1]}.{_T5_BLOCK_FROM_TRANSFORMERS[in_block[2]]}.weight"
    return _T5_FROM_TRANSFORMERS.get(name, name)


def _wav2vec2_or_own_key(name: str) -> str | None:
    return name if name.startswith("model.") else wav2vec2_key(name)


_MAPS: dict[str, KeyMap] = {
    "strip-model": strip_model,
    "student": student_key,
    "adapter": adapter_key,
    "wan-diffusers": wan_diffusers_key,
    "wav2vec2": _wav2vec2_or_own_key,
    "umt5": umt5_key,
}
