"""Which modules a compression works on: names as in `named_modules()`, NNCF's scopes, or `{re}` and an expression.

| scope | covers |
|---|---|
| `layer1` | the module of this name and everything inside it |
| `ResNet/Sequential[layer1]/NNCFConv2d[conv1]` | the same as NNCF spells it, up to the last bracket |
| `{re}conv[12]$` | every module in whose name, in either spelling, the expression is found |
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from torch import nn

from offramp.errors import CompressionError, closest

EXPRESSION = "{re}"


def selected(
    model: nn.Module, kinds: tuple[type[nn.Module], ...], ignored: Sequence[str] = (), target: Sequence[str] = ()
) -> dict[str, nn.Module]:
    """The modules of some kinds that are inside a target (all, where there is none) and not inside an ignored scope.

    Args:
        model: whose modules.
        kinds: classes of modules.
        ignored: scopes left out.
        target: scopes taken; empty for all.

    Raises:
        CompressionError: a scope covers no module at all; the message names the closest.

    Example:
        >>> list(selected(nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)), (nn.Linear,), ignored=["2"]))
        ['0']
    """
    left_out = covered(model, ignored)
    wanted = covered(model, target) if target else {name for name, _ in model.named_modules()}
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, kinds) and name in wanted and name not in left_out
    }


def covered(model: nn.Module, scopes: Sequence[str]) -> set[str]:
    """Names of all modules that are inside one of the scopes.

    Raises:
        CompressionError: a scope covers nothing.
    """
    spelled = dict(_spelled(model))
    names: set[str] = set()
    for scope in scopes:
        hit = {name for name, spelling in spelled.items() if _covers(scope, name, spelling)}
        if not hit:
            raise CompressionError(
                f"The scope {scope!r} covers no module of this {type(model).__name__}. {closest(scope, spelled)} "
                "List them with model.named_modules(); expressions start with '{re}'."
            )
        names |= hit
    return names


def _spelled(model: nn.Module) -> Iterator[tuple[str, str]]:
    """Every module's name, and its scope as NNCF spells it."""
    # Layers that an algorithm has transformed already are what they were to the user.
    classes = {name: type(module).__name__.removeprefix("Transformed") for name, module in model.named_modules()}
    for name in classes:
        parts = name.split(".") if name else []
        path = [".".join(parts[: k + 1]) for k in range(len(parts))]
        yield name, "/".join([classes[""], *(f"{classes[p]}[{q}]" for p, q in zip(path, parts, strict=True))])


def _covers(scope: str, name: str, spelling: str) -> bool:
    if scope.startswith(EXPRESSION):
        pattern = scope.removeprefix(EXPRESSION)
        # NNCF puts its own classes in the place of torch's, and users wrote their expressions for those.
        wrapped = re.sub(r"/(\w+)(?=\[[^\]]*\]$)", r"/NNCF\1", spelling)
        return any(re.search(pattern, text) for text in (name, spelling, wrapped))
    plain = ".".join(re.findall(r"\[([^\]]+)\]", scope)) if "/" in scope or "[" in scope else scope
    return name == plain or name.startswith(f"{plain}.")
