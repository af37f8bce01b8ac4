"""One iteration of the distillation, from given batches and draws: critic always, student every few times (D.5).

As in the released code a student iteration uses the data of its batch twice, with new noise: first for the critic, then
for the student, whose loss sees the critic as it was before this iteration. Both optimisers step at the end.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from lipforcing_core.diffusion.schedule import GuidanceLaw
from lipforcing_core.models.conditions import Conditions
from lipforcing_core.presets.schema import DistillSettings
from lipforcing_core.training.draws import RoleDraws
from lipforcing_core.training.losses.matching import critic_loss, rollout_loss
from lipforcing_core.training.optimisation import update
from lipforcing_core.training.precision import compute_precision
from lipforcing_core.training.reward import RewardModel
from lipforcing_core.training.reward_weights import (
    RewardScale,
    reward_loss,
    reward_statistics,
    weighs_together,
)
from lipforcing_core.training.rollout import roll_out
from lipforcing_core.training.strategies.protocol import Strategy
from lipforcing_core.training.strategies.workers import Part, in_order


@dataclass(frozen=True, kw_only=True)
class Distilled:
    """The three networks, their optimisers, and what else changes from iteration to iteration.

    student: a module that is a ``ChunkStudent``; critic, teacher: modules that are ``VelocityNetwork``s, the teacher
    frozen.
    """

    student: Any
    critic: Any
    teacher: Any
    student_optimiser: Optimizer
    critic_optimiser: Optimizer
    reward_scale: RewardScale


@dataclass(frozen=True, kw_only=True)
class MicroBatch:
    """The conditions and sound of a batch, and the draws of both roles.

    part: which of the step's it is, and whether it counts. waveform_BS: fp32 in [-1, 1], for the reward. student: None
    in an iteration that updates the critic alone.
    """

    part: Part
    conditions: Conditions
    waveform_BS: Tensor
    critic: RoleDraws
    student: RoleDraws | None


def distill_iteration(
    state: Distilled,
    micro_batches: Iterable[MicroBatch],
    *,
    negative_text_BLD: Tensor,
    settings: DistillSettings,
    t_list: tuple[float, ...],
    guidance: GuidanceLaw,
    reward: RewardModel,
    strategy: Strategy,
    student_rate: float | None,
) -> dict[str, float]:
    """Update the critic, and the student with it where ``student_rate``, its learning rate, is given.

    micro_batches: those that ``share`` gives to this worker. Returns the means of the losses and rewards over the
    samples, and the norms of the gradients before clipping; ``matching_loss`` is the student's loss before the reward
    weighs it, ``guided_share`` the share of samples for which the teacher was guided, and ``reward_statistics`` are
    among the values.

    Where the weight of a sample depends on the rewards of others (``weighs_together``) and there are several
    micro-batches, the student makes their rollouts twice: without gradient for all rewards, then for the losses.
    """
    turns = _Turns(
        state=state,
        negative_text_BLD=negative_text_BLD,
        settings=settings,
        t_list=t_list,
        guidance=guidance,
        reward=reward,
        strategy=strategy,
    )
    num_parts, workers = settings.student.accumulation, strategy.workers
    divided = student_rate is None or settings.critic_accumulation == "mean"
    together = num_parts > 1 and weighs_together(
        settings.reward_weighting, centres=state.reward_scale.centres
    )
    critic_losses: list[float] = []
    done: list[StudentTurn] = []
    rewards: list[Tensor] = []
    waiting: list[MicroBatch] = []
    for micro in micro_batches:
        critic_losses.append(turns.critic(micro, num_parts=num_parts if divided else 1))
        if student_rate is None:
            continue
        if together:
            rewards.append(turns.reward_of(micro))
            waiting.append(micro)
        else:
            done.append(turns.student(micro, num_parts=num_parts))
    if waiting:
        in_all = in_order(rewards, num_parts, workers)
        scaled = state.reward_scale(torch.cat(in_all)).chunk(num_parts)
        for reward_B, micro in zip(rewards, waiting, strict=True):
            number = micro.part.number
            known = KnownRewards(
                reward_B=reward_B,
                scaled_B=scaled[number],
                others_M=torch.cat([*scaled[:number], *scaled[number + 1 :]]),
            )
            done.append(turns.student(micro, num_parts=num_parts, known=known))
    norm = update(
        strategy,
        state.critic_optimiser,
        state.critic,
        learning_rate=settings.critic_learning_rate,
        clip_norm=math.inf if settings.critic_clip_norm is None else settings.critic_clip_norm,
    )
    values = {
        "critic_loss": workers.total(math.fsum(critic_losses)) / num_parts,
        "critic_grad_norm": norm,
    }
    if student_rate is None:
        return values
    norm = update(
        strategy,
        state.student_optimiser,
        state.student,
        learning_rate=student_rate,
        clip_norm=settings.student.clip_norm,
    )
    statistics = reward_statistics(
        torch.cat(in_order([turn.reward_B for turn in done], num_parts, workers)),
        torch.cat(in_order([turn.scaled_B for turn in done], num_parts, workers)),
        beta=settings.reward_beta,
        weighting=settings.reward_weighting,
        micro_batch=len(done[0].scaled_B),
    )
    return values | {
        "student_loss": workers.total(math.fsum(turn.loss for turn in done)) / num_parts,
        "matching_loss": workers.total(math.fsum(turn.matching_loss for turn in done)) / num_parts,
        "guided_share": workers.total(math.fsum(turn.guided_share for turn in done)) / num_parts,
        "student_grad_norm": norm,
        "learning_rate": student_rate,
        **statistics,
    }


@dataclass(frozen=True, kw_only=True)
class KnownRewards:
    """Rewards of a micro-batch's samples, the same scaled, and the scaled ones of all other micro-batches."""

    reward_B: Tensor
    scaled_B: Tensor
    others_M: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class StudentTurn:
    """What the student's turn with a micro-batch measured: means over its samples, and rewards ``[B]``.

    The means are 0 where the micro-batch does not count.
    """

    loss: float
    matching_loss: float
    guided_share: float
    reward_B: Tensor
    scaled_B: Tensor


@dataclass(frozen=True, kw_only=True)
class _Turns:
    """What the two roles do with a micro-batch: each adds up its gradient, divided by ``num_parts``.

    Workers that train together make equally many calls of each network: one whose rollout ends earlier, or of whose
    samples none is guided, makes calls to no effect.
    """

    state: Distilled
    negative_text_BLD: Tensor
    settings: DistillSettings
    t_list: tuple[float, ...]
    guidance: GuidanceLaw
    reward: RewardModel
    strategy: Strategy

    def critic(self, micro: MicroBatch, *, num_parts: int) -> float:
        """The critic's turn; returns its loss, 0 where the micro-batch does not count."""
        rollout = self._rollout(micro, micro.critic, with_grad=False)
        loss = critic_loss(
            self.state.critic,
            rollout,
            micro.conditions,
            micro.critic.matching,
            objective=self.settings.critic_objective,
            precision=self.settings.student.precision,
        )
        return self._backward(loss, micro, num_parts)

    def reward_of(self, micro: MicroBatch) -> Tensor:
        """The rewards ``[B]`` that the student's turn will find."""
        rollout = self._rollout(micro, _of_student(micro), with_grad=False)
        return self.reward.score(rollout, micro.waveform_BS)

    def student(self, micro: MicroBatch, *, num_parts: int, known: KnownRewards | None = None) -> StudentTurn:
        """The student's turn. known: the rewards; without them its samples are rewarded by themselves."""
        draws, settings = _of_student(micro), self.settings
        rollout = self._rollout(micro, draws, with_grad=True)
        guided_B = self.guidance.scale(draws.matching.t_B.cpu()) != 1.0
        loss_B = rollout_loss(
            rollout,
            self.state.critic,
            self.state.teacher,
            micro.conditions,
            self.negative_text_BLD,
            draws.matching,
            guidance=self.guidance,
            precision=settings.student.precision,
            always_guide=bool(self.strategy.workers.largest(int(guided_B.any()))),
        )
        if known is None:
            reward_B = self.reward.score(rollout.detach(), micro.waveform_BS)
            known = KnownRewards(reward_B=reward_B, scaled_B=self.state.reward_scale(reward_B))
        weighted = reward_loss(
            loss_B,
            known.scaled_B.to(loss_B.device),
            beta=settings.reward_beta,
            weighting=settings.reward_weighting,
            others_M=known.others_M,
        )
        counts = float(micro.part.counts)
        return StudentTurn(
            loss=self._backward(weighted, micro, num_parts),
            matching_loss=counts * loss_B.mean().item(),
            guided_share=counts * guided_B.double().mean().item(),
            reward_B=known.reward_B,
            scaled_B=known.scaled_B,
        )

    def _backward(self, loss: Tensor, micro: MicroBatch, num_parts: int) -> float:
        counted = loss if micro.part.counts else 0.0 * loss
        self.strategy.backward(counted / num_parts)
        return counted.item()

    def _rollout(self, micro: MicroBatch, draws: RoleDraws, *, with_grad: bool) -> Tensor:
        own = draws.rollout.exit_step
        with compute_precision(self.settings.student.precision, draws.matching.noise_BCTHW.device):
            return roll_out(
                self.state.student,
                micro.conditions,
                draws.rollout,
                t_list=self.t_list,
                with_grad=with_grad,
                idle_calls=self.strategy.workers.largest(own) - own,
            )


def _of_student(micro: MicroBatch) -> RoleDraws:
    assert micro.student is not None, "an iteration that updates the student has draws for it"
    return micro.student
