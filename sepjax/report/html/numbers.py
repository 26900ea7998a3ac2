"""Numbers as people read them: decibels, percent, lengths of time, counts."""

import math
import re

MINUS = "\N{MINUS SIGN}"
GAP = "\N{EN DASH}"  # where nothing was measured


def decibels(value: float | None, digits: int = 1, *, signed: bool = False) -> str:
    """A level as text, with a real minus sign and no negative zero.

    Example:
        >>> decibels(-3.14), decibels(5.06, signed=True), decibels(-0.01)
        ('−3.1', '+5.1', '0.0')
        >>> decibels(float("inf")), decibels(float("nan")), decibels(None)
        ('∞', '–', '–')
    """
    if value is None or math.isnan(value):
        return GAP
    if math.isinf(value):
        return (MINUS if value < 0 else "") + "\N{INFINITY}"
    value = round(value, digits) + 0.0  # -0.0 + 0.0 is 0.0
    return f"{value:{'+' if signed and value else ''}.{digits}f}".replace("-", MINUS)


def with_spread(mean: float, deviation: float) -> str:
    """A mean in dB and its deviation, if there is one.

    Example:
        >>> with_spread(-3.14159, 0.5), with_spread(2, 0)
        ('−3.14 ± 0.50', '2.00')
    """
    return decibels(mean, 2) + (f" ± {deviation:.2f}" if deviation else "")


def percent(share: float, digits: int = 0) -> str:
    """A share of one.

    Example:
        >>> percent(0.256), percent(0.00012, 3)
        ('26 %', '0.012 %')
    """
    return f"{100 * share:.{digits}f} %"


def hertz(frequency: float) -> str:
    """A frequency in the unit that suits it.

    Example:
        >>> hertz(431.2), hertz(4000), hertz(1250)
        ('431 Hz', '4 kHz', '1.25 kHz')
    """
    if frequency < 1000:
        return f"{frequency:.0f} Hz"
    return f"{frequency / 1000:.3g} kHz"


def duration(seconds: float) -> str:
    """A length of time in the unit that suits it.

    Example:
        >>> duration(9.5), duration(150.0), duration(5400.0)
        ('9.5 s', '2.5 min', '1.5 h')
    """
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def clock(seconds: float) -> str:
    """A moment of a song in minutes and seconds.

    Example:
        >>> clock(75.26), clock(8.0)
        ('1:15.3', '0:08')
    """
    minutes, rest = divmod(round(seconds, 1), 60)
    return re.sub(r"\.0$", "", f"{minutes:.0f}:{rest:04.1f}")


def count(number: int, noun: str) -> str:
    """A number of things, with their noun.

    Example:
        >>> count(1, "song"), count(1234, "song")
        ('1 song', '1,234 songs')
    """
    return f"{number:,} {noun}{'s' * (number != 1)}"
