"""Start Ray or join it, quietly, and ask what fits on it."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from math import inf
from typing import Any

import psutil
import ray
from ray.exceptions import AuthenticationError

from nas.controller.evaluators.base import Devices
from nas.controller.evaluators.cores import usable_cores
from nas.controller.evaluators.ray_folder import RayFolder
from nas.errors import ClusterLostError, NasError

QUIET: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False, "logging_level": logging.ERROR}


_folder: RayFolder | None = None
"""Folder of the private cluster that this process started."""


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
    try:
        if address is not None:
            _join(address)
        else:
            try:
                _start_private(workers)
            except NasError:  # Ray allows 30 s, in which a busy machine may just have read its files
                end_ray()
                _start_private(workers)
        _own_raylet(ray.get_runtime_context().get_node_id())
    except BaseException:
        end_ray()
        raise
    return True


def _start_private(workers: int | None) -> None:
    global _folder
    # Ray demands a token by default; left alone it writes one to the home folder.
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    modules = {"env_vars": {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}}
    _folder = RayFolder()
    before = os.environ.get("RAY_TMPDIR")
    os.environ["RAY_TMPDIR"] = str(_folder.path)
    try:
        with _signal_handler_kept(), _children_killed_if_not_begun():
            ray.init(address="local", num_cpus=workers or usable_cores(), runtime_env=modules, **QUIET)
    except Exception as error:  # Ray raises just that if its processes do not start in time
        hint = "nas search --workers 0, and nas train on one device, do without Ray"
        raise NasError(str(error), where="Ray at this machine", hint=hint) from error
    finally:
        del os.environ["RAY_TMPDIR"]
        os.environ |= {"RAY_TMPDIR": before} if before else {}


def _join(address: str) -> None:
    """Join a cluster. Ray says only on the screen, and for 20 s, that a token is wrong; so that is caught."""
    where, said = f"Ray at {address}", ""
    try:
        _check_listening(address)
        with _signal_handler_kept(), _stderr_of_process() as said_so_far:
            try:
                ray.init(address=address, **QUIET)
            finally:
                said = said_so_far()
    except Exception as error:
        if isinstance(error, AuthenticationError) or "InvalidAuthToken" in said:
            message = "the cluster demands a token, and this process has none or another"
            hint = "export RAY_AUTH_MODE=token and RAY_AUTH_TOKEN=$(ssh HEAD ray get-auth-token)"
            raise NasError(message, where=where, hint=hint) from error
        raise NasError(str(error), where=where, hint="start one by: ray start --head") from error


@contextmanager
def _signal_handler_kept() -> Iterator[None]:
    """Put back the handler of SIGTERM, for which Ray installs one that exits with code 15."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if before is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


@contextmanager
def _children_killed_if_not_begun() -> Iterator[None]:
    """Kill the processes begun inside if Ray does not begin: it may not know them all yet, and one that was
    only just forked bears no name of Ray's yet, but would write into the folder that is removed."""
    before = set(psutil.Process().children(recursive=True))
    try:
        yield
    finally:
        if not ray.is_initialized():
            _kill(set(psutil.Process().children(recursive=True)) - before)


@contextmanager
def _stderr_of_process() -> Iterator[Callable[[], str]]:
    """Catch what this process writes to stderr, also from C++; yield a function that returns it."""
    with tempfile.TemporaryFile() as file:

        def text() -> str:
            file.seek(0)
            return file.read().decode(errors="replace")

        stderr = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield text
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def check_ray() -> None:
    """Raise ClusterLostError if Ray's head or the raylet of this machine no longer answers, such as after a
    signal to all processes of a job. Ray ends a process that asks it for something then."""
    context = ray.get_runtime_context()
    parts = {"head": context.gcs_address, "raylet": _own_raylet(context.get_node_id())}
    for name, address in parts.items():
        try:
            _check_listening(address)
        except OSError as error:
            message = f"Ray has ended, its {name} no longer answers ({error.strerror or error})"
            hint = "every recorded trial is kept; continue with --resume"
            raise ClusterLostError(message, where=f"Ray at {address}", hint=hint) from error


@cache
def _own_raylet(node: str) -> str:
    """Return the address of the raylet of this machine; asked first while Ray is known to live."""
    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    [own] = [entry for entry in nodes if entry["NodeID"] == node]
    return f"{own['NodeManagerAddress']}:{own['NodeManagerPort']}"


def end_ray() -> None:
    """End the Ray that this process started, and its processes, even if a part of it has ended before."""
    global _folder
    children = psutil.Process().children(recursive=True) if _folder else []  # it is a private one
    processes = [child for child in children if _is_of_ray(child)]
    try:
        if ray.is_initialized():
            check_ray()
    except ClusterLostError:  # the processes that are left would wait for those that have ended
        _kill(processes)
    ray.shutdown()
    _, left = psutil.wait_procs(processes, timeout=5)
    _kill(left)
    if _folder is not None:
        _folder.remove()
        _folder = None


def _kill(processes: Collection[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, timeout=5)


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


def fitting_workers(devices: Devices) -> int:
    """Return the workers that fit on the nodes of the cluster. NasError if there are no such GPUs."""
    if not devices.gpus:
        return max(1, sum(int(there) // devices.cpus for there in _by_node("CPU")))
    there = [int(gpus) for gpus in _by_node("GPU")]
    if not any(there):
        raise NasError("Ray sees no GPU", hint="leave out --gpus-per-worker to train on CPU cores")
    if devices.gpus > max(there):
        message = f"{devices.gpus:g} GPUs per worker are asked for, and no node has more than {max(there)}"
        raise NasError(message, where="gpus-per-worker", hint="a candidate trains on GPUs of one node")
    return sum(
        gpus * int(1 / devices.gpus) if devices.gpus <= 1 else gpus // devices.processes for gpus in there
    )


def _by_node(resource: str) -> list[float]:
    """Return how much of a resource each living node has."""
    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    return [node["Resources"].get(resource, 0) for node in nodes if node["Alive"]]


def has_gpu() -> bool:
    """Return whether the cluster has a GPU."""
    return bool(_resources().get("GPU"))


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
