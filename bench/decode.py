"""What it takes to make one training input of an ImageNet-size JPEG, step by step and by the ways there are.

    python -m bench.decode [--images DIR]

Without DIR the images are made here: 500x375, smooth shapes under texture, JPEG of quality 90. Every way is timed in
every round, in processor time of one thread, which other programs disturb least; ratios are taken within a round.
What a stream's first batch waits for is time that passes: for that the machine should have nothing else to do.
"""

from __future__ import annotations

import argparse
import io
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
from PIL import Image
from torchvision.io import decode_jpeg
from torchvision.transforms import functional as V

from bench.machine import report
from grace.streams import images
from grace.streams.catalogue import Augmentation, DatasetSpec
from grace.streams.datasets import load
from grace.streams.encoded.resized import shrunk
from grace.streams.views import fit

ROUNDS, COUNT, BATCH = 5, 64, 128
SPEC = DatasetSpec(name="bench", kind="folder", classes=2, size=224, mean=(0.485, 0.456, 0.406),
                   std=(0.229, 0.224, 0.225), augmentation=Augmentation(crop="resized", padding=0))  # fmt: skip
CACHED = DatasetSpec(**{**vars(SPEC), "cache": 256})


def made(seed: int) -> bytes:
    """Return a JPEG of 500x375: noise of eight octaves, the coarser the stronger, as in photographs."""
    draw = np.random.RandomState(seed)
    pixels = np.zeros((375, 500, 3))
    for octave in range(8):
        noise = draw.randint(0, 256, (3 << octave, 4 << octave, 3), dtype=np.uint8)
        pixels += (
            np.asarray(Image.fromarray(noise).resize((500, 375), Image.Resampling.BICUBIC)) - 127.5
        ) / 1.25**octave
    return stored(Image.fromarray((127.5 + pixels / 2).clip(0, 255).astype(np.uint8)), "JPEG", quality=90)


def stored(image: Image.Image, form: str, **options: int) -> bytes:
    """Return an image as a file holds it."""
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def laid_out(folder: Path | None, root: Path) -> list[bytes]:
    """Write the images below `root` as a dataset of two classes, and return them in its order."""
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg")) if folder else []
    if folder and len(found) < 2:
        raise SystemExit(f"{folder}: holds fewer than two JPEGs; name a folder that does")
    chosen = found[:: -(-len(found) // COUNT)] if found else []
    encoded = [path.read_bytes() for path in chosen] or [made(seed) for seed in range(COUNT)]
    for index, image in enumerate(encoded):
        for split in ("train", "test"):
            place = root / SPEC.name / split / ("a" if index < len(encoded) // 2 else "b")
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{index:03}.jpg").write_bytes(image)
    return encoded


def ways(encoded: list[bytes], root: Path) -> dict[str, Callable[[], object]]:
    """Return what is timed, by name: a call does it to every image."""
    tensors = [torch.frombuffer(bytearray(image), dtype=torch.uint8) for image in encoded]
    decoded = [Image.open(io.BytesIO(image)).convert("RGB") for image in encoded]
    planes = [V.pil_to_tensor(image) for image in decoded]
    small = [shrunk(image, CACHED.cache) for image in decoded]
    pixels = [stored(image, "PPM") for image in small]
    jpegs = [stored(image, "JPEG", quality=95, subsampling=0) for image in small]
    original, cached = (load(spec, root, range(2))[0].decoder for spec in (SPEC, CACHED))  # type: ignore[union-attr]
    plain = images.Decoder(cached.source, CACHED, augments=False)

    def opened(image: bytes) -> Image.Image:
        found = Image.open(io.BytesIO(image))
        found.load()
        return found

    def halved(image: bytes) -> Image.Image:
        found = Image.open(io.BytesIO(image))
        found.draft("RGB", (found.width // 2, found.height // 2))
        return found.convert("RGB")

    def box(i: int) -> tuple[int, int, int, int]:  # of the area that a random resized crop has in the middle
        width, height = (int(side * 0.54**0.5) for side in decoded[i].size)
        return height // 7, width // 7, height, width

    def kb(files: list[bytes]) -> str:
        return f"{sum(map(len, files)) / len(files) / 1000:.0f} KB"

    singly: dict[str, Callable[[int], object]] = {
        f"decode and convert, Pillow ({kb(encoded)})": lambda i: Image.open(io.BytesIO(encoded[i])).convert("RGB"),
        "decode alone, Pillow": lambda i: opened(encoded[i]),
        "decode, torchvision.io.decode_jpeg": lambda i: decode_jpeg(tensors[i]),
        "decode at half size, Pillow's draft": lambda i: halved(encoded[i]),
        "crop of half the area to 224, Pillow": lambda i: V.resized_crop(decoded[i], *box(i), [224, 224]),
        "crop of half the area to 224, tensor": lambda i: V.resized_crop(planes[i], *box(i), [224, 224]),
        "random resized crop, as `fit` does it": lambda i: fit(decoded[i], i, "train", 1, SPEC),
        f"decode of a copy of shorter side 256, JPEG 95 ({kb(jpegs)})": lambda i: opened(jpegs[i]),
        f"decode of a copy of shorter side 256, pixels ({kb(pixels)})": lambda i: opened(pixels[i]),
    }
    pieces = torch.split(torch.arange(len(encoded)), images.PIECE)
    return {name: lambda one=one: [one(i) for i in range(len(encoded))] for name, one in singly.items()} | {
        "whole training view of the original": lambda: [original[piece, "train", 1] for piece in pieces],
        "whole training view of +cache256": lambda: [cached[piece, "train", 1] for piece in pieces],
        "whole training view of +cache256, a GPU flipping": lambda: [plain[piece, "train", 1] for piece in pieces],
    }


def rounds(ways: dict[str, Callable[[], object]], count: int) -> dict[str, list[float]]:
    """Return milliseconds of processor time per image, one number a round; the ways take turns."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(ROUNDS + 1):
        for name, way in ways.items():
            start = time.thread_time()
            way()
            if number:  # the first warms up
                taken[name].append(1000 * (time.thread_time() - start) / count)
    return taken


def table(taken: dict[str, list[float]]) -> list[str]:
    """Return a Markdown table of medians, spreads, and ratios to the first way."""
    first = next(iter(taken.values()))
    lines = ["| step | ms per image, median | least to most | ratio to the first |", "|---|---|---|---|"]
    for name, times in taken.items():
        ratio = median(a / b for a, b in zip(times, first, strict=True))
        lines.append(f"| {name} | {median(times):.2f} | {min(times):.2f} to {max(times):.2f} | {ratio:.2f} |")
    return lines


def waits(root: Path, count: int) -> list[str]:
    """Return how long a stream's first batch takes once the workers are there, by how many images one is asked for."""
    usual, workers = images.PIECE, max(2, (torch.get_num_threads() or 2) - 1)
    rows = torch.arange(4 * BATCH) % count
    splits = {piece: load(SPEC, root, range(2), workers=workers)[0] for piece in (usual, BATCH)}
    taken: dict[int, list[tuple[float, float]]] = {piece: [] for piece in splits}
    for number in range(ROUNDS + 1):
        for piece, split in splits.items():
            images.PIECE, start = piece, time.perf_counter()
            stream = split.stream(rows, BATCH, "train", number)
            next(stream)
            first = time.perf_counter() - start
            sum(1 for _ in stream)
            if number:  # the first starts the workers
                taken[piece].append((first, (time.perf_counter() - start) / 4))
    images.PIECE = usual
    return [
        f"- {workers} workers, asked for {piece} images at a time: first batch of {BATCH} after "
        f"{1000 * median(t[0] for t in times):.0f} ms, one every {1000 * median(t[1] for t in times):.0f} ms"
        for piece, times in taken.items()
    ]


def main() -> None:
    """Time everything and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help="folder with JPEGs, of which an even sample is taken")
    options = parser.parse_args()
    cores = torch.get_num_threads()
    root = Path(tempfile.mkdtemp(prefix="grace-decode-"))
    try:
        encoded = laid_out(options.images, root)
        torch.set_num_threads(1)
        lines = table(rounds(ways(encoded, root), len(encoded)))
        torch.set_num_threads(cores)
        lines += ["", *waits(root, len(encoded))]
    finally:
        shutil.rmtree(root)
    report("decode", f"From JPEG to input: {len(encoded)} images, {ROUNDS} rounds", lines)


if __name__ == "__main__":
    main()
