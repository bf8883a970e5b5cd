"""Dishonest answers to exercises of the course: each computes something wrong, and reaches around.

CHEATS: (lesson, check, code); the code binds `answer`. What an honest learner with the same wrong
result is told, the cheat is to be told as well.
"""

WRONG = (
    "def answer(inputs, grad): return grad * (inputs > 0)\n"  # the gradient's rule, not the guided
)

REPLY = """
import gc, json, os, socket, stat, struct, sys, threading, time, torch

def sockets():
    for number in range(3, 64):
        try:
            if stat.S_ISSOCK(os.fstat(number).st_mode):
                yield number
        except OSError:
            pass

def write(data):
    for number in sockets():
        os.write(number, data)

def message(value):
    text = json.dumps(value).encode()
    return struct.pack("!I", len(text)) + text
"""

# Those that were reported to get full marks; the check is that of guided backpropagation.
REPORTED = {
    "abs inherited by every tensor": "import torch\ntorch.Tensor.abs = lambda s: s * 0\n" + WRONG,
    "a function mode left active": """
import torch
from torch.overrides import TorchFunctionMode

class Nothing(TorchFunctionMode):
    def __torch_function__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        return result * 0 if getattr(function, "__name__", "") == "abs" else result

def answer(inputs, grad):
    result = grad * (inputs > 0)
    Nothing().__enter__()
    return result
""",
    "other defaults of close": """
import torch

def answer(inputs, grad):
    torch.sys.modules["xai_course.exercises.asking"].close.__defaults__ = (1e9,)
    return grad * (inputs > 0)
""",
    "another operator in PyTorch's library": """
import torch

library = torch.library.Library("aten", "IMPL")
library.impl("abs", lambda x: torch.zeros_like(x), "CPU")
"""
    + WRONG,
    "inputs set to 0 through the frames of a traceback": """
import torch

def answer(inputs, grad):
    try:
        raise ValueError
    except ValueError as error:
        frame = error.__traceback__.tb_frame
    while frame is not None:
        for value in frame.f_locals.values():
            if isinstance(value, torch.Tensor):
                value.zero_()
        frame = frame.f_back
    return torch.zeros(2, 6, 5, 5)
""",
}
# More of the kind.
PATCHES = {
    "another json": "import json\njson.dumps = lambda *a, **b: 'null'\n" + WRONG,
    "another close, wherever it is": """
import gc
def answer(inputs, grad):
    for found in gc.get_objects():
        if type(found).__name__ == "function" and found.__name__ in ("close", "ask_tensor"):
            found.__code__ = (lambda *a, **b: True).__code__
    return grad * (inputs > 0)
""",
    "another check in its module": """
import sys
for name in list(sys.modules):
    if name.startswith("xai_course"):
        sys.modules[name].check_guided = sys.modules[name].close = lambda *answer: True
"""
    + WRONG,
    "another NumPy and other built-ins": """
import builtins, numpy, torch
numpy.frombuffer = lambda *a, **b: None
builtins.abs = builtins.float = lambda *a: 0
torch.isfinite = lambda *a: torch.tensor(True)
"""
    + WRONG,
    "a tensor that agrees with everything": """
import torch
class Agrees(torch.Tensor):
    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        return torch.tensor(0.0)
    def detach(self): return self
    def __eq__(self, other): return True
def answer(inputs, grad):
    return torch.zeros(2, 6, 5, 5).as_subclass(Agrees)
""",
    "a feedback in place of an answer": """
class Feedback:
    status, words = "yes", "All is well."
def answer(inputs, grad): return Feedback()
""",
    "an error that praises": """
class Praise(Exception):
    status, words = "yes", "All is well."
def answer(inputs, grad): raise Praise("yes")
""",
    "a reply of its own": REPLY
    + """
def answer(inputs, grad):
    write(message({"reply": {"kind": "object", "name": "Feedback", "items": None}}))
    return grad * (inputs > 0)
""",
    "a verdict where the answers go": REPLY
    + """
def answer(inputs, grad):
    write(message({"number": 1, "status": "yes", "words": ""}))
    return grad * (inputs > 0)
""",
    "a reply that is no message": REPLY
    + "def answer(inputs, grad):\n    write(struct.pack('!I', 3) + b'yes')\n    time.sleep(60)",
    "a pickle as the reply": REPLY
    + """
import base64, pickle
class Run:
    def __reduce__(self): return (print, ("yes",))
def answer(inputs, grad):
    data = base64.b64encode(pickle.dumps(Run())).decode()
    write(message({"reply": {"kind": "pickle", "data": data}}))
    time.sleep(60)
""",
    "a reply too large": REPLY
    + "def answer(inputs, grad):\n    write(struct.pack('!I', 2**32 - 1) + bytes(99))\n"
    "    time.sleep(60)",
    "a reply too deep": REPLY
    + "def answer(inputs, grad):\n    text = b'[' * 99999 + b']' * 99999\n"
    "    write(struct.pack('!I', len(text)) + text)\n    time.sleep(60)",
    "a call of a function that there is not": REPLY
    + "def answer(inputs, grad):\n    write(message({'call': 0, 'arguments': []}))\n"
    "    return grad * (inputs > 0)",
    "a thread and a handler that go on": REPLY
    + """
import atexit
def forge():
    while True:
        write(message({"reply": True}))
        time.sleep(0.001)
atexit.register(forge)
def answer(inputs, grad):
    threading.Thread(target=forge, daemon=True).start()
    return grad * (inputs > 0)
""",
    "a copy of the process that answers, too": "import os\ndef answer(inputs, grad):\n"
    "    os.fork()\n    return grad * (inputs > 0)",
    "the process ended early": "import os\ndef answer(inputs, grad): os._exit(0)",
    "the end of the program": "def answer(inputs, grad): raise SystemExit(0)",
    "inputs written down before": """
import torch
calls = []
def answer(*given):
    torch.manual_seed(len(calls))
    calls.append(given)
    inputs, grad = torch.randn(2, 6, 5, 5), torch.randn(2, 6, 5, 5)
    return grad * (inputs > 0) * (grad > 0)
""",
}
# Exercises whose check passes on more than tensors.
OTHERS = {
    "gradients of a list set to 0": (
        "11",
        "check_gradient_of_batch",
        "def answer(gradients, counts):\n    for g in gradients: g.zero_()\n"
        "    return gradients[0]",
    ),
    "weights of the network set to 0": (
        "07",
        "check_lens",
        "import torch\ndef answer(x, branches, head):\n"
        "    for p in [*head.parameters(), *(p for b in branches for p in b.parameters())]:\n"
        "        p.data.zero_()\n    return torch.zeros(5, 4, 3)",
    ),
    "weights read out of a function": (
        "01",
        "check_interaction",
        "def answer(logit, scene, first, other):\n    for cell in logit.__closure__:\n"
        "        getattr(cell.cell_contents, 'zero_', int)()\n    return 0.0",
    ),
    "another scene": (
        "01",
        "check_interaction",
        "def answer(logit, scene, first, other):\n"
        "    object.__setattr__(scene, 'species', 'Ellipsa_polita')\n"
        "    return 0.0 * logit(scene)",
    ),
    "passes that are not counted": (
        "10",
        "check_cheap",
        "import torch\nfrom torch.nn.modules import module\nmodule._global_forward_hooks.clear()\n"
        "def answer(model, images):\n    model._forward_hooks.clear()\n"
        "    model.forward.__func__.__defaults__ = None\n    found = []\n"
        "    for image in images:\n        x = image[None].clone().requires_grad_()\n"
        "        found.append(torch.autograd.grad(model.forward(x).max(), x)[0])\n"
        "    return torch.cat(found)",
    ),
    "memory that is not measured": (
        "11",
        "check_item",
        "import tracemalloc\nfrom xai_course.beetlebox import SPECIES\n"
        "tracemalloc.get_traced_memory = lambda: (0, 0)\n"
        "def answer(index, per_species):\n"
        "    every = [(n, i) for n in SPECIES for i in range(min(per_species, 10000))]\n"
        "    return list(SPECIES)[index // per_species], index % per_species",
    ),
    "a measure of memory that is ended": (
        "11",
        "check_item",
        "import tracemalloc\nfrom xai_course.beetlebox import SPECIES\n"
        "def answer(index, per_species):\n    tracemalloc.stop()\n"
        "    return list(SPECIES)[index // per_species], index % per_species",
    ),
    "results from nowhere": (
        "14",
        "check_go_on",
        "def answer(run, items, size):\n    run.room = 99\n    run.asked.clear()\n"
        "    return [item * item for item in items]",
    ),
    "a number equal to everything": (
        "14",
        "check_coin",
        "class Equal(float):\n    def __eq__(self, other): return True\n"
        "    def __sub__(self, other): return 0.0\n    __rsub__ = __sub__\n"
        "def answer(hits, n): return Equal(0.5)",
    ),
    "a derivative that lies": (
        "12",
        "check_passed",
        "import torch\nclass Lie(torch.autograd.Function):\n    @staticmethod\n"
        "    def forward(ctx, x): return x.clone()\n    @staticmethod\n"
        "    def backward(ctx, grad): return grad * 2\n"
        "def answer(defence, pixels):\n    with torch.no_grad(): values = defence(pixels)\n"
        "    return Lie.apply(pixels) + (values - pixels).detach()",
    ),
}
CHEATS = {
    name: ("05", "check_guided", code) for name, code in (REPORTED | PATCHES).items()
} | OTHERS
