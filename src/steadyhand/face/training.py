"""Teaching: clone demonstrations, or correct a policy by a remedy for compounding error."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from steadyhand.core.errors import ConfigError
from steadyhand.core.protocol import Controller
from steadyhand.correction.budget import Budget
from steadyhand.correction.gate import GateConfig
from steadyhand.correction.record import RoundRecord
from steadyhand.correction.remedy import Remedy
from steadyhand.data.base import Dataset
from steadyhand.data.collection import StoredDataset
from steadyhand.data.episode import Episode
from steadyhand.face.asked import require_controller, seed_of, whole
from steadyhand.face.data import load_dataset
from steadyhand.face.envs import Drivable, as_env
from steadyhand.face.folders import Folder
from steadyhand.face.learning import Learning, recipe_of, settings_of, spelled_out
from steadyhand.face.policy import Policy
from steadyhand.face.progress import progress
from steadyhand.face.voice import voice
from steadyhand.recipes.learner import PolicyLearner
from steadyhand.recipes.remedies import remedy
from steadyhand.recipes.teach import Trainer
from steadyhand.recipes.train import train as train_run
from steadyhand.recipes.train_run import TrainRun
from steadyhand.training.metrics import MetricsListener

BUDGET = ("labels", "rounds", "episodes", "query_every")
"""What `correct` takes beside the name of a remedy."""
IN_MEMORY = Path("in-memory")
"""Path that run.json gives to data that are in memory."""


@spelled_out
def train(
    data: Dataset | str | Path | Sequence[Episode] | Mapping[str, np.ndarray],
    *,
    validation_fraction: float = 0.1,
    seed: int = 0,
    out: str | Path | None = None,
    name: str = "",
    quiet: bool = False,
    on_metrics: MetricsListener | None = None,
    **learning: Unpack[Learning],
) -> Policy:
    """Train a policy on demonstrations (behaviour cloning).

    Args:
        data: A data set, its folder or .npz file, or what else `load_dataset` takes.
        validation_fraction: Share of episodes held out.
        seed: Seed of the split, the initial weights and the order of the data.
        out: Folder of the run; None makes a temporary one. If it holds the same run, that is continued, or
            returned if it is finished.
        name: Name for tables; by default the recipe's, or "clone".
        quiet: Show no progress, and do not print what the policy sees, nor warnings.
        on_metrics: Called now and then with (folder of metrics.jsonl, gradient steps done, figures by name).
        learning: The learner and its training: encoder, head, recipe, size, observation, n_obs_steps,
            horizon, n_action_steps, steps, batch_size, learning_rate, keep, device, policy, training; see
            `Learning`.

    Raises:
        ConfigError: Data and parts do not fit together, or `out` holds another run.
        DataError: The data are malformed, or too few.
    """
    seed, dataset, folder, say = seed_of(seed), load_dataset(data), Folder(out), voice(quiet=quiet)
    policy, training = settings_of(learning, dataset.observation, dataset.action)
    run = TrainRun(
        data=dataset.root if isinstance(dataset, StoredDataset) else IN_MEMORY,
        policy=policy,
        training=training,
        validation_fraction=validation_fraction,
        control_dt=dataset.control_dt,
        seed=seed,
    )
    recipe = recipe_of(learning)
    name = name or (recipe.spoken if recipe else "clone")
    with progress("training", quiet=quiet) as bar:
        outcome = train_run(
            run,
            folder.path,
            dataset=dataset,
            resume=True,
            on_progress=bar(name),
            on_metrics=on_metrics,
            say=say,
        )
    for line in outcome.warnings:
        say(line)
    return Policy(
        outcome.policy,
        name=name,
        num_threads=training.num_threads,
        folder=folder,
        origin=outcome,
    )


@spelled_out
def correct(
    how: str | Remedy,
    env: Drivable,
    expert: Controller,
    *,
    labels: int | None = None,
    rounds: int | None = None,
    episodes: int | None = None,
    query_every: int | None = None,
    initial: Dataset | str | Path | Sequence[Episode] = (),
    seed: int = 0,
    out: str | Path | None = None,
    name: str = "",
    quiet: bool = False,
    on_metrics: MetricsListener | None = None,
    **learning: Unpack[Learning],
) -> Policy:
    """Teach a policy with a remedy for compounding error.

    Args:
        how: A remedy by name, such as "dagger", or by its settings, such as `sh.remedies.DaggerConfig()`.
        env: Where demonstrations and corrections are collected.
        expert: The expert that labels and takes over; see `steadyhand.expert`.
        labels: Expert labels of all rounds together, 1000 by default; not where `how` is settings, which say
            it themselves.
        rounds: Rounds of an interactive remedy, which share the labels evenly; 5 by default.
        episodes: Drives in each round; 4 by default. Offline remedies get `rounds` times as many.
        query_every: Ask the expert at every so many steps while the policy drives; 1 by default.
        initial: Demonstrations to begin with, for interactive remedies; they count as labels.
        seed: Seed of everything: starts, noise, initial weights and the order of the data.
        out: Folder that keeps everything; None makes a temporary one. What is finished in it is not repeated.
        name: Name for tables; by default the remedy's.
        quiet: Show no progress, and do not print what the policy sees, nor a line for each round.
        on_metrics: Called as by `train` in each fit, and after each round with ("rounds", round, figures).
        learning: Settings of the learner and its training, the same as `train` takes.

    Raises:
        SteadyhandError: Env, expert, policy class and remedy do not fit together, or `out` holds the answer
            to another question.
    """
    seed, expert = seed_of(seed), require_controller(expert, role="expert")
    built, folder, say = as_env(env), Folder(out), voice(quiet=quiet)
    policy, training = settings_of(learning, built.spec.observation, built.spec.action)
    method = _method(how, labels=labels, rounds=rounds, episodes=episodes, query_every=query_every)

    def told(record: RoundRecord) -> None:
        if on_metrics is not None:
            on_metrics(folder.path / "rounds", record.round, record.figures)
        say(_round_line(record))

    with progress("training", quiet=quiet) as bar:
        learner = PolicyLearner(
            built.spec, policy=policy, training=training, on_fit=bar, on_metrics=on_metrics
        )
        trainer = Trainer(
            env=built,
            expert=expert,
            learner=learner,
            folder=folder.path,
            seed=seed,
        )
        say(f"The policy {learner.in_brief}")
        taught = trainer.teach(method, name=name, initial=_episodes(initial), on_round=told)
    shutil.copytree(taught.folder / "policy", folder.path / "policy", dirs_exist_ok=True)
    return Policy(
        taught.learner.policy(taught.folder),
        name=taught.name,
        num_threads=training.num_threads,
        folder=folder,
        origin=taught,
    )


def _method(how: object, **budget: int | None) -> Remedy:
    """Return the settings of a remedy; those that are named by the remedy's name follow from a budget.

    Raises:
        ConfigError: The settings say it already, or the remedy has nothing of that name.
    """
    said = {name: whole(name, value) for name, value in budget.items() if value is not None}
    if isinstance(how, str):
        return _named(how, said)
    if not isinstance(how, Remedy):
        gate = f"sh.remedies.HgDagger(gate={type(how).__name__}())" if isinstance(how, GateConfig) else None
        raise ConfigError(
            "This is no remedy.",
            got=repr(how),
            expected='a name, such as "dagger", or settings, such as steadyhand.remedies.DaggerConfig()',
            hint=gate and f"give the gate to a remedy: {gate}",
        )
    if said:
        raise ConfigError(
            "The settings of a remedy already say how many labels, rounds and drives there are.",
            got=", ".join(f"{name}={value}" for name, value in said.items()),
            hint="say it there, or name the remedy instead, such as 'dagger'",
        )
    return how


def _named(how: str, said: Mapping[str, int]) -> Remedy:
    """Return the settings of a remedy that is named, for what was said of its budget."""
    kind = remedy(how)
    shortcuts = {name.replace("-", "_"): path for name, path in kind.shortcuts.items()}
    own = {name: path for name, path in shortcuts.items() if name in BUDGET}
    known = dict.fromkeys(["labels", *kind.spends, *own])
    if strange := [name for name in said if name not in known]:
        raise ConfigError(f"{how} has nothing of that name.", got=", ".join(strange), available=known)
    spent = {name: said[name] for name in said if name not in own}
    method: Any = kind.from_budget(replace(Budget(), **spent))
    return replace(method, **{path: said[name] for name, path in own.items() if name in said})


def _episodes(data: Dataset | str | Path | Sequence[Episode]) -> tuple[Episode, ...]:
    nothing = isinstance(data, list | tuple) and not data
    return () if nothing else tuple(load_dataset(data))


def _round_line(record: RoundRecord) -> str:
    outcome = f"validation return {record.validation_return:.4g}"
    if record.validation_success is not None:
        outcome = f"{100 * record.validation_success:.0f} % of the validation starts succeeded"
    return f"round {record.round}: {record.total_labels} labels, {outcome}"
