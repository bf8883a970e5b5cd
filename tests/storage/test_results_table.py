"""Experiments kept in a table: what is on file is not run again, and nothing is half-written."""

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from xai_course.storage import run_trials

TRIALS = [{"kind": kind, "size": size} for kind in ("a", "b") for size in (1, 2)]


def area(kind, size):
    """A trial whose process can be told from others."""
    return {"area": size**2 + (kind == "b") / 3, "process": os.getpid()}


def double(number):
    return {"double": 2 * number, "process": os.getpid()}


def run_some(file, first, last):
    """Run trials on a file, from another process."""
    trials = [{"number": number} for number in range(first, last)]
    return run_trials(trials, double, file, progress=False)


@pytest.mark.end_to_end
def test_two_processes_on_one_file_lose_no_row(tmp_path):
    file = tmp_path / "t.csv"
    shares = [(0, 20), (10, 30), (25, 40)]
    with ProcessPoolExecutor(3, get_context("spawn")) as pool:
        made = [pool.submit(run_some, file, *share) for share in shares]
        returned = [rows.result() for rows in made]
    on_file = run_trials([{"number": n} for n in range(40)], Counting(0), file, progress=False)
    assert [row["double"] for row in on_file] == [2 * n for n in range(40)]
    assert len({row["process"] for row in on_file}) > 1
    for (first, last), rows in zip(shares, returned, strict=True):
        assert rows == on_file[first:last]  # what another was faster with is taken from the file
    assert list(tmp_path.iterdir()) == [file]


class Counting:
    def __init__(self, fails_at=None):
        self.seen, self.fails_at = [], fails_at

    def __call__(self, kind, size):
        if len(self.seen) == self.fails_at:
            raise KeyboardInterrupt
        self.seen.append((kind, size))
        return {"area": size**2, "sign": kind == "a", "note": "x, y", "ratio": size / 3}


def test_rows_are_settings_and_results_in_the_order_of_the_trials():
    rows = run_trials(TRIALS, Counting(), progress=False)
    assert [(row["kind"], row["size"], row["area"]) for row in rows] == [
        ("a", 1, 1),
        ("a", 2, 4),
        ("b", 1, 1),
        ("b", 2, 4),
    ]


def test_what_is_on_file_is_not_done_again_and_reads_back_to_the_bit(tmp_path, capsys):
    file, first, second = tmp_path / "new" / "t.csv", Counting(), Counting()
    made = run_trials(TRIALS, first, file)
    text = file.read_bytes()
    assert run_trials(TRIALS, second, file) == made
    assert second.seen == []
    assert file.read_bytes() == text
    assert "4 trials: 0 run now, the others were on file" in capsys.readouterr().out
    assert [path.name for path in file.parent.iterdir()] == ["t.csv"]


def test_a_run_that_was_stopped_is_resumed(tmp_path):
    file, stopped, after = tmp_path / "t.csv", Counting(fails_at=2), Counting()
    with pytest.raises(KeyboardInterrupt):
        run_trials(TRIALS, stopped, file, progress=False)
    rows = run_trials(TRIALS, after, file, progress=False)
    assert stopped.seen + after.seen == [("a", 1), ("a", 2), ("b", 1), ("b", 2)]
    assert rows == run_trials(TRIALS, Counting(), progress=False)


def test_rows_of_other_trials_stay_and_the_order_is_that_of_the_call(tmp_path):
    file = tmp_path / "t.csv"
    run_trials(TRIALS[2:], Counting(), file, progress=False)
    middle = Counting()
    run_trials(TRIALS[1:3], middle, file, progress=False)
    assert middle.seen == [("a", 2)]
    lines = file.read_text("utf-8").splitlines()
    assert [line.split(",")[:2] for line in lines[1:]] == [["a", "2"], ["b", "1"], ["b", "2"]]


@pytest.mark.end_to_end
def test_workers_are_other_processes_and_give_the_same(tmp_path):
    file = tmp_path / "t.csv"
    rows = run_trials(TRIALS, area, file, workers=2, progress=False)
    assert os.getpid() not in {row["process"] for row in rows}
    assert [row["area"] for row in rows] == [area(**trial)["area"] for trial in TRIALS]
    assert run_trials(TRIALS, area, file, progress=False) == rows


def fails(kind, size):
    if kind == "b":
        raise RuntimeError("no beetle")
    return {"area": size}


@pytest.mark.end_to_end
@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_comes_through_and_what_was_done_is_kept(tmp_path, workers):
    file = tmp_path / "t.csv"
    with pytest.raises(RuntimeError, match="no beetle"):
        run_trials(TRIALS, fails, file, workers=workers, progress=False)
    if workers == 1:  # of two, the other may not have been through when the error came
        kept = Counting()
        with pytest.raises(ValueError, match=r"^run: got the results .*; must be the same names"):
            run_trials(TRIALS, kept, file, progress=False)
        assert kept.seen[0][0] == "b"


@example(0.0, '""')  # the text of two quotes, which JSON would read as an empty text
@example(0.0, "[]")
@given(
    st.floats(),
    st.one_of(st.integers(), st.booleans(), st.text("ab,'\"\n é", max_size=5)),
)
def test_every_plain_value_comes_back(tmp_path_factory, number, setting):
    file = tmp_path_factory.mktemp("t") / "t.csv"
    trials = [{"setting": setting}]

    def run(setting):
        return {"number": number}

    made = run_trials(trials, run, file, progress=False)
    assert repr(run_trials(trials, run, file, progress=False)) == repr(made)


@pytest.mark.parametrize(
    "trials",
    [
        [],
        [{"a": 1}, {"b": 1}],
        [{"a": 1}, {"a": 1}],
        [{"a": (1, 2)}],
        [{"a": None}],
        [{"a": "1.5"}],
        [{"a": "true"}],
    ],
)
def test_trials_that_cannot_be_kept_are_refused(trials):
    with pytest.raises(ValueError, match=r"^trials: .*must be"):
        run_trials(trials, Counting())
    with pytest.raises(ValueError, match=r"^workers: got 0; must be"):
        run_trials(TRIALS, Counting(), workers=0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "other,size,area\na,1,1\n",
        "kind,size,area\na,1\n",
        "kind,size,area\na,1," + "[" * 100_000,
    ],
)
def test_a_file_of_another_experiment_is_refused_and_left_as_it_was(tmp_path, text):
    file = tmp_path / "t.csv"
    file.write_text(text, "utf-8")
    with pytest.raises(ValueError, match=r"^file: got .*t\.csv, which cannot be resumed"):
        run_trials(TRIALS, Counting(), file)
    assert file.read_text("utf-8") == text
