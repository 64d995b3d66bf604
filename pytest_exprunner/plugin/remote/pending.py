"""With ``--exp-resume``: collect the pending jobs of earlier runs."""

from __future__ import annotations

from pytest_exprunner._util.errors import ExprunnerError, LockedError
from pytest_exprunner.model.layout import AWAY, Layout
from pytest_exprunner.model.settings import Settings
from pytest_exprunner.store.lock import RunLock


def collect_pending(settings: Settings) -> list[str]:
    """Fetch the pending jobs of runs that have ended; return remarks for the report header."""
    layout = Layout(settings.results_root)
    if not (layout.lock_folder / AWAY).is_dir():
        return []
    from pytest_exprunner.executors.pending_jobs import PendingJobs

    jobs = PendingJobs(layout)
    if not jobs.pending():
        return []
    lock = RunLock(layout.lock_folder)
    try:
        from pytest_exprunner.executors.modal.results import VolumeResults

        lock.acquire("collecting attempts", 0, settings.shown(layout.root))
        collected = jobs.collect(VolumeResults())
    except LockedError:
        return []  # they belong to a run in progress
    except (ImportError, ExprunnerError, OSError) as error:
        return [f"warning: jobs of an earlier run on Modal could not be collected: {error}"]
    finally:
        lock.release()
    lines = [f"collected from Modal: {', '.join(collected.brought)}"] if collected.brought else []
    return [
        *lines,
        *(f"warning: could not be collected from Modal: {label}" for label in collected.failed),
    ]
