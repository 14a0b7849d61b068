"""Numbers to train experts with: those of RL Baselines3 Zoo, by env and algorithm.

The zoo's numbers are for older versions of the envs (v2 to v4), whose tasks are the same. Where it has none,
those are taken that Stable-Baselines3 itself brings.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from steadyhand.core.errors import ConfigError
from steadyhand.core.settings import Count, NotNegative

Algorithm = Literal["SAC", "TD3", "PPO", "A2C", "DDPG", "DQN"]
ALGORITHMS: tuple[Algorithm, ...] = get_args(Algorithm)


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """With what an algorithm is run; see `recipes.reinforce.ExpertRun`."""

    steps: Count = 100_000
    copies: Count = 1
    normalize: bool = False
    action_noise: NotNegative = 0.0
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    policy: Mapping[str, Any] = field(default_factory=dict[str, Any])


_RELU_256 = {"net_arch": [256, 256], "activation_fn": "ReLU", "log_std_init": -2.0, "ortho_init": False}
_TD3 = {"net_arch": [400, 300]}
_SAC_WALKS = Numbers(steps=1_000_000, options={"learning_starts": 10_000})
_TD3_WALKS = Numbers(
    steps=1_000_000,
    action_noise=0.1,
    options={"learning_starts": 10_000, "learning_rate": 1e-3, "batch_size": 256},
    policy=_TD3,
)
_PPO_WALKS = Numbers(steps=1_000_000, normalize=True)


def _ppo_walks(**options: int | float) -> Numbers:
    return Numbers(steps=1_000_000, normalize=True, options={"n_steps": 512, **options}, policy=_RELU_256)


ZOO: Mapping[str, Mapping[Algorithm, Numbers]] = {
    "Pendulum": {
        "SAC": Numbers(steps=20_000, options={"learning_rate": 1e-3}),
        "TD3": Numbers(
            steps=20_000,
            action_noise=0.1,
            options={
                "gamma": 0.98,
                "buffer_size": 200_000,
                "learning_starts": 10_000,
                "learning_rate": 1e-3,
            },
            policy=_TD3,
        ),
        "PPO": Numbers(
            copies=4,
            options={
                "n_steps": 1024,
                "gae_lambda": 0.95,
                "gamma": 0.9,
                "n_epochs": 10,
                "learning_rate": 1e-3,
                "clip_range": 0.2,
                "use_sde": True,
                "sde_sample_freq": 4,
            },
        ),
    },
    "Hopper": {
        "SAC": _SAC_WALKS,
        "TD3": _TD3_WALKS,
        "PPO": _ppo_walks(
            batch_size=32,
            gamma=0.999,
            learning_rate=9.80828e-5,
            ent_coef=0.00229519,
            clip_range=0.2,
            n_epochs=5,
            gae_lambda=0.99,
            max_grad_norm=0.7,
            vf_coef=0.835671,
        ),
    },
    "HalfCheetah": {
        "SAC": _SAC_WALKS,
        "TD3": _TD3_WALKS,
        "PPO": _ppo_walks(
            batch_size=64,
            gamma=0.98,
            learning_rate=2.0633e-5,
            ent_coef=0.000401762,
            clip_range=0.1,
            n_epochs=20,
            gae_lambda=0.92,
            max_grad_norm=0.8,
            vf_coef=0.58096,
        ),
    },
    "Walker2d": {
        "SAC": _SAC_WALKS,
        "TD3": _TD3_WALKS,
        "PPO": Numbers(
            steps=1_000_000,
            normalize=True,
            options={
                "n_steps": 512,
                "batch_size": 32,
                "gamma": 0.99,
                "learning_rate": 5.05041e-5,
                "ent_coef": 0.000585045,
                "clip_range": 0.1,
                "n_epochs": 20,
                "gae_lambda": 0.95,
                "max_grad_norm": 1.0,
                "vf_coef": 0.871923,
            },
        ),
    },
    "Ant": {"SAC": _SAC_WALKS, "TD3": _TD3_WALKS, "PPO": _PPO_WALKS},
    "Swimmer": {
        "SAC": Numbers(steps=1_000_000, options={"learning_starts": 10_000, "gamma": 0.9999}),
        "PPO": Numbers(steps=1_000_000, normalize=True, options={"gamma": 0.9999}),
    },
    "CartPole": {
        "PPO": Numbers(
            copies=8,
            options={
                "n_steps": 32,
                "batch_size": 256,
                "gae_lambda": 0.8,
                "gamma": 0.98,
                "n_epochs": 20,
                "learning_rate": "linear 0.001",
                "clip_range": "linear 0.2",
            },
        ),
        "DQN": Numbers(
            steps=200_000,
            options={
                "learning_rate": 2.5e-4,
                "batch_size": 512,
                "buffer_size": 100_000,
                "learning_starts": 0,
                "target_update_interval": 5000,
                "train_freq": 16,
                "gradient_steps": 4,
                "exploration_fraction": 0.06,
                "exploration_final_eps": 0.11,
            },
        ),
    },
    "Acrobot": {
        "PPO": Numbers(
            steps=1_000_000,
            copies=16,
            normalize=True,
            options={"n_steps": 256, "gae_lambda": 0.94, "n_epochs": 4},
        ),
    },
    "MountainCar": {
        "DQN": Numbers(
            steps=120_000,
            options={
                "learning_rate": 4e-3,
                "batch_size": 128,
                "buffer_size": 10_000,
                "learning_starts": 1000,
                "gamma": 0.98,
                "target_update_interval": 5000,
                "train_freq": 16,
                "gradient_steps": 8,
                "exploration_fraction": 0.2,
                "exploration_final_eps": 0.07,
            },
            policy={"net_arch": [256, 256]},
        ),
    },
    "LunarLander": {
        "PPO": Numbers(
            steps=1_000_000,
            copies=16,
            options={
                "n_steps": 1024,
                "batch_size": 64,
                "gae_lambda": 0.98,
                "gamma": 0.999,
                "n_epochs": 4,
                "ent_coef": 0.01,
            },
        ),
    },
}
"""Env without its version -> algorithm -> numbers."""


def algorithm_named(name: str) -> Algorithm:
    """Return the algorithm of this name.

    Raises:
        ConfigError: There is none.
    """
    for one in ALGORITHMS:
        if one == name.upper():
            return one
    raise ConfigError("There is no such algorithm.", got=name, available=ALGORITHMS)


def default_algorithm(env_id: str, *, is_choice: bool) -> Algorithm:
    """Return the first algorithm that the zoo has numbers for; otherwise PPO for choices, SAC for numbers."""
    known = ZOO.get(_name(env_id))
    return next(iter(known)) if known else ("PPO" if is_choice else "SAC")


def numbers_for(env_id: str, algorithm: Algorithm) -> Numbers:
    """Return with what an algorithm is run; Stable-Baselines3's own numbers where the zoo has none."""
    return ZOO.get(_name(env_id), {}).get(algorithm, Numbers())


def _name(env_id: str) -> str:
    """Return the name of an env without its package and version: "Hopper" of "Hopper-v5"."""
    name, _, version = env_id.rpartition("-v")
    return (name if version.isdigit() else env_id).rpartition(":")[2].rpartition("/")[2]
