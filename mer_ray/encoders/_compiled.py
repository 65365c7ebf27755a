"""torch.compile for the blocks of a network: one compilation serves all blocks, for each padded length one or two."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

# Padded lengths that a network is compiled for, and what dynamo may hold: each length with one row and with several.
MAX_LENGTHS = 10
MAX_COMPILATIONS = 3 * MAX_LENGTHS


def compile_blocks(model: nn.Module) -> None:
    """Compile the forward pass of the network's repeated blocks where they stand; hooks on them stay outside.

    The number of rows may vary from call to call; every other size is compiled as it comes.
    """
    # Not in the type stubs of torch 2.14.
    torch_compile: Any = torch.compile
    for block in find_blocks(model):
        block.forward = _with_any_number_of_rows(torch_compile(block.forward, recompile_limit=MAX_COMPILATIONS))


def find_blocks(model: nn.Module) -> nn.ModuleList:
    """The list of modules that holds the most parameters: the transformer's blocks."""
    lists = [module for module in model.modules() if isinstance(module, nn.ModuleList)]
    return max(lists, key=lambda blocks: sum(parameter.numel() for parameter in blocks.parameters()))


def _with_any_number_of_rows(forward: Callable[..., Any]) -> Callable[..., Any]:
    def marked(*arguments: Any, **named: Any) -> Any:
        for value in (*arguments, *named.values()):
            if isinstance(value, torch.Tensor):
                _mark(value)
        return forward(*arguments, **named)

    return marked


def _mark(value: torch.Tensor) -> None:
    # A single row is a compilation of its own in any case, and marking it as variable would be refused.
    if value.shape[0] > 1:
        torch._dynamo.maybe_mark_dynamic(value, 0)
    for dimension in range(1, value.dim()):
        torch._dynamo.mark_static(value, dimension)
