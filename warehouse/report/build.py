"""Build ``report.html``: rows of the warehouse and the words of the run, in one file that loads nothing."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.products import atomic_path
from warehouse.report import plots
from warehouse.report.context import ReportContext, SampleVideo
from warehouse.report.data import ReportData, Row, Series, read_report_data
from warehouse.report.tables import comparable_scores, metric_tables, pareto_points, stage_times
from warehouse.report.verdict import Verdict, blur_notes, judge, setbacks, stage_effects

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MP4_BRAND = b"ftyp"  # bytes 4 to 8 of every MP4 file
_MAX_VIDEO_BYTES = 3_000_000
_FOLDER = Path(__file__).parent


def build_report(warehouse_path: Path | str, context: ReportContext, out_path: Path | str) -> Path:
    """Write the report of a run and return its path.

    Raises WarehouseError when the warehouse cannot be opened or does not know the run, BadInputError where there is
    none, for a sample image that is not PNG, for a sample video that is not MP4 or too large to embed, or for a link
    that leaves the run's folder.
    """
    data = read_report_data(warehouse_path, context.run_id)
    html = render_report(data, context)
    with atomic_path(out_path) as temporary:
        temporary.write_text(html, encoding="utf-8")
    return Path(out_path)


def render_report(data: ReportData, context: ReportContext) -> str:
    """The report as one HTML document."""
    samples = [_sample(row.caption, row.images) for row in context.sample_images]
    videos = [_video(video) for video in context.sample_videos]
    links = {label: _relative_link(target) for label, target in context.links.items()}
    verdict = judge(data, context.question)
    times = stage_times(data.timings)
    return (
        _environment()
        .get_template("report.html")
        .render(
            context=context,
            data=data,
            css=Markup((_FOLDER / "report.css").read_text(encoding="utf-8")),
            verdict=verdict,
            verdict_plots=_verdict_plots(data, verdict, context.question.system),
            datasets=sorted({row["dataset_id"] for row in [*data.funnel, *data.decisions]}),
            curves=_curves(data.curves, context.training_stages),
            tables=metric_tables(data),
            scatters=_scatters(data, context.question.quality_metric),
            videos=videos,
            samples=samples,
            setbacks=setbacks(data.effects, context.stage_pairs),
            blur_notes=blur_notes(data.effects, data.scores, context.stage_pairs),
            effects=stage_effects(data.effects, context.stage_pairs),
            times=times,
            total_s=sum(time.wall_s for time in times),
            longest_s=max([time.wall_s for time in times], default=0.0) or 1.0,
            links=links,
        )
    )


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        num=number, significant=significant, signed=signed, span=interval, duration=duration, words=words
    )
    return environment


def number(value: float | None, *, like: float | None = None) -> str:
    """A score with three to four significant digits, or the decimals that ``like`` would get; zero has no sign."""
    if value is None:
        return "-"
    size = abs(value if like is None else like)
    decimals = 0 if size >= 1000 else 1 if size >= 100 else 2 if size >= 1 else 3
    return f"{value:z.{decimals}f}"


def significant(value: float | None) -> str:
    """A number that may be of any size, such as a learning rate: three significant digits below 1, else a score's."""
    return f"{value:#.3g}" if value is not None and 0 < abs(value) < 1 else number(value)


def signed(value: float | None) -> str:
    """A difference with its sign; none where it rounds to zero."""
    text = number(value)
    return f"+{text}" if value is not None and value > 0 and float(text) else text


def interval(row: Row) -> str:
    """``[low, high]`` with the decimals of the value it belongs to, or nothing where none was computed."""
    if row.get("ci_low") is None or row.get("ci_high") is None:
        return ""
    middle = row["value"] if "value" in row else row["difference"]
    return f"[{number(row['ci_low'], like=middle)}, {number(row['ci_high'], like=middle)}]"


def duration(seconds: float | None) -> str:
    """Seconds as people say them."""
    if seconds is None:
        return "-"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {rest:02d} s"


def words(name: str) -> str:
    """A code name as words."""
    return name.replace("_", " ")


def _verdict_plots(data: ReportData, verdict: Verdict, system: str) -> list[Row]:
    return [
        {
            "svg": Markup(plots.interval_plot(comparable_scores(data, f.score), system, f"interval-{place}")),
            "label": f.metric_label,
            "backend": f.backend,
        }
        for place, f in enumerate(verdict.findings)
    ]


def _curves(found: Sequence[Series], stages: Sequence[str]) -> list[dict[str, Any]]:
    def place(series: Series) -> tuple[int, str]:
        return (stages.index(series.stage) if series.stage in stages else len(stages), series.stage)

    return [
        {
            "stage": series.stage,
            "name": series.name,
            "svg": Markup(plots.training_curve(series)),
            "first": series.smoothed[0],
            "last": series.smoothed[-1],
            "steps": series.steps[-1],
        }
        for series in sorted(found, key=place)
    ]


def _scatters(data: ReportData, metric: str) -> list[dict[str, Any]]:
    named = {row["metric"]: row for row in data.metrics}.get(metric)
    if named is None:
        return []
    label = named["label"]
    found = [
        _scatter(points, label, f"measured-{place}", "Measured in this run", points[0]["quality_backend"])
        for place, points in enumerate(pareto_points(data, origin="measured", metric=metric))
    ]
    for points in pareto_points(data, origin="published", metric=named["published_name"] or ""):
        title = "Published (H100, HDTF), not comparable"
        found.append(_scatter(points, named["published_name"], "published", title, "the paper's networks"))
    return found


def _scatter(points: Sequence[Row], label: str, name: str, title: str, backend: str) -> dict[str, Any]:
    svg = Markup(plots.speed_quality(points, label, f"speed-{name}"))
    return {"title": title, "svg": svg, "backend": backend, "dataset": points[0]["dataset_id"]}


def _sample(caption: str, images: Any) -> dict[str, Any]:
    encoded = []
    for title, png in images.items():
        if not png.startswith(_PNG_SIGNATURE):
            raise BadInputError(f"sample image {title!r} of {caption!r} is not a PNG")
        encoded.append((title, "data:image/png;base64," + base64.b64encode(png).decode("ascii")))
    return {"caption": caption, "images": encoded}


def _video(video: SampleVideo) -> dict[str, Any]:
    if video.mp4[4:8] != _MP4_BRAND:
        raise BadInputError(f"sample video {video.caption!r} is not an MP4 file")
    if len(video.mp4) > _MAX_VIDEO_BYTES:
        raise BadInputError(
            f"sample video {video.caption!r} has {len(video.mp4)} bytes; "
            f"at most {_MAX_VIDEO_BYTES} can be embedded, so make it smaller or shorter"
        )
    uri = "data:video/mp4;base64," + base64.b64encode(video.mp4).decode("ascii")
    return {"caption": video.caption, "columns": list(video.columns), "uri": uri}


def _relative_link(target: str) -> str:
    if ":" in target or target.startswith(("/", "\\")) or ".." in Path(target).parts:
        raise BadInputError(f"link {target!r} must be a path below the report's folder")
    return quote(target)
