"""Hybrid Transformer Demucs (v4) and Hybrid Demucs (v3)."""
