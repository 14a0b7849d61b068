"""Names that people give and that become files and folders."""

from steadyhand.core.errors import ConfigError

_MOST = 120  # characters; most file systems take 255 bytes


def file_name(name: str, *, what: str) -> str:
    """Return `name` if it can be that of one file or folder, here and on other systems.

    Args:
        name: The name.
        what: What it names, as the beginning of a sentence.

    Raises:
        ConfigError: It is empty, too long, leaves its folder, or holds what a file name must not.
    """
    bad = [character for character in name if character in '/\\:*?"<>|' or not character.isprintable()]
    if not name.strip(". ") or bad or len(name) > _MOST:
        raise ConfigError(
            f"{what} cannot be that of a file.",
            got=repr(name if len(name) <= _MOST else name[:_MOST] + "..."),
            expected='1 to 120 printable characters without / \\ : * ? " < > |',
        )
    return name
