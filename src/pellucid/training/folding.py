"""Do away with batch normalization once a network is trained.

A network enters, and one that computes the same without normalization leaves. It knows the blocks that normalize,
and nothing of training or of files.
"""

import copy
from typing import TypeVar

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from pellucid.training.nn.blocks import EncoderBlock

Network = TypeVar("Network", bound=nn.Module)


def fold_batch_norm(network: Network) -> Network:
    r"""Fold each batch normalization into the convolution before it.

    In evaluation mode the normalization is an affine map with constants, so the convolution can do it
    (Jacob et al., "Quantization and Training of Neural Networks", CVPR 2018, section 3.2):

    .. math:: w' = \frac{\gamma w}{\sqrt{s^2 + \epsilon}}, \qquad
        b' = \beta + \frac{\gamma (b - m)}{\sqrt{s^2 + \epsilon}}

    with m and s^2 the running mean and variance. The weights come to have the names of a network that was made without
    normalization, which can therefore load them.

    Parameters
    ----------
    network : Module
        Made of :class:`blocks.EncoderBlock` and layers without normalization; in either mode, and left as it is.

    Returns
    -------
    Module
        A copy in evaluation mode, without normalization. Its outputs are those of ``network.eval()`` to rounding.
    """
    folded = copy.deepcopy(network).eval()
    for block in folded.modules():
        if isinstance(block, EncoderBlock):
            block.conv1, block.norm1 = _fold(block.conv1, block.norm1)
            block.conv2, block.norm2 = _fold(block.conv2, block.norm2)
    return folded


def _fold(convolution: nn.Conv2d, norm: nn.Module) -> tuple[nn.Conv2d, nn.Module]:
    """Give the convolution that does what both did, and the nothing that follows it."""
    if not isinstance(norm, nn.BatchNorm2d):
        return convolution, norm
    return fuse_conv_bn_eval(convolution, norm), nn.Identity()
