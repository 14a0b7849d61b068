"""Films of envs that draw only if they are made for it: made once more, and only to be filmed."""

import io
from dataclasses import replace

import av
import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from steadyhand.core.errors import CapabilityError, EnvError
from steadyhand.core.protocol import Actor, Controller, Decision
from steadyhand.envs import make
from steadyhand.experts.config import TabletopExpert
from steadyhand.recipes.compare import NamedController, compete, filmed_drives, report_of
from steadyhand.recipes.films import shoot, why_no_films
from steadyhand.recipes.record import FILM, film_first, needs_film

MADE: list[str | None] = []


class Lamp(gymnasium.Env):
    """Its pictures are as bright as its state, which the seed and the actions make."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012

    def __init__(self, render_mode=None, fault=None):
        MADE.append(render_mode)
        self.render_mode, self._fault = render_mode, fault
        self.observation_space = spaces.Box(0, 1, (1,), np.float32)
        self.action_space = spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.light = float(self.np_random.uniform(0.3, 0.6))
        return self._see(), {}

    def step(self, action):
        self.light = float(np.clip(self.light + 0.05 * action[0], 0, 1))
        return self._see(), self.light, False, False, {}

    def render(self):
        if self._fault:
            raise gymnasium.error.DependencyNotInstalled("lamps need `pip install lamp`")
        return np.full((48, 64, 3), round(255 * self.light), dtype=np.uint8)

    def _see(self):
        return np.array([self.light], np.float32)


gymnasium.register(id="film-test/Lamp-v0", entry_point=Lamp, max_episode_steps=10)


class Brighter(Controller):
    sees_privileged = False

    def act(self, observation, privileged, rows, generator):
        return Decision.by(Actor.POLICY, np.ones((len(rows), 1), np.float32))


def brightness(data):
    with av.open(io.BytesIO(data)) as film:
        return [frame.to_ndarray(format="rgb24").mean() / 255 for frame in film.decode(video=0)]


def test_a_film_shows_the_drive_from_its_start():
    env = make("film-test/Lamp-v0", num_rows=4)
    starts = env.starts("test", 3)
    films = shoot(env, Brighter(), starts[1:], seed=0)
    env.reset(starts, np.arange(3))
    begin = env.observe(np.arange(3))["observation.state"][:, 0]
    assert len(films) == 2
    for film, first in zip(films, begin[1:], strict=True):
        expected = np.clip(first + 0.05 * np.arange(1, 11), 0, 1)
        np.testing.assert_allclose(brightness(film.mp4), expected, atol=0.02)
        np.testing.assert_allclose(brightness(film.poster), expected[-1:], atol=0.02)


def test_an_env_is_made_to_draw_only_for_films():
    MADE.clear()
    env = make("film-test/Lamp-v0", num_rows=2)
    entrants = [NamedController(name="brighter", controller=Brighter())]
    none = compete(env, entrants, env.starts("test", 2), seed=0, num_films=0)
    assert set(MADE) == {None}
    (outcome,) = compete(env, entrants, env.starts("test", 2), seed=0, num_films=1)
    assert "rgb_array" in MADE
    assert [len(one.films) for one in none] == [0]
    assert len(outcome.films) == 1
    assert outcome.evaluation.returns.tolist() == none[0].evaluation.returns.tolist()
    (film,) = outcome.films
    assert film.caption == "still going after 1.0\u00a0s"
    known = replace(
        outcome.evaluation,
        lengths=np.array([4, 10]),
        success=np.array([False, True]),
        terminated=np.array([True, True]),
    )
    starts = env.starts("test", 2)
    films = filmed_drives(env, entrants[0], starts, [0, 1], 0, known=known)
    assert [film.caption for film in films] == ["failed after 0.4\u00a0s", "succeeded after 1.0\u00a0s"]
    (untold,) = filmed_drives(env, entrants[0], starts, [0], 0, known=replace(known, success=None))
    assert untold.caption == "ended after 0.4\u00a0s"


def test_what_drawing_lacks_is_said_and_spoils_no_comparison():
    env = make("film-test/Lamp-v0", num_rows=2, fault=True)
    outcomes = compete(
        env,
        [NamedController(name="brighter", controller=Brighter())],
        env.starts("test", 2),
        seed=0,
        num_films=1,
    )
    assert [len(one.films) for one in outcomes] == [0]
    report = report_of(env, outcomes, title="t", setting=(), seed=0, wall_s=0.0)
    assert "No films: lamps need `pip install lamp`" in report.caveats
    asked = make("film-test/Lamp-v0", num_rows=1, fault=True, render_mode="rgb_array")
    with pytest.raises(EnvError, match="render"):
        why_no_films(asked)
    assert why_no_films(make("linear", num_rows=1)) == ""
    assert why_no_films(make("forks", num_rows=1)) is None


def test_pictures_of_a_recording_without_cameras_are_a_film_beside_it(tmp_path):
    env = make("film-test/Lamp-v0", num_rows=2)
    assert needs_film(env)
    assert not needs_film(make("car", num_rows=1))
    film_first(env, Brighter(), tmp_path, family="train", seed=3)
    env.reset(env.starts("train", 1, seed=3), np.array([0]))
    first = env.observe(np.array([0]))["observation.state"][0, 0]
    assert brightness((tmp_path / FILM).read_bytes())[0] == pytest.approx(first + 0.05, abs=0.02)
    with pytest.raises(CapabilityError, match="cannot be filmed"):
        needs_film(make("linear", num_rows=1))
    with pytest.raises(CapabilityError, match="cannot be filmed") as error:
        needs_film(make("film-test/Lamp-v0", num_rows=1, fault=True))
    assert "pip install lamp" in str(error.value)


def test_a_film_says_what_its_start_asks_for_and_ends_soon_after_its_drive():
    table = make("tabletop", num_rows=2, task="instruct")
    starts = table.starts("test", 2)
    table.reset(starts, np.arange(2))
    said = table.tasks(np.arange(2))
    expert = TabletopExpert().build(table)
    entrant = NamedController(name="expert", controller=expert, kind="expert")
    (outcome,) = compete(table, [entrant], starts, seed=0, num_films=2)
    assert [film.group for film in outcome.films] == [
        f"start {number + 1}: {text}" for number, text in enumerate(said)
    ]
    longest = outcome.evaluation.lengths.max() + 10  # a second at 10 actions a second
    assert {len(brightness(film.mp4)) for film in outcome.films} == {longest}
    (alone,) = shoot(table, expert, starts[:1], seed=0)
    assert alone.task == said[0]
    assert len(brightness(alone.mp4)) == outcome.evaluation.lengths[0] + 10
