"""The named methods: each a policy and a training run with the constants of its paper, and a small variant.

recipe("diffusion_unet", observation=spec.observation)               for a laptop
recipe("diffusion_unet", observation=spec.observation, size="paper")  as published
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, assert_never

from steadyhand.core.errors import ConfigError, SpecError
from steadyhand.policies.choices import Mode

if TYPE_CHECKING:
    from steadyhand.core.specs import FeatureSpec
    from steadyhand.policies.spec import PolicyConfig
    from steadyhand.recipes.constants import Make
    from steadyhand.training.config import TrainConfig

Size = Literal["small", "paper"]

Reads = Literal["vectors", "pictures", "both"]


@dataclass(frozen=True, kw_only=True)
class NamedMethod:
    """A named method.

    Attributes:
        name: Name on the command line.
        summary: One line about it.
        source: The paper whose constants the size "paper" has.
        deviation: Where that differs from the paper.
        reads: What must be among the features: a vector, a picture, or one of both kinds.
        scaling: How vector features are normalised in the paper; small recipes standardise them.
    """

    name: str
    summary: str
    source: str
    deviation: str
    reads: Reads = "both"
    scaling: Mode = "z_score"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A method for given features; `policy.observation` names what it reads."""

    name: str
    policy: "PolicyConfig"
    training: "TrainConfig"


def recipe(
    name: str,
    *,
    observation: Mapping[str, "FeatureSpec"],
    action: "FeatureSpec | None" = None,
    size: Size = "small",
) -> Recipe:
    """Return a named method that reads what it can of an observation.

    Whether a picture has the right size shows when the policy is built.

    Args:
        name: One of `RECIPES`.
        observation: The features that there are.
        action: The action, if it is to be checked here; building the policy checks it too.
        size: "paper": the published constants. "small": the same method at a size for a CPU.

    Raises:
        ConfigError: There is no such recipe.
        SpecError: The recipe reads none of the features, or does not act like this.
    """
    if name not in RECIPES:
        raise ConfigError("There is no such recipe.", got=name, available=RECIPES)
    from steadyhand.recipes import constants

    entry = RECIPES[name]
    make: Make = getattr(constants, name)
    pictures = [feature for feature in observation.values() if feature.kind == "image"]
    policy, training = make(size, pictures)
    assert policy.encoder is not None, "recipes name theirs"
    readable = policy.encoder.readable(observation)
    if not readable or (entry.reads == "pictures" and not pictures):
        raise SpecError(
            f"The recipe {name} cannot read this observation.",
            got=", ".join(f"{key} ({spec.kind}, {list(spec.shape)})" for key, spec in observation.items()),
            expected=f"{_wanted(entry.reads)}, for the encoder {type(policy.encoder).__name__}",
            hint="choose other features with --observation, or another recipe",
        )
    if action is not None and action.kind == "discrete":
        raise SpecError(
            f"The recipe {name} needs continuous actions.",
            got=f"one of {action.num_classes} discrete actions",
            expected="a vector of real numbers",
            hint="leave --recipe out and take --head Categorical",
        )
    scaling: Mode = entry.scaling if size == "paper" else "z_score"
    modes: dict[str, Mode] = {key: scaling for key in readable if observation[key].kind == "continuous"}
    policy = replace(policy, observation=readable, normalisation={**modes, **policy.normalisation})
    return Recipe(name=name, policy=policy, training=training)


def _wanted(reads: Reads) -> str:
    match reads:
        case "vectors":
            return "a vector"
        case "pictures":
            return "a picture"
        case "both":
            return "a vector or a picture"
        case _:
            assert_never(reads)


RECIPES: dict[str, NamedMethod] = {
    entry.name: entry
    for entry in (
        NamedMethod(
            name="bc_mlp",
            summary="cloning as regression with an MLP",
            source="robomimic's BC (Mandlekar et al., 2021), for vectors",
            deviation="no tanh at the output; observations are standardised",
            reads="vectors",
        ),
        NamedMethod(
            name="bc_rnn_gmm",
            summary="an LSTM with a mixture of Gaussians at every step",
            source="robomimic's BC-RNN-GMM (Mandlekar et al., 2021)",
            deviation="the means begin at k-means centres; windows that begin before their episode are "
            "padded in front; observations are standardised; pictures: GroupNorm, as in Diffusion Policy, "
            "and crops of 7/8 instead of 76 of 84",
        ),
        NamedMethod(
            name="act",
            summary="action chunks from a transformer with a latent variable",
            source="ACT (Zhao et al., 2023)",
            deviation="all seven decoder layers are trained, of which the published code trains one; the "
            "loss divides by valid steps; an epoch draws every step, not one of each episode; a ResNet "
            "begins at random unless policy.encoder.weights names a file, and its norms are frozen either "
            "way",
        ),
        NamedMethod(
            name="bet",
            summary="Behavior Transformer: a k-means token and an offset for each step",
            source="BeT on Franka kitchen (Shafiullah et al., 2022); small: BlockPush's net",
            deviation="small: offsets weigh 1000 and not 1e5, learning rate 1e-3, few steps",
            reads="vectors",
        ),
        NamedMethod(
            name="diffusion_unet",
            summary="Diffusion Policy with the 1-D U-Net",
            source="Chi et al., 2023",
            deviation="crops move a window as a whole; 5000 epochs are taken as those of Push-T; small: "
            "standardised vectors through a layer of features, DDIM in 10 steps of second order",
            scaling="min_max",
        ),
        NamedMethod(
            name="diffusion_transformer",
            summary="Diffusion Policy with the transformer",
            source="Chi et al., 2023: Push-T's constants for vectors, robomimic's for pictures",
            deviation="as diffusion_unet",
            scaling="min_max",
        ),
        NamedMethod(
            name="flow_unet",
            summary="flow matching with the same U-Net, 10 steps",
            source="Lipman et al., 2023; time as in pi0 (Black et al., 2024); net of Chi et al., 2023",
            deviation="trained as diffusion_unet is; no paper has this combination; small: as diffusion_unet",
            scaling="min_max",
        ),
        NamedMethod(
            name="mip",
            summary="two-step regression: no distribution, but on the manifold",
            source="Much Ado About Noising (arXiv:2512.01809, 2025)",
            deviation="the loss and the net of its code (256, 512, 512), where the text has inputs scaled "
            "by t* and about 20 M parameters; the average of the weights grows up to its 0.995",
            scaling="min_max",
        ),
        NamedMethod(
            name="pilotnet",
            summary="a 66 x 200 camera to steering",
            source="Bojarski et al., 2016",
            deviation="the paper names neither activation, optimiser nor schedule: ReLU, AdamW with cosine; "
            "its side cameras and shifted views are part of data collection",
            reads="pictures",
        ),
        NamedMethod(
            name="alvinn",
            summary="a 30 x 32 retina to 30 steering units",
            source="Pomerleau, 1991 (4 hidden units); small: the 29 of 1989",
            deviation="AdamW instead of backpropagation with momentum; the 14 transformed views and the "
            "buffer of 200 patterns are part of data collection",
            reads="pictures",
        ),
        NamedMethod(
            name="alvinn_1989",
            summary="a 30 x 32 retina and an 8 x 32 range picture to 45 steering units",
            source="Pomerleau, 1989",
            deviation="no 46th output, the road's intensity, which the net reads back at the next frame: "
            "light does not vary here, so it would carry nothing; the hill's width of 1991; AdamW instead of "
            "backpropagation; the 1,200 simulated pictures are part of data collection",
            reads="pictures",
        ),
    )
}
