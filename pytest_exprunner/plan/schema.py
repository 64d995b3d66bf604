"""The JSON Schema of a plan, for editors and other tools."""

from __future__ import annotations

from typing import Any

from pytest_exprunner.plan.base import KEY_ALIAS
from pytest_exprunner.plan.models import Plan


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a plan (draft 2020-12), for editors and other tools."""
    schema = Plan.model_json_schema(by_alias=True)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "research_plan.yaml"
    for model in (schema, *schema["$defs"].values()):
        properties = model.get("properties", {})
        properties.pop(KEY_ALIAS, None)
        for name in properties.keys() - set(model.get("required", ())):
            properties[name] = _or_nothing(properties[name])
    for form in schema["$defs"]["Experiment"]["properties"]["sub_experiments"]["anyOf"]:
        form["minItems" if form["type"] == "array" else "minProperties"] = 1
    schema["$defs"]["Gate"]["properties"]["experiments"]["minItems"] = 1
    return schema


def _or_nothing(schema: dict[str, Any]) -> dict[str, Any]:
    """Admit a key without a value, which counts as absent."""
    about: dict[str, Any] = {k: schema.pop(k) for k in ("title", "description", "default") if k in schema}
    forms = schema.get("anyOf", [schema]) if schema else []
    if not forms or {"type": "null"} in forms:
        return {**about, **schema}
    return {**about, "anyOf": [*forms, {"type": "null"}]}
