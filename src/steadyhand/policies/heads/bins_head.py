"""The head behind `Bins`."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64, Shaped
from torch import Tensor, nn

from steadyhand.policies.contract import (
    ChunkSpec,
    Context,
    ContextSpec,
    Data,
    Fit,
    Head,
    LazyMetrics,
    Likelihood,
    Loss,
    Prefix,
    Target,
)
from steadyhand.policies.heads.action_range import ActionRange
from steadyhand.policies.heads.bins import Bins
from steadyhand.policies.heads.drawing import draw_class
from steadyhand.policies.nets.mlp import mlp
from steadyhand.policies.nets.recurrent import separate
from steadyhand.policies.noise import Noise


class BinsHead(Head):
    """Head that `Bins` builds.

    Mode: the likeliest bin of each number in turn (greedy). N = H * A numbers in a chunk.

    Steps of the past (`ChunkSpec.start` < 0) come last in the chain, the oldest at its end. What lies before
    an episode's start is unknown in training, and when a chunk is drawn it is not; at the end of the chain
    that makes no difference to the steps that are executed.
    """

    likelihood: Likelihood = "exact"
    draws = True
    step_order: Tensor
    step_place: Tensor

    def __init__(self, config: Bins, context: ContextSpec, chunk: ChunkSpec) -> None:
        super().__init__()
        self.chunk = chunk
        self._config = config
        num_tokens = chunk.horizon * chunk.action_dim
        num_inputs = context.num_tokens * context.width
        self.tokens: _TokenGru | None = None
        self.net: nn.Sequential | None = None
        if config.dependence == "autoregressive" and num_tokens > 1:
            self.tokens = _TokenGru(config, num_inputs=num_inputs, num_tokens=num_tokens)
            self.inpaints = True
        else:
            sizes = (num_inputs, *config.hidden, num_tokens * config.num_bins)
            self.net = mlp(sizes, activation=config.activation)
        self.range = ActionRange(chunk)
        past = -chunk.start
        order = torch.tensor([*range(past, chunk.horizon), *range(past - 1, -1, -1)])
        self.register_buffer("step_order", order, persistent=False)
        self.register_buffer("step_place", order.argsort(), persistent=False)

    def loss(self, context: Context, target: Target, noise: Noise) -> Loss:
        """Return -log p of each step in nats, of the normalised action; metric: share of right bins."""
        del noise
        classes = self.encode(target.actions)
        logits = self.logits(context, classes, target.is_absent)

        def metrics() -> dict[str, Tensor]:
            return {"accuracy": (logits.detach().argmax(-1) == classes).float().mean((1, 2))}

        return Loss(value=-self._log_density(logits, classes), metrics=LazyMetrics(metrics))

    def sample(self, context: Context, noise: Noise, prefix: Prefix | None = None) -> Float[Tensor, "B H A"]:
        """Draw bins, number by number if autoregressive; a frozen prefix is held and conditioned on.

        Frozen is what has weight 1; a chain cannot lean towards a soft prefix, and leaves it aside.
        """
        if self.tokens is None:
            classes = self._draw(self._independent(context), noise)
            return self.decode(classes, noise)
        held = None
        if prefix is not None:
            frozen = (prefix.weight >= 1.0)[..., None].expand_as(prefix.actions)
            held = (self._chained(self.encode(prefix.actions)), self._chained(frozen))
        start, state = self.tokens.begin(context.flat())
        drawn: list[Tensor] = []
        before = None
        for index in range(self.tokens.num_tokens):
            logits, state = self.tokens.step(before, index, start, state)
            before = self._draw(logits, noise)
            if held is not None:
                before = torch.where(held[1][:, index], held[0][:, index], before)
            drawn.append(before)
        chunk = self.decode(self._unchained(torch.stack(drawn, 1)), noise)
        return (
            chunk if prefix is None else torch.where(prefix.weight[..., None] >= 1.0, prefix.actions, chunk)
        )

    def log_prob(self, context: Context, target: Target) -> Float[Tensor, " B"]:
        """Return log p of each chunk at temperature 1: exact for the density that is constant in each bin.

        A value outside the range counts as one in the outermost bin.
        """
        classes = self.encode(target.actions)
        density = self._log_density(self.logits(context, classes, target.is_pad), classes)
        return density.masked_fill(target.is_pad, 0.0).sum(1)

    def prepare(self, data: Data, fit: Fit, noise: Noise) -> None:
        """Find the range of the training actions, where they are not normalised to [-1, 1]."""
        del fit, noise
        self.range.find(data)

    def widen(self, low: Float[Tensor, " A"], high: Float[Tensor, " A"]) -> bool:
        """Refuse labels outside the range that the bins divide."""
        self.range.require_inside(low, high, head="Bins")
        return False

    def encode(self, actions: Float[Tensor, "B H A"]) -> Int64[Tensor, "B H A"]:
        """Return the bin of each value."""
        place = self.range.to_unit(actions) * self._config.num_bins
        return place.long().clamp(0, self._config.num_bins - 1)

    def decode(self, classes: Int64[Tensor, "B H A"], noise: Noise) -> Float[Tensor, "B H A"]:
        """Return the centre of each bin, or a uniform draw inside it."""
        inside = noise.uniform(*classes.shape) if self._config.decode == "uniform" else 0.5
        return self.range.from_unit((classes + inside) / self._config.num_bins)

    def logits(
        self, context: Context, classes: Int64[Tensor, "B H A"], is_absent: Bool[Tensor, "B H"]
    ) -> Float[Tensor, "B H A K"]:
        """Return unnormalised log-probabilities of the bins, each given the true numbers before it.

        Absent steps are no numbers before it. Padded ones repeat a valid step, which would give the answer
        away; unlabelled ones hold what no demonstrator chose.
        """
        if self.tokens is None:
            return self._independent(context)
        unknown = is_absent[..., None].expand_as(classes)
        logits = self.tokens(context.flat(), self._chained(classes), self._chained(unknown))
        return self._unchained(logits)

    def _chained(self, numbers: Shaped[Tensor, "B H A"]) -> Shaped[Tensor, "B N"]:
        """Return the numbers of a chunk in the order of the chain."""
        if self.chunk.start < 0:
            numbers = numbers[:, self.step_order]
        return numbers.flatten(1)

    def _unchained(self, numbers: Shaped[Tensor, "B N ..."]) -> Shaped[Tensor, "B H A ..."]:
        """Undo `_chained`."""
        numbers = numbers.unflatten(1, (self.chunk.horizon, self.chunk.action_dim))
        return numbers[:, self.step_place] if self.chunk.start < 0 else numbers

    def _independent(self, context: Context) -> Float[Tensor, "B H A K"]:
        assert self.net is not None
        shape = (self.chunk.horizon, self.chunk.action_dim, self._config.num_bins)
        return self.net(context.flat()).unflatten(1, shape)

    def _draw(self, logits: Float[Tensor, "B ... K"], noise: Noise) -> Int64[Tensor, "B ..."]:
        temperature = self._config.temperature
        return logits.argmax(-1) if temperature == 0.0 else draw_class(logits / temperature, noise)

    def _log_density(self, logits: Tensor, classes: Tensor) -> Float[Tensor, "B H"]:
        log_share = -F.cross_entropy(logits.movedim(-1, 1), classes, reduction="none")
        log_width = (self.range.width / self._config.num_bins).log()
        return (log_share - log_width).sum(-1)


class _TokenGru(nn.Module):
    """p(token n | context, tokens before n) for the N tokens of a chunk, by a GRU (Cho et al., 2014).

    A step of sampling costs one cell: the state is carried, and the context is read once.
    """

    def __init__(self, config: Bins, *, num_inputs: int, num_tokens: int) -> None:
        super().__init__()
        width = config.width
        self.num_tokens = num_tokens
        self._num_bins = config.num_bins
        self.context = mlp((num_inputs, *config.hidden, 2 * width), activation=config.activation)
        self.embedding = nn.Embedding(config.num_bins, width)
        self.value = nn.Linear(1, width)
        self.position = nn.Parameter(0.1 * torch.randn(num_tokens, width))
        self.gru = nn.GRU(width, width, batch_first=True)
        self.gru.register_state_dict_post_hook(separate)
        self.out = nn.Linear(width, config.num_bins)

    def begin(self, flat: Float[Tensor, "B SC"]) -> tuple[Float[Tensor, "B W"], Float[Tensor, "1 B W"]]:
        """Return what the context adds to every input, and the first state."""
        start, state = self.context(flat).chunk(2, 1)
        return start, state.tanh()[None].contiguous()

    def step(
        self,
        before: Int64[Tensor, " B"] | None,
        index: int,
        start: Float[Tensor, "B W"],
        state: Float[Tensor, "1 B W"],
    ) -> tuple[Float[Tensor, "B K"], Float[Tensor, "1 B W"]]:
        """Return the logits of token `index` given the one before it, and the next state."""
        x = start + self.position[index]
        if before is not None:
            x = x + self._embed(before)
        y, state = self.gru(x[:, None], state)
        return self.out(y[:, 0]), state

    def forward(
        self, flat: Float[Tensor, "B SC"], tokens: Int64[Tensor, "B N"], is_unknown: Bool[Tensor, "B N"]
    ) -> Float[Tensor, "B N K"]:
        """Return the logits of every token, teacher forced; unknown tokens say nothing to those after."""
        start, state = self.begin(flat)
        known = self._embed(tokens[:, :-1]).masked_fill(is_unknown[:, :-1, None], 0.0)
        x = start[:, None] + self.position + F.pad(known, (0, 0, 1, 0))
        return self.out(self.gru(x, state)[0])

    def _embed(self, tokens: Int64[Tensor, "..."]) -> Float[Tensor, "... W"]:
        """Return a token's own vector plus one that is linear in its value: neighbours are alike."""
        value = (tokens[..., None] + 0.5) / self._num_bins * 2.0 - 1.0
        return self.embedding(tokens) + self.value(value)
