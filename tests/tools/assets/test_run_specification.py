"""The command that sums all maps: what it runs, and what it leaves out."""

import sys
from types import SimpleNamespace

import pytest

from tools.assets import run_specification
from xai_course.experiments import FAMILIES


def called(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["run_specification", *words])
    monkeypatch.setattr(run_specification.os, "nice", lambda _: None, raising=False)
    monkeypatch.setattr(run_specification.torch, "set_num_threads", lambda _: None)
    run_specification.main()


def test_each_network_has_a_file_of_its_own_and_its_world(monkeypatch, tmp_path, capsys):
    calls = []

    def measure(network, family, model, scenes, *, methods, file, tile, on_method):
        assert methods is None
        assert tile == 1
        calls.append((network, family, model, len(scenes), bool(scenes[0].clutter), file))
        on_method(network, "LRP")
        return SimpleNamespace(refused={"last block": "no residual sum"})

    monkeypatch.setattr(run_specification, "measure_sums", measure)
    monkeypatch.setattr(run_specification, "network_of", lambda name: name.upper())
    called(monkeypatch, "beetle_net", "beetle_net_clutter_seeds/seed_1", "--target", str(tmp_path))
    seed = "beetle_net_clutter_seeds/seed_1"
    assert calls == [
        ("beetle_net", "BeetleNet", "BEETLE_NET", 100, False, tmp_path / "beetle_net.npz"),
        (seed, "clutter", seed.upper(), 100, True, tmp_path / f"{seed.replace('/', '_')}.npz"),
    ]
    said = capsys.readouterr().out
    assert "beetle_net: LRP" in said
    assert "last block does not apply (no residual sum)" in said


def test_a_network_without_checkpoint_is_named_and_left_out(monkeypatch, tmp_path, capsys):
    def missing(name):
        raise ValueError(f"{name}.json: missing")

    monkeypatch.setattr(run_specification, "network_of", missing)
    called(monkeypatch, "--target", str(tmp_path))
    said = capsys.readouterr().out.splitlines()
    assert len(said) == sum(map(len, FAMILIES.values()))
    assert all("left out" in line for line in said)
    assert not list(tmp_path.iterdir())


def test_unknown_networks_are_refused(monkeypatch, capsys):
    with pytest.raises(SystemExit):
        called(monkeypatch, "beetle_net", "bee_net")
    assert "no network is called bee_net" in capsys.readouterr().err
