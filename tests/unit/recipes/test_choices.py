"""Short names of the command line, and policies checked against envs."""

from dataclasses import replace

import numpy as np
import pytest

from steadyhand.core.errors import ArtifactError, ConfigError, SpecError
from steadyhand.core.specs import STATE, EnvSpec, FeatureSpec, discrete_spec, image_spec
from steadyhand.envs.avoiding.config import AvoidingConfig
from steadyhand.envs.car.config import CarConfig
from steadyhand.envs.forks.config import ForksConfig
from steadyhand.envs.gymnasium_config import GymnasiumConfig
from steadyhand.face.learning import settings_of
from steadyhand.policies.artifact import save_policy
from steadyhand.policies.encoders.image import SmallConv
from steadyhand.policies.encoders.state import StateMLP
from steadyhand.policies.heads.categorical import Categorical
from steadyhand.policies.heads.regression import Regression
from steadyhand.policies.policy import PolicyModule
from steadyhand.policies.spec import PolicyConfig, PolicySpec
from steadyhand.recipes.choices import chosen_features, full_name
from steadyhand.recipes.denoising import DiffusionUnetRecipe
from steadyhand.recipes.env_choices import env_from_text, env_that_shows
from steadyhand.recipes.folder import start_run
from steadyhand.recipes.policies import needed_features, open_policy
from steadyhand.recipes.published import PilotnetRecipe
from steadyhand.recipes.train_run import TrainRun
from steadyhand.testing import toy_frames
from steadyhand.training.config import TrainConfig

VECTOR, CAMERA = FeatureSpec(shape=(3,)), image_spec(8, 8, 1)
BOTH = {STATE: VECTOR, "observation.images.front": CAMERA}


def test_an_env_is_named_with_its_senses_or_the_features_they_fill():
    assert env_from_text("car") == CarConfig()
    assert env_from_text("car", observation=("lidar", "state")).observation == ("lidar", "state")
    named = env_from_text("car", observation=("observation.images.front", "observation.environment_state"))
    assert named.observation == ("retina", "lidar")
    assert env_from_text("car", observation=("state", "observation.state")).observation == ("state",)
    assert env_from_text("car", observation=("camera",)).observation == ("camera",)
    assert env_from_text("car", observation=("observation.images.camera",)).observation == ("camera",)
    assert env_from_text("forks") == ForksConfig()
    assert env_from_text("avoiding") == AvoidingConfig()
    with pytest.raises(ConfigError, match="no choice of what it shows"):
        env_from_text("forks", observation=("state",))
    assert env_from_text("CartPole-v1") == GymnasiumConfig(env_id="CartPole-v1")


def test_features_have_short_names():
    assert full_name("state", BOTH) == full_name(STATE, BOTH) == STATE
    assert full_name("front", BOTH) == full_name("images.front", BOTH) == "observation.images.front"
    with pytest.raises(ConfigError, match=r"available: observation.state, observation.images.front"):
        full_name("rear", BOTH)


def test_named_features_are_taken_once_and_all_of_them_where_none_is_named():
    assert chosen_features(BOTH, ()) == BOTH
    assert list(chosen_features(BOTH, ("front", "observation.images.front"))) == ["observation.images.front"]


@pytest.mark.parametrize(
    ("observation", "action", "encoder", "head"),
    [
        ({STATE: VECTOR}, VECTOR, StateMLP(), Regression()),
        ({STATE: VECTOR}, discrete_spec(4), StateMLP(), Categorical()),
        (BOTH, VECTOR, SmallConv(), Regression()),
    ],
)
def test_auto_picks_what_fits(observation, action, encoder, head):
    config, training = settings_of({}, observation, action, default=TrainConfig(), num_checkpoints=0)
    assert training == TrainConfig()
    assert (config.encoder, config.head) == (encoder, head)
    assert config.observation == tuple(observation)


def test_an_encoder_by_name_sees_what_it_can_read():
    def seen(**choice: object) -> tuple[str, ...]:
        config, _ = settings_of(choice, BOTH, VECTOR)
        return config.observation

    assert seen(encoder="StateMLP") == seen(recipe="bet") == (STATE,)
    assert seen(encoder="FlatImage") == seen(observation=("front",)) == ("observation.images.front",)
    assert seen() == seen(recipe="act") == tuple(BOTH)
    assert seen(observation=("state",)) == (STATE,)


@pytest.mark.parametrize("choice", [{"encoder": "StateMLP"}, {"recipe": "bet"}])
def test_a_named_feature_that_cannot_be_read_is_refused_with_those_that_can(choice):
    choice = {**choice, "observation": ("front", "state")}
    with pytest.raises(ConfigError, match=r"cannot read") as caught:
        settings_of(choice, BOTH, VECTOR)
    assert "observation.images.front (image 8 x 8 x 1)" in str(caught.value)
    assert "available: observation.state" in str(caught.value)


def test_only_the_car_shows_the_senses_that_are_named():
    env, shown = env_that_shows("car", ("lidar",))
    assert (env.observation, shown) == (("lidar",), ())
    assert env_that_shows("forks", ("state",)) == (ForksConfig(), ("state",))


def test_a_recipe_brings_its_own_training_and_flags_override_it():
    choice = {"recipe": "diffusion_unet", "steps": 70}
    policy, training = settings_of(choice, {STATE: VECTOR}, VECTOR, default=TrainConfig(), num_checkpoints=0)
    own, its_training = DiffusionUnetRecipe().build({STATE: VECTOR})
    assert policy == own
    assert training == replace(its_training, num_steps=70, warmup_steps=7)


def test_a_recipe_is_named_in_any_spelling_or_given_with_its_settings():
    def settings(**choice: object) -> object:
        return settings_of(choice, {STATE: VECTOR}, VECTOR)

    paper = settings(recipe=DiffusionUnetRecipe(size="paper"))
    assert paper == settings(recipe="diffusion_unet", size="paper")
    assert paper == settings(recipe="steadyhand.recipes.denoising:DiffusionUnetRecipe", size="paper")
    assert settings(recipe="diffusion-unet") == settings(recipe=DiffusionUnetRecipe())


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"recipe": "difusion"}, "no recipe of that name"),
        ({"recipe": "act", "horizon": 8}, "say what the policy is made of"),
        ({"head": "Nonsense"}, "no head of that name"),
        ({"size": "paper"}, "Only a recipe has sizes"),
    ],
)
def test_wishes_that_make_no_sense(choice, message):
    with pytest.raises(ConfigError, match=message):
        settings_of(choice, {STATE: VECTOR}, VECTOR)


def test_a_recipe_for_pictures_refuses_vectors():
    with pytest.raises(SpecError, match="pilotnet cannot read") as caught:
        PilotnetRecipe().build({STATE: VECTOR})
    assert "PilotNet" in str(caught.value)


ENV = EnvSpec(
    env_id="toy",
    observation={STATE: VECTOR, "observation.more": FeatureSpec(shape=(5,))},
    privileged={},
    action=FeatureSpec(shape=(2,)),
    control_dt=0.1,
    max_episode_steps=9,
    task="",
)


@pytest.fixture
def saved(tmp_path):
    """The run folder of an untrained policy that reads the state."""
    frames = toy_frames({STATE: VECTOR}, ENV.action)
    spec = PolicySpec(observation={STATE: VECTOR}, action=ENV.action, control_dt=0.1)
    policy = PolicyModule.build(PolicyConfig(), spec)
    policy.fit_statistics(frames, np.arange(len(frames)))
    save_policy(policy, tmp_path / "run" / "policy")
    return tmp_path / "run"


def test_a_policy_is_found_in_its_folder_and_in_the_run_around_it(saved, tmp_path):
    assert open_policy(saved, ENV).features == open_policy(saved / "policy", ENV).features == (STATE,)
    assert needed_features((saved, saved / "policy")) == (STATE,)
    with pytest.raises(ArtifactError, match="no such folder"):
        open_policy(tmp_path / "nowhere", ENV)
    with pytest.raises(ArtifactError, match="neither"):
        open_policy(tmp_path, ENV)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"observation": {"observation.more": VECTOR}}, "does not show"),
        ({"observation": {STATE: FeatureSpec(shape=(4,))}}, "observation.state differs"),
        ({"action": FeatureSpec(shape=(1,))}, "action differs"),
        ({"action": discrete_spec(2)}, "action differs"),
        ({"control_dt": 0.05}, "another rate"),
    ],
)
def test_a_policy_that_does_not_fit_the_env_is_refused(saved, change, message):
    with pytest.raises(SpecError, match=message):
        open_policy(saved, replace(ENV, **change))


def test_a_run_folder_takes_one_run(tmp_path):
    run = TrainRun(data=tmp_path / "data")
    start_run(run, tmp_path / "run", resume=False)
    written = (tmp_path / "run" / "run.json").read_bytes()
    start_run(run, tmp_path / "run", resume=True)
    with pytest.raises(ConfigError, match="--resume"):
        start_run(run, tmp_path / "run", resume=False)
    for resume in (True, False):
        with pytest.raises(ConfigError, match="seed: 0 there, 7 asked for"):
            start_run(replace(run, seed=7), tmp_path / "run", resume=resume)
    assert (tmp_path / "run" / "run.json").read_bytes() == written
