"""Checkpoint files that want to run something: refused, and nothing was run."""

import builtins
import gzip
import os
import pickle
import pickletools
import subprocess

import pytest
from torch_writer import write_stream, write_zip

from sepjax.foreign.restricted_pickle import CALLS
from sepjax.foreign.torch_file import read_torch_file

# Pickles by hand: each would run something in an unpickler that looks names up.
HOSTILE = {
    "reduce": (
        b"\x80\x02cos\nsystem\nX\x0c\x00\x00\x00touch MARKER\x85R.",
        "os.system",
    ),
    "posix": (b"cposix\nsystem\n(S'touch MARKER'\ntR.", "posix.system"),
    "eval": (b"\x80\x02cbuiltins\neval\nX\x03\x00\x00\x001+1\x85R.", "builtins.eval"),
    "python 2": (b"c__builtin__\neval\n(S'1+1'\ntR.", "__builtin__.eval"),
    "newobj": (
        b"\x80\x02csubprocess\nPopen\n(X\x0c\x00\x00\x00touch MARKERNK\x00t\x81.",
        "subprocess.Popen",
    ),
    "newobj_ex": (
        b"\x80\x04csubprocess\nPopen\n)}X\x04\x00\x00\x00argsX\x04\x00\x00\x00trues"
        b"\x92.",
        "subprocess.Popen",
    ),
    "known call with keywords": (
        b"\x80\x04ccollections\nOrderedDict\n)}X\x01\x00\x00\x00aK\x01s\x92.",
        "collections.OrderedDict",
    ),
    "inst": (b"(S'touch MARKER'\nios\nsystem\n.", "os.system"),
    "inst without arguments": (b"(iantigravity\nfly\n.", "antigravity.fly"),
    "obj": (b"(cos\nsystem\nS'touch MARKER'\no.", "os.system"),
    "stack_global": (
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x0ctouch MARKER\x85R.",
        "os.system",
    ),
    "dotted name": (
        b"\x80\x04\x8c\x08builtins\x8c\x0feval.__call__\x00\x00\x93\x8c\x031+1\x85R.",
        r"builtins.eval.__call__\x00\x00",
    ),
    "nested in an argument": (
        b"\x80\x02ccollections\nOrderedDict\n]cos\nsystem\nX\x0c\x00\x00\x00"
        b"touch MARKER\x85Ra\x85R.",
        "os.system",
    ),
    "nested in a dictionary": (
        b"\x80\x02}X\x0a\x00\x00\x00state_dictcos\nsystem\n(S'touch MARKER'\ntRs.",
        "os.system",
    ),
    "getattr of a known name": (
        b"\x80\x02cbuiltins\ngetattr\nccollections\nOrderedDict\nX\x03\x00\x00\x00"
        b"pop\x86R.",
        "builtins.getattr",
    ),
    "state of a class": (
        b"\x80\x02cos\nsystem\n}X\x01\x00\x00\x00aK\x01sb.",
        "os.system",
    ),
    "state of a known class": (
        b"\x80\x02ctorch\nSize\nN}X\x07\x00\x00\x00__new__cos\nsystem\ns\x86b.",
        "torch.Size",
    ),
    "module of torch": (
        b"\x80\x02ctorch.nn.modules.conv\nConv1d\n)\x81}b.",
        "torch.nn.modules.conv.Conv1d",
    ),
    "reconstructor": (
        b"ccopy_reg\n_reconstructor\n(csubprocess\nPopen\nc__builtin__\nobject\nNtR.",
        "copy_reg._reconstructor",
    ),
}


@pytest.fixture
def untouched(tmp_path, monkeypatch):
    """A folder for a marker file, and traps in place of what pickles would call."""
    monkeypatch.chdir(tmp_path)

    def trap(*arguments, **options):
        raise AssertionError(f"was run: {arguments}")

    yield trap
    assert not list(tmp_path.rglob("MARKER"))


@pytest.mark.parametrize("case", HOSTILE)
@pytest.mark.parametrize("form", ["zip", "stream", "first", "gzip"])
def test_nothing_is_run(tmp_path, monkeypatch, untouched, case, form):
    program, wanted = HOSTILE[case]
    list(pickletools.genops(program))  # a pickle indeed
    path = tmp_path / "model.pth"
    if form == "zip":
        write_zip(path, program)
    elif form == "stream":
        write_stream(path, program)
    elif form == "first":
        path.write_bytes(program)
    else:
        path.write_bytes(gzip.compress(write_zip(path, program).read_bytes()))
    with monkeypatch.context() as traps:
        traps.setattr(os, "system", untouched)
        traps.setattr(subprocess, "Popen", untouched)
        traps.setattr(builtins, "eval", untouched)
        with pytest.raises(ValueError, match="nothing was run") as caught:
            read_torch_file(path)
    assert str(path) in str(caught.value)
    assert wanted in str(caught.value).replace("\\\\", "\\")


def test_these_pickles_would_run_something(tmp_path, monkeypatch):
    """Python's own reader obeys them: they are no straw men."""
    monkeypatch.chdir(tmp_path)
    for case in ("reduce", "posix", "inst", "obj", "stack_global", "newobj"):
        program = HOSTILE[case][0].replace(b"MARKER", b"OBEYED")
        if case == "newobj":  # an instance is made, though its __init__ is not called
            assert isinstance(pickle.loads(program[:20] + b")\x81."), subprocess.Popen)
            continue
        assert pickle.loads(program) == 0
        (tmp_path / "OBEYED").unlink()


def test_a_file_does_not_change_how_the_next_is_read(tmp_path):
    """Attributes of what a name becomes cannot be set: state, slots, items."""
    for known in CALLS:
        for state in (b"}X\x01\x00\x00\x00aK\x01s", b"N}X\x01\x00\x00\x00aK\x01s\x86"):
            program = b"\x80\x02c%s\n%s\n" % tuple(part.encode() for part in known)
            path = write_zip(tmp_path / "a.pth", program + state + b"b.")
            with pytest.raises(ValueError, match="nothing was run"):
                read_torch_file(path)
    made = b"\x80\x02ctorch._utils\n_rebuild_parameter\ncos\nsystem\n\x85R"
    path = write_zip(tmp_path / "b.pth", made + b"(S'true'\ntR.")
    with pytest.raises(
        ValueError, match=r"'os\.system'"
    ):  # handed through, still inert
        read_torch_file(path)
