"""The training loop: one step for all members, early stopping for each."""

from dataclasses import replace

import torch
from torch import Tensor
from tqdm.auto import tqdm

from ..families import ExponentialFamily, Label, TargetScaler
from ..mixup import Mixup
from ..mixup.meeting import fused_nll, nll_of_mean, sum_targets
from ..networks import MemberNetwork
from ..random import KeyedRandom, seeded
from .checkpoint import Checkpoint, fingerprint
from .data import Batch, BatchSource, TrainingData, marginal, target_scaler
from .options import TrainingOptions, TrainingResult
from .stopping import BestWeights

# Draws of a Gaussian embedding by which an epoch is judged.
_VALIDATION_DRAWS = 8


def train(
    network: MemberNetwork,
    family: ExponentialFamily,
    data: TrainingData,
    mixup: Mixup,
    options: TrainingOptions,
    keys: Tensor,
) -> tuple[TargetScaler, TrainingResult]:
    """Train M members as one.

    Member m depends on its key, its rows and the data only: it is, to rounding, what it would be alone.

    Parameters
    ----------
    network : MemberNetwork
        With M members, on the device of the data; initialised here and trained in place.
    family : ExponentialFamily
    data : TrainingData
        In the user's units.
    mixup : Mixup
    options : TrainingOptions
    keys : Tensor, (M,)
        From `probmix.random.member_keys`.

    Returns
    -------
    scaler : TargetScaler
        Takes natural parameters of the network back to the user's units; (M, 1[, d]).
    result : TrainingResult

    Raises
    ------
    RuntimeError
        If a member diverged before it learned anything.
    ValueError
        If features or targets are too large for float64, or the network was built for another kind of embedding.
    """
    random = KeyedRandom(keys)
    if (mixup.embedding == "point") != (network.density_place is None):
        raise ValueError(f"the network must be built for the embedding {mixup.embedding!r} of the mixup; it is not.")
    scaler, moments = target_scaler(family, data), data.feature_moments()
    _check_units(scaler, moments)
    network.initialize_(keys, *moments, marginal(family, data, scaler))
    batches = BatchSource(data, network, scaler, mixup, options.batch_size, random)
    state = network.state
    optimizer = _adamw(state, options)
    best = BestWeights(state, options.patience)
    noise = None
    if network.density_place is not None and mixup.draws:
        noise = network.draw_noise(keys, _VALIDATION_DRAWS)
    first_key = int(keys[0])
    validates = data.validation_rows.shape[1] > 0
    if validates:
        # the network starts near the marginal distribution, and nothing worse than that is ever kept
        best.update(0, _validation_nll(network, family, data, scaler, noise))
    curve: list[Tensor] = []

    checkpoint = None if options.checkpoint is None else _checkpoint(network, family, data, mixup, options, keys)
    if checkpoint is not None and (stored := checkpoint.load(data.x.device)) is not None:
        curve = _load_(stored, state, best, optimizer)

    epochs = tqdm(
        range(len(curve) + 1, options.max_epochs + 1),
        initial=len(curve),
        total=options.max_epochs,
        disable=not options.verbose,
        desc="training",
        unit="epoch",
    )
    for epoch in epochs:
        if validates and bool(best.stopped.all()):
            break
        network.train()
        # what a network of the user's draws itself, for dropout, depends on the epoch and so survives a restart
        with seeded(first_key + epoch, data.x.device):
            for batch in batches.epoch(epoch, random):
                optimizer.zero_grad()
                _loss(network, family, mixup, batch).backward()
                optimizer.step()
        nll = _validation_nll(network, family, data, scaler, noise)
        curve.append(nll)
        if validates:
            best.update(epoch, nll)
        if options.verbose and validates:
            running = int((~best.stopped).sum())
            epochs.set_postfix(validation_nll=f"{best.score.mean().item():.4f}", members=running, refresh=False)
        if checkpoint is not None:
            checkpoint.write(_state(state, best, optimizer, curve))

    _check_finite(state, best, curve)
    if validates:
        best.restore_()
    if checkpoint is not None:
        checkpoint.remove()
    best_epoch = best.epoch if validates else torch.full_like(best.epoch, options.max_epochs)
    return scaler, TrainingResult(torch.stack(curve).cpu().numpy(), best_epoch.cpu().numpy())


def _loss(network: MemberNetwork, family: ExponentialFamily, mixup: Mixup, batch: Batch) -> Tensor:
    """Sum over members of the mean loss of their rows; no gradient crosses from one member to another."""
    if isinstance(batch.target, Label):
        losses = sum_targets(family.expected_nll(network(batch.x), batch.target), 2)
    else:
        losses = fused_nll(network, family, mixup, batch.x, batch.target, batch.noise)
    return (losses if batch.row_weight is None else batch.row_weight * losses).mean(1).sum()


@torch.no_grad()
def _validation_nll(
    network: MemberNetwork, family: ExponentialFamily, data: TrainingData, scaler: TargetScaler, noise: Tensor | None
) -> Tensor:
    """Mean clean NLL of each member's validation rows in the user's units, (M,); empty without validation rows.

    With noise, (M, S, *feature_shape), that of the mixture over draws of a Gaussian embedding.
    """
    network.eval()
    members, n = data.validation_rows.shape
    if n == 0:
        return torch.empty(0, dtype=torch.float64, device=data.x.device)
    weights = data.weights(data.validation_rows)
    total = torch.zeros(members, dtype=torch.float64, device=data.x.device)
    step = network.rows_at_once(1 if noise is None else noise.shape[1])
    for start in range(0, n, step):
        rows = data.validation_rows[:, start : start + step]
        y = scaler.transform(data.y[rows])
        if noise is None:
            losses = sum_targets(family.expected_nll(network(data.x[rows]), family.point_label(y)), 2).double()
        else:
            eta, label = network.draws(data.x[rows], noise), family.point_label(y.unsqueeze(1))
            losses = nll_of_mean(sum_targets(family.expected_nll(eta, label), 3).double(), 1)
        total += (losses if weights is None else weights[:, start : start + step] * losses).sum(1)
    return total / n + scaler.scale.log().flatten(1).sum(1)


def _adamw(state: dict[str, Tensor], options: TrainingOptions) -> torch.optim.AdamW:
    """Biases, and the scales of normalising layers, do not decay."""
    trained = {name: tensor for name, tensor in state.items() if tensor.requires_grad}
    decaying = {name for name, tensor in trained.items() if tensor.ndim > 2 and not name.endswith("bias")}
    groups = [
        {
            "params": [tensor for name, tensor in trained.items() if name in decaying],
            "weight_decay": options.weight_decay,
        },
        {"params": [tensor for name, tensor in trained.items() if name not in decaying], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=options.learning_rate, fused=True)


def _check_finite(state: dict[str, Tensor], best: BestWeights, curve: list[Tensor]) -> None:
    """Raise if a member came to nothing: one that learned before it diverged has weights to go back to."""
    # a buffer may hold infinities by right, such as a mask
    trained = [tensor for tensor in state.values() if tensor.requires_grad]
    finite = torch.stack([tensor.isfinite().flatten(1).all(1) for tensor in trained]).all(0)
    if curve[0].numel():
        finite &= torch.stack(curve).isfinite().all(0)
    failed = ~finite & (best.epoch == 0)
    if bool(failed.any()):
        raise RuntimeError(
            f"training diverged: the loss of {int(failed.sum())} of {len(failed)} members ceased to be a finite number "
            "before it was lower than at the start. Lower `learning_rate`, or look for extreme values in X and y."
        )


def _check_units(scaler: TargetScaler, moments: tuple[Tensor, Tensor]) -> None:
    for name, tensors in (("X", moments), ("y", (scaler.loc, scaler.scale))):
        if not all(bool(tensor.isfinite().all()) for tensor in tensors):
            raise ValueError(f"{name} holds numbers whose sum overflows; divide by a power of ten.")


def _checkpoint(
    network: MemberNetwork,
    family: ExponentialFamily,
    data: TrainingData,
    mixup: Mixup,
    options: TrainingOptions,
    keys: Tensor,
) -> Checkpoint:
    assert options.checkpoint is not None  # the caller asked
    # where a run may go on is decided by what it computes, not by how long it may take or how it looks
    settings = replace(options, checkpoint=None, verbose=False)
    rows = (data.x, data.y, data.sample_weight, data.train_rows, data.validation_rows)
    # the network says what its tensors do not, such as the rate of a dropout
    run = fingerprint(repr((network, family, mixup, settings)), keys, *rows, *network.state.values())
    return Checkpoint(options.checkpoint, run)


def _state(
    state: dict[str, Tensor], best: BestWeights, optimizer: torch.optim.Optimizer, curve: list[Tensor]
) -> dict[str, Tensor]:
    stored = {f"network.{name}": tensor for name, tensor in state.items()}
    for name, tensor in state.items():
        if tensor.requires_grad:
            stored |= {f"optimizer.{name}.{key}": value for key, value in optimizer.state[tensor].items()}
    return stored | {f"best.{name}": value for name, value in best.state().items()} | {"curve": torch.stack(curve)}


@torch.no_grad()
def _load_(
    stored: dict[str, Tensor], state: dict[str, Tensor], best: BestWeights, optimizer: torch.optim.Optimizer
) -> list[Tensor]:
    """Take over what `_state` returned; gives the validation curve so far."""
    for name, tensor in state.items():
        tensor.copy_(stored[f"network.{name}"])
        if tensor.requires_grad:
            prefix = f"optimizer.{name}."
            optimizer.state[tensor] = {
                key.removeprefix(prefix): value for key, value in stored.items() if key.startswith(prefix)
            }
    best.load_({key.removeprefix("best."): value for key, value in stored.items() if key.startswith("best.")})
    return list(stored["curve"].unbind(0))
