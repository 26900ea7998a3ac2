"""The temporal convolutional network of Conv-TasNet."""

from sepjax.functional.tcn.network import init_tcn as init_tcn
from sepjax.functional.tcn.network import receptive_field as receptive_field
from sepjax.functional.tcn.network import tcn as tcn
from sepjax.functional.tcn.network import tcn_block as tcn_block
from sepjax.functional.tcn.stream import init_tcn_state as init_tcn_state
from sepjax.functional.tcn.stream import tcn_step as tcn_step
