"""Experiments as data: each module returns a configuration by name.

``sepjax train --config=MODULE:NAME``, or in a clone ``python run_experiment.py
--config=configs/MODULE.py:NAME``, calls ``get_config(NAME)``; ``NAMES`` says what there
is. The package holds this folder as ``sepjax.configs``, a link in a clone
(docs/decisions/0017).
"""
