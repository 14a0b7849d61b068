"""The table of rounds, column by column: what each round cost and what came of it."""

from steadyhand.analysis.markup import Markup, group, tag
from steadyhand.analysis.notation import NONE, exact, number, optional, percent
from steadyhand.analysis.results import Rounds
from steadyhand.correction.record import RoundRecord


def round_columns(rounds: Rounds) -> dict[str, list[Markup]]:
    """Return header -> one cell a round; a column without any figure is left out."""
    records = rounds.records
    columns = {
        "Round": [_round_name(rounds, record) for record in records],
        "Expert drives": [optional(_driven(record), write=percent) for record in records],
    }
    if any(record.burden.interventions for record in records):
        burdens = [record.burden for record in records]
        columns["Interventions"] = [exact(f"{one.interventions:,}", one.interventions) for one in burdens]
        columns["Env steps"] = [exact(f"{one.env_steps:,}", one.env_steps) for one in burdens]
    columns["New labels"] = [exact(f"{record.labels:,}", record.labels) for record in records]
    columns["All labels"] = [exact(f"{record.total_labels:,}", record.total_labels) for record in records]
    columns["Validation"] = [_validated(rounds, record) for record in records]
    columns["Online loss"] = [optional(record.online_loss) for record in records]
    columns["Regret"] = [optional(record.regret) for record in records]
    return {header: cells for header, cells in columns.items() if any(cell != NONE for cell in cells)}


def _driven(record: RoundRecord) -> float | None:
    """Return the share of env steps at which the expert drove; None if no step was counted."""
    burden = record.burden
    return burden.human_steps / burden.env_steps if burden.env_steps else None


def _round_name(rounds: Rounds, record: RoundRecord) -> Markup:
    name = tag("span", f"Round {record.round}")
    return group(name, tag("small", "returned")) if record.round == rounds.returned else name


def _validated(rounds: Rounds, record: RoundRecord) -> Markup:
    if record.validation_success is None:
        return exact(number(record.validation_return), record.validation_return)
    successes = round(record.validation_success * rounds.validation_starts)
    return exact(f"{successes}/{rounds.validation_starts}", record.validation_success)
