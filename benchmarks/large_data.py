"""Measure time and memory of large data sets: decoding, a search's processes, and training beyond memory.

    python benchmarks/large_data.py [--base COMMIT] [--images 10000] [--pairs 3]

10,000 JPEG images of 224x224 are made once. With --base, loading is timed in turn with another commit, in
processes of their own. Memory is the peak of anonymous pages (RssAnon), which leaves out the page cache. A
worker reads and augments all images once, without a network; an empty one has a small data set.

100,000 images of 64x64 (1.2 GB) and 20 GB of a sparse file are then trained on for a few steps in a process
that may have 2 GiB of memory of its own (RLIMIT_DATA).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
SIZE, CLASSES = 224, 10
LIMIT = 2 << 30
STEPS = 3


def make_photos(root: Path, count: int) -> None:
    """Write JPEG images of smooth colours with noise, which compress like photos."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for i in range(count):
        folder = root / f"class{i % CLASSES}"
        folder.mkdir(parents=True, exist_ok=True)
        small = rng.integers(0, 256, (14, 14, 3), dtype=np.uint8)
        smooth = np.asarray(Image.fromarray(small).resize((SIZE, SIZE), Image.Resampling.BICUBIC))
        noisy = smooth + rng.integers(-12, 13, (SIZE, SIZE, 1))
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"{i:06}.jpg", quality=90)


def anonymous_mb() -> float:
    """Return the anonymous memory of this process in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1000 for line in lines if line.startswith("RssAnon"))


@contextmanager
def peak_memory() -> Any:
    """Give a list whose only item is the peak of `anonymous_mb` in the block."""
    peak, done = [anonymous_mb()], threading.Event()

    def watch() -> None:
        while not done.wait(0.005):
            peak[0] = max(peak[0], anonymous_mb())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


def load(spec: str) -> dict[str, Any]:
    """Load data as the driver of a search does."""
    from nas.data import load_data

    began, used = time.perf_counter(), time.process_time()
    with peak_memory() as peak:
        dataset = load_data(spec)
        facts = {"fingerprint": dataset.fingerprint, "mean": dataset.mean}
    times = {"seconds": time.perf_counter() - began, "cpu": time.process_time() - used}
    return {**times, "peak_mb": peak[0], **facts}


def read_all(task: Any, dataset: Any, recipe: Any, device: str, on_epoch: Any, on_batch: Any) -> Any:
    """Stand in for the training of a candidate: read and augment all images, and say the peak of memory."""
    import torch

    from nas.training.augment import Batches
    from nas.training.task import Result

    with peak_memory() as peak:
        batches = Batches(dataset, recipe, torch.device(device), torch.Generator().manual_seed(0))
        for chosen in batches.order():
            batches.augment_batch(chosen)
            on_batch()
    return Result(task.number, "complete", message=str(peak[0]))


def workers(spec: str) -> dict[str, Any]:
    """Return the peaks of two workers on Ray in MB, and that of their driver."""
    from nas.controller.evaluators.ray import RayEvaluator
    from nas.data import load_data
    from nas.training.recipe import Recipe
    from nas.training.task import Task

    with peak_memory() as peak:
        dataset = load_data(spec)
        evaluator = RayEvaluator(
            dataset, Recipe(precision="float32", batch_size=32, pad=8), workers=2, trainer=read_all
        )
        for number in range(2):
            evaluator.submit(Task(number=number, genotype=None, seed=0))  # type: ignore[arg-type]
        results: list[Any] = []
        while len(results) < 2:
            results += evaluator.wait(5.0)
        evaluator.close()
    return {"workers_mb": [float(result.message) for result in results], "peak_mb": peak[0]}


def train_limited(count: str, size: str, batch: str) -> dict[str, Any]:
    """Train a few steps of `batch` on `count` zero images of `size` pixels in a sparse file."""
    resource.setrlimit(resource.RLIMIT_DATA, (LIMIT, LIMIT))
    import torch

    from nas.codegen.build import build
    from nas.data import load_data
    from nas.space.load import load_space
    from nas.training.augment import Batches
    from nas.training.loop import make_optimizer
    from nas.training.recipe import Recipe
    from nas.training.step import Step

    side, images = int(size), int(count)
    with tempfile.NamedTemporaryFile() as file, peak_memory() as peak:
        os.truncate(file.name, images * 3 * side * side)
        pixels = np.memmap(file.name, np.uint8, "r", shape=(images, 3, side, side))
        began = time.perf_counter()
        dataset = load_data((pixels, np.arange(images) % CLASSES))
        fingerprint = dataset.fingerprint
        loaded = time.perf_counter() - began
        network = build(load_space("residual_vs_fractal").sample(0), dataset.input_shape, CLASSES)
        recipe = Recipe(precision="float32", batch_size=int(batch))
        batches = Batches(dataset, recipe, torch.device("cpu"), torch.Generator().manual_seed(0))
        step = Step(network, batches, make_optimizer(network, recipe), half=False)
        step.rate.fill_(0.01)
        for chosen in batches.order()[:STEPS]:
            step.chosen.copy_(chosen)
            step()
    gigabytes = pixels.nbytes / 1e9
    return {
        "GB": gigabytes,
        "load_s": loaded,
        "loss": step.loss.item(),
        "peak_mb": peak[0],
        "id": fingerprint,
    }


CHILDREN = {"load": load, "workers": workers, "train": train_limited}


def child(code: Path, cache: str, *arguments: str) -> dict[str, Any]:
    """Run one of `CHILDREN` in a process of its own with the package in the folder `code`."""
    environment = os.environ | {"PYTHONPATH": str(code), "NAS_CACHE": cache, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--child", *arguments]
    output = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    result: dict[str, Any] = json.loads(output.splitlines()[-1])
    return result


def time_loading(base: Path | None, photos: str, pairs: int, scratch: Path) -> None:
    """Print the seconds to load images that no cache has, in turn with the other commit."""
    seconds: dict[tuple[str, str], list[float]] = {}
    for pair in range(pairs):
        for name, code in (("base", base), ("here", ROOT)):
            for label, spec in (("all", photos), ("limit=500", f"{photos}?limit=500")):
                if code is None:
                    continue
                cache = str(scratch / f"{name}{pair}{label}")
                result = child(code, cache, "load", spec)
                seconds.setdefault((name, label), []).append(result["seconds"])
                print(f"  {name} {label:9} {said(result)}  {result['fingerprint'][:8]}", flush=True)
                if (label, pair, name) == ("all", 0, "here"):
                    print(f"  here again     {said(child(code, cache, 'load', spec))}", flush=True)
                shutil.rmtree(cache)
    median = {key: statistics.median(values) for key, values in seconds.items()}
    print(f"  limit=500 takes {median['here', 'limit=500'] / median['here', 'all']:.3f} of the time of all")
    if base is not None:
        both = zip(seconds["base", "all"], seconds["here", "all"], strict=True)
        print(f"  times as fast as the base, cold, per pair: {', '.join(f'{b / h:.2f}' for b, h in both)}")


def said(result: dict[str, Any]) -> str:
    return f"{result['seconds']:7.2f} s  CPU {result['cpu']:6.2f} s  peak {result['peak_mb']:6.0f} MB"


def compare_workers(base: Path | None, photos: Path, scratch: Path) -> None:
    """Print the memory of a driver and two workers, and by how much it is above that of empty workers."""
    small = scratch / "small"
    make_photos(small, 200)
    for title, code in (("base", base), ("here", ROOT)):
        if code is not None:
            full, empty = (
                child(code, str(scratch / "cache"), "workers", f"folder:{folder}")
                for folder in (photos, small)
            )
            pairs = zip(sorted(full["workers_mb"]), sorted(empty["workers_mb"]), strict=True)
            above = ", ".join(f"{most:.0f} MB ({most - least:+.0f} MB)" for most, least in pairs)
            print(
                f"  {title}: driver {full['peak_mb']:.0f} MB; workers, above empty ones: {above}", flush=True
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--base", metavar="COMMIT")
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the images are made, and kept")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        name, *arguments = options.child
        print(json.dumps(CHILDREN[name](*arguments)))
        return
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        folder, base = options.folder or scratch / "photos", None
        if not folder.exists():
            make_photos(folder, options.images)
        if options.base:
            base = scratch / "base"
            base.mkdir()
            command = ["git", "archive", options.base]
            archive = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE)
            subprocess.run(["tar", "-x", "-C", base], input=archive.stdout, check=True)
        print(f"loading {options.images:,} images of {SIZE}x{SIZE}")
        time_loading(base, f"folder:{folder}", options.pairs, scratch)
        print("two workers that read them")
        compare_workers(base, folder, scratch)
        print(f"{STEPS} steps with at most {LIMIT >> 30} GiB of memory of their own")
        for count, side, batch in ((100_000, 64, 16), (133_000, SIZE, 2)):
            result = child(ROOT, str(scratch / "cache"), "train", str(count), str(side), str(batch))
            print(f"  {count:,} x {side}x{side}: {result}", flush=True)


if __name__ == "__main__":
    main()
