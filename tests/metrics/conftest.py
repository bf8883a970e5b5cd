"""Quantus, for the tests that compare with it."""

import warnings

import numpy as np
import pytest
import torch


@pytest.fixture
def quantus(monkeypatch):
    """Quantus on float64: it makes tensors of the default dtype, and needs NumPy's old trapz."""
    monkeypatch.setattr(np, "trapz", np.trapezoid, raising=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import quantus as package

        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.double)
        yield package
        torch.set_default_dtype(before)
