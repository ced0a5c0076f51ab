"""Private and joined clusters, GPU shares, and the token of a private cluster."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import pytest
from testing.paths import ROOT

from nas.controller.evaluators import ray_folder
from nas.controller.evaluators.ray_folder import RayFolder
from nas.errors import NasError

pytestmark = pytest.mark.slow


STRANGER = """
def stranger(address):
    \"\"\"Search on a cluster without its token; return what is said, and the runs that are left.\"\"\"
    import os, subprocess, sys, tempfile
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "HOME": folder, "RAY_NUM_REDIS_GET_RETRIES": "2"}
        del environment["RAY_AUTH_TOKEN"], environment["RAY_AUTH_MODE"]
        command = [sys.executable, "-m", "nas", "search", "--space", "residual_vs_fractal", "--trials", "1"]
        command += ["--results-dir", folder + "/results", "--ray-address", address]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        left = os.listdir(folder + "/results")
        assert done.returncode == 2, done.stderr
        return done.stderr[done.stderr.index("error:"):] + str(left)
"""


def output(code, **environment):
    """Return what another Python process prints."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
        env=os.environ | environment,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_missing_cluster_is_an_error_that_names_the_address():
    code = """
        from nas.errors import NasError
        from nas.controller.evaluators.ray import RayEvaluator
        try:
            RayEvaluator(None, None, address="127.0.0.1:1")
        except NasError as error:
            print(error)
    """
    assert "Ray at 127.0.0.1:1: [Errno 111] Connection refused" in output(code)


def test_four_workers_share_one_gpu():
    code = """
        import ray
        from nas.controller.evaluators.base import Result, Task
        from nas.controller.evaluators.base import Devices
        from nas.controller.evaluators.ray_cluster import fitting_workers
        from nas.controller.evaluators.ray import RayEvaluator
        from nas.errors import NasError
        ray.init(address="local", num_cpus=1, num_gpus=2, include_dashboard=False, log_to_driver=False)
        assert [fitting_workers(Devices(g)) for g in (0, 0.25, 0.3, 1, 2)] == [1, 8, 6, 2, 1]
        try:
            fitting_workers(Devices(3))
        except NasError as error:
            assert error.message == "3 GPUs per worker are asked for, and no node has more than 2"
        try:
            group = RayEvaluator(None, None, gpus_per_worker=2)
            group.submit(Task(0, None, 0))
            group.wait()
        except NasError as error:  # each process asks for its own of the two GPUs, and torch has none here
            assert "the worker cannot start: " in error.message, error
            assert "cuda" in error.message.lower(), error
            group.close()
        def trainer(task, dataset, recipe, device, on_epoch, on_batch):
            import time
            time.sleep(0.5)
            return Result(task.number, "complete", message=device + str(ray.get_gpu_ids()))
        evaluator = RayEvaluator(None, None, workers=4, gpus_per_worker=0.25, trainer=trainer)
        for number in range(4):
            evaluator.submit(Task(number, None, 0))
        results = []
        while len(results) < 4:
            results += evaluator.wait()
        print(sorted(result.message for result in results))
        evaluator.close()
        assert ray.is_initialized()
    """
    assert output(code).strip() == str(["cuda[0]"] * 4)


def test_private_cluster_is_quiet_demands_a_token_and_shares_the_import_path(tmp_path):
    (tmp_path / "elsewhere.py").write_text("VALUE = 41")
    code = f"""
        import os, sys
        from pathlib import Path
        sys.path.append({str(tmp_path)!r})
        os.environ["HOME"] = {str(tmp_path)!r}
        import ray
        from nas.controller.evaluators.ray_cluster import end_ray, resources_text, start_ray
        assert start_ray(workers=1)
        assert not start_ray(workers=1)
        @ray.remote
        def value():
            import elsewhere
            return elsewhere.VALUE
        print(ray.get(value.remote()), os.environ["RAY_AUTH_MODE"], len(os.environ["RAY_AUTH_TOKEN"]))
        print(resources_text())
        assert not Path({str(tmp_path)!r}, ".ray").exists()
        [folder] = Path(os.environ["TMPDIR"]).glob("nas-ray-*")
        [session] = folder.glob("ray/session_*_*")
        assert (folder.stat().st_mode & 0o777, "RAY_TMPDIR" in os.environ) == (0o700, False)
        print(stranger(ray.get_runtime_context().gcs_address))
        end_ray()
        assert not folder.exists()
    """
    with tempfile.TemporaryDirectory() as short:
        said = output(STRANGER + textwrap.dedent(code), TMPDIR=short).splitlines()
    assert said[:2] == ["41 token 64", "the cluster has 1 CPU and 0 GPU"]
    assert "the cluster demands a token, and this process has none or another" in said[2]
    assert "RAY_AUTH_TOKEN" in said[3]
    assert said[4:] == ["[]"]


def test_a_node_that_joins_takes_work_and_one_that_leaves_loses_none():
    code = """
        import os, secrets, time
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
        import ray
        from ray.cluster_utils import Cluster
        from nas.controller.evaluators.base import Result, Task
        from nas.controller.evaluators.ray import RayEvaluator
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        ray.init(address=cluster.address, log_to_driver=False)
        def trainer(task, dataset, recipe, device, on_epoch, on_batch):
            import time
            for _ in range(10):
                time.sleep(task.seed / 10)
                on_batch()
            return Result(task.number, "complete", message=ray.get_runtime_context().get_node_id())
        evaluator = RayEvaluator(None, None, trainer=trainer)
        assert evaluator.slots == 1
        def submit(count, seconds):
            for number in range(count):
                evaluator.submit(Task(number, None, seconds))
        def results(count):
            found = []
            while len(found) < count:
                found += evaluator.wait(1.0)
            return found
        submit(1, 0)
        head = results(1)[0].message
        second = cluster.add_node(num_cpus=1)
        joined, until = {head}, time.monotonic() + 90
        while len(joined) < 2 and time.monotonic() < until:
            submit(2, 1)
            joined |= {result.message for result in results(2)}
        print("found", evaluator.slots, len(joined))
        submit(2, 4)
        evaluator.wait(1.0)
        cluster.remove_node(second, allow_graceful=False)
        left = results(2)
        print("found", sorted((result.number, result.state) for result in left))
        print("found", sum(result.retries for result in left), {result.message for result in left} == {head})
        evaluator.close()
        ray.shutdown()
        cluster.shutdown()
    """
    lines = [line.removeprefix("found ") for line in output(code).splitlines() if line.startswith("found ")]
    assert lines == ["2 2", "[(0, 'complete'), (1, 'complete')]", "1 True"]


@pytest.fixture
def places(monkeypatch):
    """A folder with a short path as TMPDIR."""
    with tempfile.TemporaryDirectory() as short:
        monkeypatch.setenv("TMPDIR", short)
        monkeypatch.delenv("RAY_TMPDIR", raising=False)
        yield Path(short)


def test_rays_folder_is_for_this_user_alone_in_a_place_with_a_short_path(places, monkeypatch, tmp_path):
    long = tmp_path / ("x" * 60)
    long.mkdir()
    monkeypatch.setenv("RAY_TMPDIR", str(long))
    folder = RayFolder()
    assert folder.path.parent == places
    assert folder.path.stat().st_mode & 0o777 == 0o700
    assert len(f"{folder.path}/ray/session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store") <= 103
    folder.remove()
    assert not list(places.iterdir())
    monkeypatch.setattr(ray_folder, "LONGEST", ray_folder.SOCKETS)
    with pytest.raises(NasError, match="name a folder of yours by RAY_TMPDIR"):
        RayFolder()


def test_a_folder_is_removed_though_a_process_that_is_ending_still_writes_into_it(places, monkeypatch):
    folder, remove, late = RayFolder(), os.rmdir, iter(["gcs_server_port"])
    (session := folder.path / "session").mkdir()

    def written_into(path, **settings):
        for name in late:
            (session / name).touch()
        remove(path, **settings)

    monkeypatch.setattr(os, "rmdir", written_into)
    folder.remove()
    assert not list(places.iterdir())


def test_folders_of_killed_searches_are_removed_and_those_of_living_ones_are_not(places):
    living, killed, fresh = RayFolder(), places / "nas-ray-killed", places / "nas-ray-fresh"
    for path in (killed, fresh):
        path.mkdir()
    for path in (killed, living.path):
        os.utime(path, (time.time() - 3600,) * 2)
    RayFolder().remove()
    assert {*places.iterdir()} == {living.path, fresh}
    living.remove()
