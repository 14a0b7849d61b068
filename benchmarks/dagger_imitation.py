"""DAgger of the `imitation` library, round by round, with its defaults; dagger_peers.py runs it.

    PEERS/imitation/bin/python benchmarks/dagger_imitation.py --env CartPole-v1 --steps 20000

Evaluations between rounds are not on the clock. Prints one JSON line.
"""

import argparse
import contextlib
import io
import json
import os
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import gymnasium as gym
import numpy as np
import torch
from dagger_experts import EXPERTS
from imitation.algorithms import bc
from imitation.algorithms.dagger import SimpleDAggerTrainer
from imitation.data import rollout
from imitation.data.wrappers import RolloutInfoWrapper
from imitation.policies.base import NonTrainablePolicy
from imitation.util import logger
from stable_baselines3.common.vec_env import DummyVecEnv


class Scripted(NonTrainablePolicy):
    """An expert of dagger_experts.py as a policy of Stable-Baselines3."""

    def __init__(self, venv, env_id):
        super().__init__(venv.observation_space, venv.action_space)
        self._answer = EXPERTS[env_id]

    def _choose_action(self, observation):
        return self._answer(observation[None])[0]


class Clock:
    """Wall and CPU seconds while it runs."""

    def __init__(self):
        self.wall = self.cpu = 0.0

    def __enter__(self):
        self._began = time.perf_counter(), time.process_time()

    def __exit__(self, *_):
        self.wall += time.perf_counter() - self._began[0]
        self.cpu += time.process_time() - self._began[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--env", choices=EXPERTS, required=True)
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--until", type=float, help="stop after the round that reaches this mean return")
    parser.add_argument("--starts", type=int, nargs="*", default=(), help="reset seeds of the evaluations")
    parser.add_argument("--no-log-rollouts", action="store_true", help="do not roll out just to log a return")
    parser.add_argument("--seed", type=int, default=0)
    print(json.dumps(measure(parser.parse_args())), flush=True)


def measure(arguments):
    torch.set_num_threads(1)
    rng = np.random.default_rng(arguments.seed)
    torch.manual_seed(arguments.seed)  # noqa: TID251  the other library's own way
    torch.optim.Adam([torch.zeros(1, requires_grad=True)])  # what torch imports for its first
    clock, steps, rounds, updates = Clock(), 0, [], [0]
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        with clock:
            venv = DummyVecEnv([lambda: RolloutInfoWrapper(gym.make(arguments.env)) for _ in range(8)])
            venv.seed(arguments.seed)
            quiet = logger.configure(str(Path(folder) / "log"), format_strs=[])
            expert = Scripted(venv, arguments.env)
            learner = bc.BC(
                observation_space=venv.observation_space,
                action_space=venv.action_space,
                rng=rng,
                batch_size=32,
                custom_logger=quiet,
                device="cpu",
            )
            trainer = SimpleDAggerTrainer(
                venv=venv,
                scratch_dir=str(Path(folder) / "scratch"),
                expert_policy=expert,
                rng=rng,
                bc_trainer=learner,
                custom_logger=quiet,
            )
        counted(learner.optimizer, updates)
        training = {"progress_bar": False} | (
            {"log_rollouts_venv": None} if arguments.no_log_rollouts else {}
        )
        while steps < arguments.steps:
            with clock, contextlib.redirect_stderr(io.StringIO()):
                steps += one_round(trainer, expert, training)
            returned = evaluated(trainer.policy, arguments)
            rounds.append(
                {
                    "steps": steps,
                    "updates": updates[0],
                    "wall_s": clock.wall,
                    "cpu_s": clock.cpu,
                    "mean_return": returned,
                }
            )
            if arguments.until is not None and returned is not None and returned >= arguments.until:
                break
    return {"env": arguments.env, "version": version("imitation"), "rounds": rounds, "cpus": os.cpu_count()}


def counted(optimizer, updates):
    """Count the gradient steps of an optimiser."""

    def count(*_):
        updates[0] += 1

    optimizer.register_step_post_hook(count)


def one_round(trainer, expert, training):
    """Do a round as SimpleDAggerTrainer.train does it, and return its labelled steps."""
    collector = trainer.create_trajectory_collector()
    until = rollout.make_sample_until(min_timesteps=500, min_episodes=3)
    trajectories = rollout.generate_trajectories(
        policy=expert, venv=collector, sample_until=until, deterministic_policy=True, rng=collector.rng
    )
    trainer.extend_and_update(training)
    return sum(len(one) for one in trajectories)


def evaluated(policy, arguments):
    """Return the mean return of the likeliest actions from the starts; None without starts."""
    if not arguments.starts:
        return None
    envs = [gym.make(arguments.env) for _ in arguments.starts]
    seen = [env.reset(seed=seed)[0] for env, seed in zip(envs, arguments.starts, strict=True)]
    total, alive = np.zeros(len(envs)), list(range(len(envs)))
    while alive:
        actions, _ = policy.predict(np.array([seen[row] for row in alive]), deterministic=True)
        for row, action in zip(list(alive), actions, strict=True):
            seen[row], reward, terminated, truncated, _ = envs[row].step(action)
            total[row] += reward
            if terminated or truncated:
                alive.remove(row)
    return float(total.mean())


if __name__ == "__main__":
    main()
