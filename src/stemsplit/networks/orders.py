"""The order of speakers, which a network that is trained without one gives in any order."""

from __future__ import annotations

from itertools import permutations

import torch
from torch import Tensor

FLOOR = 1e-6
"""Errors below this, relative to the energy of all references, count as none where orders are compared."""


def in_best_order(estimate: Tensor, reference: Tensor) -> Tensor:
    """Return estimated speakers (B, K, …) in the order that fits the references best, for each example.

    That is the order in which the errors have the least product: the SNRs in dB have the highest sum (permutation-
    invariant training, Yu et al. 2017). The order itself has no gradient.
    """
    speakers = estimate.shape[1]
    orders = torch.tensor(list(permutations(range(speakers))), device=estimate.device)  # (K!, K)
    with torch.no_grad():
        known, found = reference.flatten(2), estimate.flatten(2)
        floor = FLOOR * known.square().sum((1, 2)).clamp_min(torch.finfo(known.dtype).tiny)
        errors = torch.stack([(found - known[:, k : k + 1]).square().sum(-1) for k in range(speakers)], 1)
        costs = (errors + floor[:, None, None]).log()  # (B, reference, estimate)
        totals = torch.stack([costs[:, range(speakers), order].sum(-1) for order in orders.tolist()], 1)
        best = orders[totals.argmin(1)]  # (B, K)
    return torch.stack([one[order] for one, order in zip(estimate, best, strict=True)])
