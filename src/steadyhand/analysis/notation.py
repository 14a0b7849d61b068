"""How numbers are written on the page; each also carries its exact value for programs."""

from collections.abc import Callable

from markupsafe import Markup

from steadyhand.core.statistics import Estimate, Interval

MINUS = "\u2212"
NONE = "\u2013"


def number(value: float | int) -> str:
    """Return three significant digits, or all digits before the point."""
    if value == 0:
        return "0"
    text = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return text.replace("-", MINUS)


def signed(value: float) -> str:
    """Return `number` with its sign."""
    return f"+{number(value)}" if value > 0 else number(value)


def percent(share: float) -> str:
    """Return a share as whole percent; 0 and 100 only where they are exact."""
    whole = round(100 * share)
    if 0 < share < 1:
        whole = min(max(whole, 1), 99)
    return f"{whole} %"


def percent_of(share: float) -> str:
    """Return a share that may lie outside 0 and 1 as whole percent."""
    return f"{round(100 * share)} %".replace("-", MINUS)


def seconds(time: float) -> str:
    """Return a time of an episode [s]."""
    return f"{time:.1f} s"


def wall(time: float) -> str:
    """Return a wall time [s] in seconds, minutes or hours."""
    if time < 59.5:
        return f"{time:.1f} s" if time < 10 else f"{time:.0f} s"
    minutes, rest = divmod(round(time), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def points(difference: float) -> str:
    """Return the difference of two shares in points of percent."""
    return f"{100 * difference:+.1f}".replace("-", MINUS)


def exact(text: str, value: float | int) -> Markup:
    """Return the text with its exact value attached."""
    exactly = repr(float(value)) if isinstance(value, float) else str(value)
    return Markup('<data value="{}">{}</data>').format(exactly, text)


def optional(value: float | int | None, write: Callable[[float], str] = number) -> Markup:
    """Return the number, or a dash where there is none."""
    return Markup(NONE) if value is None else exact(write(value), value)


def above(first: Markup, second: str) -> Markup:
    """Return a value and, beneath it, a smaller one."""
    return Markup("{}<small>{}</small>").format(first, second)


def between(interval: Interval, write: Callable[[float], str] = number) -> Markup:
    """Return both ends of an interval."""
    low, high = exact(write(interval.low), interval.low), exact(write(interval.high), interval.high)
    return Markup("{} to {}").format(low, high)


def share_interval(interval: Interval) -> Markup:
    """Return "1 to 13 %"."""
    low = exact(percent(interval.low).removesuffix(" %"), interval.low)
    return Markup("{} to {}").format(low, exact(percent(interval.high), interval.high))


def interval_of(value: Estimate, write: Callable[[float], str] = number) -> Markup:
    """Return the interval of a mean, or why there is none."""
    return Markup("one episode") if value.interval is None else between(value.interval, write)


def estimate(value: Estimate) -> Markup:
    """Return a mean and, beneath it, its interval."""
    return above(exact(number(value.value), value.value), interval_of(value))
