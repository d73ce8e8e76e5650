# numba carries no types. A compiled function keeps the signature of the Python one, which is what a reader checks.
from collections.abc import Callable
from typing import Any, TypeVar, overload

_F = TypeVar("_F", bound=Callable[..., Any])

@overload
def njit(function: _F, /) -> _F: ...
@overload
def njit(*signature: Any, **options: Any) -> Callable[[_F], _F]: ...
def __getattr__(name: str) -> Any: ...
