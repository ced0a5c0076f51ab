"""Matrix of exported networks against what people do with a PyTorch model, with the reason of each failure.

    python benchmarks/export_matrix.py [--random 20] [--networks resnet18 …] [--timeout 600] [--json FILE]

Networks that FILE holds already are not tried again, so a run that was cut goes on.

Networks are those of the zoo and random ones of the space that holds every module type, those with the
fewest FLOPs first. Each is written as a file, imported by a forked process of its own, and put through every
check on small images. Checks whose packages are not installed are skipped by name. Outputs of inference are
compared with those of eager mode.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import importlib.util
import json
import multiprocessing
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

TOLERANCE, COARSE = 1e-3, 0.5
"""Largest deviation, relative to the largest output, of exact forms and of 8-bit ones with random weights."""
OUTCOMES = "outcomes.jsonl"
TRAINING = ("train_step", "bf16", "checkpointing", "timm_loop", "torch_pruning")
"""Checks that need gradients."""


class Case(NamedTuple):
    """Network in evaluation, images for it, its outputs for them, and a folder for files."""

    network: nn.Module
    images: Tensor
    expected: Tensor
    folder: Path


Check = Callable[[Case], Tensor | None]
CHECKS: dict[str, tuple[Check, tuple[str, ...], float]] = {}


def check(*packages: str, tolerance: float = TOLERANCE) -> Callable[[Check], Check]:
    """Register a check under the name of its function, with the packages that it needs."""

    def register(function: Check) -> Check:
        CHECKS[function.__name__] = (function, packages, tolerance)
        return function

    return register


def step(network: nn.Module, images: Tensor, optimizer: Any = None) -> None:
    """Take one step of training and look at the gradients."""
    network.train()
    optimizer = optimizer or torch.optim.SGD(network.parameters(), lr=0.01)
    output = network(images)
    scores = output if isinstance(output, Tensor) else output[0]
    loss = scores.float().logsumexp(1).mean()
    loss.backward()
    if not loss.isfinite() or not any(p.grad is not None for p in network.parameters()):
        raise ArithmeticError("no finite loss")
    optimizer.step()


@check()
def eager(case: Case) -> Tensor:
    return case.network(case.images)


@check()
def train_step(case: Case) -> None:
    step(copy.deepcopy(case.network), case.images)


@check()
def bf16(case: Case) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        step(copy.deepcopy(case.network), case.images)


@check()
def channels_last(case: Case) -> Tensor:
    network = copy.deepcopy(case.network).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network(case.images.contiguous(memory_format=torch.channels_last))


@check()
def checkpointing(case: Case) -> None:
    network: Any = copy.deepcopy(case.network)
    network.set_grad_checkpointing()
    step(network, case.images)


@check()
def pickling(case: Case) -> Tensor:
    torch.save(case.network, case.folder / "network.pt")
    return torch.load(case.folder / "network.pt", weights_only=False)(case.images)


@check()
def script(case: Case) -> Tensor:
    return torch.jit.script(case.network)(case.images)


@check()
def trace(case: Case) -> Tensor:
    return torch.jit.trace(case.network, case.images)(case.images)


@check()
def export(case: Case) -> Tensor:
    shapes = ({0: torch.export.Dim("batch")},)
    return torch.export.export(case.network, (case.images,), dynamic_shapes=shapes).module()(case.images)


@check()
def compile_full_graph(case: Case) -> Tensor:
    return torch.compile(case.network, backend="aot_eager", fullgraph=True)(case.images)


def onnx_file(case: Case) -> str:
    """Return the path of the network as ONNX, which is written once."""
    file = case.folder / "network.onnx"
    if not file.exists():
        shapes = ({0: torch.export.Dim("batch")},)
        options: Any = {"dynamo": True, "external_data": False, "verbose": False}
        torch.onnx.export(case.network, (case.images,), str(file), dynamic_shapes=shapes, **options)
    return str(file)


def run_onnx(file: Any, images: Tensor) -> Tensor:
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {session.get_inputs()[0].name: images.numpy()})[0])


@check("onnx", "onnxscript", "onnxruntime")
def onnx_runtime(case: Case) -> Tensor:
    return run_onnx(onnx_file(case), case.images)


@check("onnx", "onnxscript", "onnxruntime", "onnxsim")
def onnx_simplifier(case: Case) -> Tensor:
    import onnx
    import onnxsim

    model, agrees = onnxsim.simplify(onnx.load(onnx_file(case)))
    if not agrees:
        raise ArithmeticError("onnxsim finds other outputs")
    return run_onnx(model.SerializeToString(), case.images)


@check("onnx", "onnxscript", "onnxruntime", tolerance=COARSE)
def onnx_int8(case: Case) -> Tensor:
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, quantize_static

    left = [{onnx.load(onnx_file(case)).graph.input[0].name: case.images.numpy()}]

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> Any:
            return left.pop() if left else None

    quantize_static(onnx_file(case), str(case.folder / "int8.onnx"), Reader())
    return run_onnx(str(case.folder / "int8.onnx"), case.images)


@check(tolerance=COARSE)
def fx_quantisation(case: Case) -> Tensor:
    from torch.ao.quantization import get_default_qconfig_mapping
    from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx

    mapping = get_default_qconfig_mapping("x86")
    prepared = prepare_fx(copy.deepcopy(case.network), mapping, (case.images,))
    prepared(case.images)
    return convert_fx(prepared)(case.images)


@check("torchao", tolerance=COARSE)
def pt2e_quantisation(case: Case) -> Tensor:
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
    from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86

    quantizer = x86.X86InductorQuantizer()
    quantizer.set_global(x86.get_default_x86_inductor_quantization_config())
    prepared = prepare_pt2e(torch.export.export(case.network, (case.images,)).module(), quantizer)
    prepared(case.images)
    return convert_pt2e(prepared)(case.images)


@check("onnx", "onnxscript", "openvino")
def openvino(case: Case) -> Tensor:
    import openvino as ov

    core = ov.Core()
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(core.read_model(onnx_file(case)), "CPU", options)
    return torch.from_numpy(compiled(case.images.numpy())[0])


@check("executorch")
def executorch(case: Case) -> None:
    from executorch.exir import to_edge

    program = to_edge(torch.export.export(case.network, (case.images,))).to_executorch()
    if not program.buffer:
        raise ValueError("an empty program")


@check("torch_pruning")
def torch_pruning(case: Case) -> None:
    import torch_pruning as tp

    network: Any = copy.deepcopy(case.network)
    before = sum(p.numel() for p in network.parameters())
    options = {"pruning_ratio": 0.5, "ignored_layers": [network.get_classifier()]}
    tp.pruner.MagnitudePruner(network, case.images, tp.importance.MagnitudeImportance(), **options).step()
    if network(case.images).shape != case.expected.shape:
        raise ValueError("another shape of outputs")
    if sum(p.numel() for p in network.parameters()) >= before:
        raise ValueError("nothing was pruned")


@check("timm")
def timm_loop(case: Case) -> None:
    import timm.optim
    import timm.utils

    network: Any = copy.deepcopy(case.network)
    average = timm.utils.ModelEmaV3(network)
    step(network, case.images, timm.optim.create_optimizer_v2(network, opt="lamb", lr=1e-3))
    average.update(network)
    maps = network.forward_intermediates(case.images, indices=2, intermediates_only=True)
    if case.expected.dim() == 2:
        network.reset_classifier(0, "")
        if network.eval()(case.images).shape != maps[-1].shape:
            raise ValueError("the features have another shape than the last feature map")


def outcome(name: str, case: Case) -> str:
    """Return "ok", "skipped: …" or the reason of the failure."""
    function, packages, tolerance = CHECKS[name]
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        return f"skipped: no {', '.join(missing)}"
    try:
        output = function(case)
        if output is None:
            return "ok"
        difference = float((output.detach() - case.expected).abs().max() / case.expected.abs().max())
        return "ok" if difference <= tolerance else f"outputs differ by {difference:.1%}"
    except Exception as error:
        return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"[:200]


def run_one(file: Path, shape: tuple[int, ...]) -> None:
    """Write one line of JSON per check of the network in a file beside it."""
    spec = importlib.util.spec_from_file_location("exported_network", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    torch.manual_seed(0)
    *_, cls = (value for value in vars(module).values() if isinstance(value, type))
    network = cls().eval()
    images = torch.randn(2, *shape)
    with torch.no_grad():
        case = Case(network, images, network(images), file.parent)
    with file.with_name(OUTCOMES).open("w") as lines:
        for name in CHECKS:
            with torch.set_grad_enabled(name in TRAINING):
                print(json.dumps([name, outcome(name, case)]), file=lines, flush=True)


def networks(names: list[str], count: int) -> dict[str, Any]:
    """Return the graphs of zoo networks, all unless named, and of random ones, on small images that fit."""
    from nas.errors import NasError
    from nas.graph.cost import cost
    from nas.space.genotype import expand
    from nas.space.load import load_space
    from nas.zoo import zoo

    graphs = {}
    for entry in zoo().values():
        if not names or entry.name in names:
            channels, *size = entry.input_shape
            for pixels in (64, 128, max(size)):
                with contextlib.suppress(NasError):  # a window does not fit
                    shape = (channels, *(min(pixels, side) for side in size))
                    graphs[entry.name] = expand(entry.build(), shape, entry.num_classes)
                    break
    space = load_space("all_modules")
    graphs |= {f"random-{seed}": expand(space.sample(seed)) for seed in range(count)}
    return dict(sorted(graphs.items(), key=lambda item: cost(item[1]).flops))


def measure(graph: Any, timeout: float) -> dict[str, str]:
    """Return the outcome of every check of one network, in a process of its own."""
    from nas.codegen.source import source

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "network.py"
        file.write_text(source(graph))
        process = multiprocessing.get_context("fork").Process(target=run_one, args=(file, graph.input_shape))
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            process.join()
            reason = f"not within {timeout:g} s"
        else:
            reason = f"the process ended with {process.exitcode}"
        printed = file.with_name(OUTCOMES)
        lines = printed.read_text().splitlines() if printed.exists() else []
    outcomes = dict(json.loads(line) for line in lines)
    return {name: outcomes.get(name, reason) for name in CHECKS}


def load_packages() -> None:
    """Import the packages of the checks once, for all processes that are forked."""
    for package in dict.fromkeys(name for _, packages, _ in CHECKS.values() for name in packages):
        with contextlib.suppress(ImportError):
            importlib.import_module(package)


def table(outcomes: dict[str, dict[str, str]]) -> str:
    """Return the matrix by check: how many networks passed, and the reasons of those that did not."""
    lines = ["| check | ok | failed | skipped | reasons |", "|---|---|---|---|---|"]
    for name in CHECKS:
        column = {network: row[name] for network, row in outcomes.items()}
        ok = sum(result == "ok" for result in column.values())
        skipped = sum(result.startswith("skipped") for result in column.values())
        reasons: dict[str, list[str]] = {}
        for network, result in column.items():
            if result != "ok":
                reasons.setdefault(result, []).append(network)
        shown = "; ".join(
            f"{reason} ({', '.join(of[:4])}{' …' * (len(of) > 4)})" for reason, of in reasons.items()
        )
        lines.append(f"| {name} | {ok} | {len(column) - ok - skipped} | {skipped} | {shown} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--random", type=int, default=20)
    parser.add_argument("--networks", nargs="*", default=[])
    parser.add_argument("--timeout", type=float, default=600.0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    load_packages()
    outcomes: dict[str, dict[str, str]] = {}
    if options.json and options.json.exists():
        outcomes = json.loads(options.json.read_text())
    for name, graph in networks(options.networks, options.random).items():
        if name in outcomes:
            continue
        outcomes[name] = measure(graph, options.timeout)
        passed = sum(result == "ok" for result in outcomes[name].values())
        print(f"{name}: {passed} of {len(CHECKS)}", file=sys.stderr, flush=True)
        if options.json:
            options.json.write_text(json.dumps(outcomes, indent=1) + "\n")
    print(f"torch {torch.__version__}, {len(outcomes)} networks\n\n{table(outcomes)}")


if __name__ == "__main__":
    main()
