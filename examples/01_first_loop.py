"""Clone a race car from pixels, correct it by DAgger with as many labels, drive both from the same starts.

python examples/01_first_loop.py            # about a minute
python examples/01_first_loop.py --smoke    # seconds: shows that it runs, not what it can do
"""

import argparse
from pathlib import Path

import steadyhand as sh


def main(out: Path, *, smoke: bool) -> None:
    rounds, labels, steps, seconds, count = (2, 40, 20, 2, 4) if smoke else (5, 200, 3000, 60, 64)
    env = sh.make("car", num_rows=count, max_episode_steps=20 * seconds)
    expert = sh.expert("pure-pursuit", env)
    network = sh.encoders.FlatImage(hidden=(64,))

    demos = sh.record(env, expert, labels=rounds * labels, episodes=count)
    clone = sh.train(demos, encoder=network, steps=steps, out=out / "clone", name="cloning")

    # While the policy drives, DAgger asks at every tenth step only: as many labels from longer drives.
    asks = sh.remedies.DaggerConfig(
        rounds=rounds, labels_per_round=labels, query_every=10, validation_starts=max(2, count // 2)
    )
    dagger = sh.correct(asks, env, expert, encoder=network, steps=steps, out=out / "dagger")

    compared = sh.compare([clone, dagger], env, expert=expert, starts=count, films=0, out=out / "report")
    print(f"{compared}\nreport: {compared.page}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--out", type=Path, default=Path("runs/first-loop"), help="what is there is not redone"
    )
    parser.add_argument("--smoke", action="store_true", help="the smallest sizes")
    arguments = parser.parse_args()
    main(arguments.out, smoke=arguments.smoke)
