"""Teacher outputs on the fixed training pairs: computed once, memory-mapped, shared by all trials of a node.

One `.npy` file per output, rows by image, caption or question of the split. A live teacher would more than
double the time of a search; reading 64 rows costs half a millisecond.
"""

import hashlib
import json
import math
import os
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spaces.errors import ResourceError, TeacherError
from trainables.datasets.base import Progress
from trainables.datasets.encoded import EncodedSplit
from trainables.outputs import (
    Batch,
    DecoderOutputs,
    FusedOutputs,
    ImageOutputs,
    Outputs,
    TextOutputs,
    Want,
    Wants,
)
from trainables.teachers.teacher import Teacher

CHUNK = 128
LARGEST_TOKENS = (
    1 << 30
)  # bytes of image tokens kept in memory while the cache is built, to encode each image once
PRECISIONS = ("float16", "float32")
META = "meta.json"


def cache_key(teacher: Teacher, dataset_fingerprint: str, precision: str) -> str:
    """Return the folder name: hash of teacher weights, tokenizer, data, preprocessing and precision."""
    parts = [
        teacher.files.fingerprint,
        dataset_fingerprint,
        precision,
        json.dumps(teacher.preprocess.to_dict(), sort_keys=True),
        hashlib.sha256(teacher.tokenizer.backend.to_str().encode()).hexdigest(),
        "1",
    ]
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]


def _field(want: Want) -> str:
    """Return the attribute of a mode's outputs that holds a want without layer."""
    if want.what == "embedding":
        return "embedding_BE"
    return "logits_N2" if want.mode == "fused" else "logits_BTV"


def _pick(outputs: Outputs, want: Want) -> Tensor:
    """Return the tensor that `want` names."""
    mode = getattr(outputs, want.mode)
    found: Tensor = (
        getattr(mode, _field(want)) if want.layer is None else getattr(mode, want.what)[want.layer]
    )
    return found


def _rows(split: EncodedSplit, mode: str) -> int:
    if mode == "image":
        return split.num_images
    if mode == "answer":
        return 0 if split.questions is None else len(split.questions.ids)
    return len(split.captions.ids)


def _tokens(split: EncodedSplit, mode: str) -> int:
    table = split.questions if mode == "answer" else split.captions
    assert table is not None
    return int(table.ids.shape[1])


def _shape(want: Want, teacher: Teacher, split: EncodedSplit) -> tuple[int, ...]:
    """Return the shape of one cached array, padded to the longest text of the split."""
    c, n = teacher.config, _rows(split, want.mode)
    encoder = c.image if want.mode == "image" else c.text
    tokens = c.image_tokens if want.mode == "image" else _tokens(split, want.mode)
    if want.what == "embedding":
        return (n, c.embedding)
    if want.what == "hidden":
        return (n, tokens, encoder.width)
    if want.what == "attention":
        return (n, encoder.heads, tokens, tokens)
    if want.what == "cross_attention":
        return (n, encoder.heads, tokens, c.image_tokens)
    return (n, 2) if want.mode == "fused" else (n, tokens, c.vocabulary.size)


def _place(array: np.ndarray, rows: np.ndarray, values: Tensor) -> None:
    """Write a chunk; text axes shorter than the array's stay zero behind it."""
    block = values.detach().cpu().numpy()
    where: tuple[Any, ...] = (rows, *(slice(0, size) for size in block.shape[1:]))
    array[where] = block


class _Builder:
    """Runs the teacher over every row that one group of wants needs."""

    def __init__(
        self,
        teacher: Teacher,
        split: EncodedSplit,
        arrays: Mapping[Want, np.ndarray],
        tick: Callable[[int], None],
    ) -> None:
        self.teacher, self.split, self.arrays, self.tick = teacher, split, arrays, tick
        self.device = next(teacher.model.parameters()).device
        config = teacher.config
        size = 4 * split.num_images * config.image_tokens * config.image.width
        self.tokens: dict[int, Tensor] | None = {} if size <= LARGEST_TOKENS else None

    def _image_tokens(self, batch: Batch, images: np.ndarray) -> Tensor | None:
        """Return the tokens (B, P, D) of images, each encoded once as long as memory allows."""
        if self.tokens is None:
            return None
        missing = [place for place, image in enumerate(images.tolist()) if image not in self.tokens]
        if missing:
            with torch.no_grad():
                tokens = self.teacher.model.encode_image(batch.images[missing]).tokens_BPD
            assert tokens is not None
            self.tokens.update(zip(images[missing].tolist(), tokens, strict=True))
        return torch.stack([self.tokens[image] for image in images.tolist()])

    def _store(self, batch: Batch, wants: Wants, rows: np.ndarray, images: np.ndarray | None = None) -> None:
        reuse = images is not None and any(want.mode != "text" for want in wants)
        tokens = self._image_tokens(batch, images) if images is not None and reuse else None
        outputs = self.teacher.outputs(batch, wants, tokens)
        for want in wants:
            _place(self.arrays[want], rows, _pick(outputs, want))
        self.tick(len(rows))

    def images(self, wants: Wants) -> None:
        captions = self.split.captions.row(
            np.arange(self.split.num_images), np.zeros(self.split.num_images, dtype=np.int64)
        )
        for first in range(0, self.split.num_images, CHUNK):
            rows = np.arange(first, min(first + CHUNK, self.split.num_images))
            self._store(self.split.batch(rows, captions[rows], None, self.device), wants, rows)

    def captions(self, wants: Wants) -> None:
        table = self.split.captions
        order = np.argsort(table.lengths, kind="stable")
        for first in range(0, len(order), CHUNK):
            rows = order[first : first + CHUNK]
            images = table.images[rows]
            self._store(self.split.batch(images, rows, None, self.device), wants, rows, images)

    def questions(self, wants: Wants) -> None:
        table = self.split.questions
        assert table is not None
        order = np.argsort(table.lengths, kind="stable")
        captions = self.split.captions.row(table.images, np.zeros(len(order), dtype=np.int64))
        for first in range(0, len(order), CHUNK):
            rows = order[first : first + CHUNK]
            images = table.images[rows]
            self._store(self.split.batch(images, captions[rows], rows, self.device), wants, rows, images)


def build_cache(
    folder: Path, teacher: Teacher, split: EncodedSplit, wants: Wants, *, precision: str, progress: Progress
) -> None:
    """Compute and store what is not in `folder` yet.

    Each array is written beside its place and renamed when it is complete, so that an interrupted build
    leaves nothing that could be taken for a result.

    Raises:
        ResourceError: not enough disk.
        TeacherError: an unknown precision.
    """
    if precision not in PRECISIONS:
        raise TeacherError(f"teacher_cache.precision: got {precision!r}; allowed: {', '.join(PRECISIONS)}.")
    folder.mkdir(parents=True, exist_ok=True)
    usable = frozenset(w for w in wants if w.mode != "answer" or split.questions is not None)
    missing = sorted((w for w in usable if not (folder / f"{w}.npy").exists()), key=str)
    shapes = {want: _shape(want, teacher, split) for want in missing}
    need = sum(int(np.prod(shape)) for shape in shapes.values()) * np.dtype(precision).itemsize
    free = shutil.disk_usage(folder).free
    if need > 0.9 * free:
        largest = sorted(missing, key=lambda want: -math.prod(shapes[want]))[:3]
        raise ResourceError(
            f"teacher cache {folder}: needs {need / 2**30:.1f} GiB, {free / 2**30:.1f} GiB are free. Free "
            "disk, point XDG_CACHE_HOME to a larger one, run the teacher live "
            f"(--set teacher_cache.kind=live), or drop the losses that need the most: {', '.join(map(str, largest))}."
        )
    temporaries = {w: folder / f".{w}.{os.getpid()}.npy" for w in missing}
    try:
        arrays = {
            w: np.lib.format.open_memmap(temporaries[w], mode="w+", dtype=precision, shape=shapes[w])
            for w in missing
        }
        _run(teacher, split, arrays, progress)
        for want, array in arrays.items():
            array.flush()
            os.replace(temporaries[want], folder / f"{want}.npy")
    finally:
        for path in temporaries.values():
            path.unlink(missing_ok=True)
    meta = {"teacher": teacher.files.fingerprint, "temperature": float(teacher.model.temperature)}
    temporary = folder / f".{META}.{os.getpid()}"
    temporary.write_text(json.dumps(meta))
    os.replace(temporary, folder / META)


def _run(
    teacher: Teacher, split: EncodedSplit, arrays: Mapping[Want, np.ndarray], progress: Progress
) -> None:
    groups = {
        "image": frozenset(w for w in arrays if w.mode == "image"),
        "caption": frozenset(w for w in arrays if w.mode in ("text", "fused", "decoder")),
        "question": frozenset(w for w in arrays if w.mode == "answer"),
    }
    sizes = {"image": split.num_images, "caption": _rows(split, "text"), "question": _rows(split, "answer")}
    total = sum(sizes[name] for name, wants in groups.items() if wants)
    start, done, shown = time.monotonic(), 0, time.monotonic()

    def tick(count: int) -> None:
        nonlocal done, shown
        done += count
        now = time.monotonic()
        if done == total or now - shown > 5:
            shown = now
            left = (now - start) / done * (total - done)
            progress(f"teacher cache: {done:,} of {total:,} rows, {left:.0f} s left")

    builder = _Builder(teacher, split, arrays, tick)
    for name, build in (
        ("image", builder.images),
        ("caption", builder.captions),
        ("question", builder.questions),
    ):
        if groups[name]:
            build(groups[name])


class TeacherCache:
    """Reads the cache; gives what the live teacher would give, to the stored precision."""

    def __init__(self, folder: Path, fingerprint: str = "") -> None:
        """Open the cache of a folder.

        Args:
            folder: as `build_cache` filled it.
            fingerprint: of the teacher that it must come from; empty takes any.

        Raises:
            TeacherError: it cannot be read, or another teacher filled it.
        """
        self.folder = folder
        try:
            self.meta = json.loads((folder / META).read_text())
        except (OSError, json.JSONDecodeError) as error:
            raise TeacherError(
                f"teacher cache {folder}: cannot be read ({error}). Delete it; it is computed again."
            ) from error
        if fingerprint and self.meta["teacher"] != fingerprint:
            raise TeacherError(
                f"teacher cache {folder}: comes from a teacher with fingerprint {self.meta['teacher']}, "
                f"this one has {fingerprint}. Delete it; it is computed again."
            )
        self._arrays: dict[Want, np.ndarray] = {}

    def _array(self, want: Want) -> np.ndarray:
        if want not in self._arrays:
            path = self.folder / f"{want}.npy"
            try:
                self._arrays[want] = np.load(path, mmap_mode="r")
            except (OSError, ValueError) as error:
                raise TeacherError(
                    f"teacher cache {path}: cannot be read ({error}). Delete it; it is computed again."
                ) from error
        return self._arrays[want]

    def outputs(self, batch: Batch, wants: Wants) -> Outputs:
        """Return the cached outputs for the given pairs, float32 on the batch's device."""
        device = batch.images.device
        out = Outputs(temperature=torch.tensor(self.meta["temperature"], device=device))
        modes = {want.mode for want in wants}
        if "image" in modes:
            out.image = ImageOutputs()
        if "text" in modes:
            out.text = TextOutputs(mask_BT=batch.caption_mask)
        if "fused" in modes:
            out.fused = FusedOutputs(mask_NT=batch.caption_mask)
        if "decoder" in modes:
            out.decoder = DecoderOutputs(mask_BT=batch.caption_mask)
        if "answer" in modes and batch.question_mask is not None:
            out.answer = DecoderOutputs(mask_BT=batch.question_mask)
        for want in wants:
            self._fill(out, want, batch)
        return out

    def _fill(self, out: Outputs, want: Want, batch: Batch) -> None:
        mode = getattr(out, want.mode)
        if mode is None:
            return
        keys = {"image": batch.image_keys, "answer": batch.question_rows}.get(want.mode, batch.caption_rows)
        assert keys is not None
        array = self._array(want)
        value = np.asarray(array[keys.cpu().numpy()])
        if want.mode != "image":
            mask = batch.question_mask if want.mode == "answer" else batch.caption_mask
            assert mask is not None
            value = _trimmed(value, want, mask.shape[1])
        tensor = torch.from_numpy(value.astype(np.float32)).to(batch.images.device)
        if want.layer is not None:
            getattr(mode, want.what)[want.layer] = tensor
        else:
            setattr(mode, _field(want), tensor)


def _trimmed(value: np.ndarray, want: Want, tokens: int) -> np.ndarray:
    """Cut text axes to the batch's longest text."""
    if want.what in ("embedding",) or (want.what == "logits" and want.mode == "fused"):
        return value
    if want.what == "attention":
        return value[:, :, :tokens, :tokens]
    if want.what == "cross_attention":
        return value[:, :, :tokens]
    return value[:, :tokens]
