"""Silero VAD on sounds whose speech is known, and beside the package's own way to run it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lipforcing_core.base.errors import BadInputError, LipForcingError
from lipforcing_core.base.onnx_session import open_session
from lipforcing_core.puppets.phonemes import SILENCE
from lipforcing_core.puppets.speech import synthesise
from lipforcing_core.sound.activity import silero
from lipforcing_core.sound.activity.protocol import ActivityRule
from lipforcing_core.sound.activity.silero import SileroDetector, model_path


@pytest.fixture(scope="module")
def detector() -> SileroDetector:
    return SileroDetector()


def one_hop_at_a_time(waveform_S: np.ndarray) -> np.ndarray:
    """The package's other model, fed as its documentation says: 512 samples, 64 before them, and its state."""
    path = model_path()
    assert path is not None
    session = open_session(path.with_name("silero_vad.onnx"), quiet=True)
    state, context, found = np.zeros((2, 1, 128), np.float32), np.zeros(64, np.float32), []
    for start in range(0, len(waveform_S), 512):
        hop = np.zeros(512, np.float32)
        part = waveform_S[start : start + 512]
        hop[: len(part)] = part
        feed = {"input": np.concatenate([context, hop])[None], "state": state, "sr": np.array(16000)}
        probability, state = session.run(None, feed)
        context = hop[-64:]
        found.append(float(np.asarray(probability).item()))
    return np.array(found, dtype=np.float32)


def test_the_model_for_sequences_agrees_with_the_model_for_hops(detector: SileroDetector) -> None:
    waveform = synthesise(2, 3.01).waveform
    found = detector.activity(waveform)
    assert (found.hop, found.num_samples, len(found.probability_N)) == (512, 48160, 95)
    after_silence = np.concatenate([np.zeros(4 * 512, dtype=np.float32), waveform])
    np.testing.assert_allclose(found.probability_N, one_hop_at_a_time(after_silence)[4:], atol=1e-5)
    assert found.probability_N.max() > 0.9


@pytest.mark.parametrize("seed", range(5))
def test_the_share_of_synthetic_speech_is_right(detector: SileroDetector, seed: int) -> None:
    """The speaker's pauses are known; one below a tenth of a second, which is none by the rule, does not occur."""
    utterance = synthesise(seed, 8.0)
    spoken_s = sum(stop - start for symbol, start, stop in utterance.phonemes if symbol != SILENCE)
    found = detector.activity(utterance.waveform)
    assert found.speech_share == pytest.approx(spoken_s / 8.0, abs=0.1)


def test_a_pause_is_found_where_it_is(detector: SileroDetector) -> None:
    """A second of hiss between two stretches of speech, and half a second at the end."""
    hiss = (4e-4 * np.random.default_rng(1).standard_normal(16000)).astype(np.float32)
    speech = synthesise(4, 3.0).waveform
    found = detector.activity(np.concatenate([speech, hiss, speech, hiss[:8000]]))
    long = [(start, stop) for start, stop in found.silences if stop - start >= 0.36 * 16_000]
    (first_start, first_stop), (last_start, last_stop) = long
    assert first_start == pytest.approx(48000, abs=4800)
    assert first_stop == pytest.approx(64000, abs=4800)
    assert last_start == pytest.approx(112000, abs=4800)
    assert last_stop == 120000


def test_speech_that_is_cut_at_the_start_is_heard_at_once(detector: SileroDetector) -> None:
    """Most of the first tenth of a second, of cuts in the middle of vowels."""
    heard = []
    for seed in range(6):
        utterance = synthesise(seed, 6.0)
        vowels = [
            start for symbol, start, stop in utterance.phonemes if stop - start > 0.12 and symbol != SILENCE
        ]
        for start in vowels[3:9]:
            waveform = utterance.waveform[round((start + 0.04) * 16000) :][:16000]
            heard.append(detector.activity(waveform).probability_N[:4] >= 0.5)
    assert len(heard) > 20
    assert np.mean(heard) > 0.6


@pytest.mark.parametrize("kind", ["nothing", "noise", "tone", "chord", "rhythmic noise"])
def test_what_is_no_speech(detector: SileroDetector, kind: str) -> None:
    t = np.arange(48000) / 16000
    noise = 0.1 * np.random.default_rng(0).standard_normal(len(t))
    waveform = {
        "nothing": 0.0 * t,
        "noise": noise,
        "tone": 0.3 * np.sin(2 * np.pi * 440 * t),
        "chord": 0.1 * sum(np.sin(2 * np.pi * hertz * t) for hertz in (262, 330, 392)),
        "rhythmic noise": noise * (1 + np.cos(2 * np.pi * 4 * t)) / 2,
    }[kind]
    found = detector.activity(np.asarray(waveform, dtype=np.float32))
    assert found.speech_share == 0.0
    assert found.probability_N.mean() < 0.05


def test_a_call_depends_on_nothing_but_its_sound(detector: SileroDetector) -> None:
    speech = synthesise(6, 2.0).waveform
    first = detector.activity(speech).probability_N
    detector.activity(synthesise(7, 3.0).waveform)
    np.testing.assert_array_equal(first, detector.activity(speech).probability_N)
    np.testing.assert_array_equal(first, SileroDetector().activity(speech).probability_N)


def test_blocks_of_hops_do_not_matter(detector: SileroDetector, monkeypatch: pytest.MonkeyPatch) -> None:
    speech = synthesise(6, 2.0).waveform
    whole = detector.activity(speech).probability_N
    monkeypatch.setattr(silero, "HOPS_PER_CALL", 7)
    np.testing.assert_allclose(detector.activity(speech).probability_N, whole, atol=1e-6)


@pytest.mark.parametrize("num_samples", [0, 1, 511, 512, 513])
def test_short_sounds(detector: SileroDetector, num_samples: int) -> None:
    found = detector.activity(np.zeros(num_samples, dtype=np.float32))
    assert len(found.probability_N) == -(-num_samples // 512)
    assert found.num_samples == num_samples


def test_the_rule_is_handed_on() -> None:
    rule = ActivityRule(enter=0.99, leave=0.98)
    assert SileroDetector(rule=rule).activity(np.zeros(512, dtype=np.float32)).rule == rule


def test_several_channels_are_refused(detector: SileroDetector) -> None:
    with pytest.raises(BadInputError, match=r"mono waveform \[S\], not one of shape \[2, 512\]"):
        detector.activity(np.zeros((2, 512), dtype=np.float32))


def test_an_absent_package_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silero, "find_spec", lambda name: None)
    with pytest.raises(LipForcingError, match="pip install silero-vad"):
        SileroDetector()


def test_another_model_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silero, "MODEL_FILE", Path("data/silero_vad.onnx"))
    with pytest.raises(BadInputError, match="not Silero VAD for whole sequences"):
        SileroDetector()


def test_the_id_names_version_and_file(detector: SileroDetector) -> None:
    name, _, digest = detector.backend_id.partition("@sha256:")
    assert name.startswith("silero-vad")
    assert name.removeprefix("silero-vad")[0].isdigit()
    assert len(digest) == 12


def test_the_python_of_the_package_is_not_imported() -> None:
    code = (
        "import sys, numpy as np; from lipforcing_core.sound.activity.catalogue import load_activity; "
        "load_activity().activity(np.zeros(512, np.float32)); "
        "print(sorted({'torch', 'torchaudio', 'silero_vad'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
