"""How far densities of one family are from each other."""

import torch
from torch import Tensor

from .family import Family


def divergence(family: Family, teacher: Tensor, student: Tensor) -> Tensor:
    r"""The Kullback-Leibler divergence of a student's density from its teacher's, with a gradient in the student only.

    .. math:: \mathrm{KL}(p_t \,\|\, p_s) = A(\eta_s) - A(\eta_t) - \langle\nabla A(\eta_t), \eta_s - \eta_t\rangle

    for exponential families: the Bregman divergence of the log-normaliser. Of other families the expectation under the
    teacher is a sum over some points with weights; see `Family.density_label`.

    Parameters
    ----------
    family : Family
    teacher, student : Tensor, (\*B, K)
        Parameters.

    Returns
    -------
    Tensor, (\*B,), in the dtype of `student`
        Zero where both are equal; non-negative, by a rule up to its error.

    References
    ----------
    Banerjee et al. (2005), Clustering with Bregman Divergences, JMLR 6.

    Examples
    --------
    >>> import torch
    >>> from probmix import families
    >>> gaussian = families.get("gaussian")
    >>> one, other = (torch.distributions.Normal(torch.tensor(mean), torch.tensor(1.0)) for mean in (0.0, 2.0))
    >>> families.divergence(gaussian, gaussian.natural_params(one), gaussian.natural_params(other))
    tensor(2.)
    """
    teacher = teacher.detach().double()
    alone = torch.ones(*teacher.shape[:-1], 1, dtype=torch.float64, device=teacher.device)
    label = family.density_label(teacher.unsqueeze(-2), alone)
    found = family.expected_nll(student.double(), label) - family.expected_nll(teacher, label)
    return found.to(student.dtype)
