"""How long a user waits for `nas --help`: the best of several starts, bare Python beside it.

    python benchmarks/startup.py

exits with 1 above the limit.
"""

from __future__ import annotations

import subprocess
import sys
import time

LIMIT = 0.3
ROUNDS = 7
PROGRAM = "from nas.cli import main; main()"


def best(*arguments: str) -> float:
    """Seconds of the quickest start, which is the one that nothing else disturbed."""
    seconds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def main() -> int:
    bare = best("-c", "")
    print(f"bare Python            {bare:.3f} s")
    print(f"import nas             {best('-c', 'import nas'):.3f} s")
    print(f"nas search --help      {best('-c', PROGRAM, 'search', '--help'):.3f} s")
    found = best("-c", PROGRAM, "--help")
    print(f"nas --help             {found:.3f} s, limit {LIMIT} s")
    return int(found > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
