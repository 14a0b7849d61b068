"""Clone a race car from pixels, correct it by DAgger with as many labels, drive both from the same starts.

python examples/01_first_loop.py            # about a minute
python examples/01_first_loop.py --smoke    # seconds: shows that it runs, not what it can do
"""

import argparse
from pathlib import Path

from steadyhand.core.statistics import wilson
from steadyhand.correction.collect import collect
from steadyhand.correction.dagger import DaggerConfig, dagger
from steadyhand.envs import make
from steadyhand.experts.pure_pursuit import PurePursuit
from steadyhand.policies.encoders.image import FlatImage
from steadyhand.policies.spec import PolicyConfig
from steadyhand.recipes.learner import PolicyLearner
from steadyhand.rollout.evaluate import evaluate
from steadyhand.training.config import TrainConfig


def main(out: Path, *, smoke: bool) -> None:
    rounds, labels, steps, seconds, count = (2, 40, 20, 2, 4) if smoke else (5, 200, 3000, 60, 64)
    env = make("car", num_rows=count, observation=("retina",), max_episode_steps=20 * seconds)
    expert = PurePursuit()
    learner = PolicyLearner(
        env.spec,
        policy=PolicyConfig(encoder=FlatImage(hidden=(64,))),
        training=TrainConfig(num_steps=steps, batch_size=64, warmup_steps=steps // 10),
    )

    demonstrations = collect(
        env, expert, env.starts("train", count), source="demonstration", seed=0, num_labels=rounds * labels
    )
    learner.fit(demonstrations, folder=out / "clone", seed=0, warm_start=None)

    config = DaggerConfig(
        rounds=rounds, labels_per_round=labels, query_every=10, validation_starts=count // 2
    )
    corrected = dagger(env, expert, learner, config=config, folder=out / "dagger", seed=0)
    for record in corrected.rounds:
        print(f"round {record.round}: {record.validation_success:.0%} of validation starts stay on the road")

    starts = env.starts("test", count)
    for name, folder in {"cloning": out / "clone", "DAgger": corrected.best_folder}.items():
        driven = evaluate(env, learner.controller(folder, num_rows=count), starts, name=name)
        kept = int(driven.success.sum())
        interval = wilson(kept, count)
        print(f"{name}: {kept} of {count} stay on, 95 % interval {interval.low:.0%} to {interval.high:.0%}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--out", type=Path, default=Path("runs/first-loop"), help="what is there is not redone"
    )
    parser.add_argument("--smoke", action="store_true", help="the smallest sizes")
    arguments = parser.parse_args()
    main(arguments.out, smoke=arguments.smoke)
