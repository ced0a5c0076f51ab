"""Genotypes in JSON under atheris: nothing but a NasError may come out, and nothing may hang.

Run `pip install atheris`, then, for 20 minutes with a folder for what the fuzzer learns:

    python benchmarks/fuzz/genotype_json.py -max_total_time=1200 -len_control=0 -max_len=256 CORPUS
"""

import json
import sys

import atheris
from harness import ROOT, fuzz

sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
with atheris.instrument_imports(include=["nas"]):
    from testing.fuzzing import open_genotype

    from nas.space.load import load_space, space_names

if __name__ == "__main__":
    documents = [load_space(name).sample(seed).to_dict() for name in space_names() for seed in range(2)]
    documents.append(json.loads((ROOT / "tests" / "fixtures" / "genotype-v1.json").read_text()))
    fuzz(open_genotype, documents, json.dumps)
