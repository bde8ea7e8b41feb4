"""What members say of the rows of the fit that they were not trained by."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyro.distributions as dist
import torch
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from ..training import Rows
from .checks import check_device
from .parts import Parts
from .predictions import Predictions


@dataclass(frozen=True)
class OutOfFold:
    """Out-of-fold densities of the rows of a fit.

    Attributes
    ----------
    eta : Tensor, (C, S, n, [d,] K), float64
        Natural parameters of different rows, by each of the C members that they judge, at S draws.
    place : ndarray of int, (N,)
        Which of them each row of the user is, -1 for those of weight zero.
    log_prob : ndarray, (N,)
    """

    eta: Tensor
    place: NDArray[np.intp]
    log_prob: NDArray[np.float64]

    @classmethod
    def of_rows(cls, eta: Tensor, log_prob: Tensor, place: NDArray[np.intp]) -> Self:
        """With the log-densities of the different rows, (n,), in the places of the user's."""
        return cls(eta, place, np.where(place < 0, np.nan, log_prob.numpy()[place]))

    def params(self, device: torch.device) -> Tensor:
        """Natural parameters of the user's rows on a device, (C, S, N, [d,] K); there are none of weight zero."""
        return self.eta[:, :, torch.from_numpy(self.place)].to(device)

    def tensors(self, prefix: str) -> dict[str, Tensor]:
        """What there is to store of it, under names that begin so."""
        place, log_prob = torch.from_numpy(self.place), torch.from_numpy(self.log_prob)
        return {f"{prefix}eta": self.eta, f"{prefix}place": place, f"{prefix}log_prob": log_prob}

    @classmethod
    def of_tensors(cls, stored: Mapping[str, Tensor]) -> Self:
        """Of what was stored, by name without the prefix."""
        return cls(stored["eta"], stored["place"].numpy(), stored["log_prob"].numpy())


class OutOfFoldPredictions(Predictions):
    """Out-of-fold densities, for an estimator whose members are judged by parts of their own."""

    out_of_fold_: OutOfFold
    out_of_fold_gap_: str

    @property
    def oof_log_prob_(self) -> NDArray[np.float64]:
        """Log-density of every row of the fit, in its order, by the member that was not trained by it, (n,)."""
        check_is_fitted(self)
        if not hasattr(self, "out_of_fold_"):
            raise AttributeError(self._why_not())
        return self.out_of_fold_.log_prob

    def oof_dist(self) -> dist.TorchDistribution:
        """The distribution of every row of the fit, in its order, by the member that was not trained by it.

        Returns
        -------
        Pyro distribution, float64, batch shape (n,)
            In the user's units, for the row's own exposure, as `predict_dist` gives it for new rows. Where several
            members are judged by a row, their pool.

        Raises
        ------
        ValueError
            If there are none: `validation` was neither "folds" nor splits that each row judges equally often, or a row
            has weight zero.

        Notes
        -----
        Each is of a single member, while `predict_dist` pools all. The row has helped to choose the epoch of its
        member, which makes its score a little too good.

        Examples
        --------
        >>> import numpy as np
        >>> from probmix import DensityRegressor
        >>> X = np.linspace(-1, 1, 100)[:, None]
        >>> model = DensityRegressor(validation="folds", n_members=5, max_epochs=5, random_state=0).fit(X, X[:, 0])
        >>> model.oof_dist().mean.shape, model.oof_log_prob_.shape
        (torch.Size([100]), (100,))
        """
        check_is_fitted(self)
        if not hasattr(self, "out_of_fold_"):
            raise ValueError(self._why_not())
        place = self.out_of_fold_.place
        if (place < 0).any():
            raise ValueError(
                f"rows of weight zero have no out-of-fold density; the first is row {(place < 0).argmax()}. Use "
                "`oof_log_prob_`, where they are NaN, or fit without them."
            )
        return self._pooled(self.out_of_fold_.params(check_device(self.device)))

    def _why_not(self) -> str:
        if hasattr(self, "out_of_fold_gap_"):
            return self.out_of_fold_gap_
        return (
            "out-of-fold densities need members that are judged by parts of their own: fit with validation='folds' and "
            "at least 2 `n_members`, or with a splitter."
        )

    def _judge_out_of_fold(self, parts: Parts) -> None:
        """Set `out_of_fold_`, or why there are none."""
        rows, n = parts.rows, len(parts.rows)
        times = np.bincount(np.concatenate(parts.validation), minlength=n)
        if times.min() != times.max() or times.min() == 0:
            self.out_of_fold_gap_ = _gap(parts.place, times)
            return
        # each row by as many members as the others
        ((_, eta),) = self._judged(rows, parts.validation)
        self.out_of_fold_ = OutOfFold.of_rows(eta, self._pooled(eta).log_prob(rows.y), parts.place)

    def _judged(self, rows: Rows, validation: list[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """What is said of rows by the members that they judge; those together that judge equally many, C.

        Parameters
        ----------
        rows : Rows
            In the user's units.
        validation : list of Tensor
            Numbers of the rows that judge each member.

        Yields
        ------
        numbers : Tensor, (n,)
            Of the rows, in order.
        eta : Tensor, (C, S, n, [d,] K), float64
        """
        pieces: list[Tensor] = []
        for member, own in enumerate(validation):
            if len(own):
                exposure = None if rows.log_exposure is None else rows.log_exposure[own]
                pieces.append(self._params_of(rows.x[own], exposure, torch.tensor([member])).squeeze(0).cpu())
        if not pieces:
            return
        # rows one after the other, each by all its members
        numbers, order = torch.cat(validation).sort(stable=True)
        eta = torch.cat(pieces, 1)[:, order]
        times = numbers.bincount()[numbers]
        for judges in times.unique().tolist():
            own = times == judges
            yield numbers[own][::judges], eta[:, own].unflatten(1, (-1, judges)).movedim(2, 0)


def _gap(place: NDArray[np.intp], times: NDArray[np.intp]) -> str:
    """Why there are no out-of-fold densities."""
    if times.min() > 0:
        few, many = ((times[place] == count).argmax() for count in (times.min(), times.max()))
        return (
            "out-of-fold densities need rows that judge equally many members; "
            f"row {few} judges {times.min()}, row {many} {times.max()}. Take as many `n_members` as there are splits."
        )
    rows = np.flatnonzero((place >= 0) & (times[place] == 0))
    shown = ", ".join(map(str, rows[:10])) + (", ..." if len(rows) > 10 else "")
    return (
        f"{len(rows)} row(s) judge no member and have no out-of-fold density: {shown}. Take a splitter whose "
        "validation parts cover all rows, and as many `n_members` as it has splits."
    )
