"""Recipes: the published constants, the published sizes, what they read, and what they refuse."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from steadyhand.core.errors import ConfigError, SpecError
from steadyhand.core.parts import chosen, made, spoken, summary
from steadyhand.core.specs import STATE, FeatureSpec, discrete_spec, image_spec
from steadyhand.envs.car.config import CarConfig
from steadyhand.envs.car.spec import car_spec
from steadyhand.policies.batch import WindowSource
from steadyhand.policies.heads.mixture import Mixture
from steadyhand.policies.noise import GeneratorNoise
from steadyhand.policies.policy import PolicyModule
from steadyhand.policies.spec import PolicySpec
from steadyhand.recipes.config import RecipeConfig
from steadyhand.recipes.parts import description
from steadyhand.testing import toy_frames

PAGE = Path(__file__).parents[3] / "docs" / "recipes.md"
RECORDED = json.loads(Path(__file__).with_name("recorded.json").read_text())
"""Recipe, size and what it sees -> policy and training, as they were before recipes were parts."""


def vector(width: int) -> FeatureSpec:
    return FeatureSpec(shape=(width,))


def car(*senses: str) -> dict[str, FeatureSpec]:
    return dict(car_spec(CarConfig(observation=senses)).observation)


HUMANOID = {STATE: vector(26)}
ARM = {STATE: vector(14), "observation.images.top": image_spec(480, 640, 3)}
PUSH_T = {STATE: vector(2), "observation.images.top": image_spec(96, 96, 3)}
LIDAR, RETINA, CAMERA = car("lidar"), car("retina"), car("camera")
RETINAS = car("retina", "ranges")
PLACES = {"humanoid": HUMANOID, "arm": ARM, "lidar": LIDAR, "retina": RETINA, "camera": CAMERA}
PLACES["retinas"] = RETINAS
READ = {
    **dict.fromkeys(("bc_mlp", "bet"), ("humanoid", "arm", "lidar")),
    **dict.fromkeys(
        ("bc_rnn_gmm", "act", "diffusion_unet", "diffusion_transformer", "flow_unet", "mip"), tuple(PLACES)
    ),
    "pilotnet": ("arm", "camera"),
    "alvinn": ("arm", "retina", "camera"),
    "alvinn_1989": ("retinas",),
}
"""What each recipe reads; the arm's pictures are 480 x 640."""


def recipe(name: str, size: str) -> RecipeConfig:
    return replace(made(RecipeConfig, name), size=size)


def built(name, observation, action, *, size="paper", device="meta", **changes):
    """Return a policy, by default without memory for its weights."""
    policy = replace(recipe(name, size).build(observation, action)[0], **changes)
    with torch.device(device):
        return PolicyModule.build(policy, PolicySpec(observation=observation, action=action, control_dt=0.1))


def count(policy: PolicyModule) -> int:
    return sum(parameter.numel() for parameter in policy.parameters())


@pytest.mark.parametrize("size", ["paper", "small"])
@pytest.mark.parametrize("name", READ)
def test_a_recipe_builds_for_what_it_reads_and_refuses_the_rest(name, size):
    for place, observation in PLACES.items():
        if place in READ[name]:
            policy = built(name, observation, vector(2), size=size)
            assert set(policy.features) <= set(observation)
            assert policy.config.n_action_steps <= policy.config.num_future_steps
        else:
            with pytest.raises((SpecError, ConfigError)) as caught:
                built(name, observation, vector(2), size=size)
            assert "got:" in str(caught.value)
            assert "expected:" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "observation", "action", "parameters"),
    [
        # Chi et al., 2023, counted from their networks: keypoints of Push-T, states of robomimic and kitchen.
        ("diffusion_unet", {STATE: vector(20)}, 2, 65_783_298),
        ("diffusion_unet", {STATE: vector(23)}, 10, 65_883_658),
        ("diffusion_unet", {STATE: vector(60)}, 9, 66_942_729),
        ("flow_unet", {STATE: vector(5)}, 2, 65_353_218),
        ("diffusion_transformer", {STATE: vector(20)}, 2, 8_965_122),
        # LeRobot's Push-T from pictures: 251,511,938 of the U-Net, the rest of the ResNet.
        ("diffusion_unet", PUSH_T, 2, 262_709_026),
        # Shafiullah et al., 2022: kitchen.
        ("bet", {STATE: vector(60)}, 9, 1_131_720),
        # Bojarski et al., 2016.
        ("pilotnet", CAMERA, 1, 252_219),
        # Zhao et al., 2023, less the padding output that has no loss.
        ("act", ARM, 14, 83_923_087 - 513),
        # Pomerleau, 1991: 960 -> 4 -> 30.
        ("alvinn", RETINA, 1, 961 * 4 + 5 * 30),
        # Pomerleau, 1989: 1217 -> 29 -> 46, less the intensity unit on either side.
        ("alvinn_1989", RETINAS, 1, (1217 + 1) * 29 + (29 + 1) * 46 - 29 - 30),
    ],
)
def test_the_paper_size_has_the_published_parameters(name, observation, action, parameters):
    assert count(built(name, observation, vector(action))) == parameters


def test_small_recipes_that_are_published_too():
    """BlockPush's BeT, and ALVINN with the 29 hidden units of 1989."""
    assert count(built("bet", {STATE: vector(16)}, vector(2), size="small")) == 259_488
    assert count(built("alvinn", RETINA, vector(1), size="small")) == 961 * 29 + 30 * 30


def test_robomimic_has_its_sizes_to_the_published_digits():
    """1.15 M (with a mixture), 2.0 M, and 12.6 M beside the ResNet, on Square: 23 values, 7 actions."""
    square, action = {STATE: vector(23)}, vector(7)
    assert count(built("bc_mlp", square, action)) == 24 * 1024 + 1025 * 1024 + 1025 * 7
    mixture = built("bc_mlp", square, action, head=Mixture(joint=False))
    assert round(count(mixture) / 1e6, 2) == 1.15
    assert round(count(built("bc_rnn_gmm", square, action)) / 1e6, 1) == 2.0
    seen = {
        STATE: vector(9),
        **{f"observation.images.{n}": image_spec(84, 84, 3) for n in ("front", "wrist")},
    }
    policy = built("bc_rnn_gmm", seen, action)
    towers = count_of(policy.encoder.features.images)
    assert round((count(policy) - towers) / 1e6, 1) == 12.6
    assert policy.config.encoder.images.crop == (73, 73)


def count_of(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


PUBLISHED = {
    # robomimic's BC configs: MLP (1024, 1024); Adam 1e-4 without L2; 2000 epochs x 100 steps of 100.
    ("bc_mlp", "state"): {
        "policy.encoder.hidden": (1024, 1024),
        "training.learning_rate": 1e-4,
        "training.weight_decay": 0.0,
        "training.schedule": "constant",
        "training.batch_size": 100,
        "training.num_steps": 2000 * 100,
    },
    # BC-RNN-GMM: LSTM of 2 x 400, 10 steps, 5 modes, std from 1e-4, tanh on the means, low-noise evaluation.
    ("bc_rnn_gmm", "state"): {
        "policy.encoder.cell": "lstm",
        "policy.encoder.hidden": 400,
        "policy.encoder.num_layers": 2,
        "policy.n_obs_steps": 10,
        "policy.horizon": 10,
        "policy.chunk_start": -9,
        "policy.history": "reset",
        "policy.head.num_modes": 5,
        "policy.head.joint": False,
        "policy.head.min_std": 1e-4,
        "policy.head.tanh_mean": True,
        "policy.head.low_noise": True,
        "training.batch_size": 100,
        "training.num_steps": 200_000,
    },
    # With pictures: 1000 wide, ResNet18 with 32 keypoints to 64 numbers, 600 epochs x 500 steps of 16.
    ("bc_rnn_gmm", "pictures"): {
        "policy.encoder.hidden": 1000,
        "policy.encoder.images.num_keypoints": 32,
        "policy.encoder.images.width": 64,
        "training.batch_size": 16,
        "training.num_steps": 600 * 500,
    },
    # ACT's code: DETR of 4 and 7 layers, 512 wide, 3200 hidden; AdamW 1e-5; 2000 epochs of 40 / 8 steps.
    ("act", "pictures"): {
        "policy.head.latent_dim": 32,
        "policy.head.width": 512,
        "policy.head.num_heads": 8,
        "policy.head.feedforward": 3200,
        "policy.head.num_posterior_layers": 4,
        "policy.head.num_encoder_layers": 4,
        "policy.head.num_decoder_layers": 7,
        "policy.head.kl_weight": 10.0,
        "policy.head.dropout": 0.1,
        "policy.head.latent": "zero",
        "policy.horizon": 100,
        "policy.n_action_steps": 100,
        "policy.normalisation": {STATE: "z_score", "action": "z_score"},
        "policy.encoder.norm": "frozen_batch",
        "policy.encoder.pool": "map",
        "policy.encoder.width": 512,
        "policy.encoder.share": True,
        "policy.encoder.image_range": "imagenet",
        "training.learning_rate": 1e-5,
        "training.weight_decay": 1e-4,
        "training.batch_size": 8,
        "training.num_steps": 2000 * 40 // 8,
    },
    # BeT's code, kitchen: minGPT 6/6/120, 64 bins, window 10, focal gamma 2, offsets x 1000.
    ("bet", "state"): {
        "policy.encoder.width": 120,
        "policy.encoder.num_layers": 6,
        "policy.encoder.num_heads": 6,
        "policy.n_obs_steps": 10,
        "policy.head.num_centres": 64,
        "policy.head.gamma": 2.0,
        "policy.head.offset_scale": 1000.0,
        "policy.head.num_iterations": 50,
        "policy.head.joint": False,
        "training.learning_rate": 1e-4,
        "training.weight_decay": 0.1,
        "training.betas": (0.9, 0.95),
        "training.clip_norm": 1.0,
        "training.batch_size": 64,
    },
    # Diffusion Policy's low-dim CNN config.
    ("diffusion_unet", "state"): {
        "policy.n_obs_steps": 2,
        "policy.n_action_steps": 8,
        "policy.horizon": 16,
        "policy.chunk_start": -1,
        "policy.normalisation": {STATE: "min_max"},
        "policy.head.net.channels": (256, 512, 1024),
        "policy.head.net.kernel_size": 5,
        "policy.head.net.num_groups": 8,
        "policy.head.net.time_width": 256,
        "policy.head.prediction": "epsilon",
        "policy.head.num_train_steps": 100,
        "policy.head.sampler": "ddpm",
        "training.learning_rate": 1e-4,
        "training.betas": (0.95, 0.999),
        "training.weight_decay": 1e-6,
        "training.schedule": "cosine",
        "training.warmup_steps": 500,
        "training.batch_size": 256,
        "training.ema.power": 0.75,
        "training.ema.inv_gamma": 1.0,
        "training.ema.max_decay": 0.9999,
    },
    # Its image config: a wider net, narrower time, batches of 64, GroupNorm and 84 of 96 pixels.
    ("diffusion_unet", "pictures"): {
        "policy.head.net.channels": (512, 1024, 2048),
        "policy.head.net.time_width": 128,
        "policy.encoder.norm": "group",
        "policy.encoder.pool": "spatial_softmax",
        "policy.encoder.crop": (84, 84),
        "training.batch_size": 64,
    },
    # Its transformer, Push-T: 8 layers, 4 heads, 256; dropout .01; weight decay 0.1; warm-up 1000.
    ("diffusion_transformer", "state"): {
        "policy.head.net.num_layers": 8,
        "policy.head.net.num_heads": 4,
        "policy.head.net.width": 256,
        "policy.head.net.dropout": 0.01,
        "policy.head.net.embedding_dropout": 0.0,
        "policy.horizon": 16,
        "training.betas": (0.9, 0.95),
        "training.weight_decay": 0.1,
        "training.decay_exempt": True,
        "training.warmup_steps": 1000,
        "training.batch_size": 256,
    },
    # ... from pictures: chunks of 10, dropout .3, 1e-3 for the transformer and 1e-6 for the encoder.
    ("diffusion_transformer", "pictures"): {
        "policy.head.net.dropout": 0.3,
        "policy.horizon": 10,
        "training.weight_decay": 1e-3,
        "training.encoder_weight_decay": 1e-6,
        "training.batch_size": 64,
    },
    # pi0: Beta(1.5, 1) and ten Euler steps.
    ("flow_unet", "state"): {
        "policy.head.time": "beta",
        "policy.head.num_sample_steps": 10,
        "policy.head.order": 1,
    },
    # MIP's code.
    ("mip", "state"): {
        "policy.head.time": 0.9,
        "policy.head.net.channels": (256, 512, 512),
        "policy.horizon": 16,
        "policy.n_obs_steps": 2,
        "policy.n_action_steps": 8,
        "training.learning_rate": 1e-4,
        "training.weight_decay": 1e-5,
        "training.clip_norm": 10.0,
        "training.batch_size": 1024,
        "training.num_steps": 300_000,
        "training.ema.max_decay": 0.995,
    },
    # Bojarski et al., 2016, figure 4.
    ("pilotnet", "pictures"): {
        "policy.encoder.convolutions": ((24, 5, 2), (36, 5, 2), (48, 5, 2), (64, 3, 1), (64, 3, 1)),
        "policy.encoder.hidden": (100, 50, 10),
        "policy.head.error": "mse",
    },
    # Pomerleau, 1991: 4 hidden units, 30 outputs, exp(-d^2 / 10).
    ("alvinn", "pictures"): {
        "policy.encoder.hidden": (4,),
        "policy.head.num_units": 30,
        "policy.head.spread": 10.0,
        "policy.head.error": "mse",
    },
    # Pomerleau, 1989: two retinas, 29 hidden units, 45 curvatures, 40 epochs of 1,200 pictures.
    ("alvinn_1989", "pictures"): {
        "policy.encoder.num_images": 2,
        "policy.encoder.hidden": (29,),
        "policy.encoder.activation": "tanh",
        "policy.head.num_units": 45,
        "policy.head.error": "mse",
        "training.num_steps": 40 * 1200 / 64,
        "training.batch_size": 64,
    },
}


@pytest.mark.parametrize(("name", "seen"), PUBLISHED)
def test_the_paper_size_has_the_published_constants(name, seen):
    observation = PUSH_T if seen == "pictures" else {STATE: vector(20)}
    policy, training = recipe(name, "paper").build(observation)
    for path, wanted in PUBLISHED[name, seen].items():
        whose, *parts = path.split(".")
        value = {"policy": policy, "training": training}[whose]
        for part in parts:
            value = getattr(value, part)
        assert value == wanted, path


def test_every_recipe_is_compared_with_its_paper():
    assert (
        {name for name, _ in PUBLISHED}
        == set(READ)
        == {spoken(RecipeConfig, one) for one in RecipeConfig.ours}
    )


@pytest.mark.parametrize("case", RECORDED)
def test_no_number_of_a_recipe_changes_unseen(case):
    name, size, place = case.split()
    assert [repr(one) for one in recipe(name, size).build(PLACES[place])] == RECORDED[case]


@pytest.mark.parametrize(("name", "place"), [(name, places[-1]) for name, places in READ.items()])
def test_a_small_recipe_takes_a_step_and_answers_within_reach(name, place):
    """Normalisers, encoder and head fit together: loss, gradient and prediction on real shapes."""
    observation, action = PLACES[place], vector(2)
    frames = toy_frames(observation, action)
    policy = built(name, observation, action, size="small", device="cpu")
    source = WindowSource(frames, policy.window, features=policy.features)
    policy.fit_statistics(frames, source.steps)
    noise = GeneratorNoise.seeded(0)
    batch = source.batch(source.steps[:4])
    policy.prepare(lambda: iter([batch]), lambda *_, **__: None, noise)
    rows = policy.loss_rows(batch, noise)
    loss = rows.numerator.sum() / rows.denominator.sum()
    loss.backward()
    assert torch.isfinite(loss)
    assert any(p.grad is not None and p.grad.abs().max() > 0 for p in policy.parameters())
    chunk = policy.eval().predict_chunk(batch.observation, batch.obs_is_pad, noise=noise)
    assert chunk.shape == (4, policy.config.num_future_steps, 2)
    assert torch.isfinite(chunk).all()


@pytest.mark.parametrize(
    ("name", "observation", "action", "got", "expected"),
    [
        ("pilotnet", HUMANOID, vector(26), "observation.state (continuous, [26])", "a picture"),
        ("alvinn", LIDAR, vector(1), "observation.environment_state (continuous, [60])", "a picture"),
        ("bc_mlp", RETINA, vector(1), "observation.images.front (image, [30, 32, 1])", "a vector"),
        ("bet", CAMERA, vector(1), "observation.images.camera (image, [66, 200, 3])", "a vector"),
        ("pilotnet", RETINA, vector(1), "30 x 32", "at least 61 x 61"),
        ("bc_mlp", HUMANOID, discrete_spec(4), "action (4 classes)", "bc_mlp needs continuous"),
        ("act", HUMANOID, discrete_spec(4), "action (4 classes)", "act needs continuous"),
        ("diffusion_unet", LIDAR, discrete_spec(2), "action (2 classes)", "diffusion_unet needs continuous"),
        ("alvinn", RETINA, discrete_spec(2), "action (2 classes)", "alvinn needs continuous"),
        (
            "alvinn",
            {f"observation.images.{side}": image_spec(30, 32, 1) for side in ("left", "right")},
            vector(1),
            "observation.images.left, observation.images.right",
            "FlatImage reads exactly one image",
        ),
        ("alvinn_1989", RETINA, vector(1), "observation.images.front", "FlatImage reads exactly 2 images"),
        ("alvinn_1989", LIDAR, vector(1), "observation.environment_state (continuous, [60])", "a picture"),
    ],
)
def test_inputs_and_outputs_that_do_not_match_are_refused(name, observation, action, got, expected):
    with pytest.raises((SpecError, ConfigError)) as caught:
        built(name, observation, action, size="small")
    assert f"got:       {got}" in str(caught.value)
    assert expected in str(caught.value)


def test_a_mixture_with_tanh_means_refuses_actions_that_are_not_bounded():
    with pytest.raises(SpecError, match="min_max"):
        built("bc_rnn_gmm", HUMANOID, vector(26), normalisation={"action": "z_score"})


def test_there_is_no_other_recipe():
    with pytest.raises(ConfigError, match=r"no recipe of that name.*\n.*\n  available: BcMlpRecipe"):
        made(RecipeConfig, "diffusion")


def test_states_reach_a_transformer_step_by_step():
    """As in the paper: a token for each observed step, which earlier actions do not look at."""
    policy = built("diffusion_transformer", {STATE: vector(3)}, vector(2), size="paper", device="cpu")
    spec = policy.encoder.spec
    assert (spec.num_tokens, spec.width, spec.num_steps) == (2, 3, 2)
    observed = torch.arange(12.0).view(2, 2, 3)
    context = policy.encoder({STATE: observed}, torch.zeros(2, 2, dtype=torch.bool), None)
    assert torch.equal(context.tokens, observed)
    assert torch.equal(context.state, observed[:, -1])


def test_the_page_lists_every_recipe_as_it_is():
    """docs/recipes.md: name, what, deviation; parameters on what the text below the table names."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    table = {cells[0].strip("` "): cells[1:] for cells in (row.strip("|").split(" | ") for row in lines)}
    assert [chosen(RecipeConfig, name).__name__ for name in table] == list(RecipeConfig.ours)
    for name, cells in table.items():
        what, deviation, paper, small = (cell.strip() for cell in cells)
        part = chosen(RecipeConfig, name)
        assert what == summary(part)
        assert f"Deviation: {deviation}." in " ".join(description(part).split())
        for size, shown in (("paper", paper), ("small", small)):
            own = {"alvinn": RETINA, "alvinn_1989": RETINAS, "pilotnet": CAMERA}
            observation = own.get(name, HUMANOID)
            action = vector(26) if observation is HUMANOID else vector(1)
            assert shown == f"{count(built(name, observation, action, size=size)):,}"


def test_small_recipes_are_small():
    sizes = [
        count(built(name, HUMANOID, vector(26), size="small")) for name in READ if "humanoid" in READ[name]
    ]
    assert np.max(sizes) < 5_000_000
