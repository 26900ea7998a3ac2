"""RoFormers: attention over frames and over bands of a spectrum."""
