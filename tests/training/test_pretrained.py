import pytest
import torch

from pellucid.errors import TrainingError
from pellucid.training.nn.noise_estimator import NoiseEstimator
from pellucid.training.nn.unet import DenoisingAutoencoder
from pellucid.training.pretrained import average_with_initial, initialize, read_weights, to_gray


def test_gray_network_from_color() -> None:
    torch.manual_seed(0)
    colour = DenoisingAutoencoder(3, [8, 16], [1, 1])
    gray = DenoisingAutoencoder(1, [8, 16], [1, 1])
    gray.load_state_dict(to_gray(colour.state_dict()))
    image, sigma = torch.rand(2, 1, 16, 24), torch.full((2, 1, 16, 24), 0.1)
    with torch.no_grad():
        expected = colour(image.expand(2, 3, 16, 24), sigma).mean(dim=1, keepdim=True)
        torch.testing.assert_close(gray(image, sigma), expected, rtol=1e-4, atol=1e-5)


def test_gray_estimator_from_color() -> None:
    torch.manual_seed(0)
    colour = DenoisingAutoencoder(3, [8, 16], [1, 1], estimator=NoiseEstimator(3, 8, 1))
    gray = DenoisingAutoencoder(1, [8, 16], [1, 1], estimator=NoiseEstimator(1, 8, 1))
    gray.load_state_dict(to_gray(colour.state_dict()))
    image = torch.rand(2, 1, 16, 24)
    assert colour.estimator is not None
    assert gray.estimator is not None
    with torch.no_grad():
        torch.testing.assert_close(gray.estimator(image), colour.estimator(image.expand(2, 3, 16, 24)))


def test_missing_estimator_keeps_its_weights() -> None:
    shape = colour_shape()
    torch.manual_seed(0)
    network = DenoisingAutoencoder(3, *shape, estimator=NoiseEstimator(3, 8, 1))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    initialize(network, read_weights("color"), "color")
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]) == name.startswith("estimator."), name


def test_average_with_initial() -> None:
    torch.manual_seed(0)
    network = DenoisingAutoencoder(3, *colour_shape(), estimator=NoiseEstimator(3, 8, 1))
    last = {name: value.clone() for name, value in network.state_dict().items()}
    mixed = average_with_initial(last, network, 0.25, read_weights("color"))
    first = read_weights("color")
    for name, value in mixed.items():
        expected = last[name] if name.startswith("estimator.") else 0.75 * last[name] + 0.25 * first[name]
        torch.testing.assert_close(value, expected)
        assert torch.equal(network.state_dict()[name], last[name])


def test_gray_network_from_shipped_color_model() -> None:
    shape = colour_shape()
    network = DenoisingAutoencoder(1, *shape)
    initialize(network, read_weights("color"), "color")
    assert all(torch.isfinite(values).all() for values in network.state_dict().values())


def test_new_blocks_add_zero() -> None:
    widths, depths = colour_shape()
    torch.manual_seed(0)
    same, deeper = (DenoisingAutoencoder(3, widths, [depths[0], depth, depth]) for depth in (depths[1], depths[1] + 1))
    initialize(same, read_weights("color"), "color")
    initialize(deeper, read_weights("color"), "color")
    image, sigma = torch.rand(1, 3, 32, 48), torch.full((1, 1, 32, 48), 0.1)
    with torch.no_grad():
        assert torch.equal(deeper(image, sigma), same(image, sigma))
    # They can learn: the gradient reaches what is 0, for what comes before it is not.
    deeper(image, sigma).square().sum().backward()
    gradient = deeper.get_parameter(f"decoder.1.{depths[1]}.conv2.weight").grad
    assert gradient is not None
    assert gradient.abs().max() > 0


def test_fewer_blocks_are_refused() -> None:
    widths, depths = colour_shape()
    network = DenoisingAutoencoder(3, widths, [depths[0], depths[1] - 1, depths[2]])
    with pytest.raises(TrainingError, match="give the recipe's"):
        initialize(network, read_weights("color"), "color")


def colour_shape() -> tuple[list[int], list[int]]:
    """Read the widths and depths of the shipped model from its recipe."""
    import json

    from pellucid import find_model

    card = find_model("color")
    recipe = json.loads((card.folder / "recipe.json").read_text())
    return recipe["network"]["widths"], recipe["network"]["depths"]
