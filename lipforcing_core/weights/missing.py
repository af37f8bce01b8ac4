"""What is said of needed files that are not there: a sentence where one is missing, one list where several are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lipforcing_core.base.errors import MissingWeightsError
from lipforcing_core.base.user_file import no_file
from lipforcing_core.weights.spec import WeightSpec


@dataclass(frozen=True, kw_only=True)
class Missing:
    """The files of one checkpoint, or of one choice, that are needed and not there.

    sentence: what is said of them where nothing else is missing. paths: where they were looked for; none where nobody
    gave a path. spec: the checkpoint that they belong to; None for a file that is shipped. folder: the weights folder
    that they belong into; None where a user gives the path. setting: what takes that path, where the sentence does not
    say it. stand_in: another choice, which needs no file.
    """

    sentence: str
    paths: tuple[Path, ...] = ()
    spec: WeightSpec | None = None
    folder: Path | None = None
    setting: str = ""
    stand_in: str | None = None


def missing_given(
    spec: WeightSpec, given: Path | None, *, instead: str | None = None, setting: str = ""
) -> Missing:
    """What is said of a file that a user must name, and has not, or that is not where the user says.

    instead: another choice, which needs no file. setting: what takes the path.
    """
    problem = "no file was given" if given is None else f"{given} {no_file(given) or 'cannot be used'}"
    otherwise = f"; or use {instead!r}, which needs no file" if instead else ""
    return Missing(
        sentence=f"{spec.name}: {problem}: {spec.how_to_get()}{otherwise}",
        paths=() if given is None else (given,),
        spec=spec,
        setting=setting,
        stand_in=instead,
    )


def missing_in(weights_dir: Path, spec: WeightSpec) -> list[Missing]:
    """What is said of needed files of a checkpoint that are not in the weights folder; empty where all are."""
    paths = spec.missing(weights_dir)
    if not paths:
        return []
    how = spec.how_to_get(weights_dir)
    sentence = f"{spec.name} is needed ({spec.used_by}) and {paths[0]} does not exist: {how}"
    return [Missing(sentence=sentence, paths=tuple(paths), spec=spec, folder=weights_dir)]


def require_none(missing: Sequence[Missing]) -> None:
    """Raise one ``MissingWeightsError`` that tells of everything that is missing; return where nothing is.

    Where one is missing it says its sentence, behind the setting that takes the file. Of several it names each with its
    paths, size, licence and setting, the one command that fetches them, and where a person gets those that the command
    cannot fetch.
    """
    if len(missing) == 1:
        raise MissingWeightsError(_alone(missing[0]))
    if missing:
        raise MissingWeightsError(_together(missing))


def _alone(missing: Missing) -> str:
    return f"{missing.setting}: {missing.sentence}" if missing.setting else missing.sentence


def _together(missing: Sequence[Missing]) -> str:
    listed = "; ".join(_listed(entry) for entry in missing)
    sentences = [f"{len(missing)} checkpoints are needed and not here: {listed}"]
    folders = {entry.spec: entry.folder for entry in missing if entry.spec}
    fetched = [spec for spec in folders if spec.fetchable]
    if fetched:
        names = " ".join(spec.name for spec in fetched)
        accept = "" if all(spec.commercial_ok for spec in fetched) else " --accept-licence"
        them = "them" if all(entry.spec in fetched for entry in missing) else "those with an address"
        sentences.append(
            f"Get {them} with `lipforcing weights fetch {names}{accept}`, or by hand from the places that "
            "`lipforcing weights show NAME` tells"
        )
    by_hand = [spec.without_address(folder) for spec, folder in folders.items() if not spec.fetchable]
    return ". ".join(sentences + by_hand)


def _listed(missing: Missing) -> str:
    if missing.spec is None:
        return _alone(missing)
    spec = missing.spec
    facts = [*([spec.name] if missing.paths else []), f"{spec.size_mb:g} MB", f"licence: {spec.licence}"]
    remedies = [f"give its path as {missing.setting}"] if missing.setting else []
    remedies += [f"use {missing.stand_in!r}, which needs no file"] if missing.stand_in else []
    told = ", ".join(facts) + ("; " if remedies else "") + ", or ".join(remedies)
    return f"{', '.join(map(str, missing.paths)) or spec.name} ({told})"
