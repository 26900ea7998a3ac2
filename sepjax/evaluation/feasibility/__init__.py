"""What a set of songs promises, before anything is trained."""
