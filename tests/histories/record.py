"""Makes histories with every event of the law: ``python tests/histories/record.py schema-2``, or,
for an event that is new, only some of them: ``... schema-1 yielded``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "projections")]

from contract.runs import SECOND, claim, completed, define, started  # noqa: E402
from msgspec.structs import replace  # noqa: E402
from story import ERROR, Story  # noqa: E402

from semantica.pipeline.engine.encrypting import erase  # noqa: E402
from semantica.pipeline.events import pipeline as p  # noqa: E402
from semantica.pipeline.events import step as s  # noqa: E402
from semantica.pipeline.events.codec import NONE  # noqa: E402
from semantica.pipeline.events.definition import RetryPolicy  # noqa: E402
from semantica.pipeline.events.envelope import Envelope, encoding_of  # noqa: E402
from semantica.pipeline.events.keys import MemoryKeys  # noqa: E402
from semantica.pipeline.events.memory import MemoryStore  # noqa: E402
from semantica.pipeline.events.sealed_store import sealing  # noqa: E402
from semantica.pipeline.events.store import Batch  # noqa: E402
from semantica.pipeline.events.upcasters import to_event, to_new  # noqa: E402
from semantica.pipeline.projections.catchup import load_run  # noqa: E402
from semantica.pipeline.projections.run import Run  # noqa: E402


def tell() -> list[tuple[Story | Erased, str]]:
    """The runs to record: together they have every event of the law."""
    steps = {"load": [], "clean": ["load"], "join": ["load", "clean"], "side": []}
    options = {"side": {"priority": 3, "at_most_once": True, "timeout": 9.0}}
    done = Story(steps, options=options, retry=RetryPolicy(jitter=0.5), parallelism=2).claim()
    done.start("side").after(1).tell(s.StepProgressed("side", 1, 0.5, 1, "zur Hälfte ½")).complete(
        "side"
    )
    done.start("load").after(2).fail("load").retry("load", 1.5).after(1.5).start("load")
    done.tell(p.PipelinePauseRequested()).complete("load").tell(p.PipelinePaused())
    done.after(60).tell(claim("engine-2"), p.PipelineResumed(), epoch=2)
    done.tell(started("clean"), p.PipelineStopRequested(), s.StepInterrupted("clean", 1), epoch=2)
    done.tell(p.PipelineStopped(), claim("engine-3"), p.PipelineResumed(), epoch=3)
    last = s.StepCompleted("join", 1, completed("join").output, 0.25, 0.125, {"documents": 3})
    done.tell(started("clean", 2), completed("clean", 2), started("join"), last, epoch=3)
    sinks = tuple(done.run.step(name).version for name in ("join", "side"))
    done.tell(p.PipelineCompleted(sinks, 101.5), epoch=3)

    failed = Story({"a": [], "b": ["a"], "c": []}, on_failure="continue").claim()
    failed.start("a", "c").after(1).tell(s.StepTimedOut("a", 1, ERROR, 1.0)).complete("c")
    failed.tell(s.StepSkipped("b", "upstream", "a"), p.PipelineFailed("a", ERROR, 1, 99.0))

    cancelled = Story({"a": [], "b": [], "c": []}).claim().start("a", "b").fail("b")
    cancelled.retry("b", 60).tell(p.PipelineCancelRequested())
    cancelled.tell(s.StepCancelled("a", 1, "abandoned"), p.PipelineCancelled())
    yielded = Story({"a": []}).claim().start("a").after(1)
    yielded.tell(s.StepCheckpointed("a", 1, "so far", completed("a").output))
    yielded.tell(p.PipelinePauseRequested(), s.StepYielded("a", 1, 1.5), p.PipelinePaused())
    yielded.after(60).tell(p.PipelineResumed(), started("a", 2), completed("a", 2))
    yielded.tell(p.PipelineCompleted((yielded.run.step("a").version,), 99.0))

    steps = {"fetch": [], "read": ["fetch"], "image": ["fetch"], "scan": ["image"]}
    steps["all"] = ["read", "scan"]
    options = {"image": {"when": "m:has_images"}, "all": {"resources": {"gpu": 1}}}
    policies, fallbacks = {"test": RetryPolicy(max_retries=1)}, {"test": "m:from_cache", "own": ""}
    fallback = Story(steps, options=options, policies=policies, fallbacks=fallbacks).claim()
    fallback.start("fetch").fail("fetch").retry("fetch", 1).after(1).start("fetch").after(1)
    fallback.fail("fetch").tell(s.StepFallbackScheduled("fetch"))
    fallback.tell(s.StepStarted("fetch", 3, "worker-1", fallback=True)).after(1).complete("fetch")
    fallback.start("image").tell(s.StepSkipped("image", "condition", attempt=1))
    fallback.tell(s.StepSkipped("scan", "condition", "image"))
    fallback.start("read").complete("read").tell(s.StepQueued("all")).after(1)
    inputs = (fallback.run.step("read").version, 0)
    granted = s.StepStarted("all", 1, "worker-1", inputs, "process", {"gpu": 1}, (0,))
    fallback.tell(granted).complete("all")
    fallback.tell(p.PipelineCompleted((fallback.run.step("all").version,), 99.0))
    return [
        (queued(), "queued"),
        (erased(), "erased"),
        (suspended(), "suspended"),
        (nested(), "nested"),
        (within(), "within"),
        (rolled_back(), "rolled-back"),
        (forked(), "forked"),
        (fallback, "fallback"),
        (yielded, "yielded"),
        (done, "completed"),
        (failed, "failed"),
        (cancelled, "cancelled"),
    ]


def forked() -> Story:
    """A run that begins with the output of another one, whose own output may serve again."""
    story = Story({"a": [], "b": ["a"]}, options={"b": {"cache": 60.0}}).claim()
    story.tell(s.StepReused("a", completed("a").output, "another", 4))
    story.tell(s.StepStarted("b", 1, "w", (3,), cache="known-by")).after(1)
    story.tell(s.StepCompleted("b", 1, completed("b").output, 1.0, cache="known-by"))
    return story.tell(p.PipelineCompleted((story.run.step("b").version,), 9.0))


def queued() -> Story:
    """A run in a queue: it fails, waits there again for somebody else, and its timers with it."""
    story = Story({"naps": [], "fails": []}, queue="nightly", priority=2).after(5)
    story.tell(p.PipelinePaused()).after(5).tell(p.PipelineQueued()).after(5)
    story.tell(p.PipelineResumed(), claim("engine-1"), epoch=2)
    story.tell(started("naps"), started("fails"), epoch=2).after(1)
    due = int(1_000_076 * SECOND)
    story.tell(s.StepSuspended("naps", 1, "1: sleep", 0.5, due), epoch=2)
    story.tell(s.StepFailed("fails", 1, ERROR), p.PipelineFailed("fails", ERROR), epoch=2).after(10)
    story.tell(p.PipelineQueued(), epoch=2).after(30)
    story.tell(p.PipelineResumed({"naps": due + 40 * SECOND}), claim("engine-2"), epoch=3)
    story.tell(started("fails", 2), completed("fails", 2), epoch=3).after(60)
    woken = s.StepWoken("naps", "1: sleep", value=NONE)
    story.tell(woken, started("naps", 2), completed("naps", 2), epoch=3)
    sinks = tuple(story.run.step(name).version for name in ("naps", "fails"))
    return story.tell(p.PipelineCompleted(sinks, 99.0), epoch=3)


def suspended() -> Story:
    """Handlers that slept and waited, through a pause, and past a deadline that a resume lifts."""
    story = Story({"sleeps": [], "hears": [], "patient": []}, deadline=int(1_000_200 * SECOND))
    story.claim().start("sleeps", "hears", "patient").after(1)
    due, late = int(1_000_061 * SECOND), int(1_000_031 * SECOND)
    story.tell(s.StepSuspended("sleeps", 1, "1: sleep", 0.5, due))
    story.tell(s.StepSuspended("hears", 1, "'yes': wait_for approve", 0.5, None, "approve"))
    story.tell(s.StepSuspended("patient", 1, "1: wait_for never", 0.5, late, "never"))
    sent, kept = (completed(name).output for name in ("sent", "kept"))
    story.tell(p.SignalReceived("approve", sent))
    story.tell(s.StepWoken("hears", "'yes': wait_for approve", "approve", sent)).start("hears")
    story.tell(
        s.StepItemCompleted("hears", 2, "1/a", sent), s.StepItemFailed("hears", 2, "b", ERROR)
    )
    story.tell(s.StepSuspended("hears", 2, "2: wait_for approve", 0.5, None, "approve"))
    story.tell(p.PipelinePauseRequested(), p.PipelinePaused()).after(10)
    story.tell(p.SignalReceived("approve", kept)).after(10)
    story.tell(p.PipelineResumed({"sleeps": due + 20 * SECOND, "patient": late + 20 * SECOND}))
    story.tell(s.StepWoken("hears", "2: wait_for approve", "approve", kept)).start("hears")
    story.complete("hears").after(40).tell(s.StepWoken("patient", "1: wait_for never"))
    story.start("patient").fail("patient").tell(p.PipelineFailed("patient", ERROR)).after(160)
    story.tell(claim("engine-2"), p.PipelineResumed({"sleeps": due + 180 * SECOND}), epoch=2)
    story.tell(p.PipelineDeadlineExceeded(), epoch=2)
    late_error = replace(ERROR, type="semantica.pipeline.DeadlineExceeded", category="timeout")
    story.tell(p.PipelineFailed("", late_error, 0), epoch=2).after(10)
    story.tell(p.PipelineResumed({"sleeps": due + 190 * SECOND}), started("patient", 3), epoch=2)
    woken = s.StepWoken("sleeps", "1: sleep", value=NONE)
    story.tell(
        completed("patient", 3), woken, started("sleeps", 2), completed("sleeps", 2), epoch=2
    )
    sinks = tuple(story.run.step(name).version for name in ("sleeps", "hears", "patient"))
    return story.tell(p.PipelineCompleted(sinks, 99.0), epoch=2)


class Erased(NamedTuple):
    """A run whose contents nobody can read any more."""

    store: MemoryStore
    run: Run


def erased() -> Erased:
    """A run that was encrypted: what it said, under names of its own, and its key, are gone."""
    story = Story({"a": [], "b": ["a"], "c": []}, on_failure="continue").claim()
    story.start("a").tell(s.StepProgressed("a", 1, 0.5, 1, "half of what nobody may know"))
    story.tell(s.StepCheckpointed("a", 1, "so far", completed("a").output)).complete("a")
    story.start("c").tell(s.StepSuspended("c", 1, "1: wait_for yes", 0.5, None, "yes"))
    story.tell(p.SignalReceived("yes", completed("a").output))
    story.tell(s.StepWoken("c", "1: wait_for yes", "yes", completed("a").output)).start("c")
    story.tell(s.StepItemCompleted("c", 2, "1/x", completed("a").output))
    story.complete("c").start("b").after(1).fail("b").tell(p.PipelineFailed("b", ERROR))
    kept, keys = MemoryStore(), MemoryKeys()
    encoding = encoding_of(keys.create("r").id)
    sealed = sealing(kept, lambda: keys)
    for e in story.store.read("run/r"):
        event = to_event(e)
        if isinstance(event, p.PipelineSubmitted):
            event = replace(event, encoding=encoding)
        batch = Batch(e.stream, e.version - 1, e.epoch, e.actor, e.at, [to_new(event, encoding)])
        assert sealed.append([batch]) == [None]
    row = kept.run("r")
    assert row is not None
    erase(sealed, row, actor="auditor/1", now=e.at + 60 * SECOND)
    return Erased(kept, load_run(kept, "r"))


INNER = define({"x": [], "y": ["x"]}, name="inner", x={"compensate": "m:undo"})
"""A pipeline that is a step."""


def nested() -> Story:
    """A step that is a pipeline: it fails within, is tried again, and undone in the end."""
    steps = {"clean": [], "bad": ["clean"]}
    options = {"clean": {"pipeline": INNER, "timeout": 60.0}}
    story = Story(steps, options=options, on_failure="rollback").claim().start("clean")
    story.tell(s.StepSuspended("clean", 1, "pipeline", 0.5, run="child")).after(5)
    error = replace(ERROR, path=("y",))
    story.tell(s.StepWoken("clean", "pipeline", ended=s.ChildEnd(error=error))).start("clean")
    story.tell(s.StepFailed("clean", 2, error)).retry("clean", 10).after(10).start("clean")
    story.tell(s.StepSuspended("clean", 3, "pipeline", 0.5, run="child")).after(5)
    outputs = {"y": completed("y").output}
    ended = s.ChildEnd(outputs, metrics={"documents": 2})
    story.tell(s.StepWoken("clean", "pipeline", ended=ended)).start("clean").complete("clean")
    story.start("bad").fail("bad").tell(p.PipelineRollbackStarted("bad", ERROR))
    story.tell(s.StepCompensationStarted("clean", 5, ""), claim("engine-2"), epoch=2).after(2)
    return story.tell(s.StepCompensated("clean", 5, 2.0), p.PipelineRolledBack(), epoch=2)


def within() -> Story:
    """The run of that step."""
    parent = p.Parent("r", "clean")
    story = Story({}, definition=INNER, parent=parent, deadline=int(1_000_060 * SECOND)).claim()
    story.start("x").complete("x").start("y").after(5).fail("y")
    story.tell(p.PipelineFailed("y", ERROR)).after(10)
    story.tell(p.PipelineResumed(deadline=int(1_000_075 * SECOND))).start("y").after(5)
    story.complete("y").tell(p.PipelineCompleted((story.run.step("y").version,), 99.0))
    story.tell(p.PipelineRollbackStarted(), claim("engine-2"), epoch=2)
    story.tell(s.StepCompensationStarted("x", 2, "w"), epoch=2).after(2)
    return story.tell(s.StepCompensated("x", 2, 2.0), p.PipelineRolledBack(), epoch=2)


def rolled_back() -> Story:
    """Undone after a failure, with a retry, an interruption, and a failure that is overcome."""
    steps = {"a": [], "b": ["a"], "c": ["b"], "fails": ["c"], "sleeps": [], "behind": ["fails"]}
    options = {name: {"compensate": "m:undo"} for name in "abc"}
    story = Story(steps, options=options, on_failure="rollback").claim()
    story.start("sleeps").tell(s.StepSuspended("sleeps", 1, "1: sleep", 0.5, int(9e15)))
    for name in "abc":
        story.start(name).after(1).complete(name)
    story.start("fails").fail("fails").tell(p.PipelineRollbackStarted("fails", ERROR))
    story.tell(s.StepCompensationStarted("c", 2, "w")).after(1)
    story.tell(s.StepCompensated("c", 2, 1.0), s.StepCompensationStarted("b", 2, "w")).after(1)
    retry = s.StepCompensationRetryScheduled("b", 2, ERROR, 1, 1.0, story.now + SECOND)
    story.tell(retry).after(1).tell(s.StepCompensationStarted("b", 3, "w"))
    story.tell(claim("engine-2"), s.StepInterrupted("b", 3), epoch=2)
    story.tell(s.StepCompensationStarted("b", 4, "w"), epoch=2)
    story.tell(s.StepCompensationFailed("b", 4, ERROR, 0.5), epoch=2)
    story.tell(p.PipelineRollbackFailed("b", ERROR), claim("engine-3"), epoch=3).after(60)
    story.tell(p.PipelineRollbackResumed(), s.StepCompensationStarted("b", 5, "w"), epoch=3)
    story.tell(s.StepCompensated("b", 5, 0.5), s.StepCompensationStarted("a", 2, "w"), epoch=3)
    return story.tell(s.StepCompensated("a", 2, 0.5), p.PipelineRolledBack(), epoch=3)


def line(envelope: Envelope) -> str:
    """An envelope as a line of JSON."""
    fields = {name: getattr(envelope, name) for name in envelope.__struct_fields__}
    fields |= {"payload": envelope.payload.decode(), "digest": envelope.digest.hex()}
    return json.dumps(fields, ensure_ascii=False)


def summary(run: Run) -> dict[str, object]:
    """What a history must fold to, in words that outlive the fold."""
    state = run.state
    return {
        "status": state.status,
        "version": state.version,
        "epoch": state.epoch,
        "owner": state.owner,
        "completed": state.completed,
        "failed": len(state.failed),
        "skipped": state.skipped,
        "cancelled": state.cancelled,
        "retried": state.retried,
        "metrics": state.metrics,
        "cause": state.cause and str(state.cause),
        "steps": {
            run.graph.name(i): [step.status, step.attempt] for i, step in enumerate(state.steps)
        },
    }


def main(prefix: str, *wanted: str) -> None:
    """Write the files; there must be none of these names."""
    for story, name in tell():
        if wanted and name not in wanted:
            continue
        lines = [line(envelope) for envelope in story.store.read("run/r")]
        with (HERE / f"{prefix}-{name}.jsonl").open("x") as file:
            file.write("\n".join(lines) + "\n")
        with (HERE / f"{prefix}-{name}.json").open("x") as file:
            json.dump(summary(story.run), file, indent=1)
            file.write("\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
