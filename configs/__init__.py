"""Experiments as data: each module returns a configuration by name.

``python run_experiment.py --config=configs/MODULE.py:NAME`` calls ``get_config(NAME)``;
``NAMES`` says what there is.
"""
