"""Files of records that cannot be used: moved out of the way, never deleted."""

from __future__ import annotations

from grace.storage.folders import Folder


def set_aside(root: Folder, key: str) -> str:
    """Move both files of a run to damaged/<key>.<n>.*, and return what became of them, in words."""
    folder = root / "damaged"
    try:
        folder.mkdir(exist_ok=True)
        n = next(n for n in range(1, 1_000_000) if not any(folder.glob(f"{key}.{n}.*")))
        for kind in ("records", "predictions"):
            file = root / kind / f"{key}.parquet"
            if file.exists():
                file.rename(folder / f"{key}.{n}.{kind}.parquet")  # type: ignore[arg-type]  # of the same kind
    except OSError as error:
        return f"is damaged and cannot be set aside ({error.strerror})"
    return f"set aside as {folder / f'{key}.{n}.*'}"
