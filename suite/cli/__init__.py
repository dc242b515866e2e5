"""The verbs, one small file each; nothing here imports torch or ray at import time."""
