"""Methods by name: one line each, to the module that holds a Config and a Learner. Importing this imports no torch."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from grace.learner import Learner

METHODS: dict[str, str] = {
    "der": "grace.methods.der:DER",
    "finetune": "grace.methods.finetune:FineTune",
    "grace": "grace.methods.grace:GRACE",
    "joint": "grace.methods.joint:Joint",
    "replay": "grace.methods.replay:Replay",
}


def method(name: str) -> tuple[type[Learner], type]:
    """Return the learner class and the Config class of a method; raises KeyError for an unknown name."""
    module_name, _, class_name = METHODS[name].partition(":")
    module = import_module(module_name)
    return getattr(module, class_name), module.Config
