"""What an experiment may be trained and evaluated on, as a request says it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from tasks.request_path import RequestPath


class PuppetCorpus(BaseModel):
    """Synthetic talking heads with known truth, rendered by the run; held-out pairs come with them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["puppets"] = "puppets"
    num_reels: int = Field(9, ge=1, description="Reels of several shots to train on.")
    num_pairs: int = Field(8, ge=1, description="Held-out pairs to evaluate on.")
    side: int = Field(320, ge=256, description="Frame side in pixels.")


class VideoCorpus(BaseModel):
    """A folder of raw videos, which the run curates."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["videos"] = "videos"
    source: RequestPath = Field(description="A video file, or a folder of videos.", examples=["/data/talks"])
    items: RequestPath | None = Field(
        None,
        description="Items to evaluate on, as a CSV that `evaluate` takes; null: the validation split, each clip "
        "driven by its own speech.",
    )


class CuratedCorpus(BaseModel):
    """Clips that an earlier run curated."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["manifest"] = "manifest"
    manifest: RequestPath = Field(
        description="manifest.parquet that curation wrote.", examples=["runs/curate/latest/manifest.parquet"]
    )
    items: RequestPath | None = Field(None, description="As of a folder of videos.")


Corpus = Annotated[PuppetCorpus | VideoCorpus | CuratedCorpus, Field(discriminator="kind")]
