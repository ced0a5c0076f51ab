"""Image data: where it comes from, how it is split, and what stands in two splits."""

from nas.data.dataset import Dataset, Duplicates, Part
from nas.data.load import load_data

__all__ = ["Dataset", "Duplicates", "Part", "load_data"]
