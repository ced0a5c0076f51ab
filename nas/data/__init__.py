"""Image data: its forms, its reading and splitting, and the report on how it was read."""

from nas.data.dataset import Dataset, Duplicates, Split
from nas.data.load import check_recorded, check_recorded_objectives, data_name, load_data, load_recorded

__all__ = [
    "Dataset",
    "Duplicates",
    "Split",
    "check_recorded",
    "check_recorded_objectives",
    "data_name",
    "load_data",
    "load_recorded",
]
