"""Lines: what handlers have said, kept beside the events of their run."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import msgspec
import pytest
from contract.conftest import STORES
from contract.runs import SECOND, batch, opening, started
from contract.test_retention import finished, stub
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from semantica.pipeline.events.errors import AppendRefused, LogError
from semantica.pipeline.events.lines import LEVELS, LogLine, Wanted, payload_of, said
from semantica.pipeline.events.sealed_store import as_stored
from semantica.pipeline.events.store import Store


def line(run: str = "r", event: str = "hello", **more: object) -> LogLine:
    fields = {"step": "a", "attempt": 1, "at": SECOND, "level": "info", **more}
    payload, encoding = payload_of({"event": event, "n": 1})
    return LogLine(run, payload=payload, encoding=encoding, **fields)  # type: ignore[arg-type]


def events(lines: object) -> list[str]:
    return [one.event for one in lines]  # type: ignore[attr-defined]


def test_lines_are_kept_as_they_were_said(store: Store) -> None:
    store.append([opening("r")])
    given = [line(), line(event="für\0", item="1/x", level="error", attempt=2, at=2**62)]
    store.append([], lines=given)
    kept = list(store.lines.read("r"))
    assert [replace(one, id=0) for one in kept] == given
    assert (kept[1].event, kept[1].fields) == ("für\0", {"n": 1})
    assert 0 < kept[0].id < kept[1].id


def test_lines_are_written_with_events_and_alone(store: Store) -> None:
    """Also with those that make the run."""
    store.append([opening("r")], lines=[line(event="one")])
    store.append([batch("r", 3, started("b"))], lines=[line(event="two"), line(event="three")])
    store.append([], lines=[line(event="four")])
    assert events(store.lines.read("r")) == ["one", "two", "three", "four"]


def test_a_refused_batch_costs_no_line(store: Store) -> None:
    """An attempt of a run that was taken over has said it all the same."""
    store.append([opening("r")])
    (refusal,) = store.append([batch("r", 7, started("b"))], lines=[line()])
    assert isinstance(refusal, AppendRefused)
    assert events(store.lines.read("r")) == ["hello"]


def test_lines_of_a_run_that_is_not_here_are_left_out(store: Store) -> None:
    store.append([opening("r")], lines=[line("other"), line()])
    assert events(store.lines.read("other")) == []
    head = finished(store, "s")
    store.append([], lines=[line("s")])
    assert store.retire(head, stub(head)) is None
    store.append([], lines=[line("s")])  # an attempt that was abandoned speaks
    assert events(store.lines.read("s")) == []
    assert events(store.lines.read("r")) == ["hello"]
    assert list(store.lines.heads(0)) == ["r"]


def test_lines_leave_with_their_run_and_are_nobody_elses(store: Store) -> None:
    for after, run in enumerate(("r", "s", "t")):  # whatever number a stream has, it is free again
        head = finished(store, run)
        store.append([], lines=[line(run, f"of {run}")])
        assert events(store.lines.read(run)) == [f"of {run}"]
        assert store.retire(head, stub(head, after)) is None
        assert store.lines.heads(0) == {} and store.lines.position() == 0


def test_an_id_is_never_given_twice(store: Store) -> None:
    head = finished(store, "r")
    store.append([], lines=[line()])
    ((_, seen),) = store.lines.heads(0).items()
    store.retire(head, stub(head))
    store.append([opening("s")], lines=[line("s")])
    assert store.lines.heads(seen)["s"] > seen, "who has seen that one is told of this one"


def test_who_follows_is_told_which_runs_have_said_more(store: Store) -> None:
    assert store.lines.heads(0) == {} and store.lines.position() == 0
    store.append([opening("r"), opening("s")], lines=[line("r"), line("s"), line("r")])
    heads = store.lines.heads(0)
    last = {run: list(store.lines.read(run))[-1].id for run in ("r", "s")}
    assert heads == last
    store.append([], lines=[line("s", "more")])
    seen = store.lines.position() - 1
    assert seen == max(heads.values())
    assert list(store.lines.heads(seen)) == ["s"]
    assert events(store.lines.read("s", after=heads["s"])) == ["more"]


def test_more_lines_than_fit_a_page(store: Store) -> None:
    store.append([opening("r")])
    store.append([], lines=[line(event=str(n)) for n in range(2500)])
    found = list(store.lines.read("r"))
    assert events(found) == [str(n) for n in range(2500)]
    assert events(store.lines.newest("r", 2)) == ["2498", "2499"]
    assert events(store.lines.newest("r", 2, before=found[5].id)) == ["3", "4"]
    assert events(store.lines.newest("r", 9, before=found[0].id)) == []


LINES = st.lists(
    st.builds(
        lambda step, attempt, level, at: (step, attempt, level, at),
        st.sampled_from("ab"),
        st.integers(1, 2),
        st.sampled_from(LEVELS),
        st.integers(1, 9),
    ),
    max_size=12,
)
WANTED = st.builds(
    Wanted,
    step=st.none() | st.sampled_from("abc"),
    attempt=st.none() | st.integers(1, 3),
    level=st.sampled_from(LEVELS),
    until=st.none() | st.integers(0, 9),
)


@pytest.mark.parametrize("kind", STORES)
def test_every_store_finds_the_lines_that_are_wanted(
    kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The same as a list that is searched."""
    folder = tmp_path_factory.mktemp("lines")
    store = STORES[kind](Path(folder))
    runs = (f"r{n}" for n in count())

    @given(LINES, WANTED, st.integers(0, 13), st.integers(0, 5))
    def check(told: list[tuple[str, int, str, int]], wanted: Wanted, place: int, most: int) -> None:
        run = next(runs)
        store.append([opening(run)])
        made = [
            line(run, str(n), step=step, attempt=attempt, level=level, at=at)
            for n, (step, attempt, level, at) in enumerate(told)
        ]
        store.append([], lines=made)
        every = list(store.lines.read(run))
        assert [replace(one, id=0) for one in every] == made
        fitting = [one for one in every if wanted.fits(one)]
        assert list(store.lines.read(run, wanted=wanted)) == fitting
        border = every[place].id if place < len(every) else 10**9
        assert list(store.lines.read(run, border, wanted)) == [
            one for one in fitting if one.id > border
        ]
        before = [one for one in fitting if one.id < border]
        assert store.lines.newest(run, most, border, wanted) == before[max(0, len(before) - most) :]

    check()
    store.close()


def test_a_line_that_cannot_be_read_says_so(store: Store) -> None:
    store.append([opening("r")])
    broken = [msgspec.structs.replace(line(), encoding="key-7"), replace(line(), payload=b"{")]
    as_stored(store).append([], lines=broken)
    sealed, damaged = store.lines.read("r")
    with pytest.raises(LogError, match="has the encoding 'key-7', which this version does not"):
        said(sealed)
    with pytest.raises(LogError, match="line 2 of run r is damaged"):
        said(damaged)
