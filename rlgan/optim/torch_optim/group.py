"""Parameter groups as torch's schedulers change them, and what a saved state has to have to be a group's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor


class Group(dict[str, Any]):
    """A parameter group, or the defaults of one.

    By the names ``betas`` and ``momentum`` torch's schedulers (OneCycleLR, CyclicLR) change a momentum. Where there are
    beta1 and beta2, or rho, these are other names for them; nothing is stored under them.
    """

    OTHER: ClassVar[dict[str, tuple[str, ...]]] = {"betas": ("beta1", "beta2"), "momentum": ("rho",)}

    def _names(self, key: object) -> tuple[str, ...]:
        names = self.OTHER.get(key, ()) if isinstance(key, str) else ()
        return names if all(dict.__contains__(self, name) for name in names) else ()

    def __contains__(self, key: object) -> bool:
        return bool(self._names(key)) or super().__contains__(key)

    def __getitem__(self, key: str) -> Any:
        names = self._names(key)
        if not names:
            return super().__getitem__(key)
        return self[names[0]] if len(names) == 1 else tuple(self[name] for name in names)

    def get(self, key: str, default: Any = None) -> Any:
        """`self[key]`, also by the other names."""
        try:
            return self[key]
        except KeyError:
            return default

    def __setitem__(self, key: str, value: Any) -> None:
        names = self._names(key)
        if not names:
            super().__setitem__(key, value)
            return
        values = (value,) if len(names) == 1 else value
        if not hasattr(values, "__len__") or len(values) != len(names):
            raise ValueError(f"{key} = {value}: the {len(names)} numbers {', '.join(names)}, for example (0.9, 0.999)")
        for name, own in zip(names, values, strict=True):
            super().__setitem__(name, own)

    def update(self, *given: Any, **more: Any) -> None:
        """As a dictionary's, also by the other names."""
        for key, value in dict(*given, **more).items():
            self[key] = value

    def __ior__(self, given: Any) -> Self:  # type: ignore[override,misc]
        self.update(given)
        return self

    def setdefault(self, key: str, default: Any = None) -> Any:
        """`self[key]`, set to `default` if it is not there."""
        if key not in self:
            self[key] = default
        return self[key]


def check_saved(
    saved: dict[str, Any],
    mine: str,
    groups: Sequence[dict[str, Any]],
    options: Sequence[str],
    slots: Callable[[dict[str, Any], int], dict[str, torch.Size]],
) -> None:
    """Refuse a state dict that another optimizer has saved, or one of other parameters.

    Args:
        saved: the state dict.
        mine: the name of the optimizer's method.
        groups: its parameter groups.
        options: the names that a group has.
        slots: the shapes of the slots of a group of so many numbers.

    Raises:
        ValueError: as ``state_dict = what it is: what is needed; remedy``.
    """
    if not isinstance(saved, dict) or not {"state", "param_groups"} <= saved.keys():
        raise ValueError(f"state_dict = {type(saved).__name__}: no optimizer's, which has state and param_groups")
    theirs = saved.get("method", mine)
    if mine != theirs:
        raise ValueError(f"state_dict = of {theirs}: this is {mine}; load it into the class that saved it")
    if len(saved["param_groups"]) != len(groups):
        raise ValueError(
            f"state_dict = of {len(saved['param_groups'])} parameter groups: this optimizer has {len(groups)}; "
            "make it with the groups of the one that was saved"
        )
    for i, (group, given) in enumerate(zip(groups, saved["param_groups"], strict=True)):
        # `foreach` is in the groups of torch's own classes: some of them have all that is needed here, and more.
        if "foreach" in given or any(name not in given for name in options):
            known = ", ".join(name for name in given if name != "params")
            raise ValueError(
                f"state_dict = of another optimizer, whose groups have {known}: {mine} has {', '.join(options)}; "
                f"start {mine} anew, or load it into the class that saved it"
            )
        if len(given["params"]) != len(group["params"]):
            raise ValueError(
                f"state_dict = of {len(given['params'])} parameters in group {i}: this optimizer has "
                f"{len(group['params'])} there; load a state saved with the same parameters"
            )
        entries = [saved["state"].get(key, {}) for key in given["params"]]
        if any(entries):
            d = sum(p.numel() * (2 if p.is_complex() else 1) for p in group["params"])
            # `stores` is the saved one's: it is loaded with the options.
            _check_slots(group["params"], entries, slots({**group, **given}, d), mine)


def _check_slots(
    params: Sequence[Tensor], entries: Sequence[dict[str, Any]], shapes: dict[str, torch.Size], mine: str
) -> None:
    own = {name for name, shape in shapes.items() if len(shape) == 1}
    for i, (p, entry) in enumerate(zip(params, entries, strict=True)):
        # A number or matrix of the group is with its first parameter, which may have taken no step itself.
        whole = shapes.keys() - own if i == 0 else set()
        expected = {*whole, *own, "step"}
        if entry and entry.keys() not in (expected, whole):
            raise ValueError(
                f"state_dict = with {', '.join(sorted(entry))} of parameter {i}: {mine} keeps "
                f"{', '.join(sorted(expected))}; load a state that this class has saved"
            )
        for name in entry.keys() - {"step"}:
            same_shape(name, entry[name], p.shape if name in own else shapes[name])
            if name in own and entry[name].is_complex() != p.is_complex():
                raise ValueError(f"state.{name} = of {entry[name].dtype}: this parameter is of {p.dtype}")


def same_shape(name: str, saved: Any, shape: torch.Size) -> None:
    """Refuse a state that is of another shape than a parameter.

    Raises:
        ValueError: as ``state.name = ...``.
    """
    if not isinstance(saved, Tensor) or saved.shape != shape:
        what = f"of shape {tuple(saved.shape)}" if isinstance(saved, Tensor) else saved
        raise ValueError(
            f"state.{name} = {what}: this parameter needs {tuple(shape)}; "
            "load a state saved with the same parameters in the same order"
        )
