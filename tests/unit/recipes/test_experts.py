"""Experts by name: each env brings its own, and strangers are refused."""

import pytest

from steadyhand.core.errors import CapabilityError
from steadyhand.envs.catalogue import env_config
from steadyhand.experts.config import AvoidingExpert, ForksExpert, PurePursuitExpert, SwingUpExpert
from steadyhand.experts.linear import LinearFeedback
from steadyhand.experts.pure_pursuit import PurePursuit
from steadyhand.experts.scripted import AvoidingDemonstrator, ForksDemonstrator
from steadyhand.experts.swing_up import SwingUp
from steadyhand.experts.tabular import DynamicProgramming
from steadyhand.recipes.experts import default_expert, expert_from_text

OWN = {
    "car": (PurePursuitExpert(), PurePursuit),
    "forks": (ForksExpert(), ForksDemonstrator),
    "avoiding": (AvoidingExpert(), AvoidingDemonstrator),
    "pendulum": (SwingUpExpert(), SwingUp),
}


@pytest.mark.parametrize("name", OWN)
def test_each_env_brings_its_expert(name):
    config, kind = OWN[name]
    env = env_config(name)
    assert default_expert(env) == expert_from_text("auto", env) == config
    expert = config.build(env.build(2))
    assert type(expert) is kind
    assert expert.config == env


def test_options_reach_the_expert():
    expert = ForksExpert(left_share=0.3, spread=0.02).build(env_config("forks", late=True).build(1))
    assert isinstance(expert, ForksDemonstrator)
    assert (expert.left_share, expert.spread, expert.config.late) == (0.3, 0.02, True)


def test_the_experts_that_are_computed_solve_their_env():
    grid = env_config("tabular", slip=0.0)
    planner = default_expert(grid).build(grid.build(1))
    assert isinstance(planner, DynamicProgramming)
    assert planner.plan.value[0].max() == 10.0
    regulator = default_expert(env_config("linear")).build(env_config("linear").build(1))
    assert isinstance(regulator, LinearFeedback)
    for name, other in (("tabular", "linear"), ("linear", "tabular")):
        with pytest.raises(CapabilityError, match=f"got: +'?{other}"):
            default_expert(env_config(name)).build(env_config(other).build(1))


@pytest.mark.parametrize("name", OWN)
def test_an_expert_refuses_other_envs(name):
    for other in set(OWN) - {name}:
        with pytest.raises(CapabilityError, match=f"got: +'?{other}"):
            OWN[name][0].build(env_config(other).build(1))


def test_scripted_is_the_name_of_those_written_for_one_env():
    assert expert_from_text("scripted", env_config("forks")) == ForksExpert()
    assert expert_from_text("scripted", env_config("avoiding")) == AvoidingExpert()
    assert expert_from_text("scripted", env_config("pendulum")) == SwingUpExpert()
    for name in ("car", "CartPole-v1"):
        with pytest.raises(CapabilityError, match="No such expert"):
            expert_from_text("scripted", env_config(name))
    assert default_expert(env_config("CartPole-v1")) is None
