"""First tasks that runs of a results folder share: where they lie, and what makes two of them the same.

`shared/<key>.pt` is the checkpoint of such a task's training, `shared/<key>.lock` says that somebody is at it. Both may
be deleted while nobody works there: what is missing is trained anew.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from grace.storage.folders import Folder
from grace.storage.objects import ObjectPath
from suite.lease import Lock
from suite.lease import lock as lock_of
from suite.provenance import sources
from suite.spec import RunSpec

if TYPE_CHECKING:
    from grace.training.shared import Sharing

# Of what a run is, this shows in its first task only by what goes into the key there: recipe, weights, net and images.
APART = {"method", "config", "plugin", "smoke", "allocation", "protocol"}
APART_OF_PROTOCOL = {"increments", "budget", "schedule", "alignment"}
HERE = {"ray", "host"}  # of the environment: nothing depends on them


def folder(root: Folder) -> Folder:
    """Return where the shared tasks of a results folder lie; it need not exist."""
    return root / "shared"


def lock(root: Folder, key: str) -> Lock:
    """Return the lock that whoever trains a shared task must hold; not acquired."""
    if isinstance(root, ObjectPath):
        return lock_of(root, f"shared-{key}")
    from filelock import FileLock

    (root / "shared").mkdir(exist_ok=True)
    return FileLock(root / "shared" / f"{key}.lock")


def free(root: Folder, key: str) -> bool:
    """Whether nobody holds the lock of a shared task."""
    held = lock(root, key)
    try:
        held.acquire(timeout=0)
    except TimeoutError:
        return False
    held.release()
    return True


def sharing(root: Folder, spec: RunSpec, environment: Mapping[str, Any], data: str) -> Sharing:
    """Return how a run shares its first task. `environment` is of its record, `data` the images' fingerprint.

    What a run is in some way not known here parts it from others: only what is named above is left out.
    """
    from grace.training.shared import Sharing

    facts = {
        **{name: value for name, value in spec.identity().items() if name not in APART},
        **{name: value for name, value in spec.stream.identity().items() if name not in APART_OF_PROTOCOL},
        **{name: value for name, value in environment.items() if name not in HERE | {"engine"}},
        "data": data,
        "code": sources(),
    }
    return Sharing(folder(root), json.dumps(facts, sort_keys=True), spec.key, lambda key: lock(root, key))
