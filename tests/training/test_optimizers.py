import pytest
import torch

from pellucid.training.networks import DenoisingAutoencoder
from pellucid.training.optimizers import Muon, muon, orthogonalize


@pytest.mark.parametrize("shape", [(16, 16), (16, 100), (100, 16)])
def test_orthogonalize_evens_out_singular_values_and_keeps_vectors(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    matrix = torch.randn(*shape)
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    matrix = left @ torch.diag(values.clamp_min(0.3)) @ right
    result = orthogonalize(matrix).float()
    singular = torch.linalg.svdvals(result)
    assert singular.min() > 0.6
    assert singular.max() < 1.3
    # The nearest orthogonal matrix to G = U S V is U V; the result must point its way.
    assert torch.cosine_similarity(result.flatten(), (left @ right).flatten(), dim=0) > 0.97


def test_biases_move_as_torch_adamw_moves_them() -> None:
    torch.manual_seed(0)
    start = torch.randn(10)
    ours, theirs = (torch.nn.Parameter(start.clone()) for _ in range(2))
    mine = Muon([], [ours], lr=2e-3, adam_lr_ratio=0.5)
    reference = torch.optim.AdamW([theirs], lr=1e-3, betas=(0.9, 0.99), eps=1e-8, weight_decay=0.0)
    for step in range(20):
        for parameter, optimizer in ((ours, mine), (theirs, reference)):
            optimizer.zero_grad()
            ((parameter - step) ** 2).sum().backward()
            optimizer.step()
    torch.testing.assert_close(ours, theirs)


def test_the_step_of_a_kernel_has_the_size_of_an_adamw_step() -> None:
    torch.manual_seed(0)
    kernel = torch.nn.Parameter(torch.randn(32, 16, 3, 3))
    before = kernel.detach().clone()
    optimizer = Muon([kernel], [], lr=1e-2)
    kernel.grad = torch.randn_like(kernel)
    optimizer.step()
    size = float((kernel.detach() - before).square().mean().sqrt())
    assert size == pytest.approx(0.2e-2, rel=0.2)


def test_weight_decay_shrinks_kernels_by_the_rate_alone() -> None:
    kernel = torch.nn.Parameter(torch.ones(4, 4))
    optimizer = Muon([kernel], [], lr=0.1, weight_decay=0.5)
    kernel.grad = torch.zeros(4, 4)
    optimizer.step()
    torch.testing.assert_close(kernel.detach(), torch.full((4, 4), 0.95))


def test_a_network_is_divided_into_kernels_and_the_rest() -> None:
    network = DenoisingAutoencoder(3, (8, 16), (1, 1))
    kernels, others = (group["params"] for group in muon(network, lr=1e-3, weight_decay=0).param_groups)
    assert {id(p) for p in kernels} | {id(p) for p in others} == {id(p) for p in network.parameters()}
    assert all(p.ndim == 4 for p in kernels)
    assert any(p is network.head.weight for p in others)
    assert any(p is network.tail.weight for p in others)


def test_descends_where_plain_steps_zigzag() -> None:
    """A least-squares problem of condition 1000: the loss falls by 100 in 200 steps."""
    torch.manual_seed(0)
    inputs = torch.randn(256, 16) * torch.logspace(-1.5, 0, 16)
    target = inputs @ torch.randn(16, 8)
    weights = torch.nn.Parameter(torch.zeros(16, 8))
    optimizer = Muon([weights], [], lr=0.3)
    losses = []
    for step in range(200):
        optimizer.param_groups[0]["lr"] = 0.3 * (1 - step / 200)
        optimizer.zero_grad()
        loss = (inputs @ weights - target).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 100
