"""Devices that stand for a GPU: torch's CPU tensors everywhere, the GPU itself where there is one."""

import pytest
import torch

GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=GPU)])
def device(request):
    """What `integrate` takes: for the GPU its public name."""
    return torch.device("cpu") if request.param == "cpu" else "cuda"
