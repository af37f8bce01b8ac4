"""The Self-Forcing rollout of a stand-in student: every call, its input, the cache, the latents and the gradients."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lipforcing_core.training.draws import RolloutDraws
from lipforcing_core.training.rollout import roll_out
from tests.parity.filler import Vectors
from tests.parity.training.cases import Case, all_cases, vectors_of
from tests.parity.training.standin import StandInStudent, parameters_of, standin_batch


@pytest.fixture(scope="module")
def vectors(parity_dir: Path) -> Vectors:
    return vectors_of(parity_dir, "self_forcing_rollout")


def test_rollout(vectors: Vectors) -> None:
    for one in all_cases(vectors):
        check(one)


def check(one: Case) -> None:
    data, settings = one.data, one.settings
    noise = data["in.noise_raw"]
    num_chunks, exit_step = len(settings["chunks"]), int(data["in.exit"][0])
    assert exit_step == settings["exit"]
    draws = RolloutDraws(
        noise_BCTHW=noise,
        exit_step=exit_step,
        renoise=tuple(
            tuple(data[f"in.renoise.{chunk}.{step}"] for step in range(exit_step))
            for chunk in range(num_chunks)
        ),
    )
    student = StandInStudent(parameters_of(data, "student"), one.config["chunk_latents"])
    assert [list(chunk) for chunk in student.chunks(noise.shape[2])] == settings["chunks"]
    conditions = standin_batch(noise, data["in.audio"], data["in.picture"]).conditions(data["in.text"])
    latents = roll_out(
        student,
        conditions,
        draws,
        t_list=settings["t_list"],
        with_grad=settings["with_gradient"],
    )
    one.close(latents, "latents")
    calls = list(student.calls)
    # The reference stores the last chunk too, "without effect on anything returned": this is done here.
    assert len(calls) == len(settings["calls"]) - 1
    with torch.no_grad():
        student.store_chunk(latents[:, :, calls[-1].start :].detach(), None, student.caches[0])  # type: ignore[arg-type]
    calls.append(student.calls[-1])
    for number, (call, want) in enumerate(zip(calls, settings["calls"], strict=True)):
        assert (call.kind, [call.start, call.stop]) == (want["kind"], want["latents"])
        assert call.t == pytest.approx(want["t"], abs=1e-7)
        assert call.gradient == want["gradient"]
        one.close(call.x, f"call{number}.x")
    firsts = [
        c
        for c, earlier in zip(calls, [None, *calls], strict=False)
        if earlier is None or earlier.kind == "store"
    ]
    one.close(torch.cat([call.x for call in firsts if call.kind == "denoise"], dim=2), "noise")
    assert len(student.caches) == 1
    one.close(torch.stack(student.caches[0].entries, dim=2), "cache")
    names = one.outputs("grad.student.")
    assert bool(names) == settings["with_gradient"] == latents.requires_grad
    if names:
        (latents * data["in.probe"]).sum().backward()
        for name in names:
            parameter = student.get_parameter(name.removeprefix("grad.student."))
            one.close(torch.zeros_like(parameter) if parameter.grad is None else parameter.grad, name)
    one.done()
