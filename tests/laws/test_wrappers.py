"""Whatever wraps a controller passes on what a session, or another wrapper, tells it and asks it."""

import dataclasses
import importlib
import inspect
import pkgutil
import typing
from collections.abc import Callable, Sequence

import numpy as np
import pytest

import steadyhand
from steadyhand.core.protocol import Controller, Switch, Wrapper
from steadyhand.core.specs import FeatureSpec
from steadyhand.correction.classic import Blend, ByStep
from steadyhand.correction.gate import Gate, Gated
from steadyhand.correction.mixture import BetaMixture
from steadyhand.correction.noise import GaussianNoise, NoisyExecution, RandomExecution
from steadyhand.correction.on_the_fly import _Watched
from steadyhand.correction.view_config import AlvinnViews
from steadyhand.correction.views import ViewCamera
from steadyhand.envs.car.config import CarConfig
from steadyhand.experts.delayed import Delayed
from steadyhand.rollout.labelled import Labelled
from steadyhand.testing import check_wrapper
from steadyhand.testing.corrections import WatchedExpert
from steadyhand.testing.wrappers import BOX, Spy

CLASSES = FeatureSpec(shape=(1,), dtype="int64", kind="discrete", num_classes=3)


class Takes(Gate):
    """Lets the expert drive always, or never."""

    def __init__(self, always: bool) -> None:
        self._always = always

    def takes_over(self, inputs):
        return np.full(len(inputs.rows), self._always)


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
    "policy, mixed": (BetaMixture, lambda spy: BetaMixture(spy, Spy(), beta=0.0)),
    "expert, mixed": (BetaMixture, lambda spy: BetaMixture(Spy(), spy, beta=1.0)),
    "expert, alone": (BetaMixture, lambda spy: BetaMixture(None, spy, beta=1.0)),
    "by step": (ByStep, lambda spy: ByStep([spy, Spy()])),
    "blend": (Blend, lambda spy: Blend([spy, Spy()], [1.0, 0.0])),
}


@pytest.fixture(autouse=True)
def begun_car(monkeypatch):
    """Views are no matter here: their env stands still."""
    for module in ("views", "on_the_fly"):
        monkeypatch.setattr(f"steadyhand.correction.{module}.take_views", lambda *_: _Nothing())


class _Nothing:
    def of(self, place):
        return self


@pytest.mark.parametrize("name", WRAPPERS)
def test_whoever_is_inside_hears_and_keeps_what_it_would_alone(name):
    check_wrapper(WRAPPERS[name][1], action=CLASSES if name == "random" else BOX)


@pytest.mark.parametrize("name", [name for name in WRAPPERS if issubclass(WRAPPERS[name][0], Wrapper)])
def test_it_looks_at_no_more_than_the_wrapped_one(name):
    spy = Spy(CLASSES if name == "random" else BOX)
    spy.sees_privileged = False
    assert not WRAPPERS[name][1](spy).sees_privileged


class Through(Wrapper):
    """Does nothing of its own."""

    def act(self, observation, privileged, rows, generator):
        return self._inner.act(observation, privileged, rows, generator)


class Late(Through):
    """Executes what was decided one step ago, which it remembers."""

    def __init__(self, inner):
        super().__init__(inner)
        self.last = np.zeros((2, 1), dtype=np.float32)

    def begin(self, rows):
        super().begin(rows)
        self.last[rows] = 0.0

    def act(self, observation, privileged, rows, generator):
        decision = super().act(observation, privileged, rows, generator)
        action, self.last[rows] = self.last[rows], decision.action
        return dataclasses.replace(decision, action=action)

    def state(self):
        return {"last": self.last.copy(), **super().state()}

    def restore(self, state):
        self.last = state["last"].copy()
        super().restore(state)


def breaks(base: type[Wrapper], **methods) -> type[Wrapper]:
    return type("Broken", (base,), methods)


class Sees(Through):
    def __init__(self, inner):
        super().__init__(inner)
        self.sees_privileged = False


class Skips(Through):
    def __init__(self, inner):
        super().__init__(inner)
        self.remembers = False


def test_a_wrapper_of_ones_own_holds():
    check_wrapper(Through)
    check_wrapper(Late)


@pytest.mark.parametrize(
    ("law", "broken"),
    [
        ("passes on begin", breaks(Through, begin=lambda self, rows: None)),
        ("passes on replan", breaks(Through, replan=lambda self, rows: None)),
        ("passes on replan", breaks(Through, replan=lambda self, rows: self._inner.begin(rows))),
        ("passes on finished", breaks(Through, finished=lambda self, rows: np.zeros(len(rows), dtype=bool))),
        ("passes on state", breaks(Through, restore=lambda self, state: None)),
        ("its own memory", breaks(Late, restore=Through.restore)),
        ("passes on remembers", Skips),
        ("passes on sees_privileged", Sees),
    ],
)
def test_a_wrapper_that_forgets_something_is_told_what(law, broken):
    with pytest.raises(AssertionError, match=law):
        check_wrapper(broken)


def test_every_wrapper_is_held_to_these_laws():
    for module in pkgutil.walk_packages(steadyhand.__path__, "steadyhand."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found = {kind for kind in _subclasses(Controller) if kind.__module__.startswith("steadyhand.")}
    wrapping = {kind for kind in found if _takes_a_controller(kind)} - {Wrapper, Switch}
    assert wrapping == {kind for kind, _ in WRAPPERS.values()}


def _subclasses(kind: type) -> set[type]:
    return {one for sub in kind.__subclasses__() for one in {sub, *_subclasses(sub)}}


def _takes_a_controller(kind: type) -> bool:
    hints = typing.get_type_hints(inspect.unwrap(kind.__init__))
    wanted = (Controller, Controller | None, Sequence[Controller])
    return any(hint in wanted for hint in hints.values())
