"""What comes before gradient training: the loop, lent to the thing that is trained."""

from collections.abc import Callable, Iterator
from typing import TypeVar

from torch import Tensor, nn

from steadyhand.core.seeding import derive
from steadyhand.data.sampler import Sampler
from steadyhand.policies.noise import Noise
from steadyhand.policies.trainable import Trainable
from steadyhand.training.adamw import AdamW
from steadyhand.training.config import TrainConfig
from steadyhand.training.source import Source, StepNoise, device_of

BatchT = TypeVar("BatchT")


def prepare(trainable: Trainable[BatchT], train: Source[BatchT], config: TrainConfig) -> None:
    """Call `adapt`, then `prepare` of what is trained, with passes over the data and a plain AdamW loop.

    The lent loop trains every parameter of the module that it is given, also those that are frozen for the
    main run (a codebook), and leaves them frozen.
    """
    trainable.adapt(train)
    seed = derive(config.seed, "prepare")
    device = device_of(trainable)

    def batches() -> Iterator[BatchT]:
        for first in range(0, len(train.steps), config.batch_size):
            yield train.batch(train.steps[first : first + config.batch_size])

    def lent(
        module: nn.Module,
        loss: Callable[[BatchT, Noise], Tensor],
        *,
        num_steps: int,
        learning_rate: float,
    ) -> None:
        noise = StepNoise(seed, "fit", device=device)
        sampler = Sampler(train.steps, batch_size=config.batch_size, seed=seed)
        frozen = [parameter for parameter in module.parameters() if not parameter.requires_grad]
        for parameter in frozen:
            parameter.requires_grad_(True)  # noqa: FBT003
        group = {"params": list(module.parameters()), "lr": learning_rate, "weight_decay": 0.0}
        optimizer = AdamW([group], betas=(0.9, 0.999))
        for step in range(num_steps):
            value = loss(train.batch(sampler.batch_indices(step)), noise.at(step))
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
        for parameter in frozen:
            parameter.requires_grad_(False)  # noqa: FBT003
        module.zero_grad(set_to_none=True)

    trainable.prepare(batches, lent, StepNoise(seed, "draws", device=device).at(0))
