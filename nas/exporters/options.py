"""Options of export formats, which config.json records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nas.errors import NasError

PROGRAMS = ("onnx", "pt2")
"""Formats that hold a program, to which the options apply."""


@dataclass(frozen=True)
class FormatOptions:
    """How the formats that hold a program are written.

    Attributes:
        with_preprocessing: Whether they take raw pixels, uint8, and normalise by themselves.
        dynamic_size: Whether they take images of any size, not of the training's alone.
        opset: Version of ONNX's operators; by default that of torch.
    """

    with_preprocessing: bool = False
    dynamic_size: bool = False
    opset: int | None = None

    def about(self, formats: Sequence[str]) -> dict[str, Any]:
        """Return the entries of config.json. NasError if an option applies to none of the formats."""
        if (self.with_preprocessing or self.dynamic_size) and not set(formats) & set(PROGRAMS):
            name = "--with-preprocessing" if self.with_preprocessing else "--dynamic-size"
            raise NasError("applies to onnx and pt2, of which none is asked for", where=name)
        if self.opset is not None and "onnx" not in formats:
            raise NasError(
                "applies to onnx, which is not asked for", where="--opset", hint="add --format onnx"
            )
        given = {
            "with_preprocessing": self.with_preprocessing,
            "dynamic_size": self.dynamic_size,
            "opset": self.opset,
        }
        return {"formats": list(formats), **{name: value for name, value in given.items() if value}}


PLAIN = FormatOptions()
