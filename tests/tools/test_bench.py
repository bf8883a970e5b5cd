"""The benchmark: its turns and ratios by hand, memory by hand, what it writes. Nothing is timed."""

import gc
import json
import sys

import pytest
import torch

from tools.lessons.outputs import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))

from report import END, START, agreement, fastest, machine, readme_table, text_table, write
from timing import peak_memory, ratio, take_turns


def peer(name="captum", ratio=0.9, agreement=1e-7, note=""):
    return {
        "name": name,
        "ratio": ratio,
        "quartiles": None if ratio is None else [ratio - 0.1, ratio + 0.1],
        "agreement": agreement,
        "note": note,
    }


def row(method="gradient", network="A, 2 × 8 px", peers=()):
    return {
        "network": network,
        "method": method,
        "turns": 4,
        "seconds": 0.0123,
        "peak_mb": 4.5,
        "passes": "forward, backward",
        "floor_ratio": 1.04,
        "floor_quartiles": [1.0, 1.1],
        "peers": list(peers),
    }


def results(methods, measures=()):
    return {
        "machine": machine(2),
        "date": "2026-11-25",
        "methods": methods,
        "measures": list(measures),
    }


# ------------------------------------------------------------------ turns


def test_of_any_two_each_is_called_first_in_half_of_the_turns():
    order = []
    calls = {name: lambda name=name: order.append(name) for name in "abc"}
    take_turns(calls, 12)
    turns = [order[k : k + 3] for k in range(0, 36, 3)]
    assert all(sorted(turn) == ["a", "b", "c"] for turn in turns)
    for first, second in ("ab", "bc", "ac"):
        assert sum(turn.index(first) < turn.index(second) for turn in turns) == 6


def test_each_call_gets_the_time_that_passed_during_it():
    now = [0.0]

    def takes(seconds):
        return lambda: now.__setitem__(0, now[0] + seconds)

    seconds = take_turns({"ours": takes(3), "bare": takes(2)}, 4, clock=lambda: now[0])
    assert seconds == {"ours": [3] * 4, "bare": [2] * 4}
    assert ratio(seconds["ours"], seconds["bare"]) == (1.5, [1.5, 1.5])


def test_a_ratio_is_taken_within_a_turn():
    # The machine is ten times as slow in the last turn, for both sides alike.
    middle, (low, high) = ratio([1, 2, 3, 20], [2, 2, 2, 20])
    assert (low, middle, high) == (0.875, 1, 1.125)
    assert ratio([3], [2]) == (1.5, [1.5, 1.5])


def test_garbage_collection_is_on_again_after_an_exception():
    def fails():
        raise KeyError

    with pytest.raises(KeyError):
        take_turns({"a": fails}, 1)
    assert gc.isenabled()


def test_peak_memory_by_hand():
    def call():
        a = torch.zeros(250_000)  # 1 MB
        b = a + 1  # 2
        del a  # 1
        c = b * 2  # 2
        d = torch.zeros(500_000)  # 4
        del b, c, d

    assert peak_memory(call) == pytest.approx(4, abs=0.001)
    assert peak_memory(lambda: None) == 0


# ------------------------------------------------------------------ report


def test_what_needs_no_pass_has_no_floor():
    none = row() | {"floor_ratio": None, "floor_quartiles": None, "passes": "no pass"}
    assert text_table(none).endswith("MB  no pass")
    line = readme_table(results([none]), {}).splitlines()[2]
    assert line.endswith("| no pass |")


def test_agreement_by_hand():
    theirs = torch.tensor([2.0, -4.0])
    assert agreement(torch.tensor([2.0, -3.0]), theirs) == 0.25
    assert agreement(torch.zeros(2), torch.zeros(2)) == 0
    with pytest.raises(ValueError, match="shapes differ"):
        agreement(torch.zeros(2), torch.zeros(3))


def test_the_fastest_peer_is_one_that_ran():
    raised = peer("zennit", None, None, "raises TypeError: no rule")
    assert fastest(row(peers=[peer("captum", 0.8), peer("torchcam", 1.2), raised]))["name"] == (
        "torchcam"
    )
    assert fastest(row(peers=[raised])) is None
    assert fastest(row()) is None


def test_the_text_table_shows_every_peer():
    raised = peer("zennit", None, None, "raises TypeError: no rule")
    text = text_table(row(peers=[peer(), peer("other", 0.5, None, "other noise"), raised]))
    assert "12.3 ms" in text
    assert "1.04 (1.00 to 1.10) × forward, backward" in text
    assert "0.90 (0.80 to 1.00)  apart 1e-07" in text
    assert "0.50 (0.40 to 0.60)  other noise" in text
    assert "raises TypeError: no rule" in text


def test_the_readme_table_has_a_line_a_method_and_three_cells_a_network():
    methods = [
        row(peers=[peer()]),
        row("lrp, gamma", peers=[peer("zennit", 0.7, 0.94, "sums unseen")]),
        row("lrp, gamma", "B, 2 × 9 px", [peer("captum", None, None, "raises TypeError")]),
        row("smooth_grad", peers=[peer("captum", 1.0, None, "other noise")]),
    ]
    text = readme_table(results(methods, [row("infidelity")]), {"lrp": "it takes a second pass."})
    table, about, note = text.split("\n\n")
    lines = table.splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert lines[2] == "| `gradient` | 0.90 captum | 1e-07 | 1.04 |  |  |  |"
    assert lines[3] == (
        "| `lrp`, gamma | 0.70 zennit | **9e-01** sums unseen | 1.04 | captum raises |  | 1.04 |"
    )
    assert lines[4] == "| `smooth_grad` | 1.00 captum | other noise | 1.04 |  |  |  |"
    assert lines[6] == "| `infidelity` | no peer |  | 1.04 |  |  |  |"
    assert "2026-11-25" in about
    assert note == "- lrp: it takes a second pass."


def test_writing_changes_what_stands_between_the_markers_alone(tmp_path):
    readme, path = tmp_path / "README.md", tmp_path / "results.json"
    readme.write_text(f"before\n{START}\nold\n{END}\nafter\n", "utf-8")
    found = results([row(peers=[peer()])])
    for _ in range(2):  # writing twice gives the same
        write(found, {}, path, readme)
        assert json.loads(path.read_text("utf-8")) == found
        text = readme.read_text("utf-8")
        assert text.startswith(f"before\n{START}\n| |")
        assert text.endswith(f"\n{END}\nafter\n")
        assert "old" not in text


@pytest.mark.parametrize("text", ["nothing", START, END + START, START + START + END])
def test_a_readme_without_its_markers_is_refused_and_nothing_written(tmp_path, text):
    readme, path = tmp_path / "README.md", tmp_path / "results.json"
    readme.write_text(text, "utf-8")
    with pytest.raises(ValueError, match=r"README\.md"):
        write(results([row()]), {}, path, readme)
    assert readme.read_text("utf-8") == text
    assert not path.exists()


def test_the_machine_is_described_without_its_name():
    import platform

    about = machine(2)
    assert about["threads"] == 2
    assert torch.__version__.startswith(about["torch"].partition("+")[0])
    assert platform.node() not in json.dumps(about)


# ------------------------------------------------------------------ peers


@pytest.mark.end_to_end
def test_every_peer_runs_or_says_why_not_and_the_model_stays(monkeypatch):
    import bench
    import cost
    import peers as peers_module
    from bench import measure
    from cost import cases, methods
    from peers import peers

    for module in (cost, peers_module):  # few steps are enough to see whether two agree
        monkeypatch.setattr(module, "STEPS", 4)
    # What measures exactly takes most of the time, and is tested above.
    monkeypatch.setattr(bench, "peak_memory", lambda call: 0.0)
    monkeypatch.setattr(gc, "collect", lambda: 0)
    case = next(iter(cases(small=True)))
    before = {name: value.clone() for name, value in case.model.state_dict().items()}
    rivals = peers(case)
    assert rivals.keys() >= methods(case).keys()  # the copies are measured on larger networks
    raised = set()
    for name, ours in methods(case).items():
        found = measure(case, name, ours, rivals[name], turns=1)
        for each in found["peers"]:
            if each["ratio"] is None:
                raised.add((name, each["name"]))
            elif each["agreement"] is not None and not each["note"]:
                assert each["agreement"] < 1e-5, (name, each)
    assert raised == {("lrp", "captum")}  # which has no rule for nn.Identity
    assert not any(module._forward_hooks for module in case.model.modules())
    for name, value in case.model.state_dict().items():
        assert torch.equal(value, before[name])
