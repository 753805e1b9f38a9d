"""What the tests of every rival ask: its size, its cost, batches, a training step."""

from collections.abc import Callable

import torch
from helpers import assert_close, picture
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


def on_meta(build: Callable[..., nn.Module], **arguments) -> nn.Module:
    """A network whose weights take no memory."""
    with torch.device('meta'):
        return build(**arguments)


def parameters(net: nn.Module, *, frozen: bool = True) -> int:
    """How many parameters a network has, with or without those that are not trained."""
    return sum(p.numel() for p in net.parameters() if frozen or p.requires_grad)


def multiply_adds(net: nn.Module, height: int, width: int) -> float:
    """Multiply-adds of matrix products and convolutions for one image of height x width; the network is on meta."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        net.eval()(torch.empty(1, 3, height, width, device='meta'))
    return counter.get_total_flops() / 2


def check_batch(net: nn.Module, height: int, width: int, tolerance: float = 1e-6) -> Tensor:
    """Two images together give what each gives alone; returns the result."""
    images = picture(height, width, batch=2)
    with torch.no_grad():
        together = net.eval()(images)
        assert_close(together, torch.cat([net(image[None]) for image in images]), tolerance)
    return together


def check_training_step(net: nn.Module, scale: int, height: int, width: int, rate: float = 1e-3) -> None:
    """Every weight gets a finite gradient that is not all zero, and a step against it lowers the loss."""
    image, target = picture(height, width, batch=2), picture(scale * height, scale * width, batch=2)
    before = (net.train()(image) - target).square().mean()
    before.backward()
    weights = {name: p for name, p in net.named_parameters() if p.requires_grad}
    without = [name for name, p in weights.items() if p.grad is None or not p.grad.isfinite().all() or not p.grad.any()]
    assert not without, without
    torch.optim.SGD(weights.values(), rate).step()
    assert (net(image) - target).square().mean() < before


def check_gradients(net: nn.Module, height: int, width: int) -> None:
    """The gradients of an image and of all weights, as one vector, are those of differences, in float64."""
    net = net.double()
    weights = {name: p for name, p in net.named_parameters() if p.requires_grad}
    sizes = [p.numel() for p in weights.values()]

    def run(image: Tensor, vector: Tensor) -> Tensor:
        parts = zip(weights.items(), vector.split(sizes), strict=True)
        return torch.func.functional_call(net, {name: part.view_as(p) for (name, p), part in parts}, image)

    vector = torch.cat([p.detach().flatten() for p in weights.values()]).requires_grad_()
    image = picture(height, width).double().requires_grad_()
    assert torch.autograd.gradcheck(run, (image, vector), fast_mode=True)
