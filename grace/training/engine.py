"""How training computes: in which precision, and by which way. Importing this imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from grace.checks import require

Precision = Literal["fp32", "tf32", "bf16"]
Way = Literal["auto", "plain", "eager", "compiled"]

PRECISIONS: dict[str, str] = {
    "fp32": "IEEE single precision throughout",
    "tf32": "fp32 whose convolutions use the tensor cores of NVIDIA GPUs (10-bit mantissa); on a CPU the same as fp32",
    "bf16": "backbones in bfloat16 by autocast; weights, batch-norm statistics, heads and losses in fp32",
}
WAYS: dict[str, str] = {
    "auto": "compiled for phases long enough to pay for it, eager for the others",
    "plain": "operation by operation as the field's code is written: the yardstick",
    "eager": "channels-last memory, fused optimiser and, on a GPU, CUDA graphs",
    "compiled": "as eager, with the backbones through torch.compile",
}


@dataclass(frozen=True)
class Engine:
    """The precision belongs to a run's identity; the way is only how it is carried out, and differs by rounding.

    Raises ValueError for a name that is not known.
    """

    precision: Precision = "fp32"
    way: Way = "auto"

    def __post_init__(self) -> None:
        """Refuse unknown names."""
        for what, name, known in (("precision", self.precision, PRECISIONS), ("engine", self.way, WAYS)):
            require(name in known, f"{what} {name} is not known; known: {', '.join(known)}")
