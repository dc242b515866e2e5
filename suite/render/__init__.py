"""One renderer per format of the one table model, and the characters that they share."""

from __future__ import annotations

DASH = "\N{EN DASH}"  # nothing to show
DAGGER = "\N{DAGGER}"  # fewer runs
PLUS_MINUS = "\N{PLUS-MINUS SIGN}"
SHORT = "fewer runs than wanted, or than another method has"
RANKED = "compared at full precision; upper bounds are not ranked"
