"""Training of an exported network by Accelerate, on as many devices as `accelerate launch` starts.

    nas export first --best --to exported
    accelerate launch examples/accelerate_training.py exported/trial-7 --data digits --epochs 5

The weights are written beside network.py as accelerate.pth, a state dict of the class in network.py.
"""

import argparse
import json
import runpy
from pathlib import Path

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch.utils.data import DataLoader, TensorDataset

from nas.data import load_data
from nas.data.dataset import Dataset


def tensors(dataset: Dataset, part: str) -> TensorDataset:
    """Return normalised images and labels of a part, "train" or "val"."""
    images = torch.tensor(getattr(dataset, f"{part}_images")[:]) / 255
    mean, std = (torch.tensor(figures).view(-1, 1, 1) for figures in (dataset.mean, dataset.std))
    labels = torch.tensor(getattr(dataset, f"{part}_labels")[:]).long()
    return TensorDataset((images - mean) / std, labels)


def main() -> float:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--epochs", type=int, default=5)
    arguments = parser.parse_args()

    set_seed(0)
    dataset = load_data(arguments.data)
    name = json.loads((arguments.folder / "config.json").read_text())["class"]
    cls = runpy.run_path(str(arguments.folder / "network.py"))[name]
    network = cls(num_classes=dataset.num_classes, in_chans=dataset.input_shape[0])

    accelerator = Accelerator()
    network, optimizer, training, validation = accelerator.prepare(
        network,
        torch.optim.AdamW(network.parameters(), lr=0.01),
        DataLoader(tensors(dataset, "train"), batch_size=64, shuffle=True),
        DataLoader(tensors(dataset, "val"), batch_size=64),
    )
    for epoch in range(arguments.epochs):
        network.train()
        for images, labels in training:
            optimizer.zero_grad()
            accelerator.backward(F.cross_entropy(network(images), labels))
            optimizer.step()
        network.eval()
        wrong, count = 0, 0
        for images, labels in validation:
            with torch.no_grad():
                answers, truth = accelerator.gather_for_metrics((network(images).argmax(1), labels))
            wrong += int((answers != truth).sum())
            count += len(truth)
        accelerator.print(f"epoch {epoch + 1}: validation error {wrong / count:.1%}")
    state = accelerator.unwrap_model(network).state_dict()
    accelerator.save(state, arguments.folder / "accelerate.pth")
    return wrong / count


if __name__ == "__main__":
    main()
