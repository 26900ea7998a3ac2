"""Songs made from multitrack recordings."""
