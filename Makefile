# Two commands matter: `make lab` opens the course, `make test` checks all of it.
# Works with GNU make 3.81 (macOS) and later; needs a shell and Python 3.11 or newer.

VENV := .venv
BIN := $(VENV)/bin
# Not empty where the reader's language is Chinese, as `xai_course.core.translation` decides it.
CHINESE := $(filter zh%,$(firstword $(LANG_COURSE) $(LC_ALL) $(LC_MESSAGES) $(LANG)))
LESSONS_FIRST := $(or $(if $(CHINESE),$(wildcard notebooks/zh/00_start_here.ipynb)),notebooks/00_start_here.ipynb)
LATER_NOTEBOOKS := $(wildcard notebooks/solutions/0[89]*.ipynb notebooks/solutions/1*.ipynb)
CONSTRAINTS := -c requirements.lock
# LANGUAGE=zh asks for Chinese; the variable of this name that gettext reads does not.
IN_LANGUAGE = $(if $(findstring command,$(origin LANGUAGE)),--language "$(LANGUAGE)")
INSTALL = $(BIN)/python -m pip install --disable-pip-version-check $(CONSTRAINTS)
PYTEST = LANG_COURSE=en OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder \
    --nbval-lax --nbval-current-env --nbval-cell-timeout=600 $(PYTEST_FLAGS)

# The kernels that this environment brings come before any that the user has installed elsewhere.
export JUPYTER_PREFER_ENV_PATH := 1

.DEFAULT_GOAL := help
.PHONY: help messages lab explorer report test test-end-to-end test-all test-newest coverage mutants lint format notebooks chinese checkpoints grades experiments specification bench sweep networks site student teacher slides grade wheelhouse lock clean distclean

help: ## list the targets
	@case "$${LANG_COURSE:-$${LC_ALL:-$${LC_MESSAGES:-$$LANG}}}" in \
	zh*) cat tools/help.zh.txt ;; \
	*) echo "make lab    opens the course"; \
	    echo "make test   runs the tests and the notebooks 00 to 07"; \
	    echo; \
	    awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' Makefile ;; \
	esac

# --- set-up ---------------------------------------------------------------------------------------
# A stamp file says what was installed from which lists. An existing .venv is kept, with what is in
# it: PyTorch's CPU build, installed beforehand, stays.

$(BIN)/python:
	@python=$$(sh tools/find_python.sh) || exit 1; \
	echo "$(if $(CHINESE),正在建立 $(VENV)：$$python,Making $(VENV) with $$python)"; \
	"$$python" -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/.%-ready: $(BIN)/python pyproject.toml requirements.lock
	@$(BIN)/python -m pip --version > /dev/null 2>&1 || $(BIN)/python -m ensurepip
	@echo "$(if $(CHINESE),正在安装课程$(if $(filter-out lab,$*),以及 \`make $*\` 需要的东西)；第一次要几分钟。,Installing the course$(if $(filter-out lab,$*), and what \`make $*\` needs); the first time takes some minutes.)"
	$(INSTALL) -e ".$(if $(filter-out lab,$*),[$*])"
	@touch $(VENV)/.lab-ready $@

# --- for readers ----------------------------------------------------------------------------------

lab: $(VENV)/.lab-ready ## open the course in JupyterLab (PORT=8899, LAB_FLAGS=... if needed)
	@flags=""; \
	if [ "$$(id -u)" = 0 ]; then flags="--allow-root --no-browser"; \
	elif [ -n "$$SSH_CONNECTION" ]; then flags="--no-browser"; \
	elif [ "$$(uname)" != Darwin ] && [ -z "$$DISPLAY$$WAYLAND_DISPLAY" ]; then flags="--no-browser"; fi; \
	if [ -n "$(PORT)" ]; then flags="$$flags --port=$(PORT)"; fi; \
	echo "$(if $(CHINESE),正在启动 JupyterLab，下面是它的地址，带令牌（token）。按 Ctrl-C 停止。,Starting JupyterLab; its address with the token follows. Ctrl-C stops it.)"; \
	exec $(BIN)/python -m jupyterlab --LabApp.default_url=/lab/tree/$(LESSONS_FIRST) $$flags $(LAB_FLAGS)

explorer: $(VENV)/.app-ready ## open the explorer alone, without notebooks (PORT=8866, EXPLORER_FLAGS=...)
	@flags=""; \
	if [ "$$(id -u)" = 0 ] || [ -n "$$SSH_CONNECTION" ] \
	    || { [ "$$(uname)" != Darwin ] && [ -z "$$DISPLAY$$WAYLAND_DISPLAY" ]; }; then flags="--no-browser"; fi; \
	if [ -n "$(PORT)" ]; then flags="$$flags --port=$(PORT)"; fi; \
	echo "$(if $(CHINESE),正在启动探索器，下面是它的地址。按 Ctrl-C 停止。,Starting the explorer; its address follows. Ctrl-C stops it.)"; \
	exec $(BIN)/python -m voila apps/explorer.ipynb --Voila.config_file_paths=apps $$flags $(EXPLORER_FLAGS)

MODEL_MAY_BE = MODEL may also be timm:NAME, a checkpoint, or FILE.py:FUNCTION; see lesson 14.
MODEL_MAY_BE_ZH = MODEL 还可以是 timm:NAME、一个检查点，或 FILE.py:FUNCTION；见第 14 课。
report: $(if $(and $(MODEL),$(IMAGES)),$(VENV)/.report-ready) ## explain a folder with a network of yours, into one page (MODEL=... IMAGES=...)
	@if [ -z "$(MODEL)" ] || [ -z "$(IMAGES)" ]; then \
	    echo "make report MODEL=torchvision:resnet50 IMAGES=photos [OUT=runs/report] [LABELS=names.txt] [METHODS=...] [LANGUAGE=zh]" >&2; \
	    echo "$(if $(CHINESE),$(MODEL_MAY_BE_ZH),$(MODEL_MAY_BE))" >&2; exit 2; fi
	$(BIN)/python -m xai_course.report --model "$(MODEL)" --images "$(IMAGES)" \
	    $(if $(OUT),--out "$(OUT)") $(if $(LABELS),--labels "$(LABELS)") $(if $(METHODS),--methods "$(METHODS)") \
	    $(IN_LANGUAGE)

test: $(VENV)/.test-ready ## run the tests and the notebooks 00 to 07 (about eight minutes on two quiet cores)
	$(PYTEST) -m "not heavy and not end_to_end" $(wildcard notebooks/solutions/0[0-7]*.ipynb) tests

test-end-to-end: $(VENV)/.test-ready ## notebooks 08 to 15, site, slides, browser, grading, several processes, copied code
	$(if $(LATER_NOTEBOOKS),$(PYTEST) $(LATER_NOTEBOOKS))
	$(PYTEST) -m "end_to_end and not heavy" tests

test-all: $(VENV)/.test-ready ## all of these, full-size networks, and both editions of every notebook, in both languages
	$(PYTEST) $(wildcard notebooks/*.ipynb) $(wildcard notebooks/solutions) tests
	$(if $(wildcard notebooks/zh),$(subst LANG_COURSE=en,LANG_COURSE=zh,$(PYTEST)) --nbval-sanitize-with tools/lessons/columns.cfg notebooks/zh)

# --- for teachers (TEACHING.md); LANGUAGE=zh makes each in Chinese --------------------------------

student: $(VENV)/.lab-ready ## make the student's edition: stubs and checks, nothing solved (build/student; LANGUAGE=zh)
	$(BIN)/python -m tools.classroom.editions student $(IN_LANGUAGE)

teacher: $(VENV)/.lab-ready ## make the teacher's edition: solutions, verdicts, notes (build/teacher; LANGUAGE=zh)
	$(BIN)/python -m tools.classroom.editions teacher $(IN_LANGUAGE)

slides: $(VENV)/.slides-ready ## make a deck of each lesson, for a room without a network (build/slides; LANGUAGE=zh; FLAGS=--sharp)
	$(BIN)/python -m tools.classroom.slides $(LESSONS) $(IN_LANGUAGE) $(FLAGS)

grade: $(if $(SUBMISSIONS),$(VENV)/.lab-ready) ## grade a folder of notebooks into a table (SUBMISSIONS=folder LESSON=04 LANGUAGE=zh)
	@if [ -z "$(SUBMISSIONS)" ]; then \
	    echo 'make grade SUBMISSIONS=folder [LESSON=04] [LANGUAGE=zh] [FLAGS="--to grades.csv --seconds 20 --memory 2000"]' >&2; \
	    exit 2; fi
	$(BIN)/python -m tools.grading.grade "$(SUBMISSIONS)" $(if $(LESSON),--lesson $(LESSON)) $(IN_LANGUAGE) $(FLAGS)

wheelhouse: $(VENV)/.lab-ready ## make a folder for a USB stick that installs without a network (build/wheelhouse)
	$(BIN)/python -m tools.classroom.wheelhouse $(FLAGS)

# --- for authors ----------------------------------------------------------------------------------

coverage: $(VENV)/.test-ready ## say which lines and branches of the package the tests reach
	$(PYTEST) -m "not heavy" --cov=xai_course --cov-branch --cov-report=term:skip-covered tests

mutants: $(VENV)/.test-ready ## change the code of techniques and metrics, and count which changes a test notices
	$(BIN)/python -m tools.mutants $(FLAGS)

test-newest: ## run the tests with the newest version of everything, in an environment of its own
	$(MAKE) test VENV=.venv-newest CONSTRAINTS=--upgrade

lint: $(VENV)/.test-ready ## ruff (check and format, notebooks included) and mypy
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy

format: $(VENV)/.test-ready ## let ruff put code in shape
	$(BIN)/python -m ruff check --fix .
	$(BIN)/python -m ruff format .

notebooks: $(VENV)/.test-ready ## build the notebooks of changed lessons (FORCE=1: all; LESSONS="00 02": those)
	$(BIN)/python -m tools.lessons.build $(if $(FORCE),--force) $(LESSONS)
	$(BIN)/python -m tools.classroom.guide_tables
	-$(BIN)/python -m tools.lessons.pages

chinese: $(VENV)/.test-ready ## update the catalogues of the Chinese lessons and pages, check them, build what is published
	$(BIN)/python -m tools.lessons.catalogue $(LESSONS)
	$(BIN)/python -m tools.lessons.chinese $(LESSONS)
	$(BIN)/python -m tools.lessons.build --language zh $(if $(FORCE),--force)
	$(BIN)/python -m tools.lessons.pages

messages: $(VENV)/.translation-ready ## collect the package's texts for translation, and compile their Chinese (FLAGS=--missing)
	$(BIN)/python -m tools.messages $(FLAGS)

checkpoints: $(VENV)/.test-ready ## train the shipped networks again
	$(BIN)/python -m tools.assets.train_checkpoints

sweep: $(VENV)/.test-ready ## try every method on all classifiers of torchvision and 95 of timm (an hour)
	$(BIN)/python benchmarks/sweep.py --workers 2

networks: $(VENV)/.test-ready ## try every method on 13 kinds of networks, for the page docs/networks.md
	$(BIN)/python benchmarks/networks.py

bench: $(VENV)/.bench-ready ## time every method beside its peers, for the README (FLAGS="--only lrp")
	$(BIN)/python benchmarks/bench.py $(FLAGS)
	-$(BIN)/python -m tools.lessons.pages

grades: $(VENV)/.test-ready ## grade all methods for lessons 08 and 09 (what is on file is not done again)
	$(BIN)/python -m tools.assets.grade_methods

experiments: $(VENV)/.test-ready ## run the long experiments of lessons 10 to 13 (NAMES="...": those)
	$(BIN)/python -m tools.assets.run_experiments $(NAMES)

specification: $(VENV)/.test-ready ## sum all maps over the parts for lessons 08 and 09 (NAMES="...": those networks)
	$(BIN)/python -m tools.assets.run_specification $(NAMES)
	$(BIN)/python -m tools.assets.run_specification --further $(NAMES)
	$(BIN)/python -m tools.assets.run_specification --tiles $(or $(NAMES),beetle_net beetle_net_absent small_vgg resnet18 beetle_net_clutter)
	$(if $(NAMES),,$(BIN)/python -m tools.assets.run_specification --methods HiResCAM,LayerCAM --target data/specification/vgg_seeds small_vgg_seeds/seed_1 small_vgg_seeds/seed_2)

site: $(VENV)/.site-ready ## make the web site from what is there, in build/site; no lesson is run
	$(BIN)/python -m tools.site.build

lock: $(BIN)/python ## resolve requirements.lock for every Python from 3.11 (UPGRADE=1: newest versions)
	$(INSTALL) uv
	$(BIN)/python -m uv pip compile --universal --python-version 3.11 --fork-strategy requires-python \
	    --all-extras --no-header --no-annotate $(if $(UPGRADE),--upgrade) \
	    --quiet --output-file requirements.lock pyproject.toml

clean: ## remove caches
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name .venv -prune -o \( -name __pycache__ -o -name .ipynb_checkpoints \) -type d -print \
	    | while read -r folder; do rm -rf "$$folder"; done

distclean: clean ## remove caches and the environment, for a fresh start
	rm -rf $(VENV) .venv-newest *.egg-info
