"""MMDenseLSTM."""
