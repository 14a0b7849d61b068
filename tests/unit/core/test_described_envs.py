"""An env counts by what it is: settings, code, factory; not by what it went through, or in how many rows."""

import os
import random
import subprocess
import sys
from collections import deque
from pathlib import Path
from types import ModuleType, SimpleNamespace

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from steadyhand.core.description import described, running
from steadyhand.core.errors import ConfigError
from steadyhand.core.question import claim
from steadyhand.core.specs import EnvSpec, FeatureSpec
from steadyhand.envs import make
from steadyhand.envs.adapter import GymnasiumEnv
from steadyhand.envs.base import BatchEnv, Start, StepResult
from steadyhand.envs.car import Car, CarConfig
from steadyhand.envs.gymnasium_config import GymnasiumConfig
from steadyhand.experts.network import CallableExpert
from steadyhand.rollout.evaluate import evaluate

DRAG = 0.5
NUMBERS = FeatureSpec(shape=(1,), dtype="float32", kind="continuous", low=(-1.0,), high=(1.0,))


class Motor:
    def __init__(self, strength: float) -> None:
        self.strength = strength

    def push(self, action: np.ndarray) -> np.ndarray:
        return self.strength * action


def pushed(motor: Motor, action: np.ndarray) -> np.ndarray:
    return motor.push(action) - DRAG


class Drift(BatchEnv):
    """An env as a user writes one: it gives no thought to questions."""

    rate = 1.0
    table = (1.0, 2.0)

    def __init__(self, num_rows: int = 2, wind: float = 0.1, strength: float = 1.0) -> None:
        self.spec = EnvSpec(
            env_id="drift",
            observation={"observation.state": NUMBERS},
            action=NUMBERS,
            control_dt=0.1,
            max_episode_steps=5,
        )
        self.num_rows = num_rows
        self.wind = wind
        self.goal = np.array([1.0, 2.0])
        self.motor = Motor(strength)
        self.random = np.random.default_rng()  # from the machine's entropy
        self.dice = random.Random()
        self.total, self._log, self._recent = 0, list[float](), deque[float](maxlen=3)
        self._steps = np.zeros(num_rows, dtype=np.int64)
        self.x = np.random.default_rng().normal(size=(num_rows, 1))

    def starts(self, family, count, *, seed=0):
        return tuple(Start(family=family, seed=seed + number) for number in range(count))

    def reset(self, starts, rows):
        self.x[rows] = 0.0
        self._begin(rows)

    def step(self, actions, rows):
        self.total += 1
        self._steps[rows] += 1
        self.x[rows, :] += pushed(self.motor, actions) + self.wind + 0.01 * self.random.normal()
        self._log.append(self.dice.random())
        self._recent.append(0.0)
        ended = self._steps[rows] >= 5
        zeros = np.zeros(len(rows), dtype=bool)
        return StepResult(
            reward=-np.abs(self.x[rows, 0]).astype(np.float32),
            terminated=zeros,
            truncated=ended,
            success=zeros,
        )

    def observe(self, rows, *, view_offset=None):
        self._shown = self.x[rows].astype(np.float32)
        return {"observation.state": self._shown}

    def set_wind(self, wind: float) -> None:
        self.wind = wind

    def _begin(self, rows):
        self._steps[rows] = 0


def drive(env: BatchEnv) -> None:
    rows = np.arange(env.num_rows)
    env.reset(env.starts("train", env.num_rows), rows)
    for _ in range(2):
        env.step(np.zeros((env.num_rows, *env.spec.action.shape), env.spec.action.dtype), rows)
        env.observe(rows)


def refused(folder: Path, one: object, other: object, what: str) -> None:
    """Check that `other` is refused where the question was about `one`, by what differs."""
    claim(folder, "teach", {"env": one}, answered=False)
    claim(folder, "teach", {"env": one}, answered=True)
    with pytest.raises(ConfigError, match=f"(?s)another question.*env\\.{what}"):
        claim(folder, "teach", {"env": other}, answered=True)


def test_what_an_env_goes_through_and_how_many_rows_it_has_are_no_part_of_what_it_is() -> None:
    env, fresh = Drift(), described(Drift())
    drive(env)
    assert described(env) == described(Drift(num_rows=7)) == fresh
    drive(env)
    assert env.total == 4
    assert described(env) == fresh


@pytest.mark.parametrize(
    ("what", "changed"),
    [
        (r"attributes\.wind: 0\.1 there, 0\.2 asked for", lambda: Drift(wind=0.2)),
        (r"attributes\.motor\.attributes\.strength", lambda: Drift(strength=2.0)),
    ],
    ids=["number", "inside"],
)
def test_an_env_counts_by_its_attributes(what: str, changed, tmp_path: Path) -> None:
    refused(tmp_path, Drift(), changed(), what)


def test_what_somebody_sets_counts_also_by_a_method(tmp_path: Path) -> None:
    env = Drift()
    drive(env)
    env.set_wind(0.2)
    env.goal[1] = 3.0
    refused(tmp_path, Drift(), env, r"attributes\.goal.*env\.attributes\.wind: 0\.1 there, 0\.2")


def test_an_env_counts_by_its_code_and_what_that_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Faster(Drift):
        def step(self, actions, rows):
            return super().step(2 * actions, rows)

    refused(tmp_path / "code", Drift(), Faster(), "")
    before = described(Drift())
    for name, value in (("rate", 2.0), ("table", (1.0, 3.0))):
        with monkeypatch.context() as patch:
            patch.setattr(Drift, name, value)
            assert described(Drift()) != before
    for name, value in (("DRAG", 0.6), ("pushed", lambda motor, action: 2 * motor.push(action))):
        with monkeypatch.context() as patch:
            patch.setitem(globals(), name, value)
            assert described(Drift()) != before
    with monkeypatch.context() as patch:
        patch.setattr(Motor, "push", lambda self, action: 3 * action)
        assert described(Drift()) != before
    assert described(Drift()) == before


def test_code_reads_classes_and_other_modules_of_its_author(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("physics")
    module.pull = lambda x: 2 * x
    monkeypatch.setitem(globals(), "physics", module)

    class Model:
        def act(self, x: float) -> float:
            return physics.pull(x) + Motor(1.0).push(x)

    before = described(Model())
    with monkeypatch.context() as patch:
        patch.setattr(module, "pull", lambda x: 3 * x)
        assert described(Model()) != before
    with monkeypatch.context() as patch:
        patch.setattr(Motor, "push", lambda self, action: 3 * action)
        assert described(Model()) != before
    assert described(Model()) == before


COUNTED = 0
SEEN: list[float] = []


def counting(seen: np.ndarray) -> np.ndarray:
    global COUNTED
    COUNTED += 1
    SEEN.append(float(seen[0, 0]))
    return np.zeros((len(seen), 1), np.float32)


def test_what_a_function_counts_while_it_runs_is_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[int] = []

    def closed(seen: np.ndarray) -> np.ndarray:
        log.append(1)
        return counting(seen)

    env = Drift()
    for law in (counting, closed):
        expert = CallableExpert(law, action=NUMBERS)
        before, count = described(expert), COUNTED
        evaluate(env, expert, env.starts("test", 2), name="expert")
        assert count < COUNTED == len(SEEN)
        assert described(expert) == before
        with monkeypatch.context() as patch:
            patch.setitem(globals(), "COUNTED", -1)  # somebody sets it
            assert described(expert) != before


def test_a_function_counts_however_many_others_lie_between(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thirty functions of which each calls all that follow: 2 ** 29 ways from the first to the last."""
    called = [f"called_{number}" for number in range(30)]
    namespace: dict[str, object] = {"__name__": "somewhere", "LAST": 1}
    for number, name in enumerate(called):
        exec(f"def {name}(): return LAST, {', '.join(called[number + 1 :])}", namespace)
    before = described(namespace["called_0"])
    exec("def called_29(): return 2", namespace)
    assert described(namespace["called_0"]) != before


def test_an_env_may_say_itself_what_it_is() -> None:
    class Asked(Drift):
        def question(self) -> dict[str, object]:
            return {"wind": self.wind}

    assert described(Asked(strength=2.0)) == described(Asked()) != described(Asked(wind=0.2))


class Cart(gymnasium.Env):
    """An env for Gymnasium that starts itself when it is made, as many do."""

    metadata = {"render_modes": [], "render_fps": 10}  # noqa: RUF012  as Gymnasium declares it

    def __init__(self, mass: float = 1.0) -> None:
        self.observation_space = spaces.Box(-1, 1, (1,), np.float32)
        self.action_space = spaces.Box(-1, 1, (1,), np.float32)
        self.body = SimpleNamespace(mass=mass, x=np.zeros(1, np.float32))
        self.reset()

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.start = self.np_random.normal()
        return self.body.x, {}

    def step(self, action):
        self.body.x = np.clip(self.body.x + action / self.body.mass, -1, 1).astype(np.float32)
        return self.body.x, 0.0, False, False, {}


class Push(gymnasium.Wrapper):
    def __init__(self, env: gymnasium.Env, force: float) -> None:
        super().__init__(env)
        self.force = force

    def step(self, action):
        return super().step(self.force * action)


def cart(factory=Cart, *, num_rows: int = 1) -> GymnasiumEnv:
    config = GymnasiumConfig(env_id="cart", max_episode_steps=5)
    return GymnasiumEnv(config, num_rows=num_rows, factory=factory)


def test_a_gymnasium_env_counts_by_its_factory_and_by_what_that_makes(tmp_path: Path) -> None:
    def made(mass: float):
        return lambda: Cart(mass)

    def wrapped(force: float, layers: int):
        def factory():
            env = Cart()
            for _ in range(layers):
                env = Push(env, 1.0)
            env.unwrapped.force = force
            return env

        return factory

    refused(tmp_path / "a", cart(made(1.0)), cart(made(2.0)), r"factory\.closed_over\.mass: 1\.0 there, 2\.0")
    refused(tmp_path / "b", cart(lambda: Cart(1.0)), cart(lambda: Cart(2.0)), r"factory\.code")
    one, two = cart(wrapped(1.0, 6)), cart(wrapped(2.0, 6))
    refused(tmp_path / "c", one, two, r"(copy.*)?attributes\.force: 1\.0 there, 2\.0")
    env, fresh = cart(), described(cart(num_rows=3))
    drive(env)
    assert described(env) == described(cart()) == fresh


def test_a_gymnasium_env_counts_by_the_code_of_its_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gymnasium.envs.registration, "registry", dict(gymnasium.registry))
    gymnasium.register("Cart-v0", entry_point=Cart, max_episode_steps=5)
    config = GymnasiumConfig(env_id="Cart-v0")
    claim(tmp_path, "teach", {"env": config.build(1)}, answered=False)
    claim(tmp_path, "teach", {"env": config.build(2)}, answered=True)
    monkeypatch.setattr(Cart, "step", lambda self, action: (self.body.x, 1.0, False, False, {}))
    with pytest.raises(ConfigError, match=r"env\.copy\..*\.code: "):
        claim(tmp_path, "teach", {"env": config.build(1)}, answered=True)


def test_what_is_derived_from_ours_counts_beside_what_it_is_derived_from() -> None:
    class Windy(Car):
        def __init__(self, *, num_rows: int, wind: float = 0.0) -> None:
            super().__init__(CarConfig(observation=("state",)), num_rows=num_rows)
            self.wind = wind

        def step(self, actions, rows):
            return super().step(actions + np.float32(self.wind), rows)

    class Halved(GymnasiumEnv):
        def step(self, actions, rows):
            return super().step(actions / 2, rows)

    env, fresh = Windy(num_rows=2), described(Windy(num_rows=2))
    drive(env)
    assert described(env) == described(Windy(num_rows=5)) == fresh
    assert described(Windy(num_rows=2, wind=0.1)) != fresh != described(CarConfig().build(2))
    config = GymnasiumConfig(env_id="cart", max_episode_steps=5)
    halved, plain = Halved(config, num_rows=1, factory=Cart), cart()
    assert described(halved)["copy"] == described(plain)["copy"]
    assert "code" in described(halved)
    before = described(halved)
    drive(halved)
    assert described(halved) == before


KNOWN = ("CartPole-v1", "Taxi-v4", "Pendulum-v1")
SAYS = "import json; from steadyhand.envs import make; from steadyhand.core.description import described\n"
SAYS += f"print(json.dumps([described(make(name, num_rows=1)) for name in {KNOWN}]))"


def test_a_known_env_is_the_same_in_every_process_before_and_after_it_ran() -> None:
    environment = {**os.environ, "PYTHONHASHSEED": "5"}
    there = subprocess.check_output([sys.executable, "-W", "ignore", "-c", SAYS], env=environment, text=True)
    envs = [make(name, num_rows=2) for name in KNOWN]
    for env in envs:
        drive(env)
    namespace: dict[str, object] = {}
    exec(SAYS.rpartition("\n")[0], namespace)
    assert there.strip() == namespace["json"].dumps([described(env) for env in envs])  # type: ignore[attr-defined]


def test_what_evaluation_changes_in_an_expert_is_memory_and_what_somebody_set_is_not() -> None:
    class Law:
        def __init__(self, gain: float = 0.5) -> None:
            self.gain, self.calls, self.integral, self.inner = gain, 0, 0.0, SimpleNamespace(mean=0.0)
            self.inner.me = self  # objects that hold each other

        def begin(self, rows):
            self.integral = 0.0

        def __call__(self, seen: np.ndarray) -> np.ndarray:
            self.calls += 1
            self.integral += 1.0
            self.inner.mean += 1.0
            return np.zeros((len(seen), 1), np.float32)

    env, law = Drift(), Law()
    expert = CallableExpert(law, action=NUMBERS)
    fresh = described(CallableExpert(Law(), action=NUMBERS))
    law.integral = 5.0
    assert described(expert) == fresh  # `begin` sets it
    evaluate(env, expert, env.starts("test", 2), name="expert")
    assert law.calls == 5
    assert described(expert) == fresh
    law.inner.mean = 7.0
    assert described(expert) != fresh  # nobody ran
    law.gain, by_hand = 0.7, described(expert)
    with running():
        law(np.zeros((1, 1)))
        with running():
            law(np.zeros((1, 1)))
    changed = described(expert)
    assert changed != by_hand
    law.gain = 0.5
    assert described(expert) == by_hand
