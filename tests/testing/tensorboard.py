"""TensorBoard's event files, read back."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path


def read_events(folder: Path) -> tuple[dict[str, dict[int, float]], set[str]]:
    """Return scalars by tag and step, and the plugins that were written for, from the event files."""
    from tensorboardX.proto.event_pb2 import Event

    scalars: dict[str, dict[int, float]] = defaultdict(dict)
    plugins = set()
    for path in folder.glob("events.*"):
        data = path.read_bytes()
        while data:  # a record: length (8 bytes), its checksum (4), an event, its checksum (4)
            size = int.from_bytes(data[:8], "little")
            event = Event.FromString(data[12 : 12 + size])
            data = data[16 + size :]
            for value in event.summary.value:
                if value.HasField("simple_value"):
                    scalars[value.tag][event.step] = value.simple_value
                plugins.add(value.metadata.plugin_data.plugin_name)
    return scalars, plugins
