"""Files of public RoFormers: a checkpoint, and the toolkit's YAML file beside it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sepjax.foreign.state_dict import state_of
from sepjax.foreign.yaml_text import parse_yaml
from sepjax.models.importers import Package, pick, read_arrays

# Arguments that arrays show as well: ours -> theirs.
SIZES = dict(channels="dim", blocks="depth", heads="heads", head_channels="dim_head")
SIZES |= dict(time_layers="time_transformer_depth", mel_bands="num_bands")
SIZES |= dict(frequency_layers="freq_transformer_depth")
Tree = dict[str, Any]
REST = "rest"
"""What one stem leaves, unless there is just one other instrument."""


def read_files(paths: Sequence[Path]) -> Package:
    """Read a checkpoint of PyTorch or safetensors, and the YAML file if there is one.

    Raises:
        OSError: a file cannot be read.
        ValueError: one is damaged, of another kind, or one too many.
    """
    texts = [path for path in paths if path.suffix.lower() in (".yaml", ".yml")]
    states = [path for path in paths if path not in texts]
    if len(states) != 1 or len(texts) > 1:
        raise ValueError(
            f"{len(states)} checkpoints and {len(texts)} YAML files are given: give "
            "one checkpoint, and its YAML file if there is one"
        )
    state = state_of(read_arrays(states[0]))
    return _settings(texts[0])._replace(state=state) if texts else Package(state)


def _settings(path: Path) -> Package:
    tree = parse_yaml(path.read_text(encoding="utf-8-sig"), str(path))
    whole = tree if isinstance(tree, dict) else {}
    names = ("model", "audio", "inference", "training")
    sections = [whole.get(name) or {} for name in names]
    if not all(isinstance(each, dict) for each in sections) or "dim" not in sections[0]:
        raise ValueError(
            f"{path}: no settings of a RoFormer, as 'model' with its 'dim'"
        )
    try:
        return _package(*sections)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise ValueError(f"{path}: a value is of another kind: {error}") from error


def _package(model: Tree, audio: Tree, inference: Tree, training: Tree) -> Package:
    """What a YAML file tells: options, sizes, and how songs are cut."""
    rate = model.get("sample_rate", audio.get("sample_rate", 44100))
    n_fft = model.get("stft_n_fft", 2048)
    options = dict(n_fft=n_fft, hop=model.get("stft_hop_length", 512), sample_rate=rate)
    options["window"] = model.get("stft_win_length", min(n_fft, 2048))
    options["audio_channels"] = 1 + bool(model.get("stereo"))
    options |= pick(model, skip="skip_connection")
    if "zero_dc" in model:
        options["zero_dc"] = str(model["zero_dc"]).lower()
    options["heard"] = tuple(map(str, model.get("freq_range") or ()))
    options["sources"] = _stems(training)
    sizes = pick(model, **SIZES)
    if "freqs_per_bands" in model:
        sizes["bands"] = tuple(model["freqs_per_bands"])
    length = inference.get("chunk_size") or audio.get("chunk_size") or 8 * rate
    overlaps = inference.get("num_overlap") or 1
    separate = dict(chunk=length / rate, overlap=min(1 - 1 / overlaps, 0.98))
    if not 0.01 <= separate["chunk"] <= 3600 or overlaps < 1:
        raise ValueError(f"chunks of {length} samples, {overlaps} of which overlap")
    return Package({}, options, sizes, separate=separate)


def _stems(training: Tree) -> tuple[str, ...]:
    """Names of the sources; one that is trained alone leaves one more."""
    names = tuple(map(str, training.get("instruments") or ()))
    target = training.get("target_instrument")
    if not target:
        return names
    others = [name for name in names if name != target]
    return (str(target), others[0] if len(others) == 1 else REST)
