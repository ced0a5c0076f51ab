"""Make the pictures of the pages that no recorded command makes: python scripts/pictures.py

resnet20.png is the drawing of a network of the zoo, front_cifar10.png the front of the published study on
CIFAR-10, report.png the first screen of its report, as chromium shows it.
The pictures of the tutorials are made by scripts/record_docs.py.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from pathlib import Path

from PIL import Image

import nas
from nas.space.genotype import expand
from nas.visualization.network import draw
from nas.visualization.plots import plot_front
from nas.zoo import zoo_entry

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "pictures"
STUDY = ROOT / "results" / "published" / "five_types_cifar10" / "main"
SCREEN = (1000, 1500)
"""Width and height of the screen in pixels."""


def main() -> None:
    draw(expand(zoo_entry("resnet20").build(), (3, 32, 32), 10), PICTURES / "resnet20.png", "resnet20")
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        shutil.copytree(STUDY, Path("results") / "five_types")  # commands on the page then name no folder
        run = nas.open_run("five_types")
        plot_front(run.study, PICTURES / "front_cifar10.png", expected=run.expected(("flops", "error")))
        page = nas.report(run, Path(folder) / "report.html")
        size = f"--window-size={SCREEN[0]},{SCREEN[1]}"
        picture = f"--screenshot={PICTURES / 'report.png'}"
        options = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars")
        subprocess.run(["chromium", *options, size, picture, page.as_uri()], check=True, capture_output=True)
    for name in ("resnet20.png", "front_cifar10.png", "report.png"):
        Image.open(PICTURES / name).convert("P", palette=Image.Palette.ADAPTIVE).save(
            PICTURES / name, optimize=True
        )


if __name__ == "__main__":
    main()
