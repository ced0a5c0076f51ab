"""The degradation experiment of He et al. (2015): does depth alone hurt?

    python examples/degradation.py --data cifar10?limit=4000 --epochs 8 --to degradation

Trains plain and residual networks of 20 and 56 layers under one recipe, and writes the curves of
training error (dashed) and validation error (solid) as curves.csv and curves.png. The test images are not
looked at. Each network is trained once, so nothing is said about chance.
"""

import argparse
import csv
from pathlib import Path

import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

import nas
from nas.data import load_data
from nas.training.loop import train
from nas.training.recipe import default_recipe
from nas.zoo import zoo_entry

FAMILIES = {"plain": ("plain20", "plain56"), "residual": ("resnet20", "resnet56")}
COLUMNS = ("network", "epoch", "train_loss", "train_error", "val_loss", "val_error")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", default="digits", help="images with classes, as for nas search")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--to", type=Path, default=Path("degradation"), help="folder for table and plot")
    arguments = parser.parse_args()

    dataset = load_data(arguments.data, seed=arguments.seed)
    recipe = default_recipe(dataset, arguments.epochs)
    curves = {}
    for name in (name for pair in FAMILIES.values() for name in pair):
        torch.manual_seed(arguments.seed)
        network = nas.build(zoo_entry(name).build(), dataset.input_shape, dataset.num_classes)

        def report(row: dict[str, float], name: str = name) -> None:
            errors = f"training error {row['train_error']:.2%}, validation error {row['val_error']:.2%}"
            print(f"{name} epoch {row['epoch']}/{recipe.epochs}: {errors}")

        result = train(
            network, dataset, recipe, seed=arguments.seed, device=arguments.device, on_epoch=report
        )
        curves[name] = result.curve
        if result.diverged:
            print(f"{name} diverged: its curve ends after {len(result.curve)} epochs")

    arguments.to.mkdir(parents=True, exist_ok=True)
    write_table(curves, arguments.to / "curves.csv")
    images = f"{len(dataset.train_labels):,} training images, {recipe.epochs} epochs"
    draw(curves, f"{dataset.name}: {images}", arguments.to / "curves.png")
    for shallow, deep in FAMILIES.values():
        print(sentence(curves, shallow, deep))


def sentence(curves, shallow: str, deep: str) -> str:
    """Say which way a pair came out, by the errors after the last epoch."""
    if len({len(curves[name]) for name in (shallow, deep)}) > 1 or not curves[deep]:
        return f"{shallow} and {deep} are not compared: one diverged."
    parts = []
    for label, key in (("training", "train_error"), ("validation", "val_error")):
        before, after = (curves[name][-1][key] for name in (shallow, deep))
        word = "an equal" if before == after else "a higher" if after > before else "a lower"
        parts.append(f"{word} {label} error ({after:.2%} against {before:.2%})")
    return f"Beside {shallow}, {deep} has {parts[0]} and {parts[1]}."


def write_table(curves, file: Path) -> None:
    with file.open("w", newline="") as stream:
        table = csv.DictWriter(stream, COLUMNS, extrasaction="ignore", lineterminator="\n")
        table.writeheader()
        for name, rows in curves.items():
            table.writerows({"network": name, **row} for row in rows)


def draw(curves, title: str, file: Path) -> None:
    figure = Figure(figsize=(8.4, 4), layout="constrained")
    panels = figure.subplots(1, len(FAMILIES), sharex=True, sharey=True)
    for axes, (family, names) in zip(panels, FAMILIES.items(), strict=True):
        for name, colour in zip(names, ("#0072B2", "#E69F00"), strict=True):
            epochs = [row["epoch"] for row in curves[name]]
            for kind, key, style in (("training", "train_error", "--"), ("validation", "val_error", "-")):
                errors = [100 * row[key] for row in curves[name]]
                axes.plot(
                    epochs, errors, style, color=colour, marker="o", markersize=3, label=f"{name}, {kind}"
                )
        axes.set(title=family, xlabel="epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(fontsize=8)
    panels[0].set_ylabel("error, %")
    figure.suptitle(title, fontsize=10, x=0.01, ha="left")
    figure.savefig(file, dpi=160)


if __name__ == "__main__":
    main()
