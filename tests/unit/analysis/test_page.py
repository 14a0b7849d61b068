"""The page holds everything, asks for nothing, injects nothing, and says what report.json says."""

import base64
import dataclasses
import html
import json
import math
import re
import xml.etree.ElementTree as ET
from hashlib import sha256
from html.parser import HTMLParser

import numpy as np
import pytest
from markupsafe import Markup

from outcomes import episodes
from steadyhand.analysis import page as page_module
from steadyhand.analysis.axes import Axes, ceiling, tag, ticks
from steadyhand.analysis.charts import LEVELS, colours, level
from steadyhand.analysis.page import Video, render
from steadyhand.analysis.report import completed, json_text, read_report, write_report
from steadyhand.analysis.results import Cost, Fact, Report
from steadyhand.analysis.summary import summarise
from steadyhand.core.errors import ConfigError, DataError

VOID = {"meta", "br", "input", "source", "path", "rect", "line", "circle"}


class Reader(HTMLParser):
    """Collects tags with their attributes and visible data, and checks that tags nest."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.values, self.open = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, name, attributes):
        self.tags.append((name, dict(attributes)))
        if name not in VOID:
            self.open.append(name)
        if name == "data":
            self.values.append(float(dict(attributes)["value"]))

    def handle_startendtag(self, name, attributes):
        assert name in VOID
        self.tags.append((name, dict(attributes)))

    def handle_endtag(self, name):
        assert self.open.pop() == name


@pytest.fixture(scope="module")
def page(report, videos):
    return render(report, videos)


def numbers_in(data):
    if isinstance(data, dict):
        return [number for item in data.values() for number in numbers_in(item)]
    if isinstance(data, list):
        return [number for item in data for number in numbers_in(item)]
    return [float(data)] if isinstance(data, int | float) and not isinstance(data, bool) else []


def test_nothing_is_asked_of_the_network(page):
    for name, attributes in Reader(page).tags:
        assert name not in {"link", "iframe", "object", "embed", "base", "form", "a", "img"}
        for key, value in attributes.items():
            if key in {"src", "href", "poster", "srcset", "data"}:
                assert value.startswith("data:")
            assert not key.startswith("on")
    assert not re.search(r"https?://|url\(|@import|//[a-z]", re.sub(r"base64,[^\"]*|// [^\n]*", "", page))


def test_the_policy_of_the_page_allows_its_own_script_only(page):
    script = page.split("<script>")[1].split("</script>")[0]
    digest = base64.b64encode(sha256(script.encode()).digest()).decode()
    policy = next(
        a["content"] for n, a in Reader(page).tags if a.get("http-equiv") == "Content-Security-Policy"
    )
    assert "default-src 'none'" in policy
    assert f"script-src 'sha256-{digest}'" in policy
    assert page.count("<script") == 1


def test_text_cannot_become_markup(report, videos):
    evil = "<script>alert(1)</script>\"'&<img src=x onerror=y>"
    poisoned = dataclasses.replace(
        report,
        title=evil,
        verdict=evil,
        command=evil,
        env=evil,
        setting=(Fact(name=evil, value=evil),),
        regime=(Fact(name=evil, value=evil),),
        caveats=(evil,),
        versions={evil: evil},
        results=tuple(dataclasses.replace(one, name=one.name + evil, note=evil) for one in report.results),
        comparisons=tuple(dataclasses.replace(one, name=evil, baseline=evil) for one in report.comparisons),
        rounds=dataclasses.replace(report.rounds, name=evil),
        wording=dataclasses.replace(report.wording, surviving=evil, error=evil, error_unit=evil),
    )
    text = render(poisoned, [dataclasses.replace(videos[0], name=evil, caption=evil, group=evil)])
    kinds = [name for name, _ in Reader(text).tags]
    assert kinds.count("script") == 1
    assert "img" not in kinds
    assert "onerror" not in {key for _, attributes in Reader(text).tags for key in attributes}
    assert "<script>alert" not in text


def test_every_number_shown_is_in_the_json(report, tmp_path):
    path = write_report(report, tmp_path)
    shown = Reader(path.read_text()).values
    stored = numbers_in(json.loads((tmp_path / "report.json").read_text()))
    derived = [one.num_successes for one in report.results]
    derived += [one.num_successes / one.num_starts for one in report.results]
    burdens = [one.burden for one in report.rounds.records]
    derived += [one.human_steps / one.env_steps for one in burdens]
    assert len(shown) > 60
    assert set(shown) <= set(stored) | set(map(float, derived))


def test_the_score_of_every_policy_stands_in_words(page, report):
    text = html.unescape(re.sub(r"<[^>]*>", "", page))
    for one in report.results:
        assert f"{one.num_successes} of {one.num_starts}" in text
        assert f"{one.num_successes}/{one.num_starts}" in text
    assert report.verdict in text


def test_the_json_is_read_back_and_finite(report, tmp_path):
    write_report(report, tmp_path)
    text = (tmp_path / "report.json").read_text()
    assert all(math.isfinite(number) for number in numbers_in(json.loads(text)))
    assert not re.search(r"NaN|Infinity", text)
    assert read_report(tmp_path / "report.json") == report


def test_writing_twice_gives_the_same_bytes_and_no_leftovers(report, videos, tmp_path):
    first = write_report(report, tmp_path / "a", videos=videos).read_bytes()
    assert write_report(report, tmp_path / "a", videos=videos).read_bytes() == first
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["report.html", "report.json"]
    assert len(first) < 1_000_000


def test_a_json_that_is_no_report_is_refused(tmp_path):
    (tmp_path / "report.json").write_text('{"title": "x"}')
    with pytest.raises(ConfigError, match="results"):
        read_report(tmp_path / "report.json")


def test_every_drawing_is_well_formed_and_named(page):
    drawings = re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)
    assert len(drawings) == 2 + 1 + 2 + 1 + 5
    for drawing in drawings:
        root = ET.fromstring(drawing)
        assert root.get("role") == "img"
        assert root.get("aria-label") == root.find("title").text
        assert len(root.get("aria-label")) > 10
        assert not re.search(r"nan|inf\b", drawing)


def test_tables_have_headers_and_cells_have_labels(page):
    tags = Reader(page).tags
    assert sum(name == "table" for name, _ in tags) == sum(name == "caption" for name, _ in tags) == 4
    assert all(attributes.get("scope") in {"col", "row"} for name, attributes in tags if name == "th")
    assert all(attributes.get("data-label") for name, attributes in tags if name == "td")


def test_the_page_fits_a_phone_and_both_themes(page):
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in Reader(
        page
    ).tags
    assert "@media (max-width: 700px)" in page
    assert "@media (prefers-color-scheme: dark)" in page


def test_videos_are_inside_and_described(page, videos):
    tags = Reader(page).tags
    films = [attributes for name, attributes in tags if name == "video"]
    assert len(films) == 3
    for film in films:
        assert {"controls", "muted", "loop", "playsinline"} <= set(film)
        assert film["aria-label"].startswith("Video: ")
    sources = [attributes["src"] for name, attributes in tags if name == "source"]
    assert [base64.b64decode(src.split(",")[1]) for src in sources] == [video.mp4 for video in videos]


def attributes_of(page, name):
    return [attributes for kind, attributes in Reader(page).tags if kind == name]


def test_films_of_one_start_have_one_player_that_only_a_script_shows(page, report, videos):
    players = [a for a in attributes_of(page, "div") if a.get("class") == "player"]
    assert [("hidden" in player) for player in players] == [True]
    sliders = [a for a in attributes_of(page, "input") if "Time in the films" in a["aria-label"]]
    assert [slider["aria-label"] for slider in sliders] == ["Time in the films Start 17"]
    apart = [dataclasses.replace(video, group=video.name) for video in videos]
    assert sum(a.get("class") == "player" for a in attributes_of(render(report, apart), "div")) == 3


def test_of_many_maps_three_stand_side_by_side_and_a_slider_chooses_the_last(page, report):
    maps = re.search(r'<div class="maps">(.*?)</div>\s*</div>', page, flags=re.DOTALL).group(1)
    before, after = maps.split('<div class="chosen">')
    named = [re.findall(r"<strong>(.*?)</strong>", part) for part in (before, after)]
    assert named == [["Expert", "Cloning"], ["DAgger, round 3", "DAgger, round 4", "Side cameras"]]
    slider = next(a for a in attributes_of(page, "input") if a["aria-label"] == "Whose map is shown")
    assert (slider["min"], slider["max"], slider["value"]) == ("0", "2", "0")
    assert "hidden" in slider
    assert "figure hidden" not in maps  # without the script all of them are seen
    first = dataclasses.replace(report.occupancy, maps=report.occupancy.maps[:3])
    assert 'class="chosen"' not in render(dataclasses.replace(report, occupancy=first))


def test_the_slider_begins_at_the_method_in_rounds(report):
    maps = [*report.occupancy.maps, dataclasses.replace(report.occupancy.maps[3], name="DAgger")]
    text = render(
        dataclasses.replace(report, occupancy=dataclasses.replace(report.occupancy, maps=tuple(maps)))
    )
    slider = next(a for a in attributes_of(text, "input") if a["aria-label"] == "Whose map is shown")
    assert (slider["max"], slider["value"]) == ("3", "3")


def test_updates_of_all_fits_stand_above_those_of_the_policy_at_hand(report):
    rounds = dataclasses.replace(report.results[2], cost=Cost(updates=3000, all_updates=15_000, fits=5))
    results = (*report.results[:2], rounds, report.results[3])
    text = re.sub(r"<[^>]*>", "", render(dataclasses.replace(report, results=results)))
    assert "15,0003,000 of 5 fits" in text
    assert "Updates are those of all fits of a policy" in text
    assert "Updates are those" not in render(report)  # nobody was fitted twice


def test_videos_beyond_the_limit_are_left_out_and_said(report, videos, monkeypatch):
    monkeypatch.setattr(page_module, "MAX_VIDEO_BYTES", len(videos[0].mp4) + 10)
    apart = [dataclasses.replace(video, group=video.name) for video in videos]
    text = render(report, [apart[0], apart[1], apart[1], apart[2]])
    assert [name for name, _ in Reader(text).tags].count("video") == 1
    assert "3 videos are left out" in text


def test_what_is_no_mp4_is_refused():
    with pytest.raises(DataError, match="not an MP4"):
        Video(name="Cloning", mp4=b"GIF89a")


def test_posters_keep_their_type(report, videos):
    png = b"\x89PNG\r\n\x1a\nrest"
    text = render(report, [dataclasses.replace(videos[0], poster=png)])
    poster = next(attributes["poster"] for name, attributes in Reader(text).tags if name == "video")
    assert poster == f"data:image/png;base64,{base64.b64encode(png).decode()}"


@pytest.mark.parametrize(
    "names", [["Expert"], ["Cloning"], [f"A policy with a very long name, {n}" for n in range(9)]]
)
def test_the_least_and_the_most_still_make_a_page(names):
    results = [
        summarise(
            episodes(name, np.array([False]), np.array([0.0]), np.array([1])),
            kind="expert" if name == "Expert" else "policy",
        )
        for name in names
    ]
    report = completed(Report(title="t", command="c", env="e", results=tuple(results)))
    text = render(report)
    Reader(text)
    assert "one episode" in text
    assert not re.search(r"\bnan\b|\binf\b|None", re.sub(r"<style>.*?</style>", "", text, flags=re.DOTALL))


def test_colours_are_fixed_for_known_methods_and_distinct(report):
    chosen = colours(report.results)
    assert chosen == {"Expert": "s0", "Cloning": "s1", "DAgger": "s2", "Side cameras": "s4"}
    renamed = [
        dataclasses.replace(report.results[1], name=name) for name in ("Ours", "Cloning", "DAgger", "Theirs")
    ]
    assert colours(renamed) == {"Ours": "s3", "Cloning": "s1", "DAgger": "s2", "Theirs": "s4"}


def test_markup_escapes_text_once():
    assert tag("p", "a < b & c", Markup("<b>d</b>"), class_="x") == (
        '<p class="x">a &lt; b &amp; c<b>d</b></p>'
    )
    assert tag("p", ["a", "b"]) == "<p>ab</p>"
    assert tag("line", x1=1.5, x2=2, text_anchor='"') == '<line x1="1.5" x2="2" text-anchor="&#34;"/>'


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 60.0, [0, 20, 40, 60]),
        (0.0, 0.3, [0, 0.1, 0.2, 0.3]),
        (-1.0, 1.0, [-1, -0.5, 0, 0.5, 1]),
        (0.0, 7.0, [0, 2, 4, 6]),
    ],
)
def test_ticks_are_round_and_inside(low, high, expected):
    assert ticks(low, high) == pytest.approx(expected)


@pytest.mark.parametrize("value", [1e-9, 0.0, 0.013, 0.5, 1.0, 7.3, 999.0])
def test_the_top_of_an_axis_is_not_below_its_data(value):
    assert ceiling(value) >= value
    assert ceiling(value) <= 2 * value + 1


def test_axes_place_their_corners():
    axes = Axes(left=10.0, top=5.0, width=100.0, height=50.0, x=(0.0, 2.0), y=(-1.0, 1.0))
    assert axes.place(0.0, -1.0) == (10.0, 55.0)
    assert axes.place(2.0, 1.0) == (110.0, 5.0)
    assert 'd="M10.0,55.0 60.0,55.0 60.0,5.0"' in axes.steps([0.0, 1.0], [-1.0, 1.0])


def test_shades_double():
    assert [level(share, 0.5) for share in (0.5, 0.26, 0.25, 0.125, 1e-9, 0.0)] == [LEVELS, 7, 6, 5, 1, 0]


def test_json_keeps_plain_lists_on_one_line():
    data = {"a": [1, 2], "b": [[1], [2]], "c": {}, "d": [], "e": "\u00fc"}
    text = json_text(data)
    assert json.loads(text) == data
    assert '"a": [1, 2],' in text.splitlines()[1]
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_text([math.nan])
