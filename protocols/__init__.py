"""Protocols: which classes of which dataset arrive when, with how much memory. Declarations, and their names.

A protocol on a known dataset needs no declaration: `get` reads any B{base}I{increment}. Importing this imports
neither torch nor numpy.
"""

from __future__ import annotations

from protocols import cifar10, cifar100, digits, fashion_mnist, imagenet100, imagenet1000, toy  # noqa: F401 (register)
from protocols.files import load
from protocols.grammar import get
from protocols.registry import class_incremental, describe, names, register
from protocols.template import template

__all__ = ["class_incremental", "describe", "get", "load", "names", "register", "template"]
