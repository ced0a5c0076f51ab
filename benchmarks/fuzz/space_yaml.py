"""Search spaces in YAML under atheris: nothing but a NasError may come out, and nothing may hang.

Run `pip install atheris`, then, for 20 minutes with a folder for what the fuzzer learns:

    python benchmarks/fuzz/space_yaml.py -max_total_time=1200 -len_control=0 -max_len=256 CORPUS
"""

import sys

import atheris
from harness import ROOT, fuzz

sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
with atheris.instrument_imports(include=["nas"]):
    import yaml
    from testing.fuzzing import open_space

    from nas.space.load import load_space, space_names

if __name__ == "__main__":
    documents = [yaml.safe_load(load_space(name).to_yaml()) for name in space_names()]
    fuzz(open_space, documents, lambda data: str(yaml.safe_dump(data)))
