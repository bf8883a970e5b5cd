# %% [markdown]
# ## 6. When one process is not enough
#
# A larger network, more epochs, ten thousand explanations: at some point one process is too slow. And a run of hours meets
# another trouble: somewhere in it a process dies. `torchrun`, which comes with PyTorch, takes care of both. It starts a
# script several times, tells each copy its number (its *rank*), and starts all of them again when one dies.
#
# Two jobs, of very different kinds. In **training**, the processes must agree after every step. In **explaining**, no
# image needs to know of another.
#
# Here is lesson 02's training as a script (`scripts/train.py`), and what changes for several processes
# (`scripts/train_many.py`). Look at the two lines that replace others: they are the method, the rest is good manners.

# %%
import difflib

scripts = data_folder().parent / "scripts"
one, many = ((scripts / name).read_text("utf-8") for name in ("train.py", "train_many.py"))
diff = list(difflib.unified_diff(one.splitlines(), many.splitlines(), lineterm="", n=0))[2:]
changes = "\n".join(line for line in diff if not line.startswith("@@") and '"""' not in line)
display(Code(changes, language="diff"))

# %% [markdown]
# - `share=(rank, world)`: both processes draw the *same* order of the images. Of each batch of 32, one takes every second
#   image, the other the rest. So the batch that counts stays 32, whatever the number of processes, and so does the learning rate.
# - `DistributedDataParallel`: each process has the whole network. After its backward pass, the **mean of their gradients** is
#   taken over the network (the cable) and every process makes the same step. Weights never travel, after the first moment.
# - One process shows the bar, keeps the state of the run and saves the result; all of them read that state when they start.
# - `timeout`: who waits for a process that is gone gives up after two minutes, and the engine starts all of them again.
#
# ### The identity
#
# The gradient of a batch's mean loss is the mean of the gradients of its two halves:
#
# $$\nabla \frac{1}{32}\sum_{i=1}^{32} \ell_i \;=\; \frac12\left(\nabla \frac{1}{16}\sum_{i\ \text{odd}} \ell_i + \nabla \frac{1}{16}\sum_{i\ \text{even}} \ell_i\right).$$
#
# Two processes then take the very steps of one. True, if an image's loss depends on that image alone. Does it?

# %%
from xai_course.data import loader

x, y = next(iter(loader(DrawnScenes("train", 40, size=32), 32, shuffle=True)))
torch.manual_seed(0)
model = BeetleNet(width=8).double()


def slope(which):
    """Gradient of the mean loss of some images by all weights, in one row."""
    loss = torch.nn.functional.cross_entropy(model(x[which].double()), y[which])
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])


for mode in ("eval", "train"):
    getattr(model, mode)()
    whole, odd, even = slope(slice(None)), slope(slice(0, None, 2)), slope(slice(1, None, 2))
    apart = (whole - (odd + even) / 2).norm() / whole.norm()
    print(f"BatchNorm in {mode:5} mode: they differ by {apart:.0e} of the gradient")

# %% [markdown]
# ### Where it breaks
#
# BatchNorm subtracts the mean *of the batch that it sees* (lesson 02, bug 9), and a process sees 16 images instead of 32. So two
# processes train a slightly different network. `SyncBatchNorm` would take the means over all processes. It works on GPUs only, and
# makes every BatchNorm layer wait for all processes, twice a step. With 16 images to each process we leave it out. (Running means
# and variances are the first process's. With 2 images to a process, one would need it.) Networks without BatchNorm take the steps
# of one process up to rounding; a test holds them against each other.
#
# ### Explaining, with a kill in the middle
#
# Now the other job: `scripts/explain_many.py` explains scenes into a folder of **shards**, files of a fixed number of explanations. Each
# process takes the next shard that nobody has claimed. A claim is a lock of the operating system, which opens when its holder dies.
# A shard is written under another name and renamed when it is whole. `manifest.json` says what was asked for and lists the finished
# shards with their SHA-256. We start it, wait for a few shards, **read them while it runs, and kill one of the two processes**.

# %%
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from xai_course.shards import explain_shards, open_shards, read_manifest

folder = Path(tempfile.mkdtemp()) / "explanations"
engine = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=3"]
options = [scripts / "explain_many.py", folder, "--scenes=200", "--per-shard=10", "--method=LRP"]
job = subprocess.Popen(
    [sys.executable, *engine, *options],
    stdout=subprocess.PIPE,
    stderr=subprocess.DEVNULL,
    text=True,
)
started = [job.stdout.readline().split() for _ in range(2)]  # "process 1 is 4242"
while not (folder / "manifest.json").exists() or len(read_manifest(folder)["shards"]) < 4:
    time.sleep(0.02)
early = {path: path.stat().st_mtime_ns for path in folder.glob("0*.safetensors")}
first = next(open_shards(folder))
os.kill(int(started[1][3]), getattr(signal, "SIGKILL", signal.SIGTERM))  # kill -9
print(f"read while it runs: shard {first.number}, relevance {tuple(first.relevance.shape)}")
print(f"its first scene: {first.items[0]}; then process 1 was killed")

# %% [markdown]
# The engine sees that a process is gone, ends the other one too, and starts both again. They find the folder and go on. Was
# anything lost? Was anything made twice? And would one process, here in the notebook, have written the same bits?

# %%
from xai_course.beetles import Scene
from xai_course.checkpoints import load_checkpoint
from xai_course.grading import course_methods

job.wait()
again = sum(path.stat().st_mtime_ns != written for path, written in early.items())
got = [Scene(**item) for shard in open_shards(folder) for item in shard.items]
by_species = [scenes("extra", name, 20) for name in names]
wanted = [scene for group in zip(*by_species, strict=True) for scene in group]
print(
    f"the engine ended with exit code {job.returncode}; {len(set(got))} scenes of {len(wanted)} are there"
)
print(f"every scene once and in order: {got == wanted}")
print(f"shards that were there before the kill and were written again: {again}")

# %%
beetle_net, _ = load_checkpoint(data_folder() / "checkpoints" / "beetle_net")
alone, threads = folder.with_name("alone"), torch.get_num_threads()
torch.set_num_threads(1)  # as the script has it: the last bits depend on it
explain_shards(alone, beetle_net, course_methods()["LRP"], wanted, per_shard=10, progress=False)
torch.set_num_threads(threads)
files = sorted(folder.glob("*.safetensors"))
same = sum((alone / path.name).read_bytes() == path.read_bytes() for path in files)
print(f"files that equal those of one process to the bit: {same} of {len(files)}")

# %% [markdown]
# What the kill did cost: the shards that the two processes were at, one each, were begun again, and the seconds in which Python starts.
# **The smaller the shard, the less is lost; the larger, the fewer files.** Training is resumed in the same way, from the state
# after its last whole epoch, and ends with the weights it would have had, to the bit (with two processes; a test kills one).
#
# Reading takes the memory of one shard, however many there are: `for shard in open_shards(folder): ...`.
#
# ### Is it worth it? Measured, and on paper
#
# Measured beforehand, each row a command of its own: lesson 02's training, three seeds, and 10,000 scenes explained by LRP. The
# fair opponent of two processes is one process with *two threads*: it uses the same two cores, and needs no second script.

# %%
from xai_course.processes import processes

rows = processes(file=tables / "processes.csv", progress=False)
table = "| job | processes × threads | images a second | whole command | accuracy |\n|---|---|---|---|---|"
speed = {}
for what, count, threads in dict.fromkeys((r["job"], r["processes"], r["threads"]) for r in rows):
    own = [r for r in rows if (r["job"], r["processes"], r["threads"]) == (what, count, threads)]
    speed[what, count, threads] = sum(r["images"] / r["working"] for r in own) / len(own)
    table += f"\n| {what} | {count} × {threads} | {speed[what, count, threads]:.0f} | "
    table += f"{sum(r['seconds'] for r in own) / len(own):.0f} s | "
    table += ", ".join(f"{r['accuracy']:.1%}" for r in own) + " |"
display(Markdown(table))
for what in ("train", "explain"):
    two = speed[what, 2, 1]
    print(
        f"{what:7}: two processes are {two / speed[what, 1, 1]:.2f} times as fast as one,", end=" "
    )
    print(f"{two / speed[what, 1, 2]:.2f} times as fast as one with two threads")

# %% [markdown]
# *Images a second* leaves the start of Python out; *whole command* has it, and two processes start it three times (the
# engine is a Python program, too). Compare the accuracies down the rows with those along a row: what the second process changes,
# its own batch statistics and other mirrored images, is to be held against what another seed changes.
#
# What would several machines change, or GPUs? Two numbers decide, and both can be worked out before anything is bought. In each step a
# process **computes** its share of the batch, a forward and a backward pass (about three forward passes), and it **sends** its share of the
# mean. The usual way is a ring: each process passes pieces to its neighbour, and sends in all
#
# $$2\,\frac{w-1}{w} \times 4\ \text{bytes} \times \text{weights}$$
#
# for $w$ processes. That hardly grows with $w$, while the share of the work shrinks. So there is an end to it.

# %%
from torchvision.models import resnet50

with torch.device("meta"):  # shapes without numbers: enough to count
    big = resnet50()
    networks = {  # weights, multiplications for an image, images in a batch
        "BeetleNet": (count_weights(BeetleNet()), 1e6 * multiplications(BeetleNet()), 32),
        "ResNet-50": (count_weights(big), 1e6 * multiplications(big) * (224 / 64) ** 2, 256),
    }
core = 3 * networks["BeetleNet"][1] * speed["train", 1, 1]  # multiplications a second, measured
places = {  # network, multiplications a second in each process, bytes a second between them
    "1 Gbit/s, CPUs": ("BeetleNet", core, 1e9 / 8),
    "1 Gbit/s": ("ResNet-50", 1e13, 1e9 / 8),
    "25 Gbit/s": ("ResNet-50", 1e13, 25e9 / 8),
    "NVLink": ("ResNet-50", 1e13, 450e9),
}
counts, shares = [1, 2, 4, 8, 16, 32], {"explaining": [1.0] * 6}
print(f"{'8 processes':27}{'compute':>12}{'send':>11}{'which takes':>14}")
for link, (name, rate, bytes_a_second) in places.items():
    weights, multiply, batch = networks[name]
    work = [3 * multiply * batch / w / rate for w in counts]  # seconds
    sent = [2 * (w - 1) / w * 4 * weights for w in counts]  # bytes
    print(f"{name + ', ' + link:27}{1e3 * work[3]:9.1f} ms{sent[3] / 1e6:8.1f} MB", end="")
    print(f"{1e3 * sent[3] / bytes_a_second:11.1f} ms")
    if name == "ResNet-50":
        both = [a + b / bytes_a_second for a, b in zip(work, sent, strict=True)]
        shares[link] = [both[0] / b / w for b, w in zip(both, counts, strict=True)]

# %%
show.figure(
    show.lines(
        shares,
        counts,
        title="The cable decides whether more GPUs help",
        x_label="processes, of one GPU each",
        y_label="share of the ideal speed",
        log_x=True,
    ),
    alt="Four falling or level lines over 1 to 32 processes: explaining stays at 1, NVLink nearly so, 25 Gbit/s falls to about a seventh, 1 Gbit/s drops at once to almost nothing.",
    caption="On paper, for training ResNet-50 with batches of 256. Ideal: w processes are w times as fast.",
)
worse = [w for w, share in zip(counts, shares["1 Gbit/s"], strict=True) if w > 1 and share * w < 1]
print(f"over 1 Gbit/s, slower than a single GPU with {', '.join(map(str, worse))} processes")

# %% [markdown]
# The same GPUs, the same network, the same number of bytes: only the cable differs. Two more things follow from the two numbers.
# **A larger batch helps**, since the work grows with it and the bytes do not (but it is another training: the rate must be chosen anew).
# And **explaining scales anywhere**, because nothing travels. There the disk is what may end it: an explanation of 3 × 64 × 64 numbers in
# 32 bits is 49 kB, so 10,000 are half a gigabyte; in 16 bits (`--half`), half of it.
#
# The GPU's 10¹³ multiplications a second is a third of what an H100's data sheet gives for 32-bit numbers, and NVLink's 450 GB/s is one
# direction of its 900 (NVIDIA, *H100 Tensor Core GPU*, 2022); change them to yours. PyTorch also sends the first gradients while the last
# are still being computed, which hides part of the time (Li et al. 2020).
#
# On **several machines** the scripts stay as they are. `torchrun` is started on each, with `--nnodes=2 --rdzv-backend=c10d
# --rdzv-endpoint=HOST:29400` in place of `--standalone`, and the folder lies on a disk that all of them see and that can lock. On **GPUs**,
# one process for each; `init_process_group` then takes NCCL in place of Gloo by itself. Bits are the same for the same kind of machine only.
# We had neither, so this paragraph is on paper too.
