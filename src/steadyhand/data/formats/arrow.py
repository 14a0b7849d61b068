"""Names for Arrow objects in signatures; pyarrow ships no types, so a checker sees nothing behind them."""

from typing import Any

ArrowArray = Any
ArrowTable = Any
ArrowType = Any
