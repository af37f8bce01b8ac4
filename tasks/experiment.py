"""The parts of an experiment that differ by its corpus: puppets that it renders, videos, or clips curated before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.products import content_key, file_sha256
from lipforcing_core.curation.settings import CurationSettings
from lipforcing_core.metrics.manifest import EvalItem
from lipforcing_core.presets import Preset
from lipforcing_core.puppets.pairs import DRIVING
from tasks import training
from tasks.corpora import CuratedCorpus, PuppetCorpus, VideoCorpus
from tasks.corpus import CorpusSize, render_puppets
from tasks.curating import Curated, curate_corpus, find_sources, survey
from tasks.curation import Source
from tasks.digests import source_digests
from tasks.evaluation import Scorers, find_files
from tasks.items import held_out_set, read_items, validation_items
from tasks.judging import puppet_item
from tasks.progress import step
from tasks.settings import Given, curation_settings
from tasks.training import TrainedModel
from tasks.training_runs import trainable_preset, training_clips
from tasks.warehousing import HeldOutSet, RunInfo
from tasks.workspace import Workspace

PUPPETS = "puppets of the two training portraits, with unseen motion, light and speech"
VALIDATION = "clips of the validation split, each driven by its own speech"


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A request made whole: everything that decides the outcome, checked before any work."""

    run: RunInfo
    corpus: PuppetCorpus | VideoCorpus | CuratedCorpus
    curation: CurationSettings
    preset: Preset
    scorers: Scorers
    user_sources: tuple[Source, ...]

    @property
    def puppets(self) -> bool:
        """Whether the corpus is the synthetic one."""
        return isinstance(self.corpus, PuppetCorpus)


@dataclass(frozen=True, kw_only=True)
class FoundCorpus:
    """Sources to curate, held-out items that came with them, and speech for the user's own videos."""

    sources: tuple[Source, ...] = ()
    items: tuple[EvalItem, ...] = ()
    speech: Path | None = None


def plan(
    workspace: Workspace,
    *,
    name: str,
    corpus: PuppetCorpus | VideoCorpus | CuratedCorpus,
    curation: Given,
    preset: Given,
    seed: int,
    videos: Path | None,
    scorers: Scorers,
) -> Experiment:
    """Resolve settings, preset and files, and make the run id; equal content gives an equal id.

    Raises ``BadInputError`` and ``MissingWeightsError`` for whatever would make the experiment fail later.
    """
    chosen = trainable_preset(preset)
    training.reward_file(chosen, workspace.weights)
    settings = curation_settings(workspace, curation)
    if videos is not None and not isinstance(corpus, PuppetCorpus):
        raise BadInputError("videos: your own videos are re-synced only in an experiment on puppets")
    user_sources = find_sources(videos) if videos is not None else []
    config: dict[str, Any] = {"seed": seed, "preset": chosen, "curation": settings}
    if isinstance(corpus, PuppetCorpus):
        config |= {"corpus": _size(corpus), "user_videos": _listing(workspace, user_sources)}
    elif isinstance(corpus, VideoCorpus):
        config |= {"corpus": _listing(workspace, find_sources(corpus.source)), "items": _items_key(corpus)}
    else:
        if not corpus.manifest.is_file():
            raise BadInputError(f"{corpus.manifest}: there is no such manifest")
        config = {"seed": seed, "preset": chosen, "corpus": file_sha256(corpus.manifest)}
        config |= {"items": _items_key(corpus)}
    default = Scorers(weights=scorers.weights)
    if scorers != default:  # runs with the default scorers keep their ids
        config["scorers"] = [scorers.detector, scorers.networks, scorers.sync_expert]
    if scorers.sync_expert is None:
        scorers = Scorers(
            detector=scorers.detector,
            detector_model=scorers.detector_model,
            networks=scorers.networks,
            sync_expert=chosen.backends.sync,
            weights=scorers.weights,
        )
    find_files(scorers)
    return Experiment(
        run=RunInfo(
            run_id=f"{name}-{content_key(config)}", flow=name, config=config, seed=seed, preset=chosen.name
        ),
        corpus=corpus,
        curation=settings,
        preset=chosen,
        scorers=scorers,
        user_sources=tuple(user_sources),
    )


def find_corpus(workspace: Workspace, experiment: Experiment) -> FoundCorpus:
    """Render the puppets, or find the videos and the items of the request."""
    corpus = experiment.corpus
    if isinstance(corpus, PuppetCorpus):
        with step("render puppets", "clips") as advance:
            index = render_puppets(
                workspace.store, int(experiment.run.seed or 0), _size(corpus), advance=advance
            )
        # Reels and clips with defects; the held-out pairs are never curated into the training set.
        sources = (Source(path=path, root=index.out_dir) for path in (*index.reels, *index.defects))
        return FoundCorpus(
            sources=tuple(sources),
            items=tuple(puppet_item(folder) for folder in index.pairs),
            speech=index.pairs[0] / DRIVING,
        )
    items = () if corpus.items is None else tuple(read_items(corpus.items))
    if isinstance(corpus, VideoCorpus):
        return FoundCorpus(sources=tuple(find_sources(corpus.source)), items=items)
    return FoundCorpus(items=items)


def curated_clips(
    workspace: Workspace, experiment: Experiment, corpus: FoundCorpus, folder: Path
) -> tuple[Path, Curated | None]:
    """The manifest to train on, and the curation that made it; None where an earlier run did."""
    if isinstance(experiment.corpus, CuratedCorpus):
        return experiment.corpus.manifest, None
    sources = survey(workspace, [*corpus.sources, *experiment.user_sources], experiment.curation)
    curated = curate_corpus(workspace, sources, experiment.curation, folder)
    return curated.report.manifest, curated


def held_out(
    experiment: Experiment, corpus: FoundCorpus, manifest: Path
) -> tuple[list[EvalItem], HeldOutSet]:
    """The items to evaluate on, and what the warehouse calls them."""
    items = list(corpus.items)
    if isinstance(experiment.corpus, PuppetCorpus):
        return items, held_out_set("puppets-heldout", items, PUPPETS)
    if experiment.corpus.items is not None:
        name = experiment.corpus.items
        return items, held_out_set(name.stem, items, f"items listed in {name.name}")
    items = validation_items(manifest)
    return items, held_out_set("validation", items, VALIDATION)


def train_models(
    workspace: Workspace, experiment: Experiment, corpus: FoundCorpus, manifest: Path
) -> dict[str, TrainedModel]:
    """Teacher, pre-trained student, distilled student, by the names that they have in results.

    With puppets they are trained on puppets alone, whatever videos of the user were curated beside them.
    """
    hashes = {file_sha256(source.path) for source in corpus.sources} if experiment.puppets else None
    preset, store, clips = experiment.preset, workspace.store, training_clips(manifest, hashes)
    with step(f"encode {len(clips)} training clips", "clips") as advance:
        data = training.prepare_training_set(store, clips, preset, advance)
    with step("train the teacher (base, then LoRA)", "steps") as advance:
        teacher = training.train_teacher(store, preset, data, advance)
    with step("pre-train the student (Diffusion Forcing)", "steps") as advance:
        pretrained = training.pretrain_student(store, preset, data, teacher.bundle, advance)
    with step("distil the student (Self-Forcing, SW-DMD, reward)", "steps") as advance:
        distilled = training.distill_student(
            store, preset, data, teacher.bundle, pretrained.bundle, workspace.weights, advance
        )
    return {"teacher": teacher, "pretrained": pretrained, "distilled": distilled}


def _size(corpus: PuppetCorpus) -> CorpusSize:
    return CorpusSize(num_reels=corpus.num_reels, num_pairs=corpus.num_pairs, side=corpus.side)


def _listing(workspace: Workspace, sources: Sequence[Source]) -> list[tuple[str, str]]:
    """Name and hash of every source."""
    if not sources:
        return []
    hashes = source_digests([s.path for s in sources], sources[0].root, workspace.state)
    return [(s.path.name, sha256) for s, sha256 in zip(sources, hashes, strict=True)]


def _items_key(corpus: VideoCorpus | CuratedCorpus) -> list[tuple[str, str]]:
    """What the listed items are: id and content of the truth."""
    if corpus.items is None:
        return []
    return [(item.clip_id, file_sha256(item.truth_video)) for item in read_items(corpus.items)]
