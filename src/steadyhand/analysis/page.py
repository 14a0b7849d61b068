"""Pages as one HTML file that needs nothing else: styles, charts and videos are inside.

The folder assets holds the words and their order; numbers come from `tables`, pictures from `charts`.
"""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files
from itertools import groupby

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from steadyhand.analysis import charts, notation, tables
from steadyhand.analysis.results import Report
from steadyhand.analysis.verdict import evidence, in_sentence
from steadyhand.core.errors import DataError

MAX_VIDEO_BYTES = 5_500_000
"""Videos beyond this are left out, so that a page stays under 8 MB (base64 adds a third)."""
_HELPERS = {
    "charts": charts,
    "tables": tables,
    "dash": notation.NONE,
    **{
        one.__name__: one for one in (notation.exact, notation.share_interval, notation.interval_of, evidence)
    },
}
"""What the files know beside their own values and filters."""


@dataclass(frozen=True, kw_only=True)
class Video:
    """A film of one episode.

    Attributes:
        name: Who drives; the name of a `PolicyResult` gives it its colour.
        mp4: The file, H.264.
        caption: What happens in it.
        group: Videos of one group, such as "Start 17", stand side by side; give them one after the other.
        poster: JPEG or PNG that is shown before it plays; the last picture tells films of one start apart.
    """

    name: str
    mp4: bytes
    caption: str = ""
    group: str = ""
    poster: bytes | None = None

    def __post_init__(self) -> None:
        if self.mp4[4:8] != b"ftyp":
            raise DataError(
                f"The video of {self.name} is not an MP4 file.",
                got=f"{len(self.mp4)} bytes that begin with {self.mp4[:8]!r}",
                hint="encode it as H.264 in MP4",
            )


@dataclass(frozen=True, kw_only=True)
class Reel:
    """Films in rows of one group; `left_out` of them would make the page too large."""

    rows: tuple[tuple[str, tuple[Video, ...]], ...]
    left_out: int


def render(report: Report, videos: Sequence[Video] = ()) -> str:
    """Return the page of a report; the same report gives the same bytes."""
    colour = charts.colours(report.results)
    return page("report.html", title=report.title, report=report, reel=_reel(videos), colour=colour)


def film_page(title: str, videos: Sequence[Video]) -> str:
    """Return a page of films alone."""
    return page("films.html", title=title, reel=_reel(videos))


def framed(page: str, *, height: int) -> str:
    """Return a whole page for a place within another one, such as the output of a notebook's cell."""
    frame = '<iframe srcdoc="{}" width="100%" height="{}" style="border:0"></iframe>'
    return Markup(frame).format(page, height)


def page(name: str, *, title: str, **values: object) -> str:
    """Return a page that is made from a file of the folder assets; it asks the network for nothing."""
    script, style = Markup(_asset("report.js")), Markup(_asset("report.css"))
    digest = b64encode(sha256(script.encode()).digest()).decode()
    template = _templates().get_template(name, globals=_HELPERS)
    return template.render(title=title, script=script, digest=digest, style=style, **values)


@cache
def _templates() -> Environment:
    """Return what fills the files in: all text is escaped that is not markup already."""
    made = Environment(
        loader=FunctionLoader(_asset),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {one.__name__: one for one in (notation.number, notation.percent, in_sentence)}
    made.filters["as_url"] = _as_url
    return made


def _asset(name: str) -> str:
    return files("steadyhand.analysis").joinpath("assets", name).read_text(encoding="utf-8")


def _reel(videos: Sequence[Video]) -> Reel:
    rows: list[tuple[str, tuple[Video, ...]]] = []
    budget, left_out = MAX_VIDEO_BYTES, 0
    for name, members in groupby(videos, key=lambda video: video.group):
        row = tuple(members)
        size = sum(len(video.mp4) + len(video.poster or b"") for video in row)
        if size > budget:
            left_out += len(row)
            continue
        budget -= size
        rows.append((name, row))
    return Reel(rows=tuple(rows), left_out=left_out)


def _as_url(data: bytes) -> str:
    """Return a film or a picture as a URL that holds it."""
    kind = "image/jpeg"
    if data[4:8] == b"ftyp":
        kind = "video/mp4"
    elif data.startswith(b"\x89PNG"):
        kind = "image/png"
    return f"data:{kind};base64,{b64encode(data).decode()}"
