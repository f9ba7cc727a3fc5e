"""What a denoiser is told of a noise estimator's map, in a form that gradients pass through.

Maps of a batch of patches enter, one level for each patch leaves. It knows nothing of networks.
"""

from torch import Tensor
from torch.nn.functional import avg_pool2d, relu

from pellucid.inference.noise_map import AVERAGED, BY_CHANCE, CELL_PX, LIMITS, MIDDLE, UPPER

#: Instead of the one estimate that is the last of a share, the mean of those up to so much of a share before and after
#: it: so that not one place of a patch alone learns.
NEAR = 0.05


def settle_patches(estimate: Tensor, n_channels: int) -> Tensor:
    r"""Smooth the estimates of each patch like :func:`pellucid.inference.noise_map.smooth_window`.

    .. math:: \min(m + \max(u - (1 + \beta) m, 0), \kappa l)

    with its symbols, each share's last being the mean of those :data:`NEAR`; without what flat ground allows.

    Parameters
    ----------
    estimate : Tensor, shape (N, 1, H, W), float
        H and W at least ``AVERAGED * CELL_PX``.
    n_channels : int
        Of the image, 1 or 3.

    Returns
    -------
    Tensor, shape (N, 1, H, W)
        Alike all over each patch.
    """
    ordered = avg_pool2d(estimate, AVERAGED * CELL_PX).flatten(1).sort(dim=1).values
    n_cells = ordered.shape[1]

    def last_of(share: float) -> Tensor:
        first, stop = (round((share + by) * n_cells) for by in (-NEAR, NEAR))
        return ordered[:, first : max(stop, first + 1)].mean(dim=1)

    share, n_times = LIMITS[n_channels]
    middle = last_of(MIDDLE)
    settled = middle + relu(last_of(UPPER) - (1 + BY_CHANCE) * middle)
    return settled.minimum(n_times * last_of(share))[:, None, None, None].expand_as(estimate)
