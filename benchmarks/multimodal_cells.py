"""The cells of multimodal.py: which policy classes, where, and what is measured of each."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from pages import experiment

from steadyhand.analysis.multimodality import persistence
from steadyhand.core.protocol import Controller
from steadyhand.core.seeding import derive
from steadyhand.correction.collect import collect
from steadyhand.data.frames import Frames
from steadyhand.envs.avoiding.config import AvoidingConfig
from steadyhand.envs.base import BatchEnv, Start
from steadyhand.envs.catalogue import EnvConfig
from steadyhand.envs.forks.config import ForksConfig
from steadyhand.experts.config import AvoidingExpert, ExpertConfig, ForksExpert
from steadyhand.policies.contract import Prefix
from steadyhand.policies.encoders.state import StateMLP
from steadyhand.policies.heads.act import Act
from steadyhand.policies.heads.bins import Bins
from steadyhand.policies.heads.config import HeadConfig
from steadyhand.policies.heads.diffusion import Diffusion
from steadyhand.policies.heads.flow import Flow
from steadyhand.policies.heads.gaussian import Gaussian
from steadyhand.policies.heads.inpainting import Inpainting
from steadyhand.policies.heads.latent import Latent
from steadyhand.policies.heads.mip import Mip
from steadyhand.policies.heads.mixture import Mixture
from steadyhand.policies.heads.nearest import Nearest
from steadyhand.policies.heads.regression import Regression
from steadyhand.policies.heads.tokens import Tokens
from steadyhand.policies.nets.denoising_mlp import DenoisingMLP
from steadyhand.policies.nets.denoising_transformer import DenoisingTransformer
from steadyhand.policies.nets.unet1d import UNet
from steadyhand.policies.noise import GeneratorNoise
from steadyhand.policies.policy import PolicyModule
from steadyhand.policies.spec import PolicyConfig
from steadyhand.recipes.experiment import Cell
from steadyhand.recipes.learner import fitted
from steadyhand.rollout.evaluate import evaluate
from steadyhand.rollout.executors.realtime import RealTimeChunking
from steadyhand.rollout.executors.receding import RecedingHorizon
from steadyhand.training.config import EmaConfig, TrainConfig

EXPERIMENT = experiment("multimodal")

SEEDS = range(3)
SHARES = {"50/50": 0.5, "30/70": 0.3}
TEMPERATURES = (1.0, 0.7, 0.5, 0.3)
NET = UNet(channels=(32, 64), time_width=64)
ONE_SHOT = TrainConfig(num_steps=2000, batch_size=128, learning_rate=1e-3)
DENOISING = replace(ONE_SHOT, ema=EmaConfig())
INPAINTINGS = {
    "overwrite": Inpainting(method="overwrite", candidates=1),
    "guidance": Inpainting(method="guidance", candidates=1),
    "nearest of 16": Inpainting(method="nearest"),
    "nearest of 16, overwrite": Inpainting(method="overwrite"),
    "nearest of 16, guidance (default)": Inpainting(),
}
MLP, RAW = StateMLP(hidden=(256, 256)), StateMLP(hidden=())


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a cell depends on.

    Attributes:
        env: The env.
        expert: Who demonstrates.
        demonstrations: How many.
        policy: The policy.
        training: Training of the policy.
        rollouts: Episodes of the evaluation.
        temperatures: Also evaluate autoregressive bins at these.
        prefixes: Also ask whether a chunk with so many frozen steps keeps its mode.
        delays: Also drive with so many steps of inference delay, naively and with real-time chunking.
        studied: Chunks, and rollouts, of those two studies.
        seed: Seed of everything: data, weights and draws.
    """

    env: EnvConfig
    expert: ExpertConfig
    demonstrations: int
    policy: PolicyConfig
    training: TrainConfig
    rollouts: int
    temperatures: tuple[float, ...] = ()
    prefixes: tuple[int, ...] = ()
    delays: tuple[int, ...] = ()
    studied: int = 200
    seed: int = 0


def _policy(head: HeadConfig, *, encoder: StateMLP = MLP, n_obs_steps: int = 1) -> PolicyConfig:
    return PolicyConfig(encoder=encoder, head=head, n_obs_steps=n_obs_steps, horizon=16, n_action_steps=8)


SMALL_ACT = Act(
    width=64,
    num_heads=4,
    feedforward=128,
    num_encoder_layers=2,
    num_decoder_layers=2,
    num_posterior_layers=2,
    latent_dim=8,
)
CLASSES: dict[str, tuple[PolicyConfig, TrainConfig]] = {
    "regression": (_policy(Regression()), ONE_SHOT),
    "regression, L1": (_policy(Regression(error="l1")), ONE_SHOT),
    "Gaussian": (_policy(Gaussian()), ONE_SHOT),
    "MIP, MLP": (_policy(Mip(net=DenoisingMLP(hidden=(256, 256, 256))), encoder=RAW), DENOISING),
    "MIP, U-Net": (_policy(Mip(net=NET), encoder=RAW), DENOISING),
    "ACT, z = 0": (_policy(SMALL_ACT, encoder=RAW), ONE_SHOT),
    "CVAE, z drawn": (_policy(Latent()), ONE_SHOT),
    "nearest neighbour": (_policy(Nearest(), encoder=RAW), ONE_SHOT),
    "mixture, joint": (_policy(Mixture(num_modes=8)), ONE_SHOT),
    "mixture, per step": (_policy(Mixture(num_modes=8, joint=False)), ONE_SHOT),
    "bins, independent": (_policy(Bins(num_bins=64, dependence="independent")), ONE_SHOT),
    "bins, autoregressive": (_policy(Bins(num_bins=64)), ONE_SHOT),
    "BeT": (_policy(Tokens(num_centres=16)), ONE_SHOT),
    "diffusion, U-Net": (_policy(Diffusion(net=NET), encoder=RAW), DENOISING),
    "diffusion, transformer": (
        _policy(
            Diffusion(net=DenoisingTransformer(width=64, num_layers=3, num_heads=4, dropout=0.0)), encoder=RAW
        ),
        DENOISING,
    ),
    "flow, U-Net": (_policy(Flow(net=NET), encoder=RAW), DENOISING),
    "flow, MLP": (_policy(Flow(net=DenoisingMLP(hidden=(256, 256, 256))), encoder=RAW), DENOISING),
}


SIZES: dict[str, tuple[PolicyConfig, TrainConfig]] = {
    "smallest flow": (_policy(Flow(net=UNet(channels=(16, 32), time_width=32)), encoder=RAW), DENOISING),
    "regression, 1x": (_policy(Regression(), encoder=StateMLP(hidden=(190, 190))), ONE_SHOT),
    "regression, 10x": (_policy(Regression(), encoder=StateMLP(hidden=(640, 640))), ONE_SHOT),
    "regression, 100x": (_policy(Regression(), encoder=StateMLP(hidden=(2080, 2080))), ONE_SHOT),
}
LONGER: dict[str, tuple[PolicyConfig, TrainConfig]] = {
    "flow, U-Net, longer": (CLASSES["flow, U-Net"][0], replace(DENOISING, num_steps=12_000)),
}
"""Avoiding only: chosen after the first seed of the others had been seen at 3000 updates."""
CLEAN: dict[str, tuple[PolicyConfig, TrainConfig]] = {
    "diffusion, U-Net, predicts the chunk": (
        _policy(Diffusion(net=NET, prediction="sample"), encoder=RAW),
        DENOISING,
    ),
    "flow, U-Net, predicts the chunk": (_policy(Flow(net=NET, prediction="sample"), encoder=RAW), DENOISING),
}
"""Avoiding only: one field changed, after the rows of "diffusion, U-Net" and "flow, U-Net" had been seen."""
CHUNKED = ("flow, U-Net", "diffusion, U-Net")
LATE = ("regression", "mixture, joint", "BeT", "bins, autoregressive", *CHUNKED)


def cell(place: str, name: str, seed: int) -> Cell[Any]:
    """Return one entry: a place ("forks 50/50", "avoiding"), a policy class and a seed."""
    policy, training = {**CLASSES, **SIZES, **LONGER, **CLEAN}[name]
    if place == "avoiding":
        policy = replace(policy, n_obs_steps=2)
        training = replace(training, num_steps=max(3000, training.num_steps))
    is_studied = name in CHUNKED and place in ("forks 50/50", "late forks 50/50")
    env, expert, demonstrations, rollouts = _place(place)
    settings = Settings(
        env=env,
        expert=expert,
        demonstrations=demonstrations,
        policy=policy,
        training=training,
        rollouts=rollouts,
        temperatures=TEMPERATURES if name == "bins, autoregressive" else (),
        prefixes=(2, 4) if is_studied and not place.startswith("late") else (),
        delays=(2, 4) if is_studied else (),
        seed=seed,
    )
    words = f"{place} {name} seed {seed}".replace("/", "-").replace(",", "").replace("=", "is")
    return EXPERIMENT.cell(words, settings=settings, compute=compute)


def _place(place: str) -> tuple[EnvConfig, ExpertConfig, int, int]:
    match place.split():
        case ["forks", share]:
            return ForksConfig(), ForksExpert(left_share=SHARES[share]), 100, 500
        case ["late", "forks", share]:
            return ForksConfig(late=True), ForksExpert(left_share=SHARES[share]), 100, 500
        case _:
            return AvoidingConfig(), AvoidingExpert(), 96, 480


def compute(settings: Settings) -> dict[str, Any]:
    """Demonstrate, fit, drive; return what the tables need."""
    env = settings.env.build(settings.rollouts)
    expert = settings.expert.build(env)
    starts = env.starts("train", settings.demonstrations, seed=settings.seed)
    demos = collect(env, expert, starts, source="demonstration", seed=derive(settings.seed, "demonstrate"))
    spec = env.spec
    frames = Frames.from_episodes(demos, observation_spec=spec.observation, action_spec=spec.action)
    training = replace(settings.training, seed=settings.seed)
    policy, trained = fitted(frames, settings.policy, training, weights_seed=derive(settings.seed, "weights"))
    result: dict[str, Any] = {
        "parameters": sum(p.numel() for p in policy.parameters()),
        "train_s": round(trained.wall_time_s, 1),
        "steps": len(frames),
    }
    result |= drive(env, policy, settings)
    for temperature in settings.temperatures:
        head = changed(settings.policy.head, temperature=temperature)
        result[f"at {temperature}"] = drive(env, with_head(policy, head), settings)
    if isinstance(settings.policy.head, Act):
        result["z drawn"] = drive(
            env, with_head(policy, replace(settings.policy.head, latent="sample")), settings
        )
    if settings.prefixes:
        result["same mode"] = kept_modes(env, policy, settings)
    for delay in settings.delays:
        naive = RecedingHorizon(policy, num_rows=env.num_rows, n_action_steps=8, delay=delay)
        chunking = RealTimeChunking(policy, num_rows=env.num_rows, execution_horizon=8, delay=delay)
        few = replace(settings, rollouts=settings.studied)
        result[f"delay {delay}"] = drive(env, policy, few, controller=naive)
        result[f"delay {delay}, real-time"] = drive(env, policy, few, controller=chunking)
    return result


@dataclass(frozen=True, kw_only=True)
class Demonstrations:
    """What a cell about the demonstrations themselves depends on; see `Settings`."""

    env: EnvConfig
    expert: ExpertConfig
    demonstrations: int
    seed: int = 0


def demonstrations_cell(seed: int) -> Cell[Any]:
    """Return the cell of the demonstrations of Avoiding: the entropy that a policy could reach."""
    env, expert, count, _ = _place("avoiding")
    settings = Demonstrations(env=env, expert=expert, demonstrations=count, seed=seed)
    return EXPERIMENT.cell(
        f"avoiding demonstrations seed {seed}",
        settings=settings,
        compute=demonstrate,
    )


def demonstrate(settings: Demonstrations) -> dict[str, Any]:
    """Drive the expert from the starts of the demonstrations; return the way that each took."""
    env = settings.env.build(settings.demonstrations)
    starts = env.starts("train", settings.demonstrations, seed=settings.seed)
    seed = derive(settings.seed, "demonstrate")
    driven = evaluate(env, settings.expert.build(env), starts, name="expert", seed=seed, positions=False)
    assert driven.modes is not None
    collided = int((driven.terminated & ~driven.told).sum())
    modes = np.where(driven.told, driven.modes, -1).tolist()
    return {"modes": modes, "collided": collided, "parameters": 0, "train_s": 0.0}


def changed(head: Any, **settings: Any) -> HeadConfig:
    """Return a head with other settings."""
    return replace(head, **settings)


def with_head(policy: PolicyModule, head: HeadConfig) -> PolicyModule:
    """Return the same weights under a head that answers in another way."""
    other = PolicyModule.build(replace(policy.config, head=head), policy.spec)
    other.load_state_dict(policy.state_dict())
    return other.eval()


def drive(
    env: BatchEnv, policy: PolicyModule, settings: Settings, *, controller: Controller | None = None
) -> dict[str, Any]:
    """Return the mode of each rollout, -1 where it failed, and how the rollouts held on to their modes."""
    starts = env.starts("test", settings.rollouts, seed=0)
    controller = controller or RecedingHorizon(policy, num_rows=env.num_rows)
    driven = evaluate(env, controller, starts, name="policy", seed=settings.seed, positions=False)
    assert driven.modes is not None
    assert driven.mode_track is not None
    kept = persistence(driven.mode_track, seed=0)
    return {
        "modes": np.where(driven.told, driven.modes, -1).tolist(),
        "collided": int((driven.terminated & ~driven.told).sum()),
        "persistence": None if kept is None else round(kept.value, 4),
    }


def kept_modes(env: BatchEnv, policy: PolicyModule, settings: Settings) -> dict[str, Any]:
    """Return how often a chunk goes the way of another whose first steps it was given as a frozen prefix.

    Both are predicted at the start. Also the largest deviation from that prefix [m/s].
    """
    rows = np.arange(settings.studied)
    starts = env.starts("test", settings.studied, seed=0)
    env.reset(starts, rows)
    window = {name: value[:, None] for name, value in env.observe(rows).items()}
    first = policy.predict_chunk(window, noise=GeneratorNoise.seeded(derive(settings.seed, "first")))
    ways = ways_of_chunks(env, starts, first.numpy())
    found: dict[str, Any] = {}
    for label, inpainting in INPAINTINGS.items():
        head = changed(settings.policy.head, inpainting=inpainting)
        asked = with_head(policy, head)
        for frozen in settings.prefixes:
            weight = torch.zeros(len(rows), settings.policy.horizon)
            weight[:, :frozen] = 1.0
            second = asked.predict_chunk(
                window,
                noise=GeneratorNoise.seeded(derive(settings.seed, "second")),
                prefix=Prefix(actions=first, weight=weight),
            )
            again = ways_of_chunks(env, starts, second.numpy())
            both = (ways >= 0) & (again >= 0)
            found[f"{label}, {frozen} frozen"] = {
                "same": round(float((ways == again)[both].mean()), 4) if both.any() else None,
                "decided": int(both.sum()),
                "deviation": round(float((second - first)[:, :frozen].abs().max()), 4),
            }
    return found


def ways_of_chunks(env: BatchEnv, starts: Sequence[Start], chunks: np.ndarray) -> np.ndarray:
    """Return the way that each chunk leads to when it is played from its start; -1 if it stays open."""
    alive = np.arange(len(starts))
    env.reset(starts, alive)
    for step in range(chunks.shape[1]):
        result = env.step(chunks[alive, step], alive)
        alive = alive[~(result.terminated | result.truncated)]
    return env.mode(np.arange(len(starts)))


def cells() -> list[Cell[Any]]:
    """Return all cells of the tables, in the order in which they are wanted."""
    places = ("forks 50/50", "forks 30/70")
    wanted = [(place, name, seed) for place in places for seed in SEEDS for name in CLASSES]
    wanted += [("avoiding", name, seed) for seed in SEEDS for name in (*CLASSES, *LONGER, *CLEAN)]
    wanted += [("forks 50/50", name, seed) for seed in SEEDS for name in SIZES]
    wanted += [("late forks 50/50", name, seed) for seed in SEEDS for name in LATE]
    return [*(cell(*one) for one in wanted), *(demonstrations_cell(seed) for seed in SEEDS)]


def results(place: str, name: str) -> list[dict[str, Any]]:
    """Return the results of the seeds that are there."""
    found = [cell(place, name, seed).result() for seed in SEEDS]
    return [result for result in found if result is not None]
