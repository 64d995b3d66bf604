"""Functions and the calls of them: what the client says about them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from grpclib import Status

from modal_server.apps import handle
from modal_server.pools import Call, Pool
from modal_server.protocol import Empty, message, new_id, pb, refuse

if TYPE_CHECKING:
    from modal_server.platform import Platform

REPLACED = ("timeout_secs", "task_idle_timeout_secs", "concurrency_limit", "max_concurrent_inputs")
"""Options that take the place of the base function's value when they are given."""


@dataclass(frozen=True)
class FunctionInfo:
    """What was asked for when a function was created, or an option set of one."""

    id: str
    name: str
    module: str
    base: str
    """The id of the function that `with_options` was called on, or an empty text."""
    gpu: str
    """As the user writes it: "", "T4" or "A100-80GB:2"."""
    cpu: float
    memory: int
    timeout: int
    retries: int
    max_containers: int
    scaledown_window: int
    single_use: bool
    region: list[str]
    secrets: dict[str, dict[str, str]]
    """The variables of each secret by its name (its id where it has none)."""
    volumes: dict[str, str]
    """Names of volumes (ids where they have none) by mount path."""
    image_commands: list[str]
    definition: Any
    """The message itself, for what is not listed above."""


class Functions:
    """Answers the RPCs about functions and calls."""

    def __init__(self, platform: Platform) -> None:
        """Start without any function."""
        self._platform = platform
        self.pools: dict[str, Pool] = {}
        self.calls: dict[str, Call] = {}
        self.infos: list[FunctionInfo] = []

    def function_precreate(self, request: Any) -> Any:
        """Give a function its id before its definition is complete."""
        metadata = message(
            pb.FunctionHandleMetadata,
            app_id=request.app_id,
            function_name=request.function_name,
            function_type=request.function_type,
            function_schema=request.function_schema,
            supported_input_formats=request.supported_input_formats,
            supported_output_formats=request.supported_output_formats,
        )
        function_id = request.existing_function_id or new_id("fu")
        return pb.FunctionPrecreateResponse(function_id=function_id, handle_metadata=metadata)

    def function_create(self, request: Any) -> Any:
        """Create a function; with several acceptable GPUs, the first one counts."""
        ranked = request.function_data.ranked_functions
        definition = ranked[0].function if ranked else request.function
        self._check(definition)
        app = self._platform.apps.apps[request.app_id]
        pool = Pool(self._platform, app, request.existing_function_id or new_id("fu"), definition)
        older = self.pools.get(pool.id)
        self._add(pool)
        if older is not None:
            older.retire(pool)
        return message(
            pb.FunctionCreateResponse,
            function_id=pool.id,
            function=definition,
            function_data=request.function_data if ranked else _function_data(definition),
            handle_metadata=handle(pool),
        )

    def function_get(self, request: Any) -> Any:
        """Find a function of a deployed app."""
        app = self._platform.apps.apps.get(self._platform.names.find("App", request.app_name) or "")
        function_id = app.published.get(request.object_tag) if app else None
        if function_id is None:
            refuse(Status.NOT_FOUND, f"Function '{request.object_tag}' not found in App '{request.app_name}'")
        pool = self.pools[function_id]
        return message(
            pb.FunctionGetResponse,
            function_id=pool.id,
            function=_function_data(pool.definition),
            handle_metadata=handle(pool),
        )

    def function_bind_params(self, request: Any) -> Any:
        """Make, or find again, the pool of a function with other options."""
        base, key = self.pools[request.function_id], request.SerializeToString(deterministic=True)
        if key not in base.variants:
            definition = _with_options(base.definition, request.function_options)
            self._check(definition)
            base.variants[key] = Pool(self._platform, base.app, new_id("fu"), definition, base=base.id)
            self._add(base.variants[key])
        pool = base.variants[key]
        return pb.FunctionBindParamsResponse(bound_function_id=pool.id, handle_metadata=handle(pool))

    def function_map(self, request: Any) -> Any:
        """Start a call with the inputs that came along."""
        pool = self.pools[request.function_id]
        if pool.closed:
            refuse(Status.NOT_FOUND, f"App {pool.app.id} is stopped")
        call = Call(pool, request.function_call_invocation_type)
        self.calls[call.id] = call
        pool.calls.append(call)
        started = [call.add(item) for item in request.pipelined_inputs]
        answers = [
            pb.FunctionPutInputsResponseItem(idx=each.index, input_id=each.id, input_jwt=each.id)
            for each in started
        ]
        return pb.FunctionMapResponse(
            function_call_id=call.id,
            function_call_jwt=call.id,
            pipelined_inputs=answers,
            retry_policy=pool.definition.retry_policy,
            sync_client_retries_enabled=False,
            max_inputs_outstanding=1000,
        )

    def function_call_from_id(self, request: Any) -> Any:
        """Find a call that another process started."""
        call = self._call(request.function_call_id)
        metadata = pb.FunctionCallHandleMetadata(app_id=call.pool.app.id, function_id=call.pool.id)
        return pb.FunctionCallFromIdResponse(
            function_call_id=call.id, num_inputs=len(call.inputs), metadata=metadata
        )

    async def function_get_outputs(self, request: Any) -> Any:
        """Wait for outputs; they stay, so that any process can ask again."""
        call = self._call(request.function_call_id)
        last = request.end_idx if request.HasField("end_idx") else len(call.inputs)

        def ready() -> list[Any]:
            return [out for index, out in call.outputs.items() if request.start_idx <= index <= last]

        await call.bell.wait_until(lambda: bool(ready()), request.timeout)
        unfinished = len(call.unfinished())
        entry = f"{int(time.time() * 1000)}-0"
        return pb.FunctionGetOutputsResponse(
            outputs=ready(), last_entry_id=entry, num_unfinished_inputs=unfinished
        )

    def function_call_cancel(self, request: Any) -> Any:
        """Cancel what is unfinished of a call."""
        self._call(request.function_call_id).cancel(kill=request.terminate_containers)
        return Empty()

    def _call(self, call_id: str) -> Call:
        if call_id not in self.calls:
            refuse(Status.NOT_FOUND, f"FunctionCall {call_id} not found")
        return self.calls[call_id]

    def _add(self, pool: Pool) -> None:
        self.pools[pool.id] = pool.app.pools[pool.id] = pool
        self.infos.append(self._describe(pool))

    def _check(self, definition: Any) -> None:
        gpu, known = definition.resources.gpu_config, self._platform.gpus
        if gpu.count and gpu.gpu_type.upper() not in known:
            text = f"Unknown GPU type '{gpu.gpu_type}'; known: {', '.join(sorted(known))}"
            refuse(Status.INVALID_ARGUMENT, text)

    def _describe(self, pool: Pool) -> FunctionInfo:
        platform, definition = self._platform, pool.definition
        autoscaler, resources = definition.autoscaler_settings, definition.resources
        mounts = {each.mount_path: platform.volumes.name(each.volume_id) for each in definition.volume_mounts}
        return FunctionInfo(
            id=pool.id,
            name=definition.function_name,
            module=definition.module_name,
            base=pool.base,
            gpu=gpu_text(definition),
            cpu=resources.milli_cpu / 1000,
            memory=resources.memory_mb,
            timeout=definition.timeout_secs,
            retries=definition.retry_policy.retries,
            max_containers=autoscaler.max_containers or definition.concurrency_limit,
            scaledown_window=autoscaler.scaledown_window or definition.task_idle_timeout_secs,
            single_use=definition.single_use_containers or definition.max_inputs == 1,
            region=list(definition.scheduler_placement.regions),
            secrets=platform.secrets.labelled(list(definition.secret_ids)),
            volumes=mounts,
            image_commands=platform.images.commands(definition.image_id),
            definition=definition,
        )


def gpu_text(definition: Any) -> str:
    """Return the GPUs of a function as a user writes them."""
    gpu = definition.resources.gpu_config
    if not gpu.count:
        return ""
    return str(gpu.gpu_type) if gpu.count == 1 else f"{gpu.gpu_type}:{gpu.count}"


def _with_options(base: Any, options: Any) -> Any:
    """Return a definition with options applied: secrets and volumes are replaced, a GPU cannot be unset."""
    changed = pb.Function()
    changed.CopyFrom(base)
    changed.resources.MergeFrom(options.resources)
    for name in ("retry_policy", "scheduler_placement"):
        if options.HasField(name):
            getattr(changed, name).CopyFrom(getattr(options, name))
    for name in REPLACED:
        if options.HasField(name):
            setattr(changed, name, getattr(options, name))
    # These two have an older and a newer field each, of which the newer one counts.
    if options.HasField("concurrency_limit"):
        changed.autoscaler_settings.max_containers = options.concurrency_limit
    if options.HasField("task_idle_timeout_secs"):
        changed.autoscaler_settings.scaledown_window = options.task_idle_timeout_secs
    for name, replace in (("secret_ids", "replace_secret_ids"), ("volume_mounts", "replace_volume_mounts")):
        if getattr(options, replace):
            changed.ClearField(name)
            getattr(changed, name).extend(getattr(options, name))
    return changed


def _function_data(definition: Any) -> Any:
    ranked = pb.FunctionData.RankedFunction(rank=0, function=definition)
    return pb.FunctionData(
        module_name=definition.module_name,
        function_name=definition.function_name,
        timeout_secs=definition.timeout_secs,
        ranked_functions=[ranked],
    )
