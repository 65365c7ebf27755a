"""What every member of a family promises, as checks by name: those of the package and those of users pass the same ones."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from mer_ray.core.errors import ContractError

Subject = TypeVar("Subject")


@dataclass(frozen=True)
class Check(Generic[Subject]):
    """One promise. `run` raises `ContractError` where it is broken, and gives the reason where it does not apply to the subject."""

    name: str
    run: Callable[[Subject], str | None]


def require(is_kept: bool, reason: str) -> None:
    """Hold a promise.

    Raises:
        ContractError: it is broken.

    """
    if not is_kept:
        raise ContractError(reason)
