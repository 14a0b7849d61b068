"""A child process that Ctrl-C reaches, also where the tests themselves run in the background."""

import signal


def heard() -> None:
    """Hear SIGINT in a child: what a shell runs in the background ignores it, and so do its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
