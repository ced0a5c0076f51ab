"""Start Ray or join it, quietly, and ask what fits on it."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import sys
from contextlib import suppress
from math import inf
from typing import Any

import psutil
import ray

from nas.controller.evaluators.cores import usable_cores
from nas.errors import ClusterLostError, NasError


def start_ray(address: str | None = None, workers: int | None = None) -> bool:
    """Join the cluster at `address`, or start a private one with `workers` CPU slots, by default one
    per usable core.

    A private cluster demands a token that only this process and its children know, and its workers import
    modules from where this process does. Return False if Ray was running already, and is somebody else's to
    end.
    """
    if ray.is_initialized():
        return False
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    quiet: dict[str, Any] = {
        "include_dashboard": False,
        "log_to_driver": False,
        "logging_level": logging.ERROR,
    }
    try:
        if address is None:
            # Ray demands a token by default; left alone it writes one to the home folder.
            os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
            modules = {"env_vars": {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}}
            ray.init(address="local", num_cpus=workers or usable_cores(), runtime_env=modules, **quiet)
        else:
            _check_listening(address)
            ray.init(address=address, **quiet)
    except Exception as error:  # Ray raises just that if its processes do not start in time
        hint = "start one by: ray start --head" if address else "nas search --workers 0 does without Ray"
        raise NasError(str(error), where=f"Ray at {address or 'this machine'}", hint=hint) from error
    return True


def check_ray() -> None:
    """Raise ClusterLostError if Ray's head no longer answers, such as after a signal to all processes of a
    job. Ray ends a process that asks it for something then, after a minute."""
    address = ray.get_runtime_context().gcs_address
    try:
        _check_listening(address)
    except OSError as error:
        hint = "every recorded trial is kept; continue with --resume"
        raise ClusterLostError(f"Ray has ended: {error}", where=f"Ray at {address}", hint=hint) from error


def end_ray() -> None:
    """End the Ray that this process started, even if a part of it has ended before."""
    try:
        check_ray()
    except ClusterLostError:  # the processes that are left would wait for those that have ended
        left = [child for child in psutil.Process().children(recursive=True) if _is_of_ray(child)]
        for child in left:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        psutil.wait_procs(left, timeout=5)
    ray.shutdown()


def _is_of_ray(process: psutil.Process) -> bool:
    """Whether a child of this process belongs to a node of Ray."""
    try:
        text = " ".join(process.cmdline())
    except psutil.Error:
        return False
    return any(name in text for name in ("gcs_server", "raylet", "ray::", "/ray/"))


def _check_listening(address: str) -> None:
    """Raise OSError if nothing listens at an address; Ray would end this process instead."""
    host, _, port = address.rpartition(":")
    if port.isdecimal() and "/" not in host:
        socket.create_connection((host, int(port)), timeout=10).close()


def fitting_workers(gpus_per_worker: float) -> int:
    """Return the workers that fit on the cluster: one per CPU core, or per share of a GPU."""
    resources = _resources()
    if not gpus_per_worker:
        return max(1, int(resources.get("CPU", 0)))
    gpus = int(resources.get("GPU", 0))
    if not gpus:
        raise NasError("Ray sees no GPU", hint="leave out --gpus-per-worker to train on CPU cores")
    return max(1, gpus * int(1 / gpus_per_worker) if gpus_per_worker <= 1 else int(gpus / gpus_per_worker))


def node_memory(node: str) -> float:
    """Return the bytes that Ray reserves for tasks on a node: about 70 % of what was free when it started."""
    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    resources = [entry["Resources"] for entry in nodes if entry["NodeID"] == node]
    return float(resources[0].get("memory", inf)) if resources else inf


def resources_text() -> str:
    """Return the resources of the cluster in words, for messages."""
    resources = _resources()
    return f"the cluster has {resources.get('CPU', 0):g} CPU and {resources.get('GPU', 0):g} GPU"


def _resources() -> dict[str, float]:
    return dict(ray.cluster_resources())  # type: ignore[no-untyped-call]
