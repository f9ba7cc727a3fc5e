import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from pellucid.errors import DataError, MissingExtraError, ModelError, ParameterError
from pellucid.evaluation import benchmark
from pellucid.evaluation.baselines import Method
from pellucid.evaluation.benchmark import evaluate, noise_rng
from pellucid.evaluation.datasets import load_clean
from pellucid.evaluation.metrics import psnr, ssim


def method(name, function, **properties):
    return Method(name, "classical", (), lambda _setup: function, **properties)


def quality(evaluation):
    return {(row.method, row.image, row.sigma): (row.psnr, row.ssim) for row in evaluation.rows}


def test_rows(pictures):
    evaluation = evaluate(pictures, ["noisy", "skimage-tv"], [25, 15])
    keys = {(m, str(p), s) for m in ("noisy", "skimage-tv") for p in pictures for s in (15.0, 25.0)}
    assert set(quality(evaluation)) == keys
    assert len(evaluation.rows) == len(keys)
    assert {row.megapixels for row in evaluation.rows} == {24 * 32 / 1e6, 40 * 20 / 1e6}
    assert all(row.seconds > 0 for row in evaluation.rows)
    assert evaluation.failures == []
    assert evaluation.skipped == []
    assert not evaluation.interrupted


def test_protocol_of_noise_and_metrics(pictures):
    evaluation = evaluate(pictures[:1], ["noisy"], [50], seed=3)
    clean = load_clean(pictures[0])
    noise = noise_rng(3, "a.png", 50.0).standard_normal(clean.shape, dtype=np.float32)
    noisy = (clean + np.float32(50 / 255) * noise).clip(0, 1)
    assert evaluation.rows[0].psnr == psnr(clean, noisy)
    assert evaluation.rows[0].ssim == ssim(clean, noisy)


def test_noise_is_not_clipped(pictures):
    seen = []
    look = method("look", lambda noisy, sigma: seen.append((noisy, sigma)) or noisy)
    evaluate(pictures[:1], [look], [51])
    noisy, sigma = seen[-1]
    assert sigma == pytest.approx(0.2)
    assert noisy.max() > 1.1
    assert (noisy - load_clean(pictures[0])).std() == pytest.approx(0.2, rel=0.1)


def test_noise_does_not_depend_on_order(pictures):
    together = evaluate(pictures, ["skimage-tv", "noisy"], [15, 25])
    alone = evaluate(pictures[::-1][:2], ["noisy"], [25])
    assert quality(alone).items() <= quality(together).items()


def test_scikit_image_is_needed(pictures, monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(MissingExtraError, match=r"^evaluate: needs skimage, .* pip install 'pellucid.evaluate.'"):
        evaluate(pictures[:1], ["noisy"], [25])


def test_seed_decides_the_noise(pictures):
    first, same, other = (quality(evaluate(pictures[:1], ["noisy"], [25], seed=s)) for s in (1, 1, 2))
    assert first == same
    assert first != other


@pytest.mark.parametrize("change", [(1, "a.png", 25.0), (0, "b.png", 25.0), (0, "a.png", 15.0)])
def test_noise_depends_on_seed_name_and_sigma(change):
    assert noise_rng(0, "a.png", 25.0).random() == noise_rng(0, "a.png", 25.0).random()
    assert noise_rng(0, "a.png", 25.0).random() != noise_rng(*change).random()


def test_gray(pictures):
    evaluation = evaluate(pictures[:1], ["noisy", "skimage-nlm"], [25], gray=True)
    assert len(evaluation.rows) == 2
    assert evaluation.protocol["gray"] is True


def test_crop(pictures):
    assert evaluate(pictures[:1], ["noisy"], [25], crop_px=16).rows[0].megapixels == 16 * 16 / 1e6


def test_failing_method(pictures):
    def break_on_tall(noisy, sigma):
        if noisy.shape[0] == 40:
            raise RuntimeError("too tall\nfor me")
        return noisy

    fragile = method("fragile", break_on_tall)
    evaluation = evaluate(pictures, [fragile, "noisy"], [25])
    assert [(f.method, f.image, f.sigma) for f in evaluation.failures] == [("fragile", str(pictures[2]), 25)]
    assert evaluation.failures[0].message == "RuntimeError: too tall"
    counts = {score.method: score.n_images for score in evaluation.summary()}
    assert counts == {"fragile": 2, "noisy": 3}


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (lambda noisy: noisy * np.float32(np.nan), "not finite"),
        (lambda noisy: noisy[:-1], "shapes"),
    ],
)
def test_unusable_result(pictures, result, message):
    wrong = method("wrong", lambda noisy, _sigma: result(noisy))
    evaluation = evaluate(pictures[:1], [wrong, "noisy"], [25])
    assert message in evaluation.failures[0].message
    assert [row.method for row in evaluation.rows] == ["noisy"]


def test_method_that_writes_into_its_input(pictures):
    def wreck(noisy, sigma):
        noisy[:] = 0
        return noisy

    wreck_method = method("wreck", wreck)
    wrecked = evaluate(pictures[:1], [wreck_method, "noisy"], [25])
    assert quality(evaluate(pictures[:1], ["noisy"], [25])).items() <= quality(wrecked).items()


def test_results_are_clipped(pictures):
    clean = load_clean(pictures[0])
    overshoot = method(
        "overshoot", lambda _noisy, _sigma: np.where(clean > 0.5, clean + 2, clean - 2).astype(np.float32)
    )
    row = evaluate(pictures[:1], [overshoot], [25]).rows[0]
    assert row.psnr == psnr(clean, np.where(clean > 0.5, 1, 0).astype(np.float32))


def test_missing_package_is_skipped(pictures, monkeypatch):
    monkeypatch.setitem(sys.modules, "bm3d", None)
    evaluation = evaluate(pictures[:1], ["bm3d", "noisy"], [25])
    assert [s.method for s in evaluation.skipped] == ["bm3d"]
    assert evaluation.skipped[0].reason.startswith("bm3d: needs bm3d, which is not installed")
    assert [row.method for row in evaluation.rows] == ["noisy"]
    with pytest.raises(MissingExtraError, match=r"^bm3d: needs bm3d"):
        evaluate(pictures[:1], ["bm3d"], [25])


def test_missing_weights_are_skipped(pictures):
    evaluation = evaluate(pictures[:1], ["ffdnet", "noisy"], [25])
    assert [s.method for s in evaluation.skipped] == ["ffdnet"]
    with pytest.raises(ModelError, match=r"^ffdnet: .*--peers"):
        evaluate(pictures[:1], ["ffdnet"], [25])
    with pytest.raises(MissingExtraError, match=r"^none of 2 methods can run; the first: ffdnet"):
        evaluate(pictures[:1], ["ffdnet", "dncnn-25"], [25])


def test_network_for_one_noise_level(pictures, peers):
    evaluation = evaluate(pictures[:1], ["dncnn-25", "noisy"], [15, 25], peers=peers)
    assert [row.sigma for row in evaluation.rows if row.method == "dncnn-25"] == [25]
    assert evaluation.skipped[0].reason == "dncnn-25: trained for sigma 25 only: skipped at 15"


def test_published_networks_beside_others(pictures, peers):
    evaluation = evaluate(pictures[:1], ["ffdnet", "noisy"], [25], peers=peers, n_threads=1)
    assert [row.method for row in evaluation.rows] == ["ffdnet", "noisy"]
    assert evaluation.families == {"ffdnet": "published network", "noisy": "baseline"}


def test_interrupt_keeps_rows(pictures):
    calls = []

    def interrupt_at_third(noisy, sigma):
        calls.append(sigma)
        if len(calls) == 3:  # one call warms up
            raise KeyboardInterrupt
        return noisy

    patient = method("patient", interrupt_at_third)
    evaluation = evaluate(pictures, [patient, "noisy"], [25])
    assert evaluation.interrupted
    assert [(row.method, row.image) for row in evaluation.rows] == [
        ("patient", str(pictures[0])),
        ("noisy", str(pictures[0])),
    ]


def test_warm_up_is_not_timed(pictures, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(benchmark, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    calls = {"each size": [], "once": []}

    def slow_at_first(name):
        def denoise(noisy, _sigma):
            clock[0] += 0.1 if noisy.shape in calls[name] else 10
            calls[name].append(noisy.shape)
            return noisy

        return denoise

    each_size = method("each size", slow_at_first("each size"), compiles=True)
    once = method("once", slow_at_first("once"))
    evaluation = evaluate(pictures, [each_size, once], [15, 25])
    seconds = {name: [row.seconds for row in evaluation.rows if row.method == name] for name in calls}
    assert seconds["each size"] == pytest.approx([0.1] * 6)
    assert seconds["once"] == pytest.approx([0.1] * 4 + [10, 0.1])
    assert len(calls["each size"]) == 6 + 2
    assert len(calls["once"]) == 6 + 1


def test_progress(pictures):
    told = []
    evaluate(pictures, ["noisy"], [15, 25], progress=lambda *event: told.append(event))
    assert [event[:2] for event in told] == [(n, 6) for n in range(7)]
    assert told[0][2] == "noisy, sigma 15, a.png"
    assert told[-1][2] == ""


def test_unreadable_image(pictures):
    pictures[1].write_bytes(pictures[1].read_bytes()[:100])
    told = []
    evaluation = evaluate(pictures, ["noisy"], [25], progress=lambda *event: told.append(event[:2]))
    assert [(f.method, f.image) for f in evaluation.failures] == [("", str(pictures[1]))]
    assert "b.png" in evaluation.failures[0].message
    assert len(evaluation.rows) == 2
    assert told == [(0, 3), (2, 3), (3, 3)]


def test_no_usable_image(pictures):
    for path in pictures:
        path.write_bytes(b"")
    with pytest.raises(DataError, match=r"^none of 3 images can be used; the first: "):
        evaluate(pictures, ["noisy"], [25])


def test_protocol_in_the_report(pictures):
    protocol = evaluate(pictures[:1], ["noisy"], [25], seed=4, n_threads=1, crop_px=20).protocol
    assert (protocol["seed"], protocol["sigmas"], protocol["n_threads"], protocol["crop_px"]) == (
        4,
        [25],
        1,
        20,
    )
    assert protocol["versions"]["numpy"] == np.__version__
    assert protocol["processor"]
    assert protocol["command"]
    json.dumps(protocol, allow_nan=False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": []}, "^images: none given"),
        ({"methods": []}, "^methods: none given"),
        ({"sigmas": []}, "^sigmas: none given"),
        ({"sigmas": [-1]}, "^sigma -1: must be from 0 to 255"),
        ({"sigmas": [256]}, "^sigma 256: "),
        ({"sigmas": [float("nan")]}, "^sigma nan: "),
        ({"methods": ["noisy", "bm5d"]}, "^method 'bm5d': "),
        ({"crop_px": 10}, "^crop 10: SSIM needs at least 11 pixels"),
        ({"seed": -1}, "^seed -1: "),
        ({"n_threads": 0}, "^threads 0: "),
    ],
)
def test_invalid_arguments(pictures, changes, message):
    request = {"images": pictures, "methods": ["noisy"], "sigmas": [25]} | changes
    with pytest.raises(ParameterError, match=message):
        evaluate(**request)
