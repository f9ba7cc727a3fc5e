import numpy as np
import pytest
from scipy.signal import correlate2d

from pellucid.errors import ModelError
from pellucid.evaluation.published import PUBLISHED, convert_network, find_published
from pellucid.inference.engine import Network
from pellucid.inference.registry import find_model


def stack(features, convolutions):
    """Convolve and rectify (H, W, C) as MatConvNet does, by scipy."""
    for index, (weights, bias) in enumerate(convolutions):
        n_in, n_out = weights.shape[2:]
        outputs = [
            sum(correlate2d(features[..., i], weights[..., i, o], mode="same") for i in range(n_in)) + bias[o]
            for o in range(n_out)
        ]
        features = np.stack(outputs, axis=-1)
        if index < len(convolutions) - 1:
            features = np.maximum(features, 0)
    return features


def ffdnet(noisy, sigma, convolutions):
    """Clean image of FFDNet: sub-images in MATLAB's order, for each channel the rows' offset runs fastest."""
    places = [(c, i, j) for c in range(noisy.shape[2]) for j in (0, 1) for i in (0, 1)]
    subs = [noisy[i::2, j::2, c] for c, i, j in places]
    levels = sigma.reshape(sigma.shape[0] // 2, 2, sigma.shape[1] // 2, 2).mean(axis=(1, 3))
    outputs = stack(np.stack([*subs, levels], axis=-1), convolutions)
    clean = np.empty_like(noisy)
    for index, (c, i, j) in enumerate(places):
        clean[i::2, j::2, c] = outputs[..., index]
    return clean


def image(channels, height=10, width=16):
    rng = np.random.default_rng(3)
    noisy = rng.random((height, width, channels), dtype=np.float32)
    return noisy, rng.random((height, width, 1), dtype=np.float32)


@pytest.mark.parametrize(("channels", "widths"), [(3, [13, 6, 5, 12]), (1, [5, 6, 4])])
def test_ffdnet_equals_an_independent_computation(tmp_path, made_up, channels, widths):
    convolutions = made_up.convolutions(widths)
    network = find_published("ffdnet", channels)
    made_up.write(tmp_path / network.file, made_up.ffdnet(convolutions))
    card = find_model(convert_network(network, tmp_path, tmp_path / "model"))
    noisy, sigma = image(channels)
    residual = Network(card, precision="fp32")(noisy, sigma)
    assert residual == pytest.approx(noisy - ffdnet(noisy, sigma[..., 0], convolutions), abs=1e-5)
    assert (card.channels, card.stride_px, card.sigma_max) == (channels, 2, 75)


@pytest.mark.parametrize(("name", "sigma_max"), [("dncnn-25", 25), ("dncnn-blind", 55)])
def test_dncnn_equals_an_independent_computation(tmp_path, made_up, name, sigma_max):
    convolutions = made_up.convolutions([3, 7, 6, 3])
    network = find_published(name, 3)
    made_up.write(tmp_path / network.file, made_up.interleave(convolutions))
    card = find_model(convert_network(network, tmp_path, tmp_path / "model"))
    noisy, sigma = image(3, 9, 13)
    residual = Network(card, precision="fp32")(noisy, sigma)
    assert residual == pytest.approx(stack(noisy, convolutions), abs=1e-5)
    assert (card.channels, card.stride_px, card.halo_px, card.sigma_max) == (3, 1, 3, sigma_max)


@pytest.mark.parametrize("network", PUBLISHED, ids=lambda network: network.file)
def test_halo(tmp_path, peers, network):
    card = find_model(convert_network(network, peers, tmp_path / "model"))
    run = Network(card, precision="fp32")
    noisy, sigma = image(network.channels, 24, 24)
    changed = noisy.copy()
    changed[:, : 22 - card.halo_px] += 1  # column 22 is then farther than the halo from any change
    difference = np.abs(run(noisy, sigma) - run(changed, sigma)).max(axis=(0, 2))
    assert difference[22:].max() < 1e-6
    assert difference[: 22 - card.halo_px].min() > 1e-3
    assert card.halo_px % card.stride_px == 0


def test_card(tmp_path, peers):
    card = find_model(convert_network(find_published("ffdnet", 3), peers, tmp_path / "model"))
    n_weights = 9 * (13 * 6 + 6 * 5 + 5 * 12)
    assert card.n_parameters == n_weights + 6 + 5 + 12
    assert card.kmacs_per_px == pytest.approx(n_weights / 4 / 1000)


def test_missing_file(tmp_path):
    with pytest.raises(ModelError, match=r"ffdnet_gray\.mat: no such file: name its folder by --peers"):
        convert_network(find_published("ffdnet", 1), tmp_path, tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("content", [b"", b"not a MATLAB file", b"\x89HDF\r\n\x1a\n" + bytes(500)])
def test_damaged_file(tmp_path, content):
    (tmp_path / "ffdnet_gray.mat").write_bytes(content)
    with pytest.raises(ModelError, match=r"ffdnet_gray\.mat: not a MatConvNet network"):
        convert_network(find_published("ffdnet", 1), tmp_path, tmp_path / "model")


@pytest.mark.parametrize(
    "layers",
    [
        lambda _m: ["relu"],
        lambda m: m.interleave(m.convolutions([5, 6, 4])),
        lambda m: m.ffdnet(m.convolutions([13, 6, 12])),
        lambda m: m.ffdnet([*m.convolutions([5, 6]), *m.convolutions([7, 4])]),
        lambda m: ["SubP", "concat", *m.convolutions([5, 6, 4]), "SubP"],
    ],
    ids=["no convolution", "no sub-images", "colour", "unchained", "no rectifier"],
)
def test_another_network(tmp_path, made_up, layers):
    made_up.write(tmp_path / "ffdnet_gray.mat", layers(made_up))
    with pytest.raises(ModelError, match=r"ffdnet_gray\.mat: its layers are not those of ffdnet"):
        convert_network(find_published("ffdnet", 1), tmp_path, tmp_path / "model")


def test_unknown_number_of_channels():
    with pytest.raises(ModelError, match=r"^dncnn-25: no published network for images of 1 channel"):
        find_published("dncnn-25", 1)
