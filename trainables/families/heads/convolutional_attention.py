"""A side that weighs channels and places of the teacher's feature map: CBAM (Woo et al. 2018)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trainables.families.two_sided.architecture import ROWS, Read, Said, SideNetwork, SideSizes
from trainables.signals import Offer, Offers, Want


@dataclass(frozen=True, kw_only=True)
class CbamSizes(SideSizes):
    """Sizes of a side of CBAM blocks.

    Attributes:
        read: the teacher's feature map.
        blocks: how many stand one behind another.
        reduction: channels over hidden channels of the channel attention.
        kernel: side of the window of the spatial attention.
    """

    read: Read
    blocks: int
    reduction: int
    kernel: int

    @property
    def width(self) -> int:
        """Channels of the map."""
        return self.read.sizes[0]

    @property
    def source(self) -> Read | None:
        """The map."""
        return self.read

    def offers(self, mode: str) -> Offers:
        """Return the map behind the blocks, and its mean over all places."""
        return {
            Want(mode, "pooled"): Offer(axes=("D",), sizes=(self.width,), rows=ROWS[mode]),
            Want(mode, "map"): Offer(axes=("D", "Y", "X"), sizes=self.read.sizes, rows=ROWS[mode]),
        }

    def build(self) -> SideNetwork:
        """Return the blocks with fresh weights."""
        return CbamNetwork(self)


class CbamNetwork(SideNetwork):
    """Blocks of channel and spatial attention, then the mean over all places."""

    def __init__(self, sizes: CbamSizes) -> None:
        super().__init__()
        hidden = max(1, sizes.width // sizes.reduction)
        self.blocks = nn.Sequential(
            *(CbamBlock(sizes.width, hidden, sizes.kernel) for _ in range(sizes.blocks))
        )

    def forward(self, given: Tensor, mask: Tensor | None, *, maps: bool) -> Said:
        """Return the map (B, D, Y, X) behind the blocks and its mean (B, D)."""
        found = self.blocks(given)
        return Said(pooled=found.mean((2, 3)), map=found)


class CbamBlock(nn.Module):
    """Channel attention, then spatial attention (equation 1), without biases."""

    def __init__(self, channels: int, hidden: int, kernel: int) -> None:
        super().__init__()
        self.reduce = nn.Linear(channels, hidden, bias=False)
        self.expand = nn.Linear(hidden, channels, bias=False)
        self.spatial = nn.Conv2d(2, 1, kernel, padding=kernel // 2, bias=False)

    def forward(self, map_BDYX: Tensor) -> Tensor:
        """Return the map with its channels weighed, and of that its places."""
        weighed = self.channel_weights(map_BDYX)[:, :, None, None] * map_BDYX
        return self.place_weights(weighed) * weighed

    def channel_weights(self, map_BDYX: Tensor) -> Tensor:
        """Return weights (B, D): sigmoid of one MLP over mean and over largest entries, added (equation 2)."""
        pooled = torch.stack([map_BDYX.mean((2, 3)), map_BDYX.amax((2, 3))])
        mean, largest = self.expand(torch.relu(self.reduce(pooled)))
        return torch.sigmoid(mean + largest)

    def place_weights(self, map_BDYX: Tensor) -> Tensor:
        """Return weights (B, 1, Y, X): sigmoid of one convolution over mean and largest channel (equation 3)."""
        pooled = torch.stack([map_BDYX.mean(1), map_BDYX.amax(1)], dim=1)
        return torch.sigmoid(self.spatial(pooled))
