"""The families of parts; a name in a configuration is a key in one of them."""

from sepjax.registry import Registry

BANKS = Registry("filterbank")
BRANCHES = Registry("branch of a hybrid encoder")
ENCODERS = Registry("encoder")
DECODERS = Registry("decoder")
SEPARATORS = Registry("separator")
MODELS = Registry("model")
