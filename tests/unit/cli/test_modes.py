"""`eval` and `data modes` on the fork: what they print about ways, and what they leave in report.json."""

import json
import re
from pathlib import Path

import pytest


def test_eval_prints_the_ways_where_the_env_knows_them(cli):
    said = cli("eval", "--env", "forks", "--starts", 24, "--out", "eval", "--videos", 0)
    assert said.status == 0
    report = json.loads(Path("eval/report.json").read_text())
    modes = report["results"][0]["modes"]
    assert modes["num_modes"] == 2
    assert sum(modes["counts"]) == modes["valid"] == 24
    assert modes["covered"] == 2
    row = next(line for line in said.out.splitlines() if re.match(r"expert +\d+ \d+ ", line))
    assert "2/2" in row
    assert "24/24" in row
    assert "Which way they went" in Path("eval/report.html").read_text()


def test_eval_of_an_env_without_ways_says_nothing_of_them(cli):
    small = (
        "--set",
        "env.num_tracks=1",
        "--set",
        "env.num_held_out_tracks=1",
        "--set",
        "env.max_episode_steps=9",
    )
    said = cli("eval", "--env", "car", "--starts", 2, "--out", "eval", "--videos", 0, *small)
    assert said.status == 0
    assert "entropy" not in said.out
    assert "Which way they went" not in Path("eval/report.html").read_text()
    assert json.loads(Path("eval/report.json").read_text())["results"][0]["modes"] is None


def test_the_mean_of_samples_is_driven_beside_a_policy_that_draws(cli):
    assert cli("record", "forks", "--episodes", 4, "--out", "demos").status == 0
    for head in ("Mixture", "Regression"):
        words = ("train", "demos", "--head", head, "--steps", 6, "--batch-size", 8, "--out", head.lower())
        assert cli(*words).status == 0
    run = ("eval", "mixture", "regression", "--env", "forks", "--starts", 3, "--out", "eval", "--videos", 0)
    said = cli(*run, "--mean-of", 4)
    assert said.status == 0
    (test,) = json.loads(Path("eval/report.json").read_text())["mean_tests"]
    assert (test["name"], test["num_samples"]) == ("mixture", 4)
    assert "the mean of 4 samples" in said.out
    assert "Does the average" in Path("eval/report.html").read_text()
    assert cli(*run, "--mean-of", 1).status != 0


@pytest.mark.parametrize(
    ("env", "answer"),
    [("forks", "several ways"), ("car", "no sign of several ways; they would have been seen from")],
)
def test_the_data_test_knows_a_fork_from_a_road(cli, env, answer):
    small = () if env == "forks" else ("--labels", 960, "--observation", "state")
    assert cli("record", env, "--episodes", 96, "--out", "demos", *small).status == 0
    said = cli("data", "modes", "demos", "--states", 100)
    assert said.status == 0
    assert re.fullmatch(f"{answer}.*, from chunks of 8 steps", said.out.splitlines()[-1])
    assert "neighbours" in said.out


def test_few_episodes_are_refused_and_told_why(cli):
    assert cli("record", "forks", "--episodes", 3, "--out", "demos").status == 0
    said = cli("data", "modes", "demos")
    assert said.status != 0
    assert "at least 6" in said.err
