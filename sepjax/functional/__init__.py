"""Pure functions of arrays: every formula of sepjax, free of state and of Flax."""
