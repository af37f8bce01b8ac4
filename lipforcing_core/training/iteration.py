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

    waveform_BS: fp32 in [-1, 1], for the reward. student: None in an iteration that updates the critic alone.
    """

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

    micro_batches: ``settings.student.accumulation`` of them. Returns the means of the losses and rewards over the
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
    num_parts = settings.student.accumulation
    divided = student_rate is None or settings.critic_accumulation == "mean"
    together = num_parts > 1 and weighs_together(
        settings.reward_weighting, centres=state.reward_scale.centres
    )
    critic_losses: list[float] = []
    done: list[StudentTurn] = []
    rewards: list[Tensor] = []
    waiting: list[MicroBatch] = []
    for number, micro in enumerate(micro_batches):
        last = number == num_parts - 1
        critic_losses.append(turns.critic(micro, num_parts=num_parts if divided else 1, last=last))
        if student_rate is None:
            continue
        if together:
            rewards.append(turns.reward_of(micro))
            waiting.append(micro)
        else:
            done.append(turns.student(micro, num_parts=num_parts, last=last))
    if waiting:
        scaled = torch.split(state.reward_scale(torch.cat(rewards)), [len(reward_B) for reward_B in rewards])
        for number, micro in enumerate(waiting):
            known = KnownRewards(
                reward_B=rewards[number],
                scaled_B=scaled[number],
                others_M=torch.cat([*scaled[:number], *scaled[number + 1 :]]),
            )
            done.append(turns.student(micro, num_parts=num_parts, last=number == num_parts - 1, known=known))
    norm = update(
        strategy,
        state.critic_optimiser,
        state.critic,
        learning_rate=settings.critic_learning_rate,
        clip_norm=math.inf if settings.critic_clip_norm is None else settings.critic_clip_norm,
    )
    values = {"critic_loss": math.fsum(critic_losses) / num_parts, "critic_grad_norm": norm}
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
        torch.cat([turn.reward_B for turn in done]),
        torch.cat([turn.scaled_B for turn in done]),
        beta=settings.reward_beta,
        weighting=settings.reward_weighting,
    )
    return values | {
        "student_loss": math.fsum(turn.loss for turn in done) / num_parts,
        "matching_loss": math.fsum(turn.matching_loss for turn in done) / num_parts,
        "guided_share": math.fsum(turn.guided_share for turn in done) / num_parts,
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
    """What the student's turn with a micro-batch measured: means over its samples, and rewards ``[B]``."""

    loss: float
    matching_loss: float
    guided_share: float
    reward_B: Tensor
    scaled_B: Tensor


@dataclass(frozen=True, kw_only=True)
class _Turns:
    """What the two roles do with a micro-batch: each adds up its gradient, divided by ``num_parts``."""

    state: Distilled
    negative_text_BLD: Tensor
    settings: DistillSettings
    t_list: tuple[float, ...]
    guidance: GuidanceLaw
    reward: RewardModel
    strategy: Strategy

    def critic(self, micro: MicroBatch, *, num_parts: int, last: bool) -> float:
        """The critic's turn; returns its loss."""
        precision = self.settings.student.precision
        with compute_precision(precision, micro.critic.matching.noise_BCTHW.device):
            rollout = roll_out(
                self.state.student,
                micro.conditions,
                micro.critic.rollout,
                t_list=self.t_list,
                with_grad=False,
            )
        loss = critic_loss(
            self.state.critic,
            rollout,
            micro.conditions,
            micro.critic.matching,
            objective=self.settings.critic_objective,
            precision=precision,
        )
        self.strategy.backward(loss / num_parts, last=last)
        return loss.item()

    def reward_of(self, micro: MicroBatch) -> Tensor:
        """The rewards ``[B]`` that the student's turn will find."""
        return self.reward.score(self._student_rollout(micro, with_grad=False), micro.waveform_BS)

    def student(
        self, micro: MicroBatch, *, num_parts: int, last: bool, known: KnownRewards | None = None
    ) -> StudentTurn:
        """The student's turn. known: the rewards; without them its samples are rewarded by themselves."""
        assert micro.student is not None, "an iteration that updates the student has draws for it"
        settings, precision = self.settings, self.settings.student.precision
        rollout = self._student_rollout(micro, with_grad=True)
        loss_B = rollout_loss(
            rollout,
            self.state.critic,
            self.state.teacher,
            micro.conditions,
            self.negative_text_BLD,
            micro.student.matching,
            guidance=self.guidance,
            precision=precision,
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
        self.strategy.backward(weighted / num_parts, last=last)
        scale_B = self.guidance.scale(micro.student.matching.t_B.cpu())
        return StudentTurn(
            loss=weighted.item(),
            matching_loss=loss_B.mean().item(),
            guided_share=(scale_B != 1.0).double().mean().item(),
            reward_B=known.reward_B,
            scaled_B=known.scaled_B,
        )

    def _student_rollout(self, micro: MicroBatch, *, with_grad: bool) -> Tensor:
        assert micro.student is not None, "an iteration that updates the student has draws for it"
        draws = micro.student.rollout
        with compute_precision(self.settings.student.precision, draws.noise_BCTHW.device):
            return roll_out(
                self.state.student, micro.conditions, draws, t_list=self.t_list, with_grad=with_grad
            )
