"""The page about weights shows code that runs."""

import re
from pathlib import Path

import numpy as np
from vectors import load

PAGE = Path(__file__).parents[2] / "docs/weights.md"


def test_examples_run(shared_data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("weights.npz", **load(shared_data, "naplab_noncausal")[1])
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names = {}
    for block in blocks:
        exec(block, names)
    assert len(blocks) == 2
    assert set(names["stems"]) == {"first", "second"}
    assert names["stems"]["first"].shape == (16000,)
    assert all(np.any(grad) for grad in names["gradients"].values())


def test_every_family_is_on_the_page():
    from sepjax.weights import IMPORTERS

    page = PAGE.read_text()
    assert all(f"| `{family}` |" in page for family in IMPORTERS)
