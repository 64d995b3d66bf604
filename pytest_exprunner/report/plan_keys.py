"""Render the keys of a plan, from its JSON Schema, as Markdown tables."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pytest_exprunner.report.markdown import escape

_TYPES = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "array": "list",
    "object": "mapping",
}
_HEAD = "| key | type | default | meaning |\n| --- | --- | --- | --- |"


def tables(schema: Mapping[str, Any]) -> str:
    """Return a table for each mapping of a plan, outermost first."""
    return "\n".join(_section(title, model) for title, model in _models(schema, schema, ""))


def _models(schema: Mapping[str, Any], model: Mapping[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    """Yield every mapping with keys, and its path: ``experiments.ID.success_criteria.NAME``."""
    yield path, {**model, "$defs": schema["$defs"]}
    for name, found in model["properties"].items():
        for suffix, inner in _inside(found):
            start = f"{path}." if path else ""
            yield from _models(schema, schema["$defs"][inner], f"{start}{name}{suffix}")


def _inside(found: Mapping[str, Any], suffix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the models in a key's value, each with the path to it."""
    if "$ref" in found:
        yield suffix, found["$ref"].rpartition("/")[2]
    for form in found.get("anyOf", ()):
        yield from _inside(form, suffix)
    if isinstance(found.get("additionalProperties"), Mapping):
        yield from _inside(found["additionalProperties"], f"{suffix}.ID")
    if "items" in found:
        yield from _inside(found["items"], f"{suffix}[]")


def _section(title: str, model: Mapping[str, Any]) -> str:
    required = model.get("required", ())
    rows = [
        f"| `{name}` | {escape(_type(found))} | {_default(found, required=name in required)} "
        f"| {escape(_meaning(found, model))} |"
        for name, found in model["properties"].items()
    ]
    heading = f"### `{title}`" if title else "### The whole plan"
    return "\n".join([heading, "", _HEAD, *rows, ""])


def _type(found: Mapping[str, Any]) -> str:
    """Return the type of a value as text."""
    forms = [form for form in found.get("anyOf", [found]) if form.get("type") != "null"]
    names = list(dict.fromkeys(_form(form) for form in forms))
    if "number" in names:
        names = [name for name in names if name != "whole number"]
    return " or ".join(names)


def _form(form: Mapping[str, Any]) -> str:
    if "enum" in form:
        return ", ".join(map(str, form["enum"]))
    if "const" in form:
        return str(form["const"])
    if "prefixItems" in form:
        return f"list of {len(form['prefixItems'])}"
    kind = "object" if "$ref" in form else form.get("type", "")
    if kind == "array":
        of = _type(form.get("items", {}))
        return f"list of {of}s" if of in {"text", "whole number"} else "list"
    return _TYPES.get(kind, "anything")


def _default(found: Mapping[str, Any], *, required: bool) -> str:
    default = found.get("default")
    if required:
        return "required"
    return "" if default in (None, []) else f"`{json.dumps(default)}`"


def _meaning(found: Mapping[str, Any], model: Mapping[str, Any]) -> str:
    """Return the description of a key, or that of its mapping if it has none."""
    if "description" in found:
        return str(found["description"])
    [(_suffix, inner)] = _inside(found)
    return str(model["$defs"][inner]["description"])
