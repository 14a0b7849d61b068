"""Callables, modules and weight files as experts."""

import numpy as np
import pytest
import torch
from torch import nn

from steadyhand.core.errors import ArtifactError, SpecError
from steadyhand.core.protocol import Actor
from steadyhand.core.seeding import RowStreams
from steadyhand.core.specs import STATE, FeatureSpec, discrete_spec
from steadyhand.experts.network import CallableExpert, ModuleExpert, network_of

ACTION = FeatureSpec(shape=(2,), low=(-1.0, -1.0), high=(1.0, 1.0))
ROWS = np.arange(5)


def ask(expert, observation, privileged=None):
    return expert.act(observation, privileged or {}, ROWS, RowStreams.from_seed(0, 5))


def test_a_function_is_called_with_the_whole_batch_clipped_labelled_and_counted():
    expert = CallableExpert(lambda x: 3.0 * x[:, :2], action=ACTION)
    seen = np.linspace(-1, 1, 15, dtype=np.float32).reshape(5, 3)
    decision = ask(expert, {STATE: seen})
    assert np.allclose(decision.action, np.clip(3 * seen[:, :2], -1, 1))
    assert decision.action.dtype == np.float32
    assert np.allclose(decision.label, 3 * seen[:, :2]), "as it is meant; the session says what is stored"
    assert decision.label_valid.all()
    assert (decision.actor == Actor.EXPERT).all()
    ask(expert, {STATE: seen})
    assert expert.num_queries == 10


def test_a_discrete_function_may_answer_with_one_number_a_row():
    expert = CallableExpert(lambda x: (x[:, 0] > 0).astype(int), action=discrete_spec(2))
    decision = ask(expert, {STATE: np.array([[1.0], [-1.0], [2.0], [0.0], [3.0]], dtype=np.float32)})
    assert decision.action.tolist() == [[1], [0], [1], [0], [1]]
    assert decision.action.dtype == np.int64


def test_an_answer_that_is_no_choice_is_refused():
    expert = CallableExpert(lambda x: x[:, :1] * 0.5, action=discrete_spec(2))
    with pytest.raises(SpecError, match="no choice"):
        ask(expert, {STATE: np.ones((5, 1), dtype=np.float32)})


def test_privileged_features_are_found_and_missing_ones_are_named():
    expert = CallableExpert(lambda x: x, action=ACTION, feature="pose")
    pose = np.zeros((5, 2), dtype=np.float32)
    assert ask(expert, {STATE: np.ones((5, 1))}, {"pose": pose}).action.shape == (5, 2)
    with pytest.raises(SpecError, match=r"got: +pose\n +available: observation.state"):
        ask(expert, {STATE: np.ones((5, 1))})


def test_an_answer_for_one_row_only_is_refused():
    with pytest.raises(SpecError, match=r"expected: +\(5, 2\)"):
        ask(CallableExpert(lambda _: np.zeros(2), action=ACTION), {STATE: np.zeros((5, 3), np.float32)})


def test_a_module_is_run_without_gradients():
    module = nn.Linear(3, 2)
    seen = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    decision = ask(ModuleExpert(module, action=FeatureSpec(shape=(2,))), {STATE: seen})
    with torch.no_grad():
        assert np.allclose(decision.action, module(torch.from_numpy(seen)).numpy())


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_a_file_of_weights_is_the_network_that_its_formula_says(tmp_path, suffix):
    rng = np.random.default_rng(1)
    shapes = {"W0": (3, 8), "b0": (1, 8), "W1": (8, 6), "b1": (1, 6), "W_out": (6, 2), "b_out": (1, 2)}
    arrays = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    arrays["obs_mean"] = rng.normal(size=(1, 3))
    arrays["obs_meansq"] = arrays["obs_mean"] ** 2 + rng.uniform(0.5, 2, size=(1, 3))
    path = tmp_path / f"expert{suffix}"
    if suffix == ".npz":
        np.savez(path, **arrays)
    else:
        from safetensors.numpy import save_file

        save_file(arrays, path)
    seen = rng.normal(size=(5, 3)).astype(np.float32)
    decision = ask(network_of(path, action=FeatureSpec(shape=(2,))), {STATE: seen})
    std = np.sqrt(arrays["obs_meansq"] - arrays["obs_mean"] ** 2)
    h = (seen - arrays["obs_mean"]) / (std + 1e-6)
    for layer in ("0", "1"):
        h = np.tanh(h @ arrays[f"W{layer}"] + arrays[f"b{layer}"])
    assert np.allclose(decision.action, h @ arrays["W_out"] + arrays["b_out"], atol=1e-6)


def test_bad_files_are_named(tmp_path):
    with pytest.raises(ArtifactError, match="There is no file"):
        network_of(tmp_path / "none.npz", action=ACTION)
    (tmp_path / "junk.npz").write_bytes(b"not a zip")
    with pytest.raises(ArtifactError, match="cannot be read"):
        network_of(tmp_path / "junk.npz", action=ACTION)
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(ArtifactError, match="W_out"):
        network_of(tmp_path / "other.npz", action=ACTION)


def test_the_walker_network_reproduces_its_own_demonstrations(shared_data):
    """Real data: the recorded actions of this expert are its answers to the recorded observations."""
    demos = np.load(shared_data / "mujoco-experts" / "demos_Walker2d_v4.npz")
    expert = network_of(
        shared_data / "mujoco-experts" / "expert_mlp_Walker2d.npz", action=FeatureSpec(shape=(6,))
    )
    answer = expert.act(
        {STATE: demos["observation"]}, {}, np.arange(2000), RowStreams.from_seed(0, 2000)
    ).action
    error = np.abs(answer - demos["action"])
    assert np.median(error) < 0.05 * demos["action"].std()
