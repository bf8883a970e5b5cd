"""A channel between two threads: calls both ways, derivatives, errors, and what is sent instead."""

import json
import socket
import struct
import threading

import pytest
import torch

from tools.grading.channel import Channel, Died, Ended


def refuse(value):
    raise TypeError(f"value: got {type(value).__name__}")


@pytest.fixture
def ends():
    """A judge's end, and the socket of the other end."""
    here, there = socket.socketpair()
    with here, there:
        yield Channel(here, refuse, refuse, most=10_000, seconds=5), there


def serve(there, *functions):
    """Serve these functions at the other end, in a thread; return that end."""
    channel = Channel(there, refuse, refuse)
    channel.functions = list(functions)

    def run():
        try:
            while True:
                channel.send(channel.serve(channel.receive()))
        except (Ended, OSError):
            pass

    threading.Thread(target=run, daemon=True).start()
    return channel


def test_a_call_and_a_call_back(ends):
    channel, there = ends
    channel.functions = [lambda x: x + 1]
    other = serve(there, lambda x: 10 * other.call(0, [x]))
    assert channel.call(0, [4]) == 50


def test_derivatives_pass_both_ways(ends):
    channel, there = ends
    channel.functions = [torch.sin]
    other = serve(there, lambda x, y: other.call(0, [x]) * y)
    x, y = torch.tensor([0.3, 2.0], requires_grad=True), torch.tensor([2.0, 3.0])
    result = channel.call(0, [x, y])
    assert torch.equal(result, x.sin() * y)
    (found,) = torch.autograd.grad(result.sum(), x)
    assert torch.allclose(found, x.cos() * y)


def test_an_input_may_be_changed_in_place_and_a_constant_has_no_derivative(ends):
    channel, there = ends
    serve(there, lambda x: x.mul_(2), lambda x: torch.ones(2), lambda x: (x, 1))
    x = torch.ones(2, requires_grad=True)
    assert torch.autograd.grad(channel.call(0, [x]).sum(), x)[0].tolist() == [2, 2]
    assert not channel.call(1, [x]).requires_grad
    assert channel.call(2, [x])[1] == 1


@pytest.mark.parametrize("kind", [ValueError, NotImplementedError, MemoryError, KeyError, OSError])
def test_an_error_keeps_its_name_and_words(ends, kind):
    channel, there = ends

    def fail():
        raise kind("why")

    serve(there, fail)
    with pytest.raises(Exception) as caught:  # noqa: PT011 - the name is compared
        channel.call(0, [])
    assert type(caught.value).__name__ == kind.__name__
    assert str(caught.value) == str(kind("why"))


def test_no_such_function(ends):
    channel, there = ends
    serve(there)
    with pytest.raises(Exception, match="index"):
        channel.call(0, [])


def send(there, message):
    """Send bytes, or a value as a message."""
    if not isinstance(message, bytes):
        text = json.dumps(message).encode()
        message = struct.pack("!I", len(text)) + text
    there.sendall(message)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (b"\x00\x00\x00\x03yes", "cannot be read"),
        ([1], "no message"),
        ({"reply": {"kind": "pickle"}}, "cannot be read"),
        (struct.pack("!I", 10_001), "too large"),
        ({"stop": "SystemExit", "words": "3"}, "it stopped with SystemExit: 3"),
    ],
)
def test_what_is_no_answer_ends_the_exercise(ends, message, words):
    channel, there = ends
    send(there, message)
    with pytest.raises(Ended, match=words):
        channel.call(0, [])


@pytest.mark.parametrize("message", [b"", b"\x00", struct.pack("!I", 99) + b"{"])
def test_the_time_is_over_however_much_has_come(message):
    here, there = socket.socketpair()
    with here, there:
        channel = Channel(here, refuse, refuse, seconds=0.05)
        send(there, message)
        with pytest.raises(Ended, match=r"did not end within 0\.05 seconds"):
            channel.call(0, [])
        with pytest.raises(Ended, match=r"did not end within 0\.05 seconds"):
            channel.call(0, [])  # nor is there more time for the next call


def test_an_end_that_does_not_read_ends_the_exercise():
    here, there = socket.socketpair()
    with here, there:
        channel = Channel(here, refuse, refuse, seconds=0.05)
        with pytest.raises(Ended, match="did not end"):
            channel.call(0, [torch.zeros(1_000_000)])


def test_an_end_that_is_closed(ends):
    channel, there = ends
    there.close()
    with pytest.raises(Died):
        channel.call(0, [])


def test_requests_that_are_none_get_an_error_as_the_reply(ends):
    channel, there = ends
    for request in ({}, {"call": 7, "arguments": []}, {"derive": 0, "by": 1}, {"call": "x"}):
        send(there, request)
    send(there, {"reply": 1})
    assert channel.call(0, []) == 1
    there.settimeout(5)
    replies = there.recv(10_000)
    assert replies.count(b'"error"') == 4
