"""What the plan's models share: their base, fields of texts, and problems as pydantic reports them."""

from __future__ import annotations

from types import MappingProxyType
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError


def refuse(kind: str, message: str) -> PydanticCustomError:
    """Return a problem of a plan, to be raised; ``message`` is what is wrong and what is expected."""
    return PydanticCustomError(kind, "{message}", {"message": message})


def listed(value: object) -> object:
    """Return a list as a tuple, anything else as it is."""
    return tuple(value) if isinstance(value, list) else value


def texts(value: object) -> object:
    """Return a text or a list as a tuple, anything else as it is."""
    return (value,) if isinstance(value, str) else listed(value)


Texts = Annotated[tuple[str, ...], BeforeValidator(texts, json_schema_input_type=str | list[str])]
Ids = Annotated[tuple[str, ...], BeforeValidator(listed, json_schema_input_type=list[str])]
FREEZE = AfterValidator(MappingProxyType)


# The key under which an entry stands is handed to its model under an alias that no YAML key of
# a plan can have by accident, so that a person's own ``id`` or ``name`` keys stay theirs.
KEY_ALIAS = "\0key"
KEY: Any = Field(default="", alias=KEY_ALIAS, exclude=True)


class Model(BaseModel):
    """Base of the plan's models: strict, frozen, unknown keys kept."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, defer_build=True)
