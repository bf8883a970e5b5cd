"""Interrupted runs: killed, resumed to the bit, refused when they are of another run."""

import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from small_training import (
    CPU,
    RUN,
    STEPS,
    Dropping,
    dropping_network,
    loaders,
    network,
    same,
    shapes,
    without_seconds,
)
from torch.utils.data import DataLoader

from xai_course.models import ArticleNet, BeetleNet
from xai_course.storage import write_state
from xai_course.training import EarlyStopping, Epoch, fit

KILLED_AT = 15  # in the third epoch
KILLED = """
    import os, signal
    import torch
    from small_training import CPU, RUN, dropping_network, loaders
    from xai_course.training import fit
    torch.set_num_threads(1)
    def on_step(step, model):
        if step == {step}:
            os.kill(os.getpid(), signal.SIGKILL)
    fit(dropping_network(), RUN, *loaders(), checkpoint={checkpoint!r}, on_step=on_step, **CPU)
"""


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.end_to_end
@pytest.mark.usefixtures("one_thread")
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no kill -9 on this system")
def test_a_killed_run_resumes_to_the_same_bits(tmp_path):
    """A process of its own is killed; the network has BatchNorm's statistics and dropout."""
    checkpoint = tmp_path / "run"
    paths = [Path(__file__).parent, Path(__file__).parents[2], os.environ.get("PYTHONPATH", "")]
    killed = subprocess.run(
        [
            sys.executable,
            "-c",
            textwrap.dedent(KILLED.format(step=KILLED_AT, checkpoint=str(checkpoint))),
        ],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))},
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    steps = []
    resumed, whole = dropping_network(), dropping_network()
    history = fit(
        resumed,
        RUN,
        *loaders(),
        checkpoint=checkpoint,
        on_step=lambda step, _: steps.append(step),
        **CPU,
    )
    complete = KILLED_AT // STEPS  # epochs
    assert steps == list(range(STEPS * complete + 1, 19))
    assert without_seconds(history) == without_seconds(fit(whole, RUN, *loaders(), **CPU))
    assert same(resumed, whole)


@pytest.mark.parametrize("optimizer", [torch.optim.AdamW, partial(torch.optim.SGD, momentum=0.9)])
def test_an_interrupted_notebook_cell_is_resumed_with_the_model_it_has(tmp_path, optimizer):
    def interrupt(step, _):
        if step == 9:
            raise KeyboardInterrupt

    config = replace(RUN, optimizer=optimizer)
    model, whole = network(), network()
    with pytest.raises(KeyboardInterrupt):
        fit(model, config, loaders()[0], checkpoint=tmp_path / "run", on_step=interrupt, **CPU)
    assert not model.training
    fit(model, config, loaders()[0], checkpoint=tmp_path / "run", **CPU)
    fit(whole, config, loaders()[0], **CPU)
    assert same(model, whole)
    assert [file.name for file in tmp_path.iterdir()] == ["run.state.safetensors"]


def test_a_finished_run_is_read_and_not_trained_again(tmp_path):
    first, again = network(), network(seed=9)
    options = {**CPU, "checkpoint": tmp_path / "run"}
    history = fit(first, RUN, *loaders(), **options)
    assert fit(again, RUN, *loaders(), on_step=pytest.fail, **options) == history
    assert same(first, again)
    assert all(isinstance(e, Epoch) for e in history)


def test_a_run_that_stopped_early_is_read_and_not_trained_on(tmp_path):
    options = {**CPU, "checkpoint": tmp_path / "run", "stop": EarlyStopping(accuracy=0.01)}
    history = fit(network(), RUN, *loaders(), **options)
    assert len(history) == 1
    assert fit(network(seed=9), RUN, *loaders(), on_step=pytest.fail, **options) == history


OTHER = {
    "seed": {"seed": 6},
    "epochs": {"epochs": 4},
    "augment": {"augment": None},
    "label_smoothing": {"label_smoothing": 0.1},
    "schedule": {"schedule": None},
    "optimizer": {"learning_rate": 0.02},
}


def test_the_state_of_another_run_is_refused_by_name(tmp_path):
    config = replace(RUN, epochs=1)
    options = {**CPU, "checkpoint": tmp_path / "run"}
    train, test = loaders()
    fit(network(), config, train, test, **options)
    saved = (tmp_path / "run.state.safetensors").read_bytes()
    for name, change in OTHER.items():
        with pytest.raises(ValueError, match=rf"another training run \(.*{name}: .* now"):
            fit(network(), replace(config, **change), train, test, **options)
    with pytest.raises(ValueError, match=r"another training run \(stop: 'None' .*patience=2"):
        fit(network(), config, train, test, stop=EarlyStopping(patience=2), **options)
    wider = BeetleNet(classes=3, depth=3, width=5)
    for model in (wider, ArticleNet(3), Dropping()):
        with pytest.raises(ValueError, match=r"another training run \(model: "):
            fit(model, config, train, test, **options)
    data = shapes(96, 8)
    with pytest.raises(ValueError, match=r"another training run \(data: "):
        fit(network(), config, DataLoader(data, 16, shuffle=True), test, **options)
    assert (tmp_path / "run.state.safetensors").read_bytes() == saved


def test_a_damaged_state_is_refused_by_name(tmp_path):
    config = replace(RUN, epochs=1)
    options = {**CPU, "checkpoint": tmp_path / "run"}
    fit(network(), config, loaders()[0], **options)
    file = tmp_path / "run.state.safetensors"
    whole = file.read_bytes()
    flipped = whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:]
    lied = whole.replace(b'train_accuracy\\":', b'train_accuracx\\":', 1)
    assert lied != whole
    for damaged in (b"", whole[:50], whole[:-1], flipped, lied):
        file.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"run\.state\.safetensors: .*(damaged|readable)"):
            fit(network(), config, loaders()[0], **options)


@pytest.mark.parametrize("facts", [{}, {"settings": 3, "history": [], "optimizer": {}}])
def test_a_state_of_something_else_is_refused(tmp_path, facts):
    write_state(tmp_path / "run.state.safetensors", {"model.weight": torch.zeros(2)}, facts)
    with pytest.raises(ValueError, match=r"run\.state\.safetensors: not the state of a training"):
        fit(network(), RUN, *loaders(), checkpoint=tmp_path / "run", **CPU)


def test_persistent_workers_cannot_be_resumed(tmp_path):
    train = DataLoader(shapes(8, 1), 4, num_workers=1, persistent_workers=True)
    with pytest.raises(ValueError, match="persistent_workers"):
        fit(network(), RUN, train, checkpoint=tmp_path / "run", **CPU)


def test_only_the_first_process_keeps_the_state(tmp_path, monkeypatch):
    monkeypatch.setattr("xai_course.training.state.rank_and_world_size", lambda: (1, 2))
    fit(network(), RUN, loaders()[0], checkpoint=tmp_path / "run", **CPU)
    assert not list(tmp_path.iterdir())
