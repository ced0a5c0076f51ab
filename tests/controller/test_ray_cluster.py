"""Private and joined clusters, GPU shares, and the token of a private cluster."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest
from testing.paths import ROOT

pytestmark = pytest.mark.slow


def output(code):
    """Return what another Python process prints."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
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
        from nas.controller.evaluators.ray_cluster import fitting_workers
        from nas.controller.evaluators.ray import RayEvaluator
        ray.init(address="local", num_cpus=1, num_gpus=2, include_dashboard=False, log_to_driver=False)
        assert [fitting_workers(g) for g in (0, 0.25, 0.3, 1, 2)] == [1, 8, 6, 2, 1]
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
        from nas.controller.evaluators.ray_cluster import resources_text, start_ray
        assert start_ray(workers=1)
        assert not start_ray(workers=1)
        @ray.remote
        def value():
            import elsewhere
            return elsewhere.VALUE
        print(ray.get(value.remote()), os.environ["RAY_AUTH_MODE"], len(os.environ["RAY_AUTH_TOKEN"]))
        print(resources_text())
        assert not Path({str(tmp_path)!r}, ".ray").exists()
        ray.shutdown()
    """
    assert output(code).splitlines() == ["41 token 64", "the cluster has 1 CPU and 0 GPU"]


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
