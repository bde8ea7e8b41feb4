"""The public names of the library, and where the pages of the API show them."""

import importlib
import inspect
import pkgutil
from typing import Any

import probmix

# public modules that are no packages and have no `__all__`: what they define without an underscore is public
PLAIN_MODULES = ("probmix.stacking",)


def public_names() -> dict[str, Any]:
    """Every public object by each of its qualified names: what the packages list in `__all__`, modules left out."""
    names: dict[str, Any] = {}
    for module in map(importlib.import_module, _modules()):
        listed = getattr(module, "__all__", None) or _defined_in(module)
        found = {f"{module.__name__}.{name}": getattr(module, name) for name in listed}
        names |= {name: value for name, value in found.items() if not inspect.ismodule(value)}
    return names


def shown_names() -> dict[str, str]:
    """For each of these names the one that the API has a page for: the shortest of those that mean the same object."""
    by_object: dict[int, list[str]] = {}
    names = public_names()
    for name, value in names.items():
        by_object.setdefault(id(value), []).append(name)
    return {name: min(by_object[id(value)], key=lambda name: (name.count("."), name)) for name, value in names.items()}


def pages_by_short_name() -> dict[str, str]:
    """`Mixup` to `probmix.Mixup`, for all names without a module that mean one thing only."""
    by_short_name: dict[str, set[str]] = {}
    for shown in shown_names().values():
        by_short_name.setdefault(shown.rpartition(".")[2], set()).add(shown)
    return {short: next(iter(shown)) for short, shown in by_short_name.items() if len(shown) == 1}


def own_members(name: str) -> dict[str, list[str]]:
    """The methods and properties of a class that this library documents, in the order in which it defines them."""
    cls = _get(name)
    members: dict[str, list[str]] = {"methods": [], "properties": []}
    for owner in inspect.getmro(cls):
        for member in vars(owner) if _is_own(owner) else ():
            found = next(vars(base)[member] for base in inspect.getmro(cls) if member in vars(base))
            kind = "properties" if isinstance(found, property) else "methods" if _is_method(found) else None
            if kind and not member.startswith("_") and member not in members[kind] and _has_own_text(cls, member):
                members[kind].append(member)
    return members


def members_by_class() -> dict[str, dict[str, list[str]]]:
    """The same for every class that has a page."""
    return {shown: own_members(shown) for shown in sorted(set(shown_names().values())) if inspect.isclass(_get(shown))}


def _has_own_text(cls: type, member: str) -> bool:
    """Whether the nearest docstring of a member is ours: of those of torch and scikit-learn their own pages tell."""
    bases = [base for base in inspect.getmro(cls) if getattr(vars(base).get(member), "__doc__", None)]
    return bool(bases) and _is_own(bases[0])


def _is_own(cls: type) -> bool:
    return cls.__module__.split(".")[0] == "probmix"


def _is_method(value: Any) -> bool:
    return inspect.isfunction(value) or isinstance(value, classmethod | staticmethod)


def _modules() -> list[str]:
    found = pkgutil.walk_packages(probmix.__path__, "probmix.")
    packages = [module.name for module in found if module.ispkg and "._" not in module.name]
    public = [name for name in packages if getattr(importlib.import_module(name), "__all__", None)]
    return ["probmix", *public, *PLAIN_MODULES]


def _defined_in(module: Any) -> list[str]:
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and callable(value) and getattr(value, "__module__", None) == module.__name__
    ]


def _get(name: str) -> Any:
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)
