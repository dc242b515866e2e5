"""Datasets as values: what their images are and how an image becomes an input. Imports neither numpy nor torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal

from grace.checks import require

Kind = Literal["cifar10", "cifar100", "fashion-mnist", "digits", "toy", "folder", "parquet"]


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """The random part of the training view, in the order of application."""

    crop: Literal["pad", "resized", "none"] = "pad"  # zero padding then random crop; or random resized crop
    padding: int = 4  # pixels on each side, for crop = "pad"
    flip: bool = True  # horizontal, with probability one half
    brightness: float = 0.0  # factor drawn from U(1 - b, 1 + b)
    autoaugment: bool = False  # the 25 CIFAR-10 policies (or ImageNet's, where crop = "resized")
    cutout: int = 0  # side of one square hole, pixels

    def __post_init__(self) -> None:
        """Refuse values without a meaning."""
        require(self.padding >= 0, f"padding must not be negative, not {self.padding}")
        require(0 <= self.brightness < 1, f"brightness must lie in [0, 1), not {self.brightness}")
        require(self.cutout >= 0, f"cutout must not be negative, not {self.cutout}")


@dataclass(frozen=True, kw_only=True)
class DatasetSpec:
    """A dataset by value. `path`, `source` and `licence` say where it is from and are no part of its identity."""

    name: str
    kind: Kind
    classes: int
    size: int  # side of the square input, pixels
    channels: int = 3  # as stored; grey images are shown to a net as three equal channels
    mean: tuple[float, ...]
    std: tuple[float, ...]
    augmentation: Augmentation = Augmentation()
    subset: str = ""  # which classes of a larger dataset: "ucir" or "first" for ImageNet-100
    cache: int = 0  # shorter side, pixels, to which larger encoded images are brought once; 0 leaves them as they are
    shots: int = 0  # training images used of each class, the first of the dataset's order; 0 uses all
    per_class: int | None = None  # training images of the smallest class; None until the data are read
    train_images: int | None = None
    test_images: int | None = None
    path: str = ""  # of a user's own dataset: absolute, or relative to the data folder
    source: str = ""
    licence: str = ""

    def __post_init__(self) -> None:
        """Refuse values that describe no images."""
        require(self.classes >= 2, f"classes must be at least 2, not {self.classes}")
        require(self.size >= 8, f"size must be at least 8 pixels, not {self.size}")
        require(self.channels in (1, 3), f"channels must be 1 or 3, not {self.channels}")
        for field, value in (("mean", self.mean), ("std", self.std)):
            require(len(value) == self.channels, f"{field} needs {self.channels} numbers, not {len(value)}")
        require(min(self.std) > 0, f"std must be above 0, not {list(self.std)}")
        require(self.shots >= 0, f"shots must not be negative, not {self.shots}")
        require(self.cache >= 0, f"cache must not be negative, not {self.cache}")
        require(not self.cache or self.encoded, f"{self.name} is held whole: it has no images to bring to another size")
        least = round(self.size * 256 / 224)  # the shorter side of which the test view is the centre
        require(not 0 < self.cache < least, f"images of {self.cache} pixels are too small for inputs of {self.size}")

    @property
    def bytes_per_image(self) -> int:
        """Bytes charged for one exemplar: its uint8 pixels at the input size (3,072 for CIFAR)."""
        return self.channels * self.size * self.size

    @property
    def encoded(self) -> bool:
        """Whether images are decoded on demand rather than held whole in memory."""
        return self.kind in ("folder", "parquet")

    def identity(self) -> dict[str, Any]:
        """Return what determines a result: all but where the images lie and how many were announced."""
        return dict(self._identity)

    @cached_property
    def _identity(self) -> dict[str, Any]:
        outside = {"path", "source", "licence", "per_class", "train_images", "test_images"}
        # what is left as it is has the identity that it had before there was a choice
        outside |= {name for name in ("cache", "shots") if not getattr(self, name)}
        return {name: value for name, value in asdict(self).items() if name not in outside}
