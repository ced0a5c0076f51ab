"""Image data: forms in which it comes, how it is read and split, and what was understood."""

from nas.data.dataset import Dataset, Duplicates, Split
from nas.data.load import check_recorded, data_name, load_data, load_recorded

__all__ = ["Dataset", "Duplicates", "Split", "check_recorded", "data_name", "load_data", "load_recorded"]
