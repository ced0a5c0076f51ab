"""Ray Tune's ASHA over one of our spaces, into a run folder that `nas` reads.

    python examples/tune_asha.py --name asha
    nas pareto asha

ASHA stops a network early where others of as many epochs are better; what it stopped is recorded as
stopped, and is no member of the front.
"""

import argparse

import ray
from ray import tune
from ray.tune.schedulers import ASHAScheduler

import nas
from nas.integrations.ray_tune import tune_run
from nas.training.recipe import WORKER_ENVIRONMENT


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--space", default="residual_vs_fractal")
    parser.add_argument("--data", default="digits")
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--name")
    parser.add_argument("--ray-address", default="local", help="auto, or that of a cluster to join")
    parser.add_argument("--cpus", type=int, help="of a local Ray; all by default")
    arguments = parser.parse_args()

    ours = tune_run(
        arguments.space,
        data=arguments.data,
        trials=arguments.trials,
        epochs=arguments.epochs,
        name=arguments.name,
    )
    ray.init(
        arguments.ray_address,
        num_cpus=arguments.cpus,
        include_dashboard=False,
        runtime_env={"env_vars": WORKER_ENVIRONMENT},
    )
    tuner = tune.Tuner(
        ours.trainable,
        tune_config=tune.TuneConfig(
            search_alg=ours.searcher,
            scheduler=ASHAScheduler(time_attr="epoch", max_t=ours.epochs, grace_period=1, reduction_factor=2),
            metric="val_error",
            mode="min",
            num_samples=ours.trials,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            storage_path=str(ours.folder.resolve() / "tune"),
            callbacks=[ours.recorder],
            verbose=0,
        ),
    )
    tuner.fit()

    run = nas.open_run(ours.folder)
    print(run.trials[["number", "state", "epochs", "error", "flops"]].to_string(index=False))
    print(f"best: trial {run.best().number}, {run.best().error:.2%}")
    print(f"go on with: nas pareto {run.folder}")


if __name__ == "__main__":
    main()
