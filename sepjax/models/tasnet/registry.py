"""What a TasNet is made of, by name: names in a configuration are keys of these."""

from sepjax.registry import Registry


def _in(module: str, *names: str) -> dict[str, str]:
    return dict.fromkeys(names, f"sepjax.models.tasnet.{module}")


BANKS = Registry("filterbank", _in("banks", "conv", "param_sinc", "pmpgtf"))
BRANCHES = Registry(
    "branch of a hybrid encoder", _in("branches", "stft", "stft_above_floor")
)
ENCODERS = Registry(
    "encoder", _in("encoders", "simple", "filterbanks", "hybrid") | _in("deep", "deep")
)
DECODERS = Registry(
    "decoder",
    _in("decoders", "conv", "filterbank", "hybrid_conv", "hybrid_hybrid")
    | _in("deep", "deep_conv"),
)
SEPARATORS = Registry("separator", _in("separators", "tcn", "lstm", "ideal_mask"))
