"""What a training's reading of prepared data holds in memory, its processes included."""

import io
import os
from pathlib import Path

import numpy as np
from PIL import Image

from tests.unit.trainables.datasets.formats.made_data import read
from tests.unit.trainables.datasets.prepare import public
from trainables.datasets.live import LivePixels

MIB = 2**20


def noisy_pictures(root: Path, count: int) -> Path:
    """Write pictures of noise, some 60 KB each as JPEG, and a table of them."""
    root.mkdir(parents=True)
    rng = np.random.default_rng(0)
    lines = []
    for number in range(count):
        sink = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (200, 240, 3), dtype=np.uint8)).save(sink, "JPEG", quality=95)
        (root / f"{number}.jpg").write_bytes(sink.getvalue())
        lines.append(f"picture {number}\t{number}.jpg\n")
    (root / "pairs.tsv").write_text("".join(lines))
    return root / "pairs.tsv"


def resident(pid: int) -> int:
    """Return the bytes that a process and those below it hold in memory."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return pages * os.sysconf("SC_PAGE_SIZE") + sum(resident(int(child)) for child in children)


def after_epochs(out: Path, epochs: int, *, vary: bool) -> list[int]:
    """Return what is resident after each epoch over all pictures to train on, in batches of 32."""
    pixels = read(public.opened(out, pixels="live", vary=vary, workers=1), "train", side=64).pixels
    assert isinstance(pixels, LivePixels)
    found = []
    for epoch in range(epochs):
        order = np.random.default_rng(epoch).permutation(len(pixels))
        batches = [{"picture": order[first : first + 32]} for first in range(0, len(order), 32)]
        for batch in pixels.ahead(
            batches, lambda batch: [(batch["picture"], batch["picture"][:, None])], seed=0
        ):
            assert pixels[batch["picture"]].any()
        found.append(resident(os.getpid()))
    return found
