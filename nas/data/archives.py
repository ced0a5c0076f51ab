"""CIFAR and MNIST from their official archives, downloaded once and checked by SHA-256.

Of CIFAR the binary archives are read: the pickled ones could run code.
"""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from nas.data.cache import cache_folder, cached
from nas.data.dataset import Images, Labels, Split
from nas.data.source import Form, Options, Source
from nas.errors import NasError

CIFAR_URL = "https://www.cs.toronto.edu/~kriz/"
CIFAR = {
    "cifar-10-binary.tar.gz": "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    "cifar-100-binary.tar.gz": "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
}
MNIST_URL = "https://ossci-datasets.s3.amazonaws.com/mnist/"
MNIST = {
    "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
FASHION_URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
FASHION = {
    "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
}
FASHION_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


def open_cifar10(_: str, options: Options) -> Source:
    """Open CIFAR-10: 50,000 + 10,000 colour images of 32x32 pixels in 10 classes (Krizhevsky, 2009)."""
    archive, train = "cifar-10-binary.tar.gz", tuple(f"data_batch_{i}.bin" for i in range(1, 6))
    return _source("cifar10", partial(_cifar, archive, 1, "batches.meta.txt"), train, ("test_batch.bin",))


def open_cifar100(_: str, options: Options) -> Source:
    """Open CIFAR-100: 50,000 + 10,000 colour images of 32x32 pixels in 100 classes (Krizhevsky, 2009)."""
    read = partial(_cifar, "cifar-100-binary.tar.gz", 2, "fine_label_names.txt")
    return _source("cifar100", read, ("train.bin",), ("test.bin",))


def open_mnist(_: str, options: Options) -> Source:
    """Open MNIST: 60,000 + 10,000 grey digits of 28x28 pixels (LeCun et al., 1998)."""
    read = partial(_mnist, "mnist", MNIST_URL, MNIST, tuple("0123456789"))
    return _source("mnist", read, ("train",), ("t10k",))


def open_fashion_mnist(_: str, options: Options) -> Source:
    """Open Fashion-MNIST: 60,000 + 10,000 grey articles of clothing of 28x28 pixels (Xiao et al., 2017)."""
    read = partial(_mnist, "fashion_mnist", FASHION_URL, FASHION, FASHION_CLASSES)
    return _source("fashion_mnist", read, ("train",), ("t10k",))


def _source(
    name: str, read: Callable[[tuple[str, ...]], Split], train: tuple[str, ...], test: tuple[str, ...]
) -> Source:
    # The archives are fixed by their hashes, so the names of their members are the content.
    parts = (partial(cached, f"{name} {part}", partial(read, part)) for part in (train, test))
    return Source.of_parts(
        name, dict(zip(("train", "test"), parts, strict=True)), {"test": "its own test set"}
    )


def _cifar(archive: str, label_bytes: int, names_file: str, members: tuple[str, ...]) -> Split:
    """Read records of one or two label bytes (coarse, fine) and 3x32x32 pixels."""
    path = _fetch(CIFAR_URL, archive, CIFAR[archive], "cifar")
    wanted: dict[str, bytes] = {}
    with tarfile.open(path, "r:gz") as tar:
        for member in tar:
            name = Path(member.name).name
            file = tar.extractfile(member) if name in (*members, names_file) else None
            if file:
                wanted[name] = file.read()
    record = label_bytes + 3 * 32 * 32
    rows = np.concatenate([np.frombuffer(wanted[name], np.uint8).reshape(-1, record) for name in members])
    classes = tuple(wanted[names_file].decode().split())
    images = np.ascontiguousarray(rows[:, label_bytes:]).reshape(-1, 3, 32, 32)
    return Split(images, rows[:, label_bytes - 1].astype(np.int64), classes)


def _mnist(
    folder: str, url: str, hashes: dict[str, str], classes: tuple[str, ...], split: tuple[str, ...]
) -> Split:
    def read(name: str, header: int) -> bytes:
        return gzip.decompress(_fetch(url, name, hashes[name], folder).read_bytes())[header:]

    pixels = np.frombuffer(read(f"{split[0]}-images-idx3-ubyte.gz", 16), np.uint8)
    images: Images = pixels.reshape(-1, 1, 28, 28)
    labels: Labels = np.frombuffer(read(f"{split[0]}-labels-idx1-ubyte.gz", 8), np.uint8).astype(np.int64)
    return Split(images, labels, classes)


def _fetch(url: str, name: str, sha256: str, folder: str) -> Path:
    """Return the path of an archive in the cache, downloaded if need be.

    Raises NasError, saying where to put it by hand, if it cannot be downloaded.
    """
    import pooch
    import requests

    place = cache_folder() / "archives" / folder
    hint = f"download {url}{name} by hand to {place / name}, or read the data with parquet: or npz:"
    try:
        return Path(pooch.retrieve(url + name, f"sha256:{sha256}", fname=name, path=place))
    except (requests.RequestException, OSError, ValueError, zlib.error) as error:
        raise NasError(f"cannot be downloaded: {error}", where=url + name, hint=hint) from None


FORMS = (
    Form("cifar10", open_cifar10, "60,000 colour images of 32x32 pixels in 10 classes; downloaded once"),
    Form("cifar100", open_cifar100, "60,000 colour images of 32x32 pixels in 100 classes; downloaded once"),
    Form("mnist", open_mnist, "70,000 grey digits of 28x28 pixels; downloaded once"),
    Form("fashion_mnist", open_fashion_mnist, "70,000 grey images of clothing; downloaded once"),
)
