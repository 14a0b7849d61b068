"""The film strip: a clone and a corrected policy from the same start, side by side in time.

    python docs/pictures/film.py        # some minutes: it teaches both first, on 1000 labels each

Takes the first of 64 test starts from which the clone leaves the road after 2 to 6 s and the other one stays.
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

import steadyhand as sh
from steadyhand.correction.dagger import DaggerConfig

HERE = Path(__file__).parent
TIMES, SIZE = (0.5, 2.0, 3.5, 5.0, 6.5), (240, 180)


def frames(policy: sh.Policy, env: sh.Env, start: object) -> list[Image.Image]:
    """Drive from one start and take a picture at each time, the last one again once the drive has ended."""
    row = np.arange(1)
    env.reset([start], row)
    policy.reset()
    shots, ended = [], False
    for step in range(int(TIMES[-1] / env.spec.control_dt) + 1):
        if step in {round(time / env.spec.control_dt) for time in TIMES}:
            shots.append(Image.fromarray(env.render(0, width=640, height=480)).resize(SIZE))
        if not ended:
            action = policy(env.observe(row))
            result = env.step(action, row)
            ended = bool((result.terminated | result.truncated)[0])
    return shots


def main() -> None:
    """Teach both, and make the strip."""
    env = sh.make("car", num_rows=64, max_episode_steps=400)
    expert = sh.expert("pure-pursuit", env)
    learner = {"encoder": sh.encoders.FlatImage(), "steps": 2000, "batch_size": 64}
    demos = sh.record(env, expert, labels=1000, episodes=40)
    clone = sh.train(demos, **learner, seed=1)
    rounds = DaggerConfig(rounds=10, labels_per_round=100, query_every=10)
    policies = {"clone": clone, "DAgger": sh.correct(rounds, env, expert, **learner, seed=1)}
    driven = {name: sh.evaluate(policy, env) for name, policy in policies.items()}
    print(*driven.values(), sep="\n")
    failed = driven["clone"].first_failure
    good = np.flatnonzero((failed > 2.0) & (failed < 6.0) & driven["DAgger"].success)
    one = sh.make("car", num_rows=1, max_episode_steps=400)
    start = driven["clone"].starts[int(good[0])]
    strip = Image.new("RGB", (SIZE[0] * len(TIMES), 2 * SIZE[1]), "white")
    for line, (name, policy) in enumerate(policies.items()):
        for column, shot in enumerate(frames(policy, one, start)):
            strip.paste(shot, (SIZE[0] * column, SIZE[1] * line))
            words = f"{name}, {TIMES[column]:g} s"
            ImageDraw.Draw(strip).text(
                (SIZE[0] * column + 8, SIZE[1] * line + SIZE[1] - 18), words, fill="white"
            )
    strip.save(HERE / "film.jpg", quality=82, optimize=True)


if __name__ == "__main__":
    main()
