"""The handwriting table of the DAgger paper (Ross, Gordon and Bagnell, 2011), in docs/results/handwriting.md.

    STEADYHAND_DATA=DIR python benchmarks/handwriting.py run [--only NAME]   compute what is missing
    python benchmarks/handwriting.py table                                   write the tables into the page

DIR holds ocr-letters, which does not ship with the project. A word is an episode, a letter a step, the action
which of 26 letters it is. The observation is 128 pixels and, with structure, the letter that was answered one
step before, 1 of 26, nothing at the first. As in the paper nine folds train and the tenth tests. The learner
is linear: one squared-hinge SVM for each of the 325 pairs of letters, fitted by Newton's method, and a vote.

A cell is one fold: without structure, supervised (trained on the true letter before, tested on its own
answers) and DAgger with beta_i = I(i = 1), of whose first round the supervised learner is the iterate; and
the same rounds trained on the last round's data alone, which is SEARN with alpha = 1 and immediate costs. A
session steps envs and asks controllers; here an episode is an array, so the loop over steps is written out.

Deviation: the paper gives neither its regulariser nor the loss of its SVM. Each round's examples count as
much as any other's and all rounds together as much as one, so that the regulariser means the same in all.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pages import PAGES, experiment

from steadyhand.cli.experiment import main
from steadyhand.core.statistics import student_mean
from steadyhand.recipes.experiment import Cell

EXPERIMENT = experiment("handwriting")

LETTERS, PIXELS = 26, 128
FEATURES = PIXELS + LETTERS + 1
"""Pixels, the letter before, a constant."""
FOLDS = range(10)
CHOSEN_ON = 1
"""The fold on which the regulariser was chosen, with fold 0 left out of the training too."""
SHOWN = (1, 2, 3, 5, 10, 20)
REGULARISERS = (0.01, 0.1, 1.0, 10.0, 100.0)
CHOSEN, LIKE_THE_PAPER = 10.0, 0.1
Learner = Literal["all pairs", "one against rest"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a cell depends on.

    Attributes:
        learner: How 26 letters become binary problems.
        regulariser: lambda in lambda / 2 |w|^2 + 1 / 2 sum max(0, 1 - y w.x)^2, the constant included.
        fold: The fold that is held out, or the one that is trained on.
        reverse: Train on one fold and test on the other nine.
        without: Folds that are neither trained nor tested on.
        rounds: Rounds of DAgger.
    """

    learner: Learner = "all pairs"
    regulariser: float
    fold: int
    reverse: bool = False
    without: tuple[int, ...] = ()
    rounds: int = 20


@dataclass(frozen=True, kw_only=True, eq=False)
class Words:
    """N letters of some words, word after word.

    Attributes:
        pixels: (N, 128) 0 or 1.
        label: (N,) the letter.
        before: (N,) the true letter before, 26 at the first of a word.
        place: (N,) number of the letter in its word.
    """

    pixels: np.ndarray
    label: np.ndarray
    before: np.ndarray
    place: np.ndarray

    def __len__(self) -> int:
        return len(self.label)


def load(root: Path) -> tuple[Words, np.ndarray]:
    """Return all words, and the fold of each letter."""
    data = np.load(root / "ocr-letters" / "letters_ocr.npz", allow_pickle=False)
    label = data["label"].astype(np.int64)
    length = np.diff(data["word_ends"], prepend=0)
    place = np.arange(len(label)) - np.repeat(data["word_ends"] - length, length)
    words = Words(
        pixels=np.unpackbits(data["pixels"], axis=1).astype(np.float32),
        label=label,
        before=np.where(place == 0, LETTERS, np.roll(label, 1)),
        place=place,
    )
    return words, np.repeat(data["fold"], length)


def taken(words: Words, chosen: np.ndarray) -> Words:
    """Return some of the words."""
    return Words(**{name: value[chosen] for name, value in vars(words).items()})


class Linear:
    """Binary linear classifiers, and how they answer together.

    Attributes:
        weights: (155, K) of K binary problems.
    """

    def __init__(self, learner: Learner, regulariser: float) -> None:
        self._regulariser = regulariser
        self._is_vote = learner == "all pairs"
        self._problems = list(combinations(range(LETTERS), 2))
        if not self._is_vote:
            self._problems = [(one, -1) for one in range(LETTERS)]
        self.weights = np.zeros((FEATURES, len(self._problems)), dtype=np.float32)
        self._votes = np.zeros((len(self._problems), LETTERS), dtype=np.float32)
        for column, (one, other) in enumerate(self._problems):
            self._votes[column, one] = 1.0
            if other >= 0:
                self._votes[column, other] = -1.0

    def fit(self, features: np.ndarray, label: np.ndarray, weight: np.ndarray) -> None:
        """Fit to (M, 155) features, (M,) letters and (M,) weights, from the weights so far."""
        order = np.argsort(label, kind="stable")
        features, weight = features[order], weight[order]
        edge = np.searchsorted(label[order], np.arange(LETTERS + 1)).tolist()
        for column, (one, other) in enumerate(self._problems):
            yes = slice(edge[one], edge[one + 1])
            no = slice(edge[other], edge[other + 1])
            signed = [features[yes], -features[no]]
            counts = [weight[yes], weight[no]]
            if other < 0:
                signed[1:] = [-features[: yes.start], -features[yes.stop :]]
                counts[1:] = [weight[: yes.start], weight[yes.stop :]]
            self.weights[:, column] = squared_hinge(
                np.concatenate(signed), np.concatenate(counts), self.weights[:, column], self._regulariser
            )

    def of_pixels(self, pixels: np.ndarray) -> np.ndarray:
        """Return the (N, K) part of the scores that pixels and constant make."""
        return pixels @ self.weights[:PIXELS] + self.weights[-1]

    def answer(self, scores: np.ndarray, before: np.ndarray) -> np.ndarray:
        """Return (N,) letters, from scores of the pixels and (N,) letters before."""
        table = np.concatenate([self.weights[PIXELS:-1], np.zeros_like(self.weights[:1])])
        scores = scores + table[before]
        if self._is_vote:
            scores = np.sign(scores) + 1e-3 * np.tanh(scores)  # margins only break ties
        return np.argmax(scores @ self._votes, axis=1)

    def read(self, words: Words) -> tuple[np.ndarray, np.ndarray]:
        """Read words from left to right; return (N,) answers and (N,) answers one step before each."""
        scores = self.of_pixels(words.pixels)
        answers, before = np.zeros(len(words), dtype=np.int64), np.full(len(words), LETTERS)
        for place in range(words.place.max() + 1):
            here = np.flatnonzero(words.place == place)
            if place:
                before[here] = answers[here - 1]
            answers[here] = self.answer(scores[here], before[here])
        return answers, before


def squared_hinge(signed: np.ndarray, count: np.ndarray, start: np.ndarray, regulariser: float) -> np.ndarray:
    """Return argmin_w of regulariser / 2 |w|^2 + 1 / 2 sum count max(0, 1 - signed w)^2, by Newton's method.

    Args:
        signed: (M, F) features times the sign of their class.
        count: (M,) how often each example counts.
        start: (F,) where to begin.
        regulariser: > 0.
    """
    weights, margin = start.copy(), signed @ start

    def cost(weights: np.ndarray, margin: np.ndarray) -> float:
        lacking = np.maximum(0.0, 1.0 - margin)
        return 0.5 * regulariser * float(weights @ weights) + 0.5 * float(count @ (lacking * lacking))

    now = cost(weights, margin)
    for _ in range(100):
        active = margin < 1.0
        some, times = signed[active], count[active]
        slope = regulariser * weights - some.T @ (times * (1.0 - margin[active]))
        hessian = (some * times[:, None]).T @ some
        hessian[np.diag_indices(len(weights))] += regulariser
        step = np.linalg.solve(hessian, slope)
        gain, change, share = float(slope @ step), signed @ step, 1.0
        if gain <= 1e-5 * now:
            break
        while (then := cost(weights - share * step, margin - share * change)) > now - 1e-4 * share * gain:
            share /= 2.0
            if share < 1e-3:
                return weights
        weights, margin, now = weights - share * step, margin - share * change, then
    return weights


def features_of(pixels: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Return (M, 155) features."""
    hot = np.eye(LETTERS + 1, LETTERS, dtype=np.float32)
    return np.concatenate([pixels, hot[before], np.ones((len(pixels), 1), dtype=np.float32)], axis=1)


Examples = tuple[np.ndarray, np.ndarray, np.ndarray]
"""(M,) which letter, (M,) which letter before it, (M,) how often."""


def merged(examples: Sequence[Examples]) -> Examples:
    """Return all examples, equal ones once: rounds differ only in the letter before."""
    letter, before, count = (np.concatenate(column) for column in zip(*examples, strict=True))
    found, where = np.unique(letter * (LETTERS + 1) + before, return_inverse=True)
    return (*np.divmod(found, LETTERS + 1), np.bincount(where, weights=count))


def rounds_of(
    settings: Settings, train: Words, test: Words, *, aggregate: bool
) -> tuple[list[int], Linear, Linear]:
    """Return right answers after each round, and the learners of the first and the last round."""
    everyone, once = np.arange(len(train)), np.ones(len(train))
    learner, first = Linear(settings.learner, settings.regulariser), None
    data: Examples = (everyone, train.before, once)
    right: list[int] = []
    for number in range(1, settings.rounds + 1):
        letter, before, count = data
        weight = (count * len(train) / count.sum()).astype(np.float32)
        learner.fit(features_of(train.pixels[letter], before), train.label[letter], weight)
        right.append(int((learner.read(test)[0] == test.label).sum()))
        if first is None:
            first = Linear(settings.learner, settings.regulariser)
            first.weights = learner.weights.copy()
        if number < settings.rounds:
            visited: Examples = (everyone, learner.read(train)[1], once)
            data = merged([data, visited]) if aggregate else visited
    assert first is not None
    return right, first, learner


def compute(settings: Settings) -> dict[str, Any]:
    """Return the right answers of every method on the test letters."""
    root = os.environ.get("STEADYHAND_DATA")
    if root is None:
        raise SystemExit("set STEADYHAND_DATA to the folder that holds ocr-letters")
    words, fold = load(Path(root))
    in_fold = fold == settings.fold
    allowed = ~np.isin(fold, settings.without)
    is_test = allowed & (in_fold != settings.reverse)
    test, train = taken(words, is_test), taken(words, allowed & ~is_test)
    alone = Linear(settings.learner, settings.regulariser)
    nothing = np.full(len(train), LETTERS)
    alone.fit(features_of(train.pixels, nothing), train.label, np.ones(len(train), dtype=np.float32))
    dagger, first, last = rounds_of(settings, train, test, aggregate=True)
    latest = rounds_of(settings, train, test, aggregate=False)[0]

    def told(learner: Linear, before: np.ndarray) -> int:
        return int((learner.answer(learner.of_pixels(test.pixels), before) == test.label).sum())

    return {
        "letters": len(test),
        "no_structure": told(alone, np.full(len(test), LETTERS)),
        "dagger": dagger,
        "last_round_only": latest,
        "supervised_told_the_truth": told(first, test.before),
        "dagger_told_the_truth": told(last, test.before),
    }


def cell(settings: Settings) -> Cell[Any]:
    """Return one entry of the tables."""
    words = [settings.learner, "train 1" if settings.reverse else "train 9"]
    if settings.without:
        words[1] = "choose"
    name = " ".join([*words, f"lambda {settings.regulariser:g} fold {settings.fold}"])
    return EXPERIMENT.cell(name, settings=settings, compute=compute)


def row(
    *, regulariser: float, folds: range, learner: Learner = "all pairs", reverse: bool = False
) -> list[Cell[Any]]:
    """Return the cells of a row of the table."""
    return [
        cell(Settings(learner=learner, regulariser=regulariser, fold=fold, reverse=reverse)) for fold in folds
    ]


FEW = range(3)
PAPER = "the paper, 9 folds train"
ROWS = {
    **{
        f"all pairs, lambda = {value:g}": row(
            regulariser=value, folds=FOLDS if value in (CHOSEN, LIKE_THE_PAPER) else FEW
        )
        for value in REGULARISERS
    },
    "one against rest, lambda = 10": row(regulariser=CHOSEN, folds=FEW, learner="one against rest"),
    "all pairs, lambda = 10, 1 fold trains": row(regulariser=CHOSEN, folds=FEW, reverse=True),
    "all pairs, lambda = 0.1, 1 fold trains": row(regulariser=LIKE_THE_PAPER, folds=FEW, reverse=True),
}
CHOICE = {
    value: cell(Settings(regulariser=value, fold=CHOSEN_ON, without=(0,), rounds=1)) for value in REGULARISERS
}


def results_of(cells: Sequence[Cell[Any]]) -> list[dict[str, Any]]:
    """Return the results that there are."""
    return [one for cell in cells if (one := cell.result())]


def share(results: Sequence[Mapping[str, Any]], right: Callable[[Mapping[str, Any]], int]) -> str:
    """Return a percentage with its interval over folds."""
    each = np.array([100.0 * right(one) / one["letters"] for one in results])
    estimate = student_mean(each)
    assert estimate.interval is not None
    return f"{estimate.value:.1f} ({estimate.interval.low:.1f} to {estimate.interval.high:.1f})"


def accuracies() -> str:
    """Return the table of learners and methods."""
    columns = "folds | no structure | supervised | DAgger, 20 rounds | DAgger - supervised | last round only"
    lines = [f"| learner | {columns} | supervised, told the true letter before |", "|---" * 8 + "|"]
    lines.append(f"| {PAPER} | 10 | 82 | 83.6 | 85.5 | 1.9 | about equal to DAgger | |")
    for name, cells in ROWS.items():
        if len(found := results_of(cells)) < 2:
            continue
        figures = [
            share(found, lambda one: one["no_structure"]),
            share(found, lambda one: one["dagger"][0]),
            share(found, lambda one: one["dagger"][-1]),
            share(found, lambda one: one["dagger"][-1] - one["dagger"][0]),
            share(found, lambda one: one["last_round_only"][-1]),
            share(found, lambda one: one["supervised_told_the_truth"]),
        ]
        lines.append(f"| {name} | {len(found)} | " + " | ".join(figures) + " |")
    return "\n".join(lines)


def by_round() -> str:
    """Return the table of rounds."""
    lines = ["| learner | method | " + " | ".join(f"round {number}" for number in SHOWN) + " |"]
    lines.append("|---" * (len(SHOWN) + 2) + "|")
    for name, cells in ROWS.items():
        if len(found := results_of(cells)) < 2:
            continue
        for method, key in (("DAgger", "dagger"), ("last round only", "last_round_only")):
            means = [
                100.0 * np.mean([one[key][number - 1] / one["letters"] for one in found]) for number in SHOWN
            ]
            lines.append(f"| {name} | {method} | " + " | ".join(f"{mean:.2f}" for mean in means) + " |")
    return "\n".join(lines)


def choice() -> str:
    """Return the table from which the regulariser was chosen."""
    lines = ["| lambda | no structure | supervised |", "|---|---|---|"]
    for value, one in CHOICE.items():
        if (found := one.result()) is not None:
            figures = (found["no_structure"], found["dagger"][0])
            shares = " | ".join(f"{100.0 * figure / found['letters']:.1f}" for figure in figures)
            lines.append(f"| {value:g} | {shares} |")
    return "\n".join(lines)


def cells() -> list[Cell[Any]]:
    """Return all cells, those that choose the regulariser first."""
    return [*CHOICE.values(), *(one for cells in ROWS.values() for one in cells)]


TABLES = {"handwriting": accuracies, "handwriting-rounds": by_round, "handwriting-choice": choice}


def describe(result: Mapping[str, Any]) -> str:
    """Return a cell's outcome in a few words."""
    percent = [100.0 * value / result["letters"] for value in (result["no_structure"], *result["dagger"])]
    return f"{percent[0]:.1f} alone, {percent[1]:.1f} supervised, {percent[-1]:.1f} DAgger"


if __name__ == "__main__":
    main(cells(), page=PAGES / "handwriting.md", tables=TABLES, describe=describe, doc=__doc__)
