"""The training loop: one step for all members, early stopping for each."""

from dataclasses import replace

import torch
from torch import Tensor
from tqdm.auto import tqdm

from ..families import ExponentialFamily, Label, TargetScaler
from ..fusion import find_layer
from ..mixup import Mixup
from ..mixup.loss import fused_nll, sum_targets
from ..networks import DensityNetwork
from ..random import KeyedRandom
from .checkpoint import Checkpoint, fingerprint
from .data import Batch, BatchSource, TrainingData, marginal, target_scaler
from .options import TrainingOptions, TrainingResult
from .stopping import BestWeights

# Rows per forward pass outside training: bounds the activations without slowing the products down.
_ROWS_AT_ONCE = 1 << 16


def train(
    network: DensityNetwork,
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
    network : DensityNetwork
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
        If features or targets are too large for float64.
    """
    random = KeyedRandom(keys)
    for place in mixup.places:
        find_layer(network, place)
    scaler, moments = target_scaler(family, data), data.feature_moments()
    _check_units(scaler, moments)
    network.initialize_(random.stream(0), *moments, marginal(family, data, scaler))
    batches = BatchSource(data, network, scaler, mixup, options.batch_size)
    optimizer = _adamw(network, options)
    parameters: dict[str, Tensor] = dict(network.named_parameters())
    best = BestWeights(parameters, options.patience)
    validates = data.validation_rows.shape[1] > 0
    if validates:
        # the network starts near the marginal distribution, and nothing worse than that is ever kept
        best.update(0, _validation_nll(network, family, data, scaler))
    curve: list[Tensor] = []

    checkpoint = None if options.checkpoint is None else _checkpoint(family, data, mixup, options, keys, parameters)
    if checkpoint is not None and (state := checkpoint.load(data.x.device)) is not None:
        curve = _load_(state, parameters, best, optimizer)

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
        for batch in batches.epoch(epoch, random):
            optimizer.zero_grad()
            _loss(network, family, mixup, batch).backward()
            optimizer.step()
        nll = _validation_nll(network, family, data, scaler)
        curve.append(nll)
        if validates:
            best.update(epoch, nll)
        if options.verbose and validates:
            running = int((~best.stopped).sum())
            epochs.set_postfix(validation_nll=f"{best.score.mean().item():.4f}", members=running, refresh=False)
        if checkpoint is not None:
            checkpoint.write(_state(parameters, best, optimizer, curve))

    _check_finite(parameters, best, curve)
    if validates:
        best.restore_()
    if checkpoint is not None:
        checkpoint.remove()
    best_epoch = best.epoch if validates else torch.full_like(best.epoch, options.max_epochs)
    return scaler, TrainingResult(torch.stack(curve).cpu().numpy(), best_epoch.cpu().numpy())


def _loss(network: DensityNetwork, family: ExponentialFamily, mixup: Mixup, batch: Batch) -> Tensor:
    """Sum over members of the mean loss of their rows; no gradient crosses from one member to another."""
    if isinstance(batch.target, Label):
        losses = sum_targets(family.expected_nll(network(batch.x), batch.target), 2)
    else:
        losses = fused_nll(network, family, mixup, batch.x, batch.target)
    return (losses if batch.row_weight is None else batch.row_weight * losses).mean(1).sum()


@torch.no_grad()
def _validation_nll(
    network: DensityNetwork, family: ExponentialFamily, data: TrainingData, scaler: TargetScaler
) -> Tensor:
    """Mean clean NLL of each member's validation rows in the user's units, (M,); empty without validation rows."""
    members, n = data.validation_rows.shape
    if n == 0:
        return torch.empty(0, dtype=torch.float64, device=data.x.device)
    weights = data.weights(data.validation_rows)
    total = torch.zeros(members, dtype=torch.float64, device=data.x.device)
    step = max(1, _ROWS_AT_ONCE // members)
    for start in range(0, n, step):
        rows = data.validation_rows[:, start : start + step]
        label = family.point_label(scaler.transform(data.y[rows]))
        losses = sum_targets(family.expected_nll(network(data.x[rows]), label), 2).double()
        total += (losses if weights is None else weights[:, start : start + step] * losses).sum(1)
    return total / n + scaler.scale.log().flatten(1).sum(1)


def _adamw(network: DensityNetwork, options: TrainingOptions) -> torch.optim.AdamW:
    named = list(network.named_parameters())
    biases = [parameter for name, parameter in named if name.endswith("bias")]
    weights = [parameter for name, parameter in named if not name.endswith("bias")]
    groups = [{"params": weights, "weight_decay": options.weight_decay}, {"params": biases, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=options.learning_rate, fused=True)


def _check_finite(parameters: dict[str, Tensor], best: BestWeights, curve: list[Tensor]) -> None:
    """Raise if a member came to nothing: one that learned before it diverged has weights to go back to."""
    finite = torch.stack([parameter.isfinite().flatten(1).all(1) for parameter in parameters.values()]).all(0)
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
    family: ExponentialFamily,
    data: TrainingData,
    mixup: Mixup,
    options: TrainingOptions,
    keys: Tensor,
    parameters: dict[str, Tensor],
) -> Checkpoint:
    assert options.checkpoint is not None  # the caller asked
    # where a run may go on is decided by what it computes, not by how long it may take or how it looks
    settings = replace(options, checkpoint=None, verbose=False)
    shapes = {name: tuple(parameter.shape) for name, parameter in parameters.items()}
    rows = (data.x, data.y, data.sample_weight, data.train_rows, data.validation_rows)
    return Checkpoint(options.checkpoint, fingerprint(repr((family, mixup, settings, shapes)), keys, *rows))


def _state(
    parameters: dict[str, Tensor], best: BestWeights, optimizer: torch.optim.Optimizer, curve: list[Tensor]
) -> dict[str, Tensor]:
    state = {f"parameter.{name}": parameter for name, parameter in parameters.items()}
    for name, parameter in parameters.items():
        state |= {f"optimizer.{name}.{key}": value for key, value in optimizer.state[parameter].items()}
    return state | {f"best.{name}": value for name, value in best.state().items()} | {"curve": torch.stack(curve)}


@torch.no_grad()
def _load_(
    state: dict[str, Tensor], parameters: dict[str, Tensor], best: BestWeights, optimizer: torch.optim.Optimizer
) -> list[Tensor]:
    """Take over what `_state` returned; gives the validation curve so far."""
    for name, parameter in parameters.items():
        parameter.copy_(state[f"parameter.{name}"])
        prefix = f"optimizer.{name}."
        optimizer.state[parameter] = {
            key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)
        }
    best.load_({key.removeprefix("best."): value for key, value in state.items() if key.startswith("best.")})
    return list(state["curve"].unbind(0))
