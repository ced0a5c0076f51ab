"""The URL of a PostgreSQL database that holds a study in place of a file.

A password is never written down: it is taken from the URL where it is given, else libpq finds it
in PGPASSWORD or in ~/.pgpass.
"""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING, Any

from nas.errors import NasError
from nas.plugins import need

if TYPE_CHECKING:
    from sqlalchemy import URL

EXTRA = "postgresql"
EXAMPLE = "postgresql://USER@HOST/DATABASE"
OPTIONS = ("host", "port", "sslmode", "sslrootcert", "sslcert", "sslkey")
"""Options that may follow the `?`; `host` may be the folder of a socket."""
PORT = 5432
"""Port of PostgreSQL, used if a URL gives none."""
VARIABLE = "NAS_STORAGE"
"""Environment variable with the URL of the one server that commands may contact to read a run."""
CONNECT_LIMIT = 10
"""Seconds to wait for the server."""


def is_url(where: object) -> bool:
    return "://" in str(where)


def shown(where: object) -> str:
    """Return the URL for a message, without the password that it may hold."""
    from sqlalchemy import make_url

    return make_url(str(where)).render_as_string(hide_password=True) if is_url(where) else str(where)


def without_password(text: str) -> str:
    """The URL as it is recorded; NasError if it is none of a PostgreSQL database."""
    return parse_storage(text)._replace(password=None).render_as_string()


def parse_storage(text: str) -> URL:
    """NasError if the text is no URL of a PostgreSQL database; needs no driver."""
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise NasError("is not the URL of a database", where="storage", hint=f"write {EXAMPLE}") from None
    if url.drivername not in ("postgresql", "postgresql+psycopg"):
        hint = f"write {EXAMPLE}; without --storage the study is a file in the run folder"
        raise NasError(f"{url.drivername} cannot be shared by several drivers", where="storage", hint=hint)
    for name in url.query:
        if name not in OPTIONS:
            hint = f"known: {', '.join(OPTIONS)}; a password goes before the @ or into PGPASSWORD"
            raise NasError(f"unknown option {name!r}", where="storage", hint=hint)
    if not url.database:
        raise NasError("names no database", where="storage", hint=f"write {EXAMPLE}")
    return url.set(drivername="postgresql")


def own_storage(recorded: str, storage: str | None, where: str) -> str:
    """Return the user's URL of the server that the run folder `where` has `recorded`.

    The folder may be a stranger's, and whoever runs the server that is contacted learns a password. So the
    user has to name the same host, port and database: as `storage` or in the environment variable
    NAS_STORAGE. NasError if neither does.
    """
    own, named = storage or os.environ.get(VARIABLE), shown(recorded)
    if not own:
        hint = f"if you trust it, set the environment variable {VARIABLE}={shlex.quote(named)}"
        ways = "(nas search: --storage URL; Python: nas.open_run(…, storage=URL))"
        message = f"its trials are on a server, {named}, which is not contacted unless you name it too"
        raise NasError(message, where=where, hint=f"{hint} {ways}")
    if _server(own) != _server(recorded):
        hint = (
            "name the server of the run; if the study was moved, nas search --resume --storage URL records it"
        )
        raise NasError(f"its trials are on {named}, and you named {shown(own)}", where=where, hint=hint)
    return own


def _server(text: str) -> tuple[object, ...]:
    """Return the parts that two URLs of one database share."""
    url = parse_storage(text)
    return (url.host or "").lower(), url.port or PORT, url.database, url.query.get("host")


def connection_of(where: str) -> tuple[URL, dict[str, Any]]:
    """The URL by which SQLAlchemy connects, and the arguments of its driver. NasError if it is no URL of a
    PostgreSQL database, or the driver is not installed."""
    url = parse_storage(where).set(drivername="postgresql+psycopg")
    need(EXTRA, "psycopg")
    return url, {"connect_timeout": CONNECT_LIMIT}
