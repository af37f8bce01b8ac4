"""The parts of an experiment that differ by its corpus: puppets that it renders, videos, or clips curated before."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.products import content_key, file_sha256
from lipforcing_core.base.user_file import no_file
from lipforcing_core.curation.reasons import RejectReason
from lipforcing_core.curation.settings import CurationSettings
from lipforcing_core.metrics.manifest import EvalItem
from lipforcing_core.presets import Preset
from lipforcing_core.puppets.pairs import DRIVING
from lipforcing_core.sync.experts.catalogue import advice_for_people
from tasks import training
from tasks.corpora import CuratedCorpus, PuppetCorpus, VideoCorpus
from tasks.corpus import CorpusSize, render_puppets
from tasks.curating import Curated, Found, curate_corpus, discover, survey
from tasks.curation import Source
from tasks.digests import source_digests
from tasks.evaluation import Scorers, find_files
from tasks.items import held_out_set, item_hashes, read_items, validation_items
from tasks.judging import puppet_item
from tasks.outcomes import by_content
from tasks.progress import step
from tasks.settings import Given, curation_settings
from tasks.training import TrainedModel
from tasks.training_device import CPU, training_device
from tasks.training_runs import trainable_preset
from tasks.training_sets import ClipsToEncode, TrainingSet, training_clips
from tasks.warehousing import HeldOutSet, RunInfo
from tasks.workspace import Workspace

PUPPETS = "puppets of the two training portraits, with unseen motion, light and speech"
VALIDATION = "aligned clips of the validation split, each driven by its own speech"


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A request made whole: everything that decides the outcome, checked before any work.

    device: where the models are trained. found: what the folder of videos holds, that of the corpus or that of the
    user's own videos; None where none is given.
    """

    run: RunInfo
    corpus: PuppetCorpus | VideoCorpus | CuratedCorpus
    curation: CurationSettings
    preset: Preset
    device: str
    scorers: Scorers
    found: Found | None

    @property
    def puppets(self) -> bool:
        """Whether the corpus is the synthetic one."""
        return isinstance(self.corpus, PuppetCorpus)

    @property
    def evaluates_crops(self) -> bool:
        """Whether the held-out items are aligned crops, as those of the validation split are."""
        return not isinstance(self.corpus, PuppetCorpus) and self.corpus.items is None

    @property
    def sync_advice(self) -> str:
        """What the sync expert of the curation cannot judge; empty for puppets, which every expert knows."""
        return "" if self.puppets else advice_for_people(self.curation.sync_expert)

    @property
    def user_sources(self) -> tuple[Source, ...]:
        """Videos of the user that are re-synced beside an experiment on puppets."""
        return tuple(self.found.sources) if self.puppets and self.found else ()


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
    device: str,
    seed: int,
    videos: Path | None,
    scorers: Scorers,
) -> Experiment:
    """Resolve settings, preset and files, and make the run id; equal content gives an equal id.

    Raises ``BadInputError`` and ``MissingWeightsError`` for whatever would make the experiment fail later.
    """
    chosen, where = trainable_preset(preset), training_device(device)
    training.reward_file(chosen, workspace.weights)
    settings = curation_settings(workspace, curation)
    if videos is not None and not isinstance(corpus, PuppetCorpus):
        raise BadInputError("videos: your own videos are re-synced only in an experiment on puppets")
    default = Scorers(weights=scorers.weights)
    named = None if scorers == default else [scorers.detector, scorers.networks, scorers.sync_expert]
    if scorers.sync_expert is None:
        scorers = Scorers(
            detector=scorers.detector,
            detector_model=scorers.detector_model,
            networks=scorers.networks,
            sync_expert=chosen.backends.sync,
            weights=scorers.weights,
        )
    find_files(scorers)
    config: dict[str, Any] = {"seed": seed, "preset": chosen, "curation": by_content(settings).deciding()}
    found: Found | None = None
    if isinstance(corpus, PuppetCorpus):
        found = None if videos is None else discover(videos)
        config |= {"corpus": _size(corpus), "user_videos": _listing(workspace, found)}
    elif isinstance(corpus, VideoCorpus):
        found = discover(corpus.source)
        _check_validation(corpus, settings)
        items = _items_key(corpus)
        config |= {"corpus": _listing(workspace, found), "items": items}
    else:
        _check_manifest(corpus)
        config = {"seed": seed, "preset": chosen, "corpus": file_sha256(corpus.manifest)}
        config |= {"items": _items_key(corpus)}
    if found is not None:
        config |= found.identity()
    if where != CPU:  # runs on the CPU keep their ids
        config["device"] = where
    if named is not None:  # as do runs with the default scorers
        config["scorers"] = named
    return Experiment(
        run=RunInfo(
            run_id=f"{name}-{content_key(config)}", flow=name, config=config, seed=seed, preset=chosen.name
        ),
        corpus=corpus,
        curation=settings,
        preset=chosen,
        device=where,
        scorers=scorers,
        found=found,
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
    return FoundCorpus(sources=tuple(experiment.found.sources) if experiment.found else (), items=items)


def curated_clips(
    workspace: Workspace, experiment: Experiment, corpus: FoundCorpus, folder: Path
) -> tuple[Path, Curated | None]:
    """The manifest to train on, and the curation that made it; None where an earlier run did."""
    if isinstance(experiment.corpus, CuratedCorpus):
        return experiment.corpus.manifest, None
    sources = survey(workspace, [*corpus.sources, *experiment.user_sources], experiment.curation)
    curated = curate_corpus(workspace, sources, experiment.curation, folder, experiment.found)
    return curated.report.manifest, curated


def require_clips(
    experiment: Experiment, corpus: FoundCorpus, manifest: Path, curated: Curated | None
) -> None:
    """Raise ``BadInputError`` where curation left nothing to train or to evaluate on, with what it turned away."""
    try:
        training_clips(manifest, _own(experiment, corpus))
        if not experiment.puppets and not corpus.items:
            validation_items(manifest)
    except BadInputError as error:
        if curated is None:
            raise
        raise BadInputError(f"{error}. {_turned_away(experiment, curated)}") from error


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


@dataclass(frozen=True, kw_only=True)
class Parents:
    """What a distillation starts from: the encoded clips, the teacher, and the student that was pre-trained on them."""

    data: TrainingSet
    teacher: TrainedModel
    pretrained: TrainedModel


def train_models(
    workspace: Workspace, experiment: Experiment, corpus: FoundCorpus, manifest: Path
) -> dict[str, TrainedModel]:
    """Teacher, pre-trained student, distilled student, by the names that they have in results.

    With puppets they are trained on puppets alone, whatever videos of the user were curated beside them.
    """
    parents = train_parents(workspace, experiment, corpus, manifest)
    distilled = distil(workspace, experiment, parents)
    return {"teacher": parents.teacher, "pretrained": parents.pretrained, "distilled": distilled}


def train_parents(
    workspace: Workspace, experiment: Experiment, corpus: FoundCorpus, manifest: Path
) -> Parents:
    """Encode the clips, train the teacher and pre-train the student."""
    preset, store, device = experiment.preset, workspace.store, experiment.device
    clips = training_clips(manifest, _own(experiment, corpus))
    data = ClipsToEncode(clips=clips).encoded(store, preset)
    with step("train the teacher (base, then LoRA)", "steps") as advance:
        teacher = training.train_teacher(store, preset, data, advance, device=device)
    with step("pre-train the student (Diffusion Forcing)", "steps") as advance:
        pretrained = training.pretrain_student(store, preset, data, teacher.bundle, advance, device=device)
    return Parents(data=data, teacher=teacher, pretrained=pretrained)


def distil(workspace: Workspace, experiment: Experiment, parents: Parents) -> TrainedModel:
    """Distil the student of an experiment, whose preset may differ from that of the parents in this stage."""
    with step("distil the student (Self-Forcing, SW-DMD, reward)", "steps") as advance:
        return training.distill_student(
            workspace.store,
            experiment.preset,
            parents.data,
            parents.teacher.bundle,
            parents.pretrained.bundle,
            workspace.weights,
            advance,
            device=experiment.device,
        )


def _own(experiment: Experiment, corpus: FoundCorpus) -> set[str] | None:
    """The hashes of the sources that may be trained on; None for all that were curated."""
    return {file_sha256(source.path) for source in corpus.sources} if experiment.puppets else None


def _turned_away(experiment: Experiment, curated: Curated) -> str:
    """What curation rejected, and where that is told piece by piece."""
    reasons = curated.report.reasons
    told = ", ".join(f"{row.reason.value} ({row.pieces} pieces, {row.seconds:.1f} s)" for row in reasons)
    words = f"Curation turned away: {told or 'nothing'}; {curated.report.data_docs} lists it"
    if any(row.reason is RejectReason.SYNC_CONFIDENCE_LOW for row in reasons):
        words += f". {experiment.sync_advice}"
    return words.rstrip(". ")


def _check_validation(corpus: VideoCorpus, settings: CurationSettings) -> None:
    if corpus.items is None and settings.val_fraction == 0:
        raise BadInputError(
            "corpus.items: null evaluates on the validation split, but val_fraction = 0 in the curation settings holds "
            "nothing out; give a list of items, or raise val_fraction"
        )


def _check_manifest(corpus: CuratedCorpus) -> None:
    if problem := no_file(corpus.manifest):
        raise BadInputError(f"the manifest {corpus.manifest} {problem}")
    training_clips(corpus.manifest)
    if corpus.items is None:
        validation_items(corpus.manifest)


def _size(corpus: PuppetCorpus) -> CorpusSize:
    return CorpusSize(num_reels=corpus.num_reels, num_pairs=corpus.num_pairs, side=corpus.side)


def _listing(workspace: Workspace, found: Found | None) -> list[tuple[str, str]]:
    """Name and hash of every source."""
    if found is None:
        return []
    sources = found.sources
    hashes = source_digests([s.path for s in sources], sources[0].root, workspace.state)
    return [(s.path.name, sha256) for s, sha256 in zip(sources, hashes, strict=True)]


def _items_key(corpus: VideoCorpus | CuratedCorpus) -> list[list[str]]:
    """What the listed items are, by content."""
    return [] if corpus.items is None else [item_hashes(item) for item in read_items(corpus.items)]
