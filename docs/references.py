"""Links to public names that are written in another way than the one the API shows."""

from docutils.nodes import Element, TextElement
from public_names import pages_by_short_name, shown_names
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment


def resolve(app: Sphinx, env: BuildEnvironment, node: pending_xref, text: TextElement) -> Element | None:
    """What Sphinx asks for when it finds no target itself."""
    if node.get("refdomain") != "py":
        return None
    shown = _shown_as(node["reftarget"])
    if shown is None or shown == node["reftarget"]:
        return None
    again = node.copy()
    again["reftarget"] = shown
    return env.domains["py"].resolve_xref(env, node["refdoc"], app.builder, again["reftype"], shown, again, text)


def _shown_as(target: str) -> str | None:
    """The shown name of a target such as `probmix.mixup.Mixup`, `Mixup` or `Mixup.weights`."""
    shown, short = shown_names(), pages_by_short_name()
    owner, _, member = target.rpartition(".")
    for candidate, rest in ((target, ""), (owner, f".{member}")):
        found = shown.get(candidate) or short.get(candidate)
        if found:
            return found + rest
    return None
