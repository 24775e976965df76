"""Runs within runs, whatever is asked of whichever of them, and whenever their process dies."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from invariants import check_log

from semantica.pipeline import Context, Pipeline, PipelineBuilder, PipelineStep, RetryPolicy
from semantica.pipeline.projections.catchup import load_run
from semantica.pipeline.testing import SimulatedEngine

ASKED = ["pause", "resume", "stop", "cancel"]
SOON = RetryPolicy(max_retries=1, initial_delay=3)

moves = st.one_of(
    st.tuples(st.sampled_from(ASKED), st.integers(0, 2)),
    st.tuples(st.just("signal"), st.integers(0, 2)),
    st.tuples(st.just("wait"), st.sampled_from([1, 4, 30])),
    st.tuples(st.just("crash"), st.just(0)),
)


def pipeline(executed: Counter[Any], fails: set[str]) -> Pipeline:
    def work(data: int, step: PipelineStep, context: Context) -> int:
        if step.name in ("b", "d"):
            context.sleep(5)
            context.wait_for("go", timeout=20)
        executed[context.run_id, step.name] += 1
        if step.name in fails:
            raise ConnectionError("down")
        return data + 1

    def undo(output: int) -> None:
        executed["undone"] += 1

    def builder(*names: str) -> PipelineBuilder:
        made = PipelineBuilder()
        for name in names:
            made.add_step(name, "t", handler=work, compensate=undo, retry=SOON)
        return made

    middle = builder("c").add_step("deep", pipeline=builder("a", "b").build("deep"), retry=SOON)
    middle.add_step("d", "t", handler=work, compensate=undo)
    return builder("e").add_step("middle", pipeline=middle.build("middle")).build("outer")


def check(engine: SimulatedEngine) -> None:
    """What runs and the steps that they are promise one another."""
    store = engine._open().store
    rows = {row.run_id: row for row in store.runs()}
    for row in rows.values():
        if row.parent is None or not row.status.active:
            continue
        around = rows[row.parent]
        assert around.status.active, f"{row.status} within what is {around.status}"
        assert (row.owner, row.epoch) == (around.owner, around.epoch)
        state = load_run(store, row.parent).state
        undone = any(step.child == row.run_id for step in state.steps) and state.undo
        assert row.run_id in state.delegated.values() or undone


@settings(max_examples=40, deadline=None)
@given(
    done=st.lists(moves, max_size=12),
    fails=st.sets(st.sampled_from(["b", "d"])),
    on_failure=st.sampled_from(["stop", "continue", "rollback"]),
)
def test_runs_within_runs_agree_whatever_happens(
    done: list[tuple[str, int]], fails: set[str], on_failure: Any
) -> None:
    executed: Counter[Any] = Counter()
    made = pipeline(executed, fails)
    with SimulatedEngine() as engine:
        run = engine.execute_pipeline_async(made, 1, run_id="r", on_failure=on_failure).run_id
        engine.advance(1)
        for what, which in done:
            ids = [row.run_id for row in reversed(engine.runs())]
            one = ids[which % len(ids)]
            if what == "wait":
                engine.advance(which)
            elif what == "crash":
                engine.crash()
                engine.recover(pipeline=made)
            elif what == "signal":
                engine.signal(one, "go", 1)
            else:
                getattr(engine, f"{what}_pipeline")(one)
            engine.advance(0)
            check(engine)
        for _ in range(8):  # in peace it ends
            for row in reversed(engine.runs()):
                if row.status in ("paused", "stopped"):
                    engine.resume_pipeline(row.run_id)
            engine.advance(200)
        check(engine)
        status = engine.get_status(run)
        assert status.finished, status
        types = {e.type for row in engine.runs() for e in engine.history(row.run_id)}
        if status == "completed":
            assert not fails
            assert all(row.status in ("completed", "cancelled") for row in engine.runs())
        if "PipelineCancelRequested" in {e.type for e in engine.history(run)}:
            assert status in ("cancelled", "rolled_back")
        assert on_failure == "rollback" or "PipelineRollbackStarted" not in types
        check_log(engine._open().store)
