"""The report as one HTML file that needs nothing else: styles, charts and videos are inside."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from itertools import groupby
from string import Template

from steadyhand.analysis import comparison_section, mode_section, scene, sections
from steadyhand.analysis.charts import Colours, colours
from steadyhand.analysis.markup import Markup, group, tag
from steadyhand.analysis.results import Report
from steadyhand.core.errors import DataError

MAX_VIDEO_BYTES = 5_500_000
"""Videos beyond this are left out, so that a page stays under 8 MB (base64 adds a third)."""


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


def render(report: Report, videos: Sequence[Video] = ()) -> str:
    """Return the page; the same report gives the same bytes."""
    body = group(
        sections.masthead(report),
        _videos(report, videos),
        sections.outcome(report),
        sections.all_numbers(report),
        mode_section.modes(report),
        sections.error(report),
        sections.rounds(report),
        sections.occupancy(report),
        comparison_section.comparisons(report),
        sections.regime(report),
        scene.section(report.scene),
        sections.method(report),
    )
    return shell(report.title, body)


def film_page(title: str, videos: Sequence[Video]) -> str:
    """Return a page of films alone."""
    return shell(title, group(_films(videos, {})))


def framed(page: str, *, height: int) -> str:
    """Return a whole page for a place within another one, such as the output of a notebook's cell."""
    return tag("iframe", srcdoc=page, width="100%", height=height, style="border:0")


def shell(title: str, body: Markup) -> str:
    """Return a whole page with our styles around `body`; it asks the network for nothing."""
    script = _asset("report.js")
    digest = b64encode(sha256(script.encode()).digest()).decode()
    allowed = "style-src 'unsafe-inline'; img-src data:; media-src data:"
    policy = f"default-src 'none'; {allowed}; script-src 'sha256-{digest}'"
    return Template(_asset("report.html")).substitute(
        policy=tag("meta", http_equiv="Content-Security-Policy", content=policy),
        title=tag("title", f"{title} \u00b7 steadyhand"),
        style=_asset("report.css"),
        script=script,
        body=body,
    )


def _asset(name: str) -> str:
    return files("steadyhand.analysis").joinpath("assets", name).read_text(encoding="utf-8")


def _videos(report: Report, videos: Sequence[Video]) -> Markup:
    if not videos:
        return Markup("")
    rows = _films(videos, colours(report.results))
    return tag("section", tag("h2", "Watch them from the same start"), rows)


def _films(videos: Sequence[Video], colour: Colours) -> list[Markup]:
    rows: list[Markup] = []
    budget, left_out = MAX_VIDEO_BYTES, 0
    for name, members in groupby(videos, key=lambda video: video.group):
        row = list(members)
        size = sum(len(video.mp4) + len(video.poster or b"") for video in row)
        if size > budget:
            left_out += len(row)
            continue
        budget -= size
        heading = tag("h3", name) if name else Markup("")
        shown = [_video(video, colour.get(video.name, "")) for video in row]
        rows.append(tag("div", heading, tag("div", shown, class_="videos"), _player(name), class_="films"))
    if left_out:
        rows.append(tag("p", f"{left_out} videos are left out to keep this page small.", class_="note"))
    return rows


def _player(name: str) -> Markup:
    """Return what plays all films of a row in step; the script of the page shows it."""
    return tag(
        "div",
        tag("button", "Play", type="button"),
        tag(
            "input",
            type="range",
            min=0,
            max=0,
            value=0,
            step=0.1,
            aria_label=f"Time in the films {name}".strip(),
        ),
        tag("output", ""),
        class_="player",
        hidden=True,
    )


def _video(video: Video, colour: str) -> Markup:
    text = " ".join(part for part in (video.name, video.group, video.caption) if part)
    source = tag("source", type="video/mp4", src=f"data:video/mp4;base64,{b64encode(video.mp4).decode()}")
    film = tag(
        "video",
        source,
        "This browser does not play MP4.",
        controls=True,
        muted=True,
        loop=True,
        playsinline=True,
        preload="metadata",
        poster=_image(video.poster),
        aria_label=f"Video: {text}",
    )
    caption = tag(
        "figcaption",
        tag("i", class_=colour),
        tag("strong", video.name),
        " ",
        tag("span", video.caption, class_="quiet"),
    )
    return tag("figure", film, caption)


def _image(data: bytes | None) -> str | None:
    if data is None:
        return None
    kind = "png" if data.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{b64encode(data).decode()}"
