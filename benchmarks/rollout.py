"""Does driving in closed loop cost more than the env and the network by themselves? JSON lines.

A session in which an MLP drives cars by their 30 x 32 retina. Its events are recorded once; then four things
are timed in turn, on the same rows, observations and actions:

- closed: the session as it is (stepper, receding horizon, random streams, refilling of ended rows),
- env: observe, step and reset, with the recorded actions,
- network: the policy's answers to the recorded observations, batch by batch,
- bare: env and network in turn, in one loop that a careful user would write; what it takes beyond the two by
  themselves is paid to the caches of the processor, not to the stepper.

    OMP_NUM_THREADS=1 python benchmarks/rollout.py --pairs 9
"""

import argparse
import statistics
import time
from collections.abc import Callable, Mapping

import numpy as np
from lines import report

from steadyhand.correction.collect import collect
from steadyhand.data.frames import Frames
from steadyhand.envs.car import Car, CarConfig
from steadyhand.experts.pure_pursuit import PurePursuit
from steadyhand.policies.batch import WindowSource
from steadyhand.policies.encoders.image import FlatImage
from steadyhand.policies.policy import PolicyModule
from steadyhand.policies.spec import PolicyConfig, PolicySpec
from steadyhand.policies.threads import use_threads
from steadyhand.rollout.executors.receding import RecedingHorizon
from steadyhand.rollout.session import Session, StepEvent
from steadyhand.training.config import TrainConfig
from steadyhand.training.loop import fit


class Case:
    """One batch size, and the three things to time."""

    def __init__(self, num_rows: int, num_steps: int) -> None:
        self.num_steps = num_steps
        self.env = Car(CarConfig(observation=("retina",)), num_rows=num_rows)
        self.policy = driver(self.env)
        self.controller = RecedingHorizon(self.policy, num_rows=num_rows)
        self.starts = self.env.starts("test", num_rows * (2 + num_steps // 10))
        self.events: list[StepEvent] = []
        self.closed()
        self.closed(self.events)
        self.num_car_steps = sum(len(event.rows) for event in self.events)

    def closed(self, events: list[StepEvent] | None = None) -> None:
        """Drive; rows that end are refilled, so that all of them drive all the time."""
        listeners = [] if events is None else [events.append]
        session = Session(self.env, self.controller, self.starts, seed=0, listeners=listeners)
        for _ in range(self.num_steps):
            session.step()

    def bare(self) -> None:
        """Do with env and network what the session did."""
        self.env_only(self.answer)

    def env_only(self, answer: Callable[[Mapping[str, np.ndarray]], object] | None = None) -> None:
        """Do with the env what the session did."""
        env, used = self.env, self.env.num_rows
        env.reset(self.starts[:used], np.arange(used))
        for event in self.events:
            observation = env.observe(event.rows)
            if answer is not None:
                answer(observation)
            env.step(event.decision.action, event.rows)
            over = event.rows[event.ended]
            if len(over):
                env.reset(self.starts[used : used + len(over)], over)
                used += len(over)

    def network_only(self) -> None:
        """Answer what the policy was asked."""
        for event in self.events:
            self.answer(event.observation)

    def answer(self, observation: Mapping[str, np.ndarray]) -> np.ndarray:
        """Ask the policy once."""
        window = {name: observation[name][:, None] for name in self.policy.features}
        return self.policy.predict_chunk(window)[:, 0].numpy()


def driver(env: Car) -> PolicyModule:
    """Return an MLP that cloned pure pursuit for a few seconds: most cars stay on the road for a while."""
    expert = PurePursuit(env.config)
    starts = env.starts("train", 16)
    shown = collect(env, expert, starts, source="demonstration", seed=0, num_labels=3200, max_steps=200)
    frames = Frames.from_episodes(shown, observation_spec=env.spec.observation, action_spec=env.spec.action)
    policy = PolicyModule.build(PolicyConfig(encoder=FlatImage(hidden=(64,))), PolicySpec.of_env(env.spec))
    source = WindowSource(frames, policy.window)
    policy.fit_statistics(frames)
    fit(policy, source, config=TrainConfig(num_steps=500, batch_size=64))
    return policy


def seconds(task: Callable[[], None]) -> float:
    begin = time.process_time()
    task()
    return time.process_time() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--steps", type=int, default=100)
    arguments = parser.parse_args()
    with use_threads(1):
        for num_rows in (64, 256):
            measure(Case(num_rows, arguments.steps), arguments.pairs)


def measure(case: Case, pairs: int) -> None:
    for task in (case.env_only, case.network_only, case.bare):
        task()
    rows: list[tuple[float, float, float]] = []
    for _ in range(pairs):
        apart = seconds(case.env_only) + seconds(case.network_only)
        rows.append((seconds(case.closed), apart, seconds(case.bare)))
    closed, *floors = ([row[place] for row in rows] for place in range(3))
    share = 1e6 / case.num_car_steps
    names = {"env alone + network alone": "ratio <= 1.25", "a bare loop of env and network": ""}
    for floor, (name, target) in zip(floors, names.items(), strict=True):
        report(
            f"rollout, {case.env.num_rows} cars by retina",
            value=share * statistics.median(closed),
            unit="us / car-step",
            floor=share * statistics.median(floor),
            floor_is=name,
            ratio=statistics.median(mine / least for mine, least in zip(closed, floor, strict=True)),
            target=target,
            pairs=pairs,
        )


if __name__ == "__main__":
    main()
