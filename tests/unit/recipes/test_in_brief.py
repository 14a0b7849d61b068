"""The line that says what a policy sees."""

from steadyhand.core.specs import STATE, EnvSpec, FeatureSpec, image_spec
from steadyhand.policies.encoders.image import SmallConv
from steadyhand.policies.encoders.state import StateMLP
from steadyhand.policies.policy import PolicyModule
from steadyhand.policies.spec import PolicyConfig, PolicySpec
from steadyhand.recipes.in_brief import in_brief
from steadyhand.recipes.learner import PolicyLearner
from steadyhand.training.config import TrainConfig

FRONT = "observation.images.front"
BOTH = {STATE: FeatureSpec(shape=(3,)), FRONT: image_spec(8, 8, 1)}
ACTION = FeatureSpec(shape=(2,))


def said(config: PolicyConfig) -> str:
    spec = PolicySpec(observation=BOTH, action=ACTION, control_dt=0.1)
    return in_brief(PolicyModule.build(config, spec), BOTH)


def test_it_says_what_is_seen_left_out_and_made() -> None:
    # 3 -> 256 -> 256 -> 2, with biases.
    number = 4 * 256 + 257 * 256 + 257 * 2
    assert said(PolicyConfig(encoder=StateMLP())) == (
        f"sees {STATE} (3); leaves out {FRONT} (image 8 x 8 x 1); StateMLP -> Regression, horizon 1, "
        f"{number:,} parameters, on cpu"
    )
    assert f"sees {STATE} (3), {FRONT} (image 8 x 8 x 1) over 2 steps; leaves out nothing; SmallConv" in said(
        PolicyConfig(n_obs_steps=2)
    )


def test_a_learner_follows_the_same_rule_and_keeps_no_picture_that_nobody_reads() -> None:
    spec = EnvSpec(env_id="toy", observation=BOTH, action=ACTION, control_dt=0.1, max_episode_steps=9)
    training = TrainConfig(num_steps=1)
    blind = PolicyLearner(spec, policy=PolicyConfig(encoder=StateMLP()), training=training)
    seeing = PolicyLearner(spec, policy=PolicyConfig(), training=training)
    assert list(blind.policy_spec.observation) == [STATE]
    assert list(seeing.policy_spec.observation) == [STATE, FRONT]
    assert isinstance(seeing.policy_config.encoder, SmallConv)
    assert f"leaves out {FRONT}" in blind.in_brief
    assert "leaves out nothing" in seeing.in_brief
