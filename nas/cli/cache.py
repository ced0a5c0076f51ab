"""nas cache: decoded images that are kept on disk."""

from __future__ import annotations

import time

import click

from nas.cli import _options as options
from nas.cli._output import echo, emit, table
from nas.formatting import duration


@click.command("cache", epilog="Example: nas cache --clear")
@click.option("--clear", is_flag=True, help="Remove all decoded images; they are decoded again when needed.")
@options.as_json
def command(clear: bool, as_json: bool) -> None:
    """List the decoded images that are kept, or remove them.

    A data set is decoded once; its arrays lie in $NAS_CACHE, by default ~/.cache/nas. They take at most
    $NAS_CACHE_GB gigabytes, 50 by default: those not used for longest are removed first.
    """
    from nas.data import cache

    if clear:
        freed = cache.clear()
        if as_json:
            emit({"folder": str(cache.cache_folder()), "freed": freed})
        else:
            echo(f"{freed / 1e6:,.1f} MB freed in {cache.cache_folder()}")
        return
    entries = cache.entries()
    total, limit = sum(entry.bytes for entry in entries), cache.limit_bytes()
    if as_json:
        rows = [{"file": str(e.path), "bytes": e.bytes, "last_used": e.used} for e in entries]
        emit({"folder": str(cache.cache_folder()), "bytes": total, "limit": limit, "entries": rows})
        return
    now = time.time()
    table(
        [
            {"file": e.path.name, "MB": f"{e.bytes / 1e6:,.1f}", "last used": f"{duration(now - e.used)} ago"}
            for e in entries
        ],
        right=["MB", "last used"],
    )
    echo(f"{total / 1e6:,.1f} MB of at most {limit / 1e9:g} GB in {cache.cache_folder()}")
