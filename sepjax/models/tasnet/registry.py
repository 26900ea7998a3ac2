"""What a TasNet is made of, by name: names in a configuration are keys of these."""

from sepjax.registry import Registry

_ROOM = "sepjax.models.tasnet"

BANKS = Registry(
    "filterbank",
    dict.fromkeys(("conv", "param_sinc", "pmpgtf"), f"{_ROOM}.banks"),
)
BRANCHES = Registry("branch of a hybrid encoder", {"stft": f"{_ROOM}.branches"})
ENCODERS = Registry(
    "encoder",
    dict.fromkeys(("simple", "filterbanks", "hybrid"), f"{_ROOM}.encoders")
    | {"deep": f"{_ROOM}.deep"},
)
DECODERS = Registry(
    "decoder",
    dict.fromkeys(
        ("conv", "filterbank", "hybrid_conv", "hybrid_hybrid"), f"{_ROOM}.decoders"
    )
    | {"deep_conv": f"{_ROOM}.deep"},
)
SEPARATORS = Registry(
    "separator", dict.fromkeys(("tcn", "ideal_mask"), f"{_ROOM}.separators")
)
