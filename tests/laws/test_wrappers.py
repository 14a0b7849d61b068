"""Whatever wraps a controller passes on what a session, or another wrapper, tells it and asks it."""

import importlib
import inspect
import pkgutil
import typing
from collections.abc import Callable, Sequence

import numpy as np
import pytest

import steadyhand
from steadyhand.core.protocol import Actor, Controller, Decision, Wrapper
from steadyhand.core.seeding import RowStreams
from steadyhand.core.specs import STATE, FeatureSpec
from steadyhand.correction.classic import Blend, ByStep
from steadyhand.correction.gate import Gate, Gated
from steadyhand.correction.mixture import Mixture
from steadyhand.correction.noise import GaussianNoise, NoisyExecution, RandomExecution
from steadyhand.correction.on_the_fly import _Watched
from steadyhand.correction.view_config import AlvinnViews
from steadyhand.correction.views import ViewCamera
from steadyhand.envs.car.config import CarConfig
from steadyhand.experts.delayed import Delayed
from steadyhand.rollout.labelled import Labelled
from steadyhand.testing.corrections import WatchedExpert

BOX = FeatureSpec(shape=(1,), low=(-1.0,), high=(1.0,))
CLASSES = FeatureSpec(shape=(1,), dtype="int64", kind="discrete", num_classes=3)
ROWS = np.array([0, 1])


class Spy(Controller):
    """Counts the steps of each row, keeps what it was told, and has finished in row 1 only."""

    def __init__(self, dtype: str = "float32") -> None:
        self.heard: list[str] = []
        self.count = np.zeros(2, dtype=np.int64)
        self._dtype = dtype

    def begin(self, rows):
        self.heard.append("begin")

    def replan(self, rows):
        self.heard.append(f"replan {rows.tolist()}")

    def finished(self, rows):
        return rows == 1

    def act(self, observation, privileged, rows, generator):
        self.count[rows] += 1
        action = np.zeros((len(rows), 1), dtype=self._dtype)
        return Decision.by(Actor.EXPERT, action, label=action)

    def state(self):
        return {"count": self.count.copy()}

    def restore(self, state):
        self.count = state["count"].copy()


class Takes(Gate):
    """Lets the expert drive always, or never."""

    def __init__(self, always: bool) -> None:
        self._always = always

    def takes_over(self, moment):
        return np.full(len(moment.rows), self._always)


def car():
    return CarConfig().build(2)


WRAPPERS: dict[str, tuple[type[Controller], Callable[[Spy], Controller]]] = {
    "labelled": (Labelled, Labelled),
    "delayed": (Delayed, lambda spy: Delayed(spy, delay=2)),
    "noise": (
        NoisyExecution,
        lambda spy: NoisyExecution(spy, noise=GaussianNoise(sigma=0.1), action=BOX),
    ),
    "random": (RandomExecution, lambda spy: RandomExecution(spy, epsilon=0.1, action=CLASSES)),
    "views": (ViewCamera, lambda spy: ViewCamera(car(), spy, AlvinnViews())),
    "watched": (_Watched, lambda spy: _Watched(car(), spy, AlvinnViews(), every=100)),
    "watched expert": (WatchedExpert, WatchedExpert),
    "policy, gated": (Gated, lambda spy: Gated(spy, Spy(), Takes(always=False))),
    "expert behind a gate": (Gated, lambda spy: Gated(Spy(), spy, Takes(always=True))),
    "policy, mixed": (Mixture, lambda spy: Mixture(spy, Spy(), beta=0.0)),
    "expert, mixed": (Mixture, lambda spy: Mixture(Spy(), spy, beta=1.0)),
    "expert, alone": (Mixture, lambda spy: Mixture(None, spy, beta=1.0)),
    "by step": (ByStep, lambda spy: ByStep([spy, Spy()])),
    "blend": (Blend, lambda spy: Blend([spy, Spy()], [1.0, 0.0])),
}


def around(name: str, spy: Spy) -> Controller:
    return WRAPPERS[name][1](spy)


def spy_for(name: str) -> Spy:
    return Spy("int64" if name == "random" else "float32")


def decide(controller: Controller, env_rows: np.ndarray = ROWS) -> None:
    streams = RowStreams.from_seed(0, 2).take(env_rows)
    controller.act({STATE: np.zeros((len(env_rows), 1), dtype=np.float32)}, {}, env_rows, streams)


@pytest.fixture(autouse=True)
def begun_car(monkeypatch):
    """Views are no matter here: their env stands still."""
    for module in ("views", "on_the_fly"):
        monkeypatch.setattr(f"steadyhand.correction.{module}.take_views", lambda *_: _Nothing())


class _Nothing:
    def of(self, place):
        return self


@pytest.mark.parametrize("name", WRAPPERS)
def test_it_passes_on_what_it_is_told(name):
    spy = spy_for(name)
    wrapper = around(name, spy)
    wrapper.begin(ROWS)
    assert spy.heard == ["begin"]
    wrapper.replan(np.array([1]))
    assert spy.heard == ["begin", "replan [1]"]


@pytest.mark.parametrize("name", WRAPPERS)
def test_it_ends_an_episode_where_who_drives_has_finished(name):
    wrapper = around(name, spy_for(name))
    wrapper.begin(ROWS)
    decide(wrapper)
    assert wrapper.finished(ROWS).tolist() == [False, True]
    assert wrapper.finished(np.array([1])).tolist() == [True]


@pytest.mark.parametrize("name", WRAPPERS)
def test_its_memory_holds_that_of_what_it_wraps(name):
    spy = spy_for(name)
    wrapper = around(name, spy)
    wrapper.begin(ROWS)
    decide(wrapper)
    state = wrapper.state()
    decide(wrapper)
    assert spy.count.tolist() != [1, 1] or name == "by step"
    wrapper.restore(state)
    assert spy.count.tolist() == [1, 1]


@pytest.mark.parametrize("name", WRAPPERS)
def test_it_must_see_what_the_wrapped_one_must_see(name):
    spy = spy_for(name)
    spy.remembers = True
    assert around(name, spy).remembers
    assert around(name, spy).sees_privileged


@pytest.mark.parametrize("name", [name for name in WRAPPERS if issubclass(WRAPPERS[name][0], Wrapper)])
def test_it_looks_at_no_more_than_the_wrapped_one(name):
    spy = spy_for(name)
    spy.sees_privileged = False
    assert not around(name, spy).sees_privileged


def test_every_wrapper_is_held_to_these_laws():
    for module in pkgutil.walk_packages(steadyhand.__path__, "steadyhand."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found = {kind for kind in _subclasses(Controller) if kind.__module__.startswith("steadyhand.")}
    wrapping = {kind for kind in found if _takes_a_controller(kind)} - {Wrapper}
    assert wrapping == {kind for kind, _ in WRAPPERS.values()}


def _subclasses(kind: type) -> set[type]:
    return {one for sub in kind.__subclasses__() for one in {sub, *_subclasses(sub)}}


def _takes_a_controller(kind: type) -> bool:
    hints = typing.get_type_hints(inspect.unwrap(kind.__init__))
    wanted = (Controller, Controller | None, Sequence[Controller])
    return any(hint in wanted for hint in hints.values())
