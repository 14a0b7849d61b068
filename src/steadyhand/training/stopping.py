"""SIGINT and SIGTERM while a run trains: the step in hand ends and the state is saved before they act."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopSignals:
    """Holds both signals back for the length of a block, in the main thread; a second one acts at once.

    Args:
        is_on: Whether to hold them back at all.

    Attributes:
        received: The signal that waits, if any.
    """

    def __init__(self, *, is_on: bool) -> None:
        self.received: int | None = None
        self._is_on = is_on and threading.current_thread() is threading.main_thread()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "StopSignals":
        if self._is_on:
            for number in _SIGNALS:
                if (handler := signal.getsignal(number)) not in (None, signal.SIG_IGN):
                    self._before[number] = handler
                    signal.signal(number, self._hold)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._let_go()
        if error is None:
            self.deliver()

    def deliver(self) -> None:
        """Let the signal that waits do what it would have done: usually it raises, or ends the process."""
        if self.received is None:
            return
        number, self.received = self.received, None
        self._let_go()
        signal.raise_signal(number)
        self.__enter__()  # whoever handles it may want the run to go on

    def _hold(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self.received is not None:
            self._let_go()
            signal.raise_signal(number)
        self.received = number

    def _let_go(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
