"""What every test shares: one thread per process, and small streams of real structure."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: two cores, several processes
