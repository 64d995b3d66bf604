"""The JSON Schema that editors complete and check a plan with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import pytest_exprunner
from pytest_exprunner._util import yaml as yaml_nodes
from pytest_exprunner.plan.loader import parse
from pytest_exprunner.plan.schema import json_schema

PACKAGE = Path(pytest_exprunner.__file__).parent
PLAN = PACKAGE.parent / "research" / "research_plan.yaml"
SMALLEST = b"""\
experiments:
  x1-first:
    sub_experiments: [e_x1_1]
    success_criteria:
      accuracy: {target: 0.9}
"""


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    """A validator of plans by the schema."""
    return jsonschema.Draft202012Validator(json_schema())


def value_of(source: str | bytes) -> Any:
    """The value of a YAML document."""
    return yaml_nodes.read(source.encode() if isinstance(source, str) else source).value


def keys_in(schema: Any) -> Iterator[str]:
    """Every key anywhere in a schema."""
    if isinstance(schema, dict):
        for key, item in schema.items():
            yield key
            yield from keys_in(item)
    elif isinstance(schema, list):
        for item in schema:
            yield from keys_in(item)


def test_schema_is_valid() -> None:
    """The schema follows draft 2020-12, says so, and survives JSON."""
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert json.loads(json.dumps(schema)) == schema


def test_schema_names_keys_as_they_are_written() -> None:
    """The schema has the keys of a plan and none of the program's own."""
    keys = set(keys_in(json_schema()))
    assert {"from", "target", "sub_experiments", "success_criteria", "gates"} <= keys
    assert "from_" not in keys
    assert not any("\0" in key for key in keys)
    assert "\0" not in json.dumps(json_schema(), ensure_ascii=False)
    assert "\\u0000" not in json.dumps(json_schema())


def test_schema_describes_what_a_person_writes() -> None:
    """Every key of a criterion has a sentence that an editor can show."""
    properties = json_schema()["$defs"]["Criterion"]["properties"]
    assert all(entry.get("description") for entry in properties.values())


@pytest.mark.parametrize(
    "source",
    [
        SMALLEST,
        "experiments: {x1: {sub_experiments: [e_1, e_2]}}",
        "experiments: {x1: {sub_experiments: {e_1: , e_2: {name: x, owner: y}}}}",
        "experiments: {x1: {sub_experiments: [e_1], own: 1, phase: 1b, blockers: no GPU}}",
        (
            "experiments: {x1: {sub_experiments: [e_1], success_criteria: {a: {target: 1, "
            "from: e_1, bounds: [~, 1], evidence: real, direction: lower}}}}"
        ),
        "experiments: {x1: {sub_experiments: [e_1]}}\ngates: {g: {experiments: [x1], unlocks: x}}",
        "experiments: {x1: {sub_experiments: [e_1]}}\nown: {a: [1]}",
    ],
)
def test_schema_accepts_what_loads(source: str | bytes, validator: jsonschema.Draft202012Validator) -> None:
    """A plan that loads is accepted."""
    parse(source.encode() if isinstance(source, str) else source, "plan.yaml")
    validator.validate(value_of(source))


@pytest.mark.parametrize(
    "source",
    [
        "experiments: {x1: {sub_experiments: [e_1], name: , success_criteria: }}",
        "experiments: {x1: {sub_experiments: [e_1]}}\ngates:\n",
        "experiments: {x1: {sub_experiments: [e_1]}}\nproject: ~\n",
    ],
)
def test_schema_accepts_known_keys_without_a_value(
    source: str, validator: jsonschema.Draft202012Validator
) -> None:
    """A known key with nothing behind it, which loads, is accepted too."""
    parse(source.encode(), "plan.yaml")
    validator.validate(value_of(source))


@pytest.mark.parametrize(
    "source",
    [
        "{}",
        "[]",
        "experiments: {}",
        "experiments: {x1: {}}",
        "experiments: {x1: {sub_experiments: e_1}}",
        "experiments: {x1: {sub_experiments: []}}",
        "experiments: {x1: {sub_experiments: {}}}",
        "experiments: {x1: {sub_experiments: [7]}}",
        "experiments: {x1: {sub_experiments: [e_1], type: clam}}",
        "experiments: {x1: {sub_experiments: [e_1], success_criteria: {a: {}}}}",
        "experiments: {x1: {sub_experiments: [e_1], success_criteria: {a: {target: '1'}}}}",
        "experiments: {x1: {sub_experiments: [e_1], success_criteria: {a: {target: true}}}}",
        ("experiments: {x1: {sub_experiments: [e_1], success_criteria: {a: {target: 1, direction: down}}}}"),
        ("experiments: {x1: {sub_experiments: [e_1], success_criteria: {a: {target: 1, evidence: guess}}}}"),
        "experiments: {x1: {sub_experiments: [e_1]}}\ngates: {g: {experiments: []}}",
    ],
)
def test_schema_rejects_what_does_not_load(source: str, validator: jsonschema.Draft202012Validator) -> None:
    """What is wrong in kind, missing or no known word is marked while it is typed."""
    assert not validator.is_valid(value_of(source))


def test_shipped_schema_is_current() -> None:
    """The schema file in the package is the one that the models give."""
    shipped = PACKAGE / "research_plan.schema.json"
    assert json.loads(shipped.read_text(encoding="utf-8")) == json_schema()


@pytest.mark.skipif(not PLAN.is_file(), reason="installed without the example study")
def test_plan_of_the_example_study(validator: jsonschema.Draft202012Validator) -> None:
    """The example study's plan is accepted by the schema and loads without a warning."""
    source = PLAN.read_bytes()
    validator.validate(value_of(source))
    assert parse(source, str(PLAN))[1] == ()
