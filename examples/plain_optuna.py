"""A search by plain Optuna: its sampler, its pruner and its study, over one of our spaces.

    python examples/plain_optuna.py --trials 12 --epochs 4
    optuna-dashboard sqlite:///plain_optuna.db

The constraints of the space prune a trial at once; the pruner ends those that learn slowly.
"""

import argparse

import optuna
import torch

import nas
from nas.data import load_data
from nas.training.loop import train
from nas.training.recipe import default_recipe


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--space", default="residual_vs_fractal")
    parser.add_argument("--data", default="digits")
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--storage", default="sqlite:///plain_optuna.db")
    arguments = parser.parse_args()

    dataset = load_data(arguments.data)
    recipe = default_recipe(dataset, arguments.epochs)
    space = nas.load_space(arguments.space).with_input(dataset.input_shape, dataset.num_classes)

    def objective(trial: optuna.Trial) -> float:
        genotype = space.suggest(trial)
        torch.manual_seed(trial.number)
        network = nas.build(genotype, dataset.input_shape, dataset.num_classes)

        def report(row: dict[str, float]) -> None:
            trial.report(row["val_error"], step=row["epoch"])
            if trial.should_prune():
                raise optuna.TrialPruned()

        trial.set_user_attr("genotype", genotype.to_json())
        return train(network, dataset, recipe, seed=trial.number, on_epoch=report).error

    study = optuna.create_study(
        storage=arguments.storage,
        study_name="plain_optuna",
        load_if_exists=True,
        sampler=optuna.samplers.TPESampler(seed=0, n_startup_trials=5),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=1),
    )
    study.optimize(objective, n_trials=arguments.trials)

    best = nas.Genotype.from_json(study.best_trial.user_attrs["genotype"])
    states = [trial.state.name.lower() for trial in study.trials]
    print(f"{states.count('complete')} complete, {states.count('pruned')} pruned")
    print(f"validation error {study.best_value:.2%}: {best}")
    complete = study.get_trials(states=[optuna.trial.TrialState.COMPLETE])
    always = sorted(set.intersection(*(set(trial.params) for trial in complete)))
    importances = optuna.importance.get_param_importances(study, params=always)
    for path, share in list(importances.items())[:5]:
        print(f"{share:6.1%}  {path}")


if __name__ == "__main__":
    main()
