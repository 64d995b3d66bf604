"""What a sub-experiment needs of a machine, and settings of runs on Modal."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated

from pydantic import BeforeValidator, Field

from pytest_exprunner._util.errors import quoted
from pytest_exprunner.plan.base import FREEZE, Model, Texts, refuse

GPU_TYPES = (
    *("T4", "L4", "A10", "A10G", "L40S", "A100", "A100-40GB", "A100-80GB"),
    *("RTX-PRO-6000", "H100", "H100!", "H200", "B200"),
)
"""What Modal has at the time of writing."""


def _gpu_type(value: object) -> object:
    """Return a type of GPU; raise a pydantic error where Modal has no such type."""
    if not isinstance(value, str) or value.upper() not in GPU_TYPES:
        raise refuse(
            "gpu",
            f"{quoted(value)} is not a GPU type that Modal offers; expected {', '.join(GPU_TYPES)}",
        )
    return value


class Resources(Model):
    """What an attempt has to itself while it runs."""

    gpu: Annotated[int, Field(ge=0, description="Number of GPUs reserved for the attempt.")] = 0
    gpu_type: Annotated[str, BeforeValidator(_gpu_type)] | None = Field(
        None, description="Which GPUs, on Modal: A10G, H100, …"
    )
    cpu: Annotated[float, Field(gt=0)] | None = Field(None, description="Cores, on Modal.")
    memory: Annotated[int, Field(gt=0)] | None = Field(None, description="MiB, on Modal.")


class Container(Model):
    """What containers on Modal are made of; the keys of a sub-experiment add to the plan's."""

    image: str | None = Field(
        None, description="A pre-built image in a registry; Debian with Python by default."
    )
    apt: Texts = Field((), description="System packages to install.")
    packages: Texts = Field(
        (), description="Python packages to install beside the project's own dependencies."
    )
    extras: Texts = Field((), description="Extras of the project to install.")
    groups: Texts = Field((), description="Dependency groups of the project to install.")
    env: Annotated[Mapping[str, str], FREEZE] = Field(
        default_factory=lambda: MappingProxyType({}), description="Environment variables; no secrets."
    )
    secrets: Texts = Field((), description="Names of Modal secrets whose variables handlers get.")
    volumes: Annotated[Mapping[str, str], FREEZE] = Field(
        default_factory=lambda: MappingProxyType({}),
        description="Modal volumes by name, each with the folder it is mounted at: {models: /models}.",
    )
    region: str | None = Field(None, description="Where containers run.")
    retries: Annotated[int, Field(ge=0, le=10)] | None = Field(
        None,
        description="How often to retry an attempt that Modal, not its handler, failed (1).",
    )

    def and_own(self, own: Container) -> Container:
        """Return this with a sub-experiment's own words: lists and mappings add, the rest replaces."""
        return Container.model_construct(
            image=own.image or self.image,
            apt=_both(self.apt, own.apt),
            packages=_both(self.packages, own.packages),
            extras=_both(self.extras, own.extras),
            groups=_both(self.groups, own.groups),
            env=MappingProxyType({**self.env, **own.env}),
            secrets=_both(self.secrets, own.secrets),
            volumes=MappingProxyType({**self.volumes, **own.volumes}),
            region=own.region or self.region,
            retries=self.retries if own.retries is None else own.retries,
        )


def _both(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*first, *second)))


class Modal(Container):
    """Settings of runs on Modal (--exp-executor modal)."""

    gpu: Annotated[str, BeforeValidator(_gpu_type)] | None = Field(
        None, description="Default GPU type: A10G, H100, …"
    )
    cpu: Annotated[float, Field(gt=0)] | None = Field(None, description="Default number of CPU cores.")
    memory: Annotated[int, Field(gt=0)] | None = Field(None, description="Default memory in MiB.")
    timeout: Annotated[float, Field(gt=0)] | None = Field(
        None, description="Default time limit for a handler on Modal, in seconds."
    )
    max_containers: Annotated[int, Field(gt=0)] = Field(
        10, description="How many sub-experiments run at once (--exp-max-containers wins)."
    )
