"""The curation flow: a folder of videos to aligned clips, a manifest, a contract and warehouse rows."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from prefect import flow
from rich.console import Console
from rich.markup import escape

from lipforcing_core.base.errors import LipForcingError, MissingWeightsError
from lipforcing_core.base.products import content_key, write_json
from lipforcing_core.curation.assemble import CurationReport, assemble_manifest
from lipforcing_core.curation.backends import require_backends
from lipforcing_core.curation.reasons import RejectReason
from lipforcing_core.curation.settings import CurationSettings
from lipforcing_core.curation.sources import discover_sources, read_facts, source_sha256
from lipforcing_core.media.clock import seconds
from lipforcing_core.sync.experts.catalogue import SYNC_EXPERTS, advice_for_people
from tasks.artifacts import publish_curation
from tasks.curation import Source, curate_shard, shards
from tasks.environment import orchestration
from tasks.progress import run_log, step
from tasks.warehousing import RunInfo, RunRows, load_warehouse
from tasks.workspace import Workspace, latest_link, one_run

console = Console(highlight=False)

OPTIONS = {
    "detector": "--detector",
    "detector_model": "--detector-model",
    "min_segment_s": "--min-seconds",
    "max_segment_s": "max_segment_s of the [curation] table",
    "sync_filter": "--sync-filter",
}
"""What users of the command line call the settings that options change or are compared with."""


class ContractError(LipForcingError):
    """The curated manifest does not hold what it promises."""


@flow(name="curate", validate_parameters=False)
def curate(
    workspace: Workspace, sources: list[Source], settings: CurationSettings, run: RunInfo, folder: Path
) -> CurationReport:
    """Curate the sources in shards, put the outcomes together, and load the warehouse."""
    report = curate_sources(workspace, sources, settings, folder)
    rows = RunRows(workspace, run)
    rows.put_curation(report, "curated")
    rows.put_run()
    load_warehouse(workspace)
    publish_curation(report)
    return report


def curate_sources(
    workspace: Workspace, sources: list[Source], settings: CurationSettings, folder: Path
) -> CurationReport:
    """The part of the flow that other flows use too: everything but the warehouse."""
    outcomes = []
    with step(f"curate {len(sources)} sources") as advance:
        for shard in shards(sources):
            outcomes += curate_shard(shard, settings, workspace.store, advance)
    return assemble_manifest(outcomes, folder, settings, store=workspace.store)


def run_curate(
    workspace: Workspace,
    source: Path,
    *,
    settings_file: Path | None = None,
    overrides: Mapping[str, Any],
) -> None:
    """Run the flow for the command line and print the funnel; an override of None leaves the setting alone.

    Raises ``BadInputError`` for a setting or an option out of its range, and ``ContractError`` if the manifest breaks
    its contract, after everything has been written.
    """
    settings = CurationSettings() if settings_file is None else CurationSettings.from_toml(settings_file)
    values = settings.model_dump() | {key: value for key, value in overrides.items() if value is not None}
    detector_missing = None
    try:
        values["detector_model"] = workspace.detector_model(values["detector"], values["detector_model"])
    except MissingWeightsError as error:  # told below, with the other files that are not there
        detector_missing = str(error)
    settings = CurationSettings.from_mapping(values, "curate", names=OPTIONS)
    paths = discover_sources(source)
    root = source if source.is_dir() else source.parent
    for path in paths:
        read_facts(path, root)  # a malformed sidecar is said before hours of work
    require_backends(settings, detector_missing=detector_missing)
    with ThreadPoolExecutor() as pool:  # hashing leaves the interpreter lock alone
        hashes = pool.map(partial(source_sha256, root=root), paths)
        config = {"settings": settings, "sources": list(zip((p.name for p in paths), hashes, strict=True))}
    run = RunInfo(run_id=f"curate-{content_key(config)}", flow="curate", config=config)
    folder = workspace.run_folder("curate", run.run_id)
    write_json(folder / "config.json", config)
    with one_run(folder), run_log(folder / "run.log"), orchestration(workspace):
        report = curate(workspace, [Source(path=p, root=root) for p in paths], settings, run, folder)
    latest_link(folder)
    print_curation(report, settings.sync_expert)
    require_contract(report)


def require_contract(report: CurationReport) -> None:
    """Raise ``ContractError`` if the manifest breaks its contract."""
    if not report.contract.success:
        raise ContractError(f"the manifest breaks its contract; {report.data_docs} lists what and where")


def print_curation(report: CurationReport, sync_expert: str = SYNC_EXPERTS.default) -> None:
    """The balance, the reasons and the paths, for people."""
    counts = report.balance
    console.print(
        f"{counts.sources_in} sources: {counts.sources_accepted} accepted ({counts.clips} clips, "
        f"{float(seconds(counts.frames_accepted)):.1f} s), {counts.sources_rejected} rejected, "
        f"{counts.sources_quarantined} quarantined"
    )
    for reason in report.reasons:
        unit = "piece " if reason.pieces == 1 else "pieces"
        console.print(f"  {reason.reason.value:<22} {reason.pieces:>4} {unit}  {reason.seconds:>8.1f} s")
    verdict = "holds" if report.contract.success else "is BROKEN"
    docs, manifest = escape(str(report.data_docs)), escape(str(report.manifest))
    console.print(f"contract {verdict} ({report.contract.num_checks} checks): {docs}", soft_wrap=True)
    console.print(f"manifest: {manifest}", soft_wrap=True)
    advice = advice_for_people(sync_expert)
    if advice and any(reason.reason is RejectReason.SYNC_CONFIDENCE_LOW for reason in report.reasons):
        console.print(
            f"{advice} Set sync_expert in the settings, or measure without acting on it with --no-sync-filter.",
            soft_wrap=True,
        )
