"""Building blocks of the networks: residual encoder and decoder blocks, resampling and normalization.

All are local once trained: convolutions and pointwise maths only, so that a tiled image equals a whole one.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from pellucid.errors import ParameterError

Normalization = Literal["none", "batch"]
Resampling = Literal["convolution", "block"]

#: Mean and standard deviation of natural images in [0, 1], by which the input is scaled.
IMAGE_MEAN, IMAGE_STD = 0.45, 0.25
#: Initial scale of the learned part of a residual block, relative to torch's default.
RESIDUAL_INIT_SCALE = 0.1


def normalize(kind: Normalization, n_channels: int) -> nn.Module:
    r"""Make the layer that follows a convolution: batch normalization, or nothing.

    .. math:: O_k = \gamma_k U_k + \beta_k, \qquad U_k = (I_k - m_k) / \sqrt{s_k^2 + \epsilon}

    for each channel k. In training mode, m and s are the mean and the standard deviation of the batch; in evaluation
    mode they are running averages over the training batches (Ioffe and Szegedy, "Batch Normalization", ICML 2015).

    (The lecture has :math:`s_k + \epsilon` in the denominator.)

    Raises
    ------
    ParameterError
        `kind` is neither 'none' nor 'batch'.
    """
    if kind == "none":
        return nn.Identity()
    if kind == "batch":
        return nn.BatchNorm2d(n_channels)
    raise ParameterError(f"normalization '{kind}': choose one of none, batch")


class EncoderBlock(nn.Module):
    r"""Residual block of two convolutions; with a stride, it lowers the resolution.

    .. math:: B_{w+1} = V_w(B_w) + L_w(B_w), \qquad L_w = \mathrm{norm} \circ \mathrm{conv}_{3\times3} \circ
        \mathrm{ReLU} \circ \mathrm{norm} \circ \mathrm{conv}_{3\times3}

    :math:`V_w` is the identity, or a 1x1 convolution with the block's stride where the size changes (He et al., "Deep
    Residual Learning", CVPR 2016, option B). No ReLU follows the sum, so that the identity carries the gradient
    through a stack (He et al., "Identity Mappings", ECCV 2016).

    :math:`L_w` starts at a tenth of its usual scale, so that a stack of blocks starts close to the identity (Zhang et
    al., "Fixup Initialization", ICLR 2019, starts it at zero): in the second convolution or, where that is
    normalized, in the second normalization's gamma.

    A plain block, ``residual=False``, is :math:`B_{w+1} = \mathrm{ReLU}(L_w(B_w))` at the usual scale; without the last
    ReLU its second convolution and the next block's first would be one linear map.

    Parameters
    ----------
    n_in, n_hidden, n_out : int
        Channels of the input, between the two convolutions, and of the output: the lecture's "in, scale, out".
    stride : int
        (N, n_in, H, W) becomes (N, n_out, H / stride, W / stride).
    normalization : {'none', 'batch'}
        Layer after each convolution. Convolutions before batch normalization have no bias.
    residual : bool
        Add :math:`V_w`.

    Raises
    ------
    ParameterError
        Unknown `normalization`.
    """

    def __init__(
        self,
        n_in: int,
        n_hidden: int,
        n_out: int,
        stride: int = 1,
        *,
        normalization: Normalization = "none",
        residual: bool = True,
    ) -> None:
        super().__init__()
        bias = normalization == "none"
        self.conv1 = nn.Conv2d(n_in, n_hidden, 3, stride=stride, padding=1, bias=bias)
        self.norm1 = normalize(normalization, n_hidden)
        self.conv2 = nn.Conv2d(n_hidden, n_out, 3, padding=1, bias=bias)
        self.norm2 = normalize(normalization, n_out)
        self.projection: nn.Module | None = None
        if residual:
            same_size = n_in == n_out and stride == 1
            self.projection = nn.Identity() if same_size else nn.Conv2d(n_in, n_out, 1, stride=stride)
            with torch.no_grad():
                (self.conv2 if bias else self.norm2).get_parameter("weight").mul_(RESIDUAL_INIT_SCALE)

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, n_in, H, W) to (N, n_out, H / stride, W / stride)."""
        hidden = torch.relu(self.norm1(self.conv1(features)))
        learned: Tensor = self.norm2(self.conv2(hidden))
        if self.projection is None:
            return torch.relu(learned)
        carried: Tensor = self.projection(features)
        return carried + learned


class DecoderBlock(nn.Module):
    r"""Residual block that doubles the resolution.

    .. math:: B_{w+1} = V_w(B_w) + L_w(V_w(B_w))

    :math:`V_w` is a transposed 2x2 convolution, :math:`L_w` that of :class:`EncoderBlock`. With ``residual=False``
    :math:`B_{w+1} = \mathrm{ReLU}(L_w(V_w(B_w)))`.

    Parameters
    ----------
    n_in, n_hidden, n_out, normalization, residual
        See :class:`EncoderBlock`.

    Raises
    ------
    ParameterError
        Unknown `normalization`.
    """

    def __init__(
        self,
        n_in: int,
        n_hidden: int,
        n_out: int,
        *,
        normalization: Normalization = "none",
        residual: bool = True,
    ) -> None:
        super().__init__()
        self.upsample = upsample(n_in, n_out)
        self.block = EncoderBlock(n_out, n_hidden, n_out, normalization=normalization, residual=residual)

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, n_in, H, W) to (N, n_out, 2H, 2W)."""
        doubled: Tensor = self.block(self.upsample(features))
        return doubled


def downsample(n_in: int, n_out: int) -> nn.Conv2d:
    """Halve the resolution by a strided 2x2 convolution: (N, n_in, H, W) to (N, n_out, H/2, W/2)."""
    return nn.Conv2d(n_in, n_out, 2, stride=2)


def upsample(n_in: int, n_out: int) -> nn.ConvTranspose2d:
    """Double the resolution by a transposed 2x2 convolution: (N, n_in, H, W) to (N, n_out, 2H, 2W)."""
    return nn.ConvTranspose2d(n_in, n_out, 2, stride=2)
