"""Train chunks of actions on arrays of your own, and see whether they beat answers that need no learning.

    python examples/02_your_own_arrays.py [--smoke]

The arrays are a made-up arm that follows a moving target; yours may come from anywhere, N steps of E episodes
laid end to end. `steadyhand train arrays.npz` does the same in one command.
"""

import argparse
from pathlib import Path

import numpy as np

import steadyhand as sh


def follow(rng: np.random.Generator, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (T, 4) joint angles and target [rad], and (T, 2) commanded angles [rad]."""
    phase = rng.uniform(0, 2 * np.pi, 2) + 0.05 * np.arange(length)[:, None]
    target, joints, seen, done = np.sin(phase), rng.normal(0, 0.5, 2), [], []
    for goal in target:
        command = joints + 0.2 * (goal - joints)
        seen.append(np.concatenate([joints, goal]))
        done.append(command)
        joints = command + rng.normal(0, 0.01, 2)
    return np.array(seen, dtype=np.float32), np.array(done, dtype=np.float32)


def main(out: Path, *, smoke: bool) -> None:
    rng = np.random.default_rng(0)
    episodes = [follow(rng, 50 if smoke else 200) for _ in range(10 if smoke else 50)]
    arrays = {
        "observation": np.concatenate([seen for seen, _ in episodes]),
        "action": np.concatenate([done for _, done in episodes]),
        "episode_ends": np.cumsum([len(done) for _, done in episodes]),
    }
    data = sh.load_dataset(arrays, control_dt=0.05)  # or the path of an .npz file of such arrays
    print(data)
    steps = 50 if smoke else 3000
    policy = sh.train(data, n_obs_steps=2, horizon=8, n_action_steps=4, steps=steps, out=out)
    for error in policy.origin.errors:
        print(f"{error.name:<20} mean absolute error {error.mean:.4f} rad, {error.relative:.2f} of one std")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/arrays"), help="folder of the run")
    parser.add_argument("--smoke", action="store_true", help="the smallest sizes")
    arguments = parser.parse_args()
    main(arguments.out, smoke=arguments.smoke)
