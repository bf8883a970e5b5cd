"""The two commands and the lists they install from."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools.lessons.outputs import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
REQUIREMENTS = [
    Requirement(text)
    for text in [
        *PROJECT["dependencies"],
        *(text for extra in PROJECT["optional-dependencies"].values() for text in extra),
    ]
]
LOCK = (ROOT / "requirements.lock").read_text("utf-8").splitlines()

needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")
needs_shell = pytest.mark.skipif(not os.path.exists("/bin/sh"), reason="there is no shell here")


# --- lists ----------------------------------------------------------------------------------------


def test_the_lock_is_names_and_versions():
    assert len(LOCK) > 100
    for line in LOCK:
        assert re.fullmatch(r"[a-z0-9-]+==[0-9][\w.]*( ; [^:/]+)?", line), line


def test_the_lock_pins_every_dependency_within_its_bounds():
    pins = [line.split(" ; ")[0].split("==") for line in LOCK]
    for requirement in REQUIREMENTS:
        name = canonicalize_name(requirement.name)
        versions = [version for pinned, version in pins if pinned == name]
        assert versions, f"{name} is not in requirements.lock: run `make lock`"
        for version in versions:  # one for each Python, where they differ
            assert version in requirement.specifier, f"{requirement} against {version}"


def test_the_lock_takes_the_newest_oracle_that_each_python_can_run():
    assert [line for line in LOCK if line.startswith("zennit==")] == [
        "zennit==0.5.1 ; python_full_version < '3.11.11'",
        "zennit==1.0.0 ; python_full_version >= '3.11.11'",
    ]
    assert len([line for line in LOCK if line.startswith("shap==")]) == 2


def test_the_lock_leaves_other_systems_alone():
    for line in LOCK:
        if line.startswith(("nvidia-", "cuda-", "triton")):
            assert "sys_platform == 'linux'" in line, line


def test_every_dependency_says_why_it_is_there():
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    for requirement in REQUIREMENTS:
        assert re.search(rf'"{re.escape(requirement.name)}>=[\d.]+(; [^"]+)?",?\s+# \S+', text), (
            requirement
        )


def test_what_the_package_imports_is_declared():
    declared = {canonicalize_name(Requirement(text).name) for text in PROJECT["dependencies"]}
    distributions = packages_distributions()
    brought = {"ipython"}  # by ipywidgets
    extra = PROJECT["optional-dependencies"]["report"]  # without it the command says what it needs
    for_report = {canonicalize_name(Requirement(text).name) for text in extra}
    for path in (ROOT / "xai_course").rglob("*.py"):
        known = declared | brought
        if path == ROOT / "xai_course" / "report" / "__main__.py":
            known |= for_report
        for module in modules_imported(path.read_text("utf-8")) - sys.stdlib_module_names:
            owners = {canonicalize_name(name) for name in distributions.get(module, [])}
            assert module == "xai_course" or owners & known, f"{path.name}: {module}"


def modules_imported(source):
    """The packages that a file imports from, anywhere in it."""
    nodes = list(ast.walk(ast.parse(source)))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [
        node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) and not node.level
    ]
    return {name.split(".")[0] for name in names}


def test_environment_yml_repeats_nothing():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))
    python, pip, rest = environment["dependencies"]
    assert python == f"python{PROJECT['requires-python']}"
    assert pip == "pip"
    assert rest == {"pip": ["-c requirements.lock", "-e ."]}
    assert environment["channels"] == ["conda-forge"]


# --- make -----------------------------------------------------------------------------------------


@needs_make
def test_make_alone_lists_the_targets():
    result = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True)
    targets = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert targets is not None
    for target in targets[1].split():
        assert re.search(rf"^  {target} +\w", result.stdout, re.MULTILINE), target


@needs_make
def test_both_commands_install_from_the_lock_when_the_environment_is_missing():
    for target, installed in (("lab", '-e "."'), ("test", '-e ".[test]"')):
        command = ["make", "-n", target, "VENV=/nowhere/.venv"]
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        assert f"-c requirements.lock {installed}" in result.stdout
        assert "tools/find_python.sh" in result.stdout


def fake_python(folder, name, status, minor=12):
    """A command that answers the probe of find_python.sh: its version and path, an exit status."""
    path = folder / name
    answer = f'echo "{minor} found {name}"'
    path.write_text(f"#!/bin/sh\n[ {status} = 0 ] && {answer}\nexit {status}\n")
    path.chmod(0o755)


def find_python(folder, **environment):
    command = ["/bin/sh", str(ROOT / "tools" / "find_python.sh")]
    environment = {"PATH": str(folder), **environment}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@needs_shell
def test_a_python_that_is_new_enough_is_found(tmp_path):
    fake_python(tmp_path, "python3", 1)  # too old
    fake_python(tmp_path, "python3.13", 2)  # without venv
    fake_python(tmp_path, "python3.12", 0)
    result = find_python(tmp_path)
    assert (result.returncode, result.stdout) == (0, "found python3.12\n")


@needs_shell
def test_the_newest_python_that_runs_is_taken(tmp_path):
    fake_python(tmp_path, "python3", 0, minor=11)
    fake_python(tmp_path, "python3.11", 0, minor=11)
    fake_python(tmp_path, "python3.12", 0, minor=12)
    fake_python(tmp_path, "python3.13", 127)  # a shim of pyenv: "command not found"
    assert find_python(tmp_path).stdout == "found python3.12\n"
    versions = tmp_path / "pyenv" / "versions" / "3.13.0" / "bin"
    versions.mkdir(parents=True)
    fake_python(versions, "python3", 0, minor=13)
    assert find_python(tmp_path).stdout == "found python3.12\n"
    environment = {"PYENV_ROOT": str(tmp_path / "pyenv")}
    (versions / "python3").write_text("#!/bin/sh\necho '13 found in pyenv'\n")
    assert find_python(tmp_path, **environment).stdout == "found in pyenv\n"


@needs_shell
def test_without_a_python_the_reader_is_told_what_to_do(tmp_path):
    nothing = find_python(tmp_path)
    assert (nothing.returncode, nothing.stdout) == (1, "")
    assert "No Python 3.11 or newer was found" in nothing.stderr
    fake_python(tmp_path, "python3", 2)
    no_venv = find_python(tmp_path)
    assert no_venv.returncode == 1
    assert "cannot make virtual environments" in no_venv.stderr
    fake_python(tmp_path, "my python", 1)
    named = find_python(tmp_path, PYTHON=str(tmp_path / "my python"))
    assert named.returncode == 1
    assert "my python is not a Python 3.11 or newer" in named.stderr


@needs_shell
def test_a_named_python_is_taken(tmp_path):
    fake_python(tmp_path, "python3", 0)
    fake_python(tmp_path, "my python", 0)
    assert find_python(tmp_path, PYTHON=str(tmp_path / "my python")).stdout == "found my python\n"


# --- what must not be in any file -----------------------------------------------------------------

# Written in two pieces, so that this file does not hold them itself.
FORBIDDEN = [
    "pypi" + r"\.org",
    "python" + r"hosted\.org",
    "download" + r"\.pytorch\.org",
    "anaconda" + r"\.(?:org|com)",
    "registry" + r"\.npmjs",
    r"(?<![\w.~/…])/(?:ro" + "ot|ho" + "me|Us" + r"ers|wo" + r"rk)/\w",
    r"[A-Z]:\\" + r"Users\\",
]


def tracked_files():
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listing.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listing.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_no_file_names_a_registry_or_a_path_of_one_machine():
    pattern = re.compile("|".join(FORBIDDEN))
    for path in tracked_files():
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue
        found = pattern.search(text)
        assert found is None, f"{path.relative_to(ROOT)} holds {found[0] if found else ''!r}"


@pytest.mark.parametrize(
    "text", ["/ro" + "ot/x", "see /ho" + "me/ann/x", "https://py" + "pi.org/p"]
)
def test_such_text_would_be_found(text):
    assert re.search("|".join(FORBIDDEN), text)


# --- help in Chinese ------------------------------------------------------------------------------


def test_the_chinese_help_names_every_target_in_order():
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = re.findall(r"^([a-z-]+):.*## ", makefile, re.M)
    helped = (ROOT / "tools" / "help.zh.txt").read_text("utf-8")
    assert re.findall(r"^  ([a-z-]+) +\S", helped, re.M) == targets
    for line in helped.splitlines()[3:]:
        assert re.search(r"[\u3400-\u9fff]", line), line


@needs_make
@pytest.mark.parametrize(
    ("language", "words"), [("zh_CN.UTF-8", "打开课程"), ("en_GB.UTF-8", "opens the course")]
)
def test_make_help_speaks_the_reader_s_language(language, words):
    settings = {name: value for name, value in os.environ.items() if not name.startswith("L")}
    done = subprocess.run(
        ["make", "help"],
        cwd=ROOT,
        env=settings | {"LANG": language},
        capture_output=True,
        check=True,
    )
    assert words in done.stdout.decode("utf-8")
