"""Image data: where it comes from, how it is split, and what stands in two splits."""

from nas.data.dataset import Dataset, Duplicates, Part
from nas.data.load import check_recorded, load_data, load_recorded

__all__ = ["Dataset", "Duplicates", "Part", "check_recorded", "load_data", "load_recorded"]
