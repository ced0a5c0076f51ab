import gzip
import io
import struct
import tarfile
from hashlib import sha256

import numpy as np
import pytest

from nas.data import archives, load_data
from nas.data.cache import cache_folder
from nas.errors import NasError


class TestArchives:
    def place(self, monkeypatch, hashes, group, name, data):
        """An archive where a download would have left it."""
        place = cache_folder() / "archives" / group / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
        monkeypatch.setitem(hashes, name, sha256(data).hexdigest())

    def tar(self, members):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
            for name, data in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        return buffer.getvalue()

    def records(self, count, header, seed):
        rng = np.random.default_rng(seed)
        rows = rng.integers(0, 256, (count, header + 3072), dtype=np.uint8)
        rows[:, header - 1] = np.arange(count) % 10
        return rows

    def test_cifar10(self, monkeypatch):
        batches = {f"d/data_batch_{i}.bin": self.records(20, 1, i).tobytes() for i in range(1, 6)}
        test = self.records(10, 1, 9)
        names = "\n".join(f"class{i}" for i in range(10)) + "\n\n"
        members = {**batches, "d/test_batch.bin": test.tobytes(), "d/batches.meta.txt": names.encode()}
        self.place(monkeypatch, archives.CIFAR, "cifar", "cifar-10-binary.tar.gz", self.tar(members))
        data = load_data("cifar10")
        assert data.classes[9] == "class9"
        assert len(data.train_labels) == 60
        np.testing.assert_array_equal(data.test()[0], test[:, 1:].reshape(-1, 3, 32, 32))
        np.testing.assert_array_equal(data.test()[1], test[:, 0])

    def test_cifar100_takes_the_fine_labels(self, monkeypatch):
        train, test = self.records(100, 2, 0), self.records(20, 2, 1)
        names = "\n".join(f"fine{i}" for i in range(100)).encode()
        members = {"train.bin": train.tobytes(), "test.bin": test.tobytes(), "fine_label_names.txt": names}
        self.place(monkeypatch, archives.CIFAR, "cifar", "cifar-100-binary.tar.gz", self.tar(members))
        data = load_data("cifar100")
        assert data.num_classes == 100
        np.testing.assert_array_equal(data.test()[1], test[:, 1])

    @pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
    def test_mnist(self, monkeypatch, name):
        hashes = archives.MNIST if name == "mnist" else archives.FASHION
        rng = np.random.default_rng(0)
        for split_name, count in (("train", 100), ("t10k", 20)):
            pixels = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
            images = struct.pack(">4I", 2051, count, 28, 28) + pixels.tobytes()
            labels = struct.pack(">2I", 2049, count) + bytes(i % 10 for i in range(count))
            for what, content in (("images-idx3", images), ("labels-idx1", labels)):
                file = f"{split_name}-{what}-ubyte.gz"
                self.place(monkeypatch, hashes, name, file, gzip.compress(content))
        data = load_data(name)
        assert data.input_shape == (1, 28, 28)
        np.testing.assert_array_equal(data.test()[0][:, 0], pixels)
        np.testing.assert_array_equal(data.test()[1], np.arange(20) % 10)

    def test_without_a_network_the_way_out_is_named(self, monkeypatch):
        monkeypatch.setattr(archives, "MNIST_URL", "http://127.0.0.1:9/")
        with pytest.raises(NasError, match="cannot be downloaded") as caught:
            load_data("mnist")
        assert "by hand to" in str(caught.value)

    def test_the_hashes_are_sha256(self):
        for hashes in (archives.CIFAR, archives.MNIST, archives.FASHION):
            assert all(len(bytes.fromhex(value)) == 32 for value in hashes.values())
