"""Methods by name: one line each, to the module that holds a Config and a Learner. Importing this imports no torch.

Methods that live elsewhere are added when their names are asked for, see `suite.plugins`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from grace.learner import Learner

METHODS: dict[str, str] = {
    "acil": "grace.methods.acil:ACIL",
    "beef": "grace.methods.beef:BEEF",
    "bic": "grace.methods.bic:BiC",
    "der": "grace.methods.der:DER",
    "ewc": "grace.methods.ewc:EWC",
    "finetune": "grace.methods.finetune:FineTune",
    "foster": "grace.methods.foster:FOSTER",
    "grace": "grace.methods.grace:GRACE",
    "icarl": "grace.methods.icarl:ICaRL",
    "joint": "grace.methods.joint:Joint",
    "lwf": "grace.methods.lwf:LwF",
    "memo": "grace.methods.memo:MEMO",
    "podnet": "grace.methods.podnet:PODNet",
    "replay": "grace.methods.replay:Replay",
    "simplecil": "grace.methods.simplecil:SimpleCIL",
    "tagfex": "grace.methods.tagfex:TagFex",
    "wa": "grace.methods.wa:WA",
}
BUILT_IN = frozenset(METHODS)  # what is added to METHODS later lives elsewhere
GROUP = "grace_suite.methods"  # of entry points: name = "module:Class"


def method(name: str) -> tuple[type[Learner], type]:
    """Return the learner class and the Config class of a method; raises KeyError for an unknown name."""
    module_name, _, class_name = (METHODS.get(name) or _installed(name)).partition(":")
    module = import_module(module_name)
    return getattr(module, class_name), module.Config


def _installed(name: str) -> str:
    """Return where an installed package registers a method; raises KeyError where none does."""
    from importlib.metadata import entry_points

    for entry in entry_points(group=GROUP, name=name):
        return entry.value
    raise KeyError(name)
