"""One thread a process: tests run side by side, and figures repeat only with one thread."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
