"""The stand-in, seen through Modal's real client."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import modal
import modal.exception
import psutil
import pytest
import remote_functions
from grpclib import Status
from modal_server import ContainerInfo, ModalServer

# In the quick suite the tests of the executor (test_modal.py) run on this server, and see what it does for
# them. These here look at it feature by feature.
pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
"""Where `remote_functions` lies; `modal_server` lies one folder above."""


@pytest.fixture(scope="module")
def shared() -> Iterator[ModalServer]:
    """One server for all tests: the client connects once per process."""
    before = dict(os.environ)
    with ModalServer(idle=2.0, grace=2.0) as running:
        if not running.isolated:
            pytest.skip("this machine does not allow containers their own file system")
        os.environ.update(running.environment())
        modal.Client.from_env()  # type: ignore[no-untyped-call,unused-ignore]
        yield running
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def server(shared: ModalServer) -> Iterator[ModalServer]:
    """The server, with all switches as they were."""
    yield shared
    shared.accept()
    shared.resume()
    shared.crash_retries, shared.volume_limit, shared.queue_limit = 0, None, 5000


def image() -> modal.Image:
    """Return an image in which containers find `remote_functions`."""
    return modal.Image.debian_slim().add_local_python_source("remote_functions")


def deploy_function(
    function: Callable[..., Any], **options: Any
) -> tuple[modal.App, modal.Function[..., Any, Any]]:
    """Return an app and, as its only function, the given one."""
    app = modal.App("tests", include_source=False)
    return app, app.function(image=options.pop("image", None) or image(), **options)(function)


def until(found: Callable[[], Any], seconds: float = 60.0) -> Any:
    """Wait for a value that is true, and return it."""
    end = time.time() + seconds
    while time.time() < end:
        if value := found():
            return value
        time.sleep(0.05)
    raise AssertionError("it did not happen")


def busy(server: ModalServer) -> ContainerInfo:
    """Wait for a container that works, and return it."""
    found: ContainerInfo = until(lambda: [each for each in server.containers() if each.call_ids])[0]
    return found


def lines(path: Path) -> list[str]:
    """Return the words in a file; none where it does not exist yet."""
    return path.read_text().split() if path.exists() else []


@pytest.mark.usefixtures("server")
def test_remote_and_spawn_return_what_the_function_returns() -> None:
    """The result comes back to whoever waits at once, and to whoever asks for it later."""
    app, double = deploy_function(remote_functions.double)
    with app.run():
        assert double.remote(4) == 8
        assert double.spawn(5).get(timeout=60) == 10


@pytest.mark.usefixtures("server")
@pytest.mark.asyncio
async def test_the_asynchronous_client_works_too() -> None:
    """Awaited calls get the same results as blocking ones."""
    app, double = deploy_function(remote_functions.double)
    async with app.run.aio():
        call = await double.spawn.aio(6)
        assert await call.get.aio(timeout=20) == 12


@pytest.mark.usefixtures("server")
def test_an_exception_arrives_with_its_message() -> None:
    """The caller catches the type that was raised in the container."""
    app, fail = deploy_function(remote_functions.fail)
    with app.run(), pytest.raises(ValueError, match="out of cheese"):
        fail.remote("out of cheese")


@pytest.mark.usefixtures("server")
def test_a_missing_module_is_an_error_and_no_endless_restart() -> None:
    """Containers see only the modules that their image brings; the caller hears which one they lack."""
    app, double = deploy_function(remote_functions.double, image=modal.Image.debian_slim())
    with app.run(), pytest.raises(ModuleNotFoundError, match="remote_functions"):
        double.remote(1)


@pytest.mark.usefixtures("server")
def test_user_retries_run_the_function_again(tmp_path: Path) -> None:
    """A function that fails twice and may be retried twice succeeds."""
    retries = modal.Retries(max_retries=2, initial_delay=0.0, backoff_coefficient=1.0)
    app, fail_until = deploy_function(remote_functions.fail_until, retries=retries)
    with app.run():
        assert fail_until.remote(str(tmp_path / "tries"), 3) == 3


@pytest.mark.usefixtures("server")
def test_a_timeout_cancels_softly(tmp_path: Path) -> None:
    """The code that took too long is told so by an exception, and the caller by another one."""
    app, sleep = deploy_function(remote_functions.sleep, timeout=3)
    with app.run(), pytest.raises(modal.exception.FunctionTimeoutError, match="timeout of 3s"):
        sleep.remote(30, str(tmp_path / "marks"))
    assert lines(tmp_path / "marks") == ["began", "InputCancellation"]


def test_a_timeout_kills_what_does_not_listen(server: ModalServer) -> None:
    """The container of code that swallows the exception is ended; the caller hears of the timeout all the same."""
    app, stubborn = deploy_function(remote_functions.stubborn, timeout=1)
    with app.run(), pytest.raises(modal.exception.FunctionTimeoutError):
        stubborn.remote(60)
    assert server.events[-1]["reason"] in {"timeout", "stopped"}


@pytest.mark.parametrize("retries", [0, 1])
def test_a_killed_container(server: ModalServer, tmp_path: Path, retries: int) -> None:
    """Its input fails, or is run again in another container as often as the server was told."""
    server.crash_retries = retries
    marks = tmp_path / "marks"
    app, sleep = deploy_function(remote_functions.sleep)
    with app.run():
        call = sleep.spawn(3, str(marks))
        until(lambda: lines(marks))
        victim = busy(server).task_id  # asked before: another may take over at once
        assert server.kill() == [victim]
        if retries:
            assert call.get(timeout=60) == "slept"
            assert lines(marks) == ["began", "began", "slept"]
        else:
            with pytest.raises(modal.exception.RemoteError, match="exit code: 137"):
                call.get(timeout=60)


def test_a_function_can_kill_its_own_process(server: ModalServer, tmp_path: Path) -> None:
    """SIGKILL from within is a crash like one from outside: another container takes over."""
    server.crash_retries = 1
    app, die = deploy_function(remote_functions.die)
    with app.run():
        assert die.remote(str(tmp_path / "lives"), 1) == "survived"


def test_a_preempted_input_runs_again(server: ModalServer, tmp_path: Path) -> None:
    """The code is interrupted, and begins again in another container even where crashes are not retried."""
    marks = tmp_path / "marks"
    app, sleep = deploy_function(remote_functions.sleep)
    with app.run():
        call = sleep.spawn(3, str(marks))
        until(lambda: lines(marks))
        first = server.preempt()
        assert call.get(timeout=60) == "slept"
        assert [first[0]] != [event["task_id"] for event in server.events][-1:]
    assert lines(marks) == ["began", "KeyboardInterrupt", "began", "slept"]


@pytest.mark.usefixtures("server")
def test_a_soft_cancellation_reaches_the_code(tmp_path: Path) -> None:
    """An exception ends the code within seconds, long before it would have returned."""
    marks = tmp_path / "marks"
    app, sleep = deploy_function(remote_functions.sleep)
    with app.run():
        call = sleep.spawn(30, str(marks))
        until(lambda: lines(marks))
        began = time.time()
        call.cancel()
        with pytest.raises((modal.exception.RemoteError, modal.exception.InputCancellation)):
            call.get(timeout=60)
        assert time.time() - began < 15
    assert lines(marks) == ["began", "InputCancellation"]


@pytest.mark.usefixtures("server")
def test_a_hard_cancellation_kills_the_container(tmp_path: Path) -> None:
    """The code has no chance to notice: nothing follows its first mark."""
    marks = tmp_path / "marks"
    app, sleep = deploy_function(remote_functions.sleep)
    with app.run():
        call = sleep.spawn(30, str(marks))
        until(lambda: lines(marks))
        call.cancel(terminate_containers=True)
        with pytest.raises(modal.exception.RemoteError):
            call.get(timeout=60)
    assert lines(marks) == ["began"]


@pytest.mark.parametrize("version", [1, 2])
def test_volumes_show_changes_after_commit_and_reload(server: ModalServer, version: int) -> None:
    """Files are seen elsewhere only once they are committed, and in a running container only once it reloads."""
    volume = modal.Volume.from_name(f"results-{version}", create_if_missing=True, version=version)
    app = modal.App("volumes", include_source=False)
    options: dict[str, Any] = {"image": image(), "volumes": {"/results": volume}}
    write = app.function(**options)(remote_functions.write)
    wait = app.function(**options)(remote_functions.wait_for_file)
    with app.run():
        waiting = wait.spawn(volume, "a/new.txt", 4)
        until(lambda: any(each.function == "wait_for_file" and each.call_ids for each in server.containers()))
        write.remote(volume, "a/secret.txt", "not committed", commit=False)
        assert [entry.path for entry in volume.listdir("/", recursive=True)] == []
        write.remote(volume, "a/new.txt", "committed", commit=True)
        assert waiting.get(timeout=60) == [False, True]
    assert b"".join(volume.read_file("a/new.txt")) == b"committed"


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("version", [1, 2])
def test_volumes_from_the_client(tmp_path: Path, version: int) -> None:
    """A file of more than one block is uploaded, seen by a function, read back unchanged and removed."""
    content = os.urandom(9 * 1024 * 1024)
    (tmp_path / "big").write_bytes(content)
    with modal.Volume.ephemeral(version=version) as volume:
        with volume.batch_upload() as batch:
            batch.put_file(tmp_path / "big", "/in/big")
        app = modal.App("volumes", include_source=False)
        listing = app.function(image=image(), volumes={"/results": volume})(remote_functions.listing)
        with app.run():
            assert listing.remote("/results") == ["in/big"]
        assert b"".join(volume.read_file("in/big")) == content
        assert [entry.path for entry in volume.iterdir("/")] == ["in", "in/big"]
        volume.remove_file("in/big")
        with pytest.raises(FileNotFoundError):
            list(volume.read_file("in/big"))


def test_a_full_volume_refuses_the_commit(server: ModalServer) -> None:
    """The function that commits too much fails, and the message names the limit."""
    server.volume_limit = 10
    volume = modal.Volume.from_name("small", create_if_missing=True)
    app, write = deploy_function(remote_functions.write, volumes={"/results": volume})
    with app.run(), pytest.raises(Exception, match="its limit is 10 bytes"):
        write.remote(volume, "long", "more than ten bytes", commit=True)


@pytest.mark.usefixtures("server")
def test_a_queue_streams_from_a_running_function() -> None:
    """The values arrive in the order they were put, none lost and none twice."""
    app, stream = deploy_function(remote_functions.stream)
    with modal.Queue.ephemeral() as values, app.run():
        call = stream.spawn(values, "attempt-1", 20)
        first = values.get(timeout=20, partition="attempt-1")
        assert first is not None
        got = [first["number"]]
        while len(got) < 20:
            got += [value["number"] for value in values.get_many(50, timeout=20, partition="attempt-1")]
        assert got == list(range(20))
        assert call.get(timeout=60) == "done"


def test_queues_have_partitions_and_a_limit(server: ModalServer) -> None:
    """A full partition takes no more and an empty one gives none; the others do not count."""
    server.queue_limit = 3
    values = modal.Queue.from_name("limited", create_if_missing=True)
    values.put_many([1, 2, 3], partition="a")
    values.put(9, partition="b")
    assert (values.len(partition="a"), values.len(total=True)) == (3, 4)
    with pytest.raises(queue.Full):
        values.put(4, timeout=0.5, partition="a")
    assert values.get_many(10, partition="a") == [1, 2, 3]
    with pytest.raises(queue.Empty):
        values.get(timeout=0.3, partition="a")


@pytest.mark.usefixtures("server")
def test_large_inputs_and_outputs() -> None:
    """Values too large for one message arrive whole, in both directions."""
    app = modal.App("blobs", include_source=False)
    length = app.function(image=image())(remote_functions.length)
    make = app.function(image=image())(remote_functions.make)
    with app.run():
        assert length.remote(b"y" * 5_000_000) == 5_000_000
        assert make.remote(5_000_000) == b"x" * 5_000_000


def test_secrets_and_images_make_the_environment(
    server: ModalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Variables of secrets and images are set, those of pytest, of runs and of Modal's token here are not."""
    monkeypatch.setenv("EXPRUNNER_ROOT", "leaked")
    server.secrets["wandb-api-key"] = {"WANDB_API_KEY": "k" * 40}
    secrets = [modal.Secret.from_name("wandb-api-key"), modal.Secret.from_dict({"MINE": "1"})]
    app = modal.App("secrets", include_source=False)
    with_env = (
        modal.Image.debian_slim().env({"COLOR": "deep blue"}).add_local_python_source("remote_functions")
    )
    environment = app.function(image=with_env, secrets=secrets)(remote_functions.environment)
    names = app.function(image=with_env)(remote_functions.all_variables)
    with app.run():
        got = environment.remote(["WANDB_API_KEY", "MINE", "COLOR"])
        seen = names.remote()
    assert got == {"WANDB_API_KEY": "k" * 40, "MINE": "1", "COLOR": "deep blue"}
    assert not [name for name in seen if name.startswith(("PYTEST_", "EXPRUNNER_", "MODAL_TOKEN"))]
    assert server.functions[-2].secrets["wandb-api-key"] == {"WANDB_API_KEY": "k" * 40}
    with pytest.raises(modal.exception.NotFoundError, match="'nope' not found"):
        modal.Secret.from_name("nope").hydrate()


@pytest.mark.parametrize("copy", [False, True])
def test_sources_lie_at_absolute_paths(server: ModalServer, tmp_path: Path, copy: bool) -> None:
    """A local folder lies where it was put, in the container alone, whether it is mounted or copied."""
    for name in ("kept.py", "sub/kept.txt", "ignored.log"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    built = (
        modal.Image.debian_slim()
        .uv_pip_install("numpy")
        .add_local_dir(tmp_path, "/repo", ignore=lambda path: path.suffix == ".log", copy=copy)
    )
    if copy:
        built = built.workdir("/repo")
    app, where = deploy_function(
        remote_functions.where, image=built.add_local_python_source("remote_functions")
    )
    with app.run():
        got = where.remote()
    assert got["repo"] == ["kept.py", "sub/kept.txt"]
    assert got["cwd"] == ("/repo" if copy else "/root")
    assert got["procs"] < 10
    assert any("numpy" in line for line in server.functions[-1].image_commands)
    assert not Path("/repo/kept.py").exists()


def test_options_are_seen(server: ModalServer) -> None:
    """GPU, memory, timeout and the like are recorded per set of options, each of which has its own containers."""
    app, double = deploy_function(remote_functions.double, timeout=60, cpu=1.0)
    volume = modal.Volume.from_name("opts", create_if_missing=True)
    with app.run():
        variant = double.with_options(
            gpu="A100-80GB:2",
            cpu=2.0,
            memory=1024,
            timeout=90,
            retries=3,
            max_containers=1,
            region="eu",
            volumes={"/data": volume},
            secrets=[modal.Secret.from_dict({"A": "b"})],
        )
        assert variant.remote(1) == 2
        assert double.remote(2) == 4
    base, seen = server.functions[-2:]
    assert (base.gpu, base.cpu, base.timeout, base.retries) == ("", 1.0, 60, 0)
    assert (seen.gpu, seen.cpu, seen.memory, seen.timeout, seen.retries) == ("A100-80GB:2", 2.0, 1024, 90, 3)
    assert (seen.base, seen.max_containers, seen.region) == (base.id, 1, ["eu"])
    assert (seen.volumes, list(seen.secrets.values())) == ({"/data": "opts"}, [{"A": "b"}])
    started = [event["task_id"] for event in server.events if event["event"] == "start"]
    assert len(set(started[-2:])) == 2


@pytest.mark.usefixtures("server")
def test_an_unknown_gpu_is_refused_by_name() -> None:
    """The app does not start or, where only `with_options` asks for it, the call fails."""
    app, _ = deploy_function(remote_functions.double, gpu="B9000")
    with pytest.raises(modal.exception.InvalidError, match="B9000"), app.run():
        pass
    app, double = deploy_function(remote_functions.double)
    with app.run(), pytest.raises(modal.exception.InvalidError, match="H9"):
        double.with_options(gpu="H9").remote(1)


def test_a_call_outlives_a_short_outage(server: ModalServer) -> None:
    """A client that finds the server again in time notices nothing."""
    app, sleep = deploy_function(remote_functions.sleep)
    with app.run():
        call = sleep.spawn(2)
        busy(server)
        with server.unreachable():
            time.sleep(0.2)
        assert call.get(timeout=60) == "slept"


def test_during_a_long_outage_the_client_gives_up_but_the_call_does_not(server: ModalServer) -> None:
    """`get` raises a connection error; asked again later, it returns the result."""
    app, sleep = deploy_function(remote_functions.sleep)
    with app.run():
        call = sleep.spawn(2)
        busy(server)
        with server.unreachable():
            with pytest.raises(modal.exception.ConnectionError):
                call.get(timeout=60)
            time.sleep(1)
        assert call.get(timeout=60) == "slept"


def test_refused_tokens_and_quotas(server: ModalServer) -> None:
    """A refusal has its reason and its type, whether it meets the client, a function or a call."""
    app, double = deploy_function(remote_functions.double)
    server.refuse_tokens("Token ID is malformed")
    with pytest.raises(modal.exception.AuthError, match="malformed"), app.run():
        pass
    server.accept()
    server.refuse_functions(Status.RESOURCE_EXHAUSTED, "GPU quota exceeded", rpc="FunctionMap")
    with app.run(), pytest.raises(modal.exception.ResourceExhaustedError, match="GPU quota"):
        double.remote(1)
    server.accept()
    server.refuse_functions(Status.RESOURCE_EXHAUSTED, "too many functions")
    with pytest.raises(modal.exception.ResourceExhaustedError, match="too many"), app.run():
        pass


def test_idle_containers_leave(server: ModalServer) -> None:
    """None is left once there was no work for a while, though the app goes on."""
    app, double = deploy_function(remote_functions.double)
    with app.run():
        double.remote(1)
        assert server.containers()
        until(lambda: not server.containers())


def client(server: ModalServer, *argv: str) -> subprocess.CompletedProcess[str]:
    """Run Python as another client of the server, in a process of its own."""
    environment = {**os.environ, **server.environment(), "PYTHONPATH": str(HERE), "MODAL_LOGS_TIMEOUT": "1"}
    return subprocess.run(
        [sys.executable, *argv], capture_output=True, text=True, env=environment, timeout=90, check=False
    )


def test_deployed_functions_are_found_by_another_process(server: ModalServer, tmp_path: Path) -> None:
    """A function is found by its name and a call by its id, though the process that began the call is gone."""
    app = modal.App("deployed", include_source=False)
    app.function(image=image(), name="wait")(remote_functions.wait)
    app.deploy()
    awaited = tmp_path / "awaited"
    begin = (
        "import modal, sys; print(modal.Function.from_name('deployed', 'wait').spawn(sys.argv[1]).object_id)"
    )
    call_id = client(server, "-c", begin, str(awaited))
    assert call_id.returncode == 0, call_id.stderr
    code = "import modal, sys; print(modal.FunctionCall.from_id(sys.argv[1]).get(timeout=float(sys.argv[2])))"
    early = client(server, "-c", code, call_id.stdout.strip(), "0")
    assert "TimeoutError" in early.stderr
    awaited.touch()
    late = client(server, "-c", code, call_id.stdout.strip(), "60")
    assert late.stdout.strip() == "waited", late.stderr
    app.deploy()
    assert modal.Function.from_name("deployed", "wait").remote(str(awaited)) == "waited"


SCRIPT = """
import modal

app = modal.App("script")
image = modal.Image.debian_slim()


@app.function(image=image)
def run(text: str = "hello", loud: bool = False):
    print("remote says", text.upper() if loud else text, flush=True)


@app.function(image=image)
def slow(path: str):
    import time
    time.sleep(10)
    open(path, "w").write("done")


@app.local_entrypoint()
def main(path: str):
    slow.spawn(path)
"""


def test_modal_run(server: ModalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line prints what the function prints; a detached app works on and then ends."""
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "__init__.py").write_text("")
    (tmp_path / "pkg" / "script.py").write_text(SCRIPT)
    monkeypatch.chdir(tmp_path)
    done = client(server, "-m", "modal", "run", "-m", "pkg.script::run", "--text", "bonjour", "--loud")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "remote says BONJOUR" in done.stdout
    mark = tmp_path / "mark"
    done = client(server, "-m", "modal", "run", "--detach", "-m", "pkg.script::main", "--path", str(mark))
    assert done.returncode == 0, done.stdout + done.stderr
    assert not mark.exists()
    until(mark.exists)
    until(lambda: not server.containers())


def in_containers(state: Path) -> list[psutil.Process]:
    """Return what runs in containers of the server with this state folder; other servers may have some too."""
    found = []
    for each in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if each.environ().get("MODAL_CONTAINER_ARGUMENTS_PATH", "").startswith(f"{state}/"):
                found.append(each)
    return found


def test_run_by_hand_leaves_nothing_behind(tmp_path: Path) -> None:
    """It ends on SIGTERM together with all containers and what they started."""
    argv = [sys.executable, "-m", "modal_server", "--state", str(tmp_path / "state")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=HERE.parent) as process:
        assert process.stdout is not None
        about = json.loads(process.stdout.readline())
        code = (
            "import modal, remote_functions as r\n"
            "image = modal.Image.debian_slim().add_local_python_source('remote_functions')\n"
            "app = modal.App('x', include_source=False)\n"
            "app.function(image=image)(r.spawn_daemon); app.function(image=image)(r.sleep)\n"
            "app.deploy()\n"
            f"modal.Function.from_name('x', 'spawn_daemon').remote({str(tmp_path / 'pid')!r})\n"
            "modal.Function.from_name('x', 'sleep').spawn(100)\n"
        )
        environment = {**os.environ, **about["environment"], "PYTHONPATH": str(HERE)}
        subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=60)
        descendants = psutil.Process(process.pid).children(recursive=True)
        assert in_containers(tmp_path / "state")
        process.terminate()
        assert process.wait(timeout=30) == 0
    assert psutil.wait_procs(descendants, timeout=20)[1] == []
    until(lambda: not in_containers(tmp_path / "state"))
