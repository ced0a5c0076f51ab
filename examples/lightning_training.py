"""Training of an exported network by Lightning.

    nas export first --best --to exported
    python examples/lightning_training.py exported/trial-7 --data digits --epochs 5

The weights are written beside network.py as lightning.pth, a state dict of the class in network.py.
"""

import argparse
import json
import runpy
from pathlib import Path

import lightning
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from nas.data import load_data
from nas.data.dataset import Dataset


class Classifier(lightning.LightningModule):
    """A network with its loss, its optimiser and its validation error."""

    def __init__(self, network: nn.Module, rate: float = 0.01) -> None:
        super().__init__()
        self.network, self.rate = network, rate

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        images, labels = batch
        loss = F.cross_entropy(self.network(images), labels)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        images, labels = batch
        wrong = self.network(images).argmax(1) != labels
        self.log("val_error", wrong.float().mean(), prog_bar=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=self.rate)


def loader(dataset: Dataset, part: str, batch: int = 64) -> DataLoader[tuple[Tensor, ...]]:
    """Return batches of normalised images and labels of a part, "train" or "val"."""
    images = torch.tensor(getattr(dataset, f"{part}_images")[:]) / 255
    mean, std = (torch.tensor(figures).view(-1, 1, 1) for figures in (dataset.mean, dataset.std))
    labels = torch.tensor(getattr(dataset, f"{part}_labels")[:]).long()
    return DataLoader(TensorDataset((images - mean) / std, labels), batch, shuffle=part == "train")


def main() -> float:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--epochs", type=int, default=5)
    arguments = parser.parse_args()

    lightning.seed_everything(0)
    dataset = load_data(arguments.data)
    name = json.loads((arguments.folder / "config.json").read_text())["class"]
    cls = runpy.run_path(str(arguments.folder / "network.py"))[name]
    model = Classifier(cls(num_classes=dataset.num_classes, in_chans=dataset.input_shape[0]))
    trainer = lightning.Trainer(
        max_epochs=arguments.epochs, logger=False, enable_checkpointing=False, log_every_n_steps=1
    )
    trainer.fit(model, loader(dataset, "train"), loader(dataset, "val"))
    torch.save(model.network.state_dict(), arguments.folder / "lightning.pth")
    error = float(trainer.callback_metrics["val_error"])
    print(f"validation error {error:.1%}")
    return error


if __name__ == "__main__":
    main()
