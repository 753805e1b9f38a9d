"""RDN: convolutions that see the results of all earlier ones."""

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn

SIZES = {'RDN': {'G0': 64, 'D': 16, 'C': 8, 'G': 64}}


@ARCH_REGISTRY.register()
class RDN(nn.Module):
    """Residual dense network for image super-resolution, CVPR 2018 (arXiv 1802.08797).

    With f = sfe1(image), x_0 = sfe2(f) and x_i = block_i(x_{i-1}): y = tail(f + gff([x_1, ..., x_D])). The authors'
    code is Torch7; the names of the weights are those of torchSR, whose images lie in [0, 1] and keep their mean.

    Args:
        scale (int): 2, 3 or 4.
        G0 (int): channels of the maps between blocks.
        D (int): blocks.
        C (int): convolutions in a block.
        G (int): channels that each convolution adds, and channels of the tail.

    Raises:
        ValueError: `scale` is another one.
    """

    def __init__(self, scale: int = 2, G0: int = 64, D: int = 16, C: int = 8, G: int = 64) -> None:
        super().__init__()
        if scale not in (2, 3, 4):
            raise ValueError(f'scale must be 2, 3 or 4, not {scale}')
        self.scale = scale
        self.sfe1 = nn.Conv2d(3, G0, 3, padding=1)
        self.sfe2 = nn.Conv2d(G0, G0, 3, padding=1)
        self.rdbs = nn.ModuleList(Block(G0, C, G) for _ in range(D))
        self.gff = nn.Sequential(nn.Conv2d(D * G0, G0, 1), nn.Conv2d(G0, G0, 3, padding=1))
        steps = (2, 2) if scale == 4 else (scale,)
        self.upscale = nn.Sequential(
            *(
                layer
                for inputs, step in zip((G0, G), steps, strict=False)
                for layer in (nn.Conv2d(inputs, G * step**2, 3, padding=1), nn.PixelShuffle(step))
            )
        )
        self.output = nn.Conv2d(G, 3, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] to (B, 3, scale * H, scale * W)."""
        first = self.sfe1(image)
        x, results = self.sfe2(first), []
        for block in self.rdbs:
            x = block(x)
            results.append(x)
        return self.output(self.upscale(self.gff(torch.cat(results, dim=1)) + first))


class Block(nn.Module):
    """x + lff([x, r_1, ..., r_C]) with r_j = ReLU(conv_j([x, r_1, ..., r_{j-1}])), on maps (B, G0, H, W)."""

    def __init__(self, width: int, convolutions: int, growth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(DenseLayer(width + j * growth, growth) for j in range(convolutions))
        self.lff = nn.Conv2d(width + convolutions * growth, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        seen = x
        for layer in self.layers:
            seen = layer(seen)
        return x + self.lff(seen)


class DenseLayer(nn.Module):
    """[x, ReLU(conv(x))]."""

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, growth, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((x, self.conv(x).relu()), dim=1)
