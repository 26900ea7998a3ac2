"""sepjax: a functional JAX laboratory for music source separation."""

__version__ = "0.1.0"
