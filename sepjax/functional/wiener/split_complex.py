"""Complex arithmetic on real and imaginary parts that are held apart.

XLA computes with interleaved complex numbers one at a time on CPUs; with parts of their
own the same formulas take whole vectors: a product of two spectra a fifth of the time.
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax
from jaxtyping import Array, Complex, Float


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Split:
    """A complex array as two real ones; operators are those of complex numbers.

    Example:
        >>> import jax.numpy as jnp
        >>> x = Split.of(jnp.array([1 + 2j]))
        >>> (x * x.conj()).joined(), x.power()
        (Array([5.+0.j], dtype=complex64), Array([5.], dtype=float32))
    """

    real: Float[Array, "..."]
    imag: Float[Array, "..."]

    @classmethod
    def of(cls, x: Complex[Array, "..."]) -> "Split":
        """Take the parts of an array of complex numbers."""
        return cls(x.real, x.imag)

    def joined(self) -> Complex[Array, "..."]:
        """Return an array of complex numbers again."""
        return jax.lax.complex(self.real, self.imag)

    def map(self, function: Callable[[Array], Array]) -> "Split":
        """Apply a real linear function, a sum or a shape for instance."""
        return Split(function(self.real), function(self.imag))

    def conj(self) -> "Split":
        """Return the complex conjugate."""
        return Split(self.real, -self.imag)

    def power(self) -> Float[Array, "..."]:
        """Return the squared magnitude."""
        return self.real * self.real + self.imag * self.imag

    def __add__(self, other: "Split") -> "Split":
        return Split(self.real + other.real, self.imag + other.imag)

    def __sub__(self, other: "Split") -> "Split":
        return Split(self.real - other.real, self.imag - other.imag)

    def __mul__(self, other: "Split | Array") -> "Split":
        if not isinstance(other, Split):
            return Split(self.real * other, self.imag * other)
        return Split(
            self.real * other.real - self.imag * other.imag,
            self.real * other.imag + self.imag * other.real,
        )
