"""A child process that Ctrl-C reaches, also where the tests themselves run in the background."""

import signal


def heard() -> None:
    """Hear SIGINT in a child: tests that a shell runs in the background ignore it, and so would their children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
