"""Types at equal values of several complexities, on networks whose truth is known."""

import json

import numpy as np
import pandas as pd
import pytest

from nas.analysis.complexities import at_equal, at_equal_list, at_equal_text
from nas.errors import NasError


def trials(count=400, seed=0):
    """Grouped networks need fewer FLOPs than parameters say: at equal FLOPs they are worse, at equal
    parameters better."""
    rng = np.random.default_rng(seed)
    grouped = rng.random(count) < 0.5
    flops = np.exp(rng.normal(16, 0.6, count))
    params = flops / 100 * np.where(grouped, 0.6, 1.0)
    error = 0.9 - 0.04 * np.log(flops) + 0.01 * grouped + rng.normal(0, 0.005, count)
    return pd.DataFrame(
        {
            "state": "complete",
            "error": error,
            "flops": flops,
            "params": params,
            "activations": np.sqrt(flops),
            "latency": np.nan,
            "digest": [str(at) for at in range(count)],
            "blocks": [("resnext" if g else "plain",) * 3 for g in grouped],
            "design": [{}] * count,
            "uniform": True,
            "seed": range(count),
        }
    )


def test_the_sign_may_depend_on_what_is_held_equal_and_this_is_said():
    flops, params = at_equal(trials(), ("flops", "params"))
    assert flops.differences[0].effect.value == pytest.approx(0.01, abs=0.002)
    expected = 0.01 + 0.04 * np.log(0.6)  # of equal parameters, a grouped network has more FLOPs
    assert params.differences[0].effect.value == pytest.approx(expected, abs=0.002)
    assert all(each.differences[0].p < 1e-6 for each in (flops, params))
    text = " ".join(at_equal_text([flops, params]).split())
    assert "The sign depends on what is held equal: plain -> resnext." in text
    assert "plain -> resnext FLOPs 1." in text
    assert "parameters -1." in text


def test_distributions_are_normalised_by_the_complexity():
    flops, params = at_equal(trials(), ("flops", "params"))
    medians = {
        each.complexity: {name: curve.x[np.searchsorted(curve.y, 0.5)] for name, curve in each.edfs.items()}
        for each in (flops, params)
    }
    assert medians["flops"]["resnext"] > medians["flops"]["plain"]
    assert medians["params"]["resnext"] < medians["params"]["plain"]


def test_json_holds_every_contrast_and_no_nan():
    found = json.loads(json.dumps(at_equal_list(at_equal(trials(30), ("activations",))), allow_nan=False))
    assert [each["complexity"] for each in found] == ["activations"]
    assert found[0]["contrasts"][0]["a"] == "plain"


def test_what_was_not_measured_and_what_is_paired_are_refused():
    with pytest.raises(NasError, match="latency") as error:
        at_equal(trials(), ("latency",))
    assert "--objectives error,latency" in error.value.hint
    with pytest.raises(NasError, match="paired"):
        at_equal(trials().assign(design=[{"design": "paired", "context": 0}] * 400), ("params",))
