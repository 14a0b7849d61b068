"""`--set`: the dotted form and JSON say the same, for fields, parts of another type and tables of names."""

from pathlib import Path

import pytest

from steadyhand.cli.arguments import with_overrides
from steadyhand.core.errors import ConfigError
from steadyhand.correction.noise import OrnsteinUhlenbeck
from steadyhand.policies.heads.flow import Flow
from steadyhand.policies.spec import PolicyConfig
from steadyhand.recipes.runs import RecordRun
from steadyhand.recipes.train_run import TrainRun
from steadyhand.training.config import TrainConfig

RUN = TrainRun(
    data=Path("demos"),
    policy=PolicyConfig(normalisation={"action": "identity"}),
    training=TrainConfig(batch_size=64),
)


@pytest.mark.parametrize(
    "said",
    [
        ("training.num_steps=500", "training.learning_rate=3e-4"),
        ('training={"num_steps": 500, "learning_rate": 3e-4}',),
        ('{"training": {"num_steps": 500, "learning_rate": 3e-4}}',),
        ('{"training": {"num_steps": 500}}', "training.learning_rate=3e-4"),
    ],
)
def test_an_object_sets_what_it_names_and_leaves_the_rest(said):
    training = with_overrides(RUN, said).training
    assert (training.num_steps, training.learning_rate, training.batch_size) == (500, 3e-4, 64)


@pytest.mark.parametrize(
    "said",
    [
        ("policy.head.type=Flow", "policy.head.order=2"),
        ('policy.head={"order": 2, "type": "Flow"}',),
        ('policy={"head": {"order": 2, "type": "Flow"}}',),
    ],
)
def test_another_type_has_its_own_defaults_wherever_it_stands(said):
    assert with_overrides(RUN, said).policy.head == Flow(order=2)


@pytest.mark.parametrize(
    "said", [("noise.type=OrnsteinUhlenbeck", "noise.sigma=0.7"),
             ('noise={"sigma": 0.7, "type": "OrnsteinUhlenbeck"}',)],
)  # fmt: skip
def test_a_part_that_is_not_there_yet_is_made(said):
    assert with_overrides(RecordRun(), said).noise == OrnsteinUhlenbeck(sigma=0.7)


def test_a_table_takes_names_with_dots_and_an_object_is_the_whole_table():
    added = with_overrides(RUN, ["policy.normalisation.observation.state=identity"])
    assert added.policy.normalisation == {"action": "identity", "observation.state": "identity"}
    whole = with_overrides(RUN, ['policy={"normalisation": {"observation.state": "identity"}}'])
    assert whole.policy.normalisation == {"observation.state": "identity"}
    assert with_overrides(RUN, ["policy.normalisation={}"]).policy.normalisation == {}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("training.num_stepss=3", "unknown field num_stepss, available: num_steps"),
        ('training={"num_stepss": 3}', "unknown field num_stepss, available: num_steps"),
        ("trainin.num_steps=3", "unknown field trainin, available: data"),
        ('{"training": {"seed": 1}, "training": {"seed": 2}}', "training"),
        ('{"training": ', "not JSON"),
        ("training.seed.x=1", "training.seed=VALUE"),
        ("training", "path=value"),
    ],
)
def test_what_is_no_field_or_no_json_is_refused(said, expected):
    with pytest.raises(ConfigError) as caught:
        with_overrides(RUN, [said])
    assert expected in str(caught.value)


def test_a_misspelt_field_says_where_settings_are_listed_and_not_to_compare_files():
    with pytest.raises(ConfigError, match=r"steadyhand parts KIND NAME") as told:
        with_overrides(RUN, ["training.num_stepps=5"])
    assert "num_stepps" in str(told.value)
    assert "run.json" not in str(told.value)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("policy.observation=camera", r"got 'camera', expected a list, such as \[\"camera\"\]"),
        ("training.betas=0.9", r"got 0.9, expected a list"),
        ("training.betas=[0.9]", r"got \[0.9\], expected 2 values"),
    ],
)
def test_a_single_value_in_a_lists_place_is_refused_as_a_whole(said, expected):
    with pytest.raises(ConfigError, match=expected) as told:
        with_overrides(RUN, [said])
    assert "'c'" not in str(told.value)
