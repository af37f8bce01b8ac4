import pytest

from lipforcing_core.base.ledger import ChunkStages, Stage, StageLedger
from lipforcing_core.metrics.measures.catalogue import speed_measures
from lipforcing_core.metrics.measures.speed import missed_deadlines
from lipforcing_core.metrics.speed import speed_rows, speed_values


def chunk(num_frames: int, **seconds: float) -> ChunkStages:
    return ChunkStages(num_frames=num_frames, stage_s={Stage(name): value for name, value in seconds.items()})


def ledger() -> StageLedger:
    return StageLedger(
        setup_s={"face tracking": 1.0},
        chunks=(
            chunk(9, read=0.1, encode=0.1, denoise=0.2, decode=0.1, composite=0.1, store=0.1),
            chunk(12, read=0.1, encode=0.1, denoise=0.2, decode=0.1, composite=0.1, store=0.1),
        ),
        finish_s={"mux": 0.4},
        wall_s=3.0,
    )


def test_three_meanings_of_fps_by_hand():
    values = speed_values(ledger())
    assert values["fps_model"] == pytest.approx(21 / 0.6)
    assert values["fps_pipeline"] == pytest.approx(21 / 1.0)
    assert values["fps_end_to_end"] == pytest.approx(21 / 3.0)


def test_time_to_first_frame_leaves_out_the_store_call():
    values = speed_values(ledger())
    assert values["ttff_pipeline_s"] == pytest.approx(0.4)
    assert values["ttff_end_to_end_s"] == pytest.approx(1.0 + 0.6)


def test_ledger_adds_up_to_the_wall_time():
    totals = ledger().totals()
    assert totals["unaccounted"] == pytest.approx(0.2)
    assert sum(totals.values()) == pytest.approx(3.0)
    assert totals["denoise"] == pytest.approx(0.4)


def test_ledger_refuses_more_than_the_wall_time():
    with pytest.raises(ValueError, match="more than the wall time"):
        StageLedger(chunks=(chunk(9, denoise=2.0),), wall_s=1.0)
    with pytest.raises(ValueError, match="frames"):
        StageLedger(chunks=(), wall_s=1.0)
    with pytest.raises(ValueError, match="negative"):
        StageLedger(chunks=(chunk(9, denoise=-0.1),), wall_s=1.0)


def test_chunk_latency_percentiles():
    chunks = tuple(chunk(12, denoise=0.1 * k) for k in range(1, 12))
    values = speed_values(StageLedger(chunks=chunks, wall_s=10.0))
    assert values["chunk_latency_p50_ms"] == pytest.approx(600.0)
    assert values["chunk_latency_p95_ms"] == pytest.approx(1050.0)
    assert values["chunk_latency_p99_ms"] == pytest.approx(1090.0)


def test_deadlines_by_hand():
    # Playback starts at 1 s; frames 10 to 19 are due from 1.40 s on and ready at 1.50 s: those due at 1.40, 1.44
    # and 1.48 s are late.
    late = StageLedger(chunks=(chunk(10, denoise=1.0), chunk(10, denoise=0.5)), wall_s=2.0)
    assert missed_deadlines(late) == 3
    on_time = StageLedger(chunks=(chunk(10, denoise=1.0), chunk(10, denoise=0.4)), wall_s=2.0)
    assert missed_deadlines(on_time) == 0
    # The store call of the first chunk delays the second one.
    stored = StageLedger(chunks=(chunk(10, denoise=1.0, store=0.1), chunk(10, denoise=0.4)), wall_s=2.0)
    assert missed_deadlines(stored) == 3


def test_stages_that_were_not_timed_apart_give_no_model_speed():
    whole = StageLedger(chunks=(chunk(10, generate=0.5, store=0.1),), wall_s=1.0)
    values, missing = speed_rows({("student", "clip"): whole}, protocol_id="p", machine="2 cores")
    assert [entry.metric for entry in missing] == ["fps_model"]
    assert "not timed apart" in missing[0].because
    named = {value.metric: value for value in values}
    assert named["fps_pipeline"].value == pytest.approx(10 / 0.6)
    assert named["fps_pipeline"].backend == "2 cores"
    assert named["fps_pipeline"].n == 10


def test_every_speed_measure_has_a_value_and_depends_on_the_machine():
    values = speed_values(ledger())
    assert list(values) == [measure.name for measure in speed_measures()]
    assert all(isinstance(value, float) for value in values.values())
    assert all(measure.is_wall_clock for measure in speed_measures())
