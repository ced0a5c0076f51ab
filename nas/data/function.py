"""Arrays that a Python function returns."""

from __future__ import annotations

from nas.data.memory import open_object
from nas.data.source import Form, Options, Source
from nas.plugins import load_function


def open_function(target: str, options: Options) -> Source:
    """The images that `module:function` returns, as arrays by name or as `nas.search(data=…)` takes them."""
    where = f"python:{target}"
    return open_object(load_function(target, where)(), target, where)


FORMS = (Form("python", open_function, "a function that returns arrays by name", place="module:function"),)
