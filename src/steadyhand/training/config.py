"""How to train, as frozen values."""

from dataclasses import dataclass
from typing import Annotated, Literal

from steadyhand.core.settings import Count, NotNegative, Positive, Range, Rate, Settings, Share, Whole

Schedule = Literal["cosine", "linear", "constant"]
Sampling = Literal["epochs", "weight"]
Keep = Literal["last", "best"]
Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["float32", "bf16"]


@dataclass(frozen=True, kw_only=True)
class EmaConfig(Settings):
    """An exponential moving average of the weights with a decay that grows (Diffusion Policy's rule).

    decay(k) = 1 - (1 + k / inv_gamma) ** -power, kept below `max_decay`, k = steps so far.

    Attributes:
        power: 3/4 suits training runs of 10^5 steps and more.
        inv_gamma: Steps until the decay begins to grow.
        max_decay: Upper bound of the decay, 0 to 1.
    """

    power: Positive = 0.75
    inv_gamma: Positive = 1.0
    max_decay: Share = 0.9999

    def decay(self, step: int) -> float:
        """Return the decay of update number `step`, counted from 0."""
        return min(1.0 - (1.0 + step / self.inv_gamma) ** -self.power, self.max_decay)


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Settings):
    """One run of the training loop.

    Attributes:
        num_steps: Gradient steps in all.
        batch_size: Windows in a batch. Batches run across the ends of epochs: no window is left out.
        learning_rate: Learning rate of AdamW, after the warm-up.
        weight_decay: Decoupled weight decay of AdamW; at 0 AdamW is Adam.
        betas: Decay rates of AdamW's first and second moments.
        decay_exempt: Spare biases, norms, embeddings and position tables the weight decay (GPT-2's rule).
        encoder_learning_rate: That of a policy's encoder, where it differs (a backbone); 0 leaves it as it
            is. None means `learning_rate`.
        encoder_weight_decay: Weight decay of a policy's encoder, where it differs; None means `weight_decay`.
        schedule: "cosine" and "linear" fall to `final_share` of the learning rate.
        final_share: What is left of the learning rate at the end of the fall.
        warmup_steps: Steps of linear rise before it.
        fall_steps: Step at which the fall ends, after which the rate stays; None means `num_steps`.
        ema: Average of the weights, which is then what the trained model holds; None trains without.
        clip_norm: Largest norm of the gradient; None does not clip.
        validation_every: Steps between validations and evaluations, also done at the end; 0 means only there.
        checkpoint_every: Steps between checkpoints, also made at the end; 0 means only there.
        checkpoint_every_s: Time after which a checkpoint is made between those [s]; 0 makes none.
        log_every: Steps between lines in metrics.jsonl.
        keep: Which weights the trained model holds in the end: the "last" ones, or those of the "best", that
            is lowest, validation loss. Both stay in the run's folder.
        sampling: "epochs" draws every step once an epoch and weights its loss; "weight" draws it in
            proportion to its weight instead, so that each batch holds every source in its share. The
            objective is the same; where few steps carry much of the weight, the gradient is quieter.
        seed: Seed of the order of the data and of the noise.
        num_threads: Threads of torch.
        device: Where recipes and learners put policy and data: "cpu", "cuda", "mps", or "auto" for the first
            of CUDA, MPS and CPU that is there.
        precision: "bf16" computes the forward pass in bfloat16 where torch's autocast holds that safe;
            weights, their gradients, sums over rows and validation stay in float32.
        accumulate: Parts in which a batch is computed one after the other, to save memory. Their gradients
            add up to that of the whole batch.
        compile: Compile the nets with torch.compile, which takes tens of seconds at first and pays off in
            long runs; where that fails the run says so and goes on without. Losses agree to rounding, not
            bit for bit.
    """

    num_steps: Count = 10_000
    batch_size: Count = 256
    learning_rate: Positive = 1e-3
    weight_decay: NotNegative = 1e-6
    betas: tuple[Rate, Rate] = (0.9, 0.999)
    decay_exempt: bool = False
    encoder_learning_rate: NotNegative | None = None
    encoder_weight_decay: NotNegative | None = None
    schedule: Schedule = "cosine"
    final_share: Share = 0.0
    warmup_steps: Whole = 100
    fall_steps: Annotated[int, Range(gt="warmup_steps")] | None = None
    ema: EmaConfig | None = None
    clip_norm: Positive | None = None
    validation_every: Whole = 0
    checkpoint_every: Whole = 0
    checkpoint_every_s: NotNegative = 300.0
    log_every: Count = 100
    keep: Keep = "last"
    seed: int = 0
    num_threads: Count = 1
    device: Device = "cpu"
    precision: Precision = "float32"
    accumulate: Annotated[Count, Range(le="batch_size")] = 1
    compile: bool = False
    sampling: Sampling = "epochs"

    @property
    def can_be_longer(self) -> bool:
        """Whether more steps leave the learning rate of the first ones as it was."""
        return self.schedule == "constant" or self.fall_steps is not None
