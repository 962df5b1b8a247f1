# make demo and make test are all that most people need; `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
STAMP := $(VENV)/set-up-is-done

COLAB_VENV := .venv-colab
COLAB_RUN := $(COLAB_VENV)/bin/python
COLAB_STAMP := $(COLAB_VENV)/set-up-is-done

.DEFAULT_GOAL := help
.PHONY: help demo lab check test test-colab test-real bench soak notebooks slides demo-live pocket pocket-eval \
  clean

# How many tests run at once. Each holds one thread of torch, since two on busy cores crawl; those
# that watch the clock come after the others, one by one.
WORKERS ?= 2
AT_ONCE := -n $(WORKERS) --dist loadfile
DEFAULT := not slow and not network

# Of the class: how long it is, and in which language its demos are.
MINUTES ?= 90
IN ?= en

help: ## list these commands
	@sed -nE 's/^([a-z-]+):.*## (.*)/make \1\t\2/p' Makefile | expand -t 18

demo: $(STAMP) ## run the first lesson on the pocket model; pictures go to pictures/
	$(RUN) notebooks/build.py demo

lab: $(STAMP) ## open the course in JupyterLab
	$(RUN) -m jupyterlab notebooks

check: $(STAMP) ## in at most 3 minutes: ruff, mypy, the fast tests
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	$(RUN) -m pytest $(AT_ONCE) -m "$(DEFAULT) and not long and not alone"

test: $(STAMP) ## everything that must pass: ruff, mypy, the package, the notebooks
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	$(RUN) -m coverage erase
	$(RUN) -m coverage run -m pytest $(AT_ONCE) -m "$(DEFAULT) and not alone"
	$(RUN) -m pytest -m "$(DEFAULT) and alone"
	$(RUN) -m coverage combine --quiet
	$(RUN) -m coverage report
	$(RUN) notebooks/build.py test

test-colab: $(COLAB_STAMP) ## the same tests under the versions that Colab ships
	$(COLAB_RUN) -m pytest $(AT_ONCE) -m "$(DEFAULT) and not alone"
	$(COLAB_RUN) -m pytest -m "$(DEFAULT) and alone"
	$(COLAB_RUN) notebooks/build.py test

test-real: $(STAMP) ## the tests that need a GPU and the real Hugging Face Hub
	$(RUN) -m pytest -m "network and gpu"

bench: $(STAMP) ## what is faster or better than what, each script in turn
	failed=0; for script in $(wildcard benchmarks/*.py); do $(RUN) $$script || failed=1; done; exit $$failed

soak: $(STAMP) ## the long load, kill and fuzz runs, and the notebooks the other way round
	$(RUN) -m pytest -m slow --timeout 3600
	failed=0; for script in $(wildcard benchmarks/soak/*.py); do $(RUN) $$script || failed=1; done; exit $$failed
	$(RUN) notebooks/build.py soak

notebooks: $(STAMP) ## build every notebook from its source and execute it
	$(RUN) notebooks/build.py build
	$(RUN) notebooks/build.py run

slides: $(STAMP) ## make talk, handouts and quizzes in slides/built; MINUTES=60 or 45 shortens the talk
	$(RUN) slides/make_slides.py --minutes $(MINUTES)

demo-live: $(STAMP) ## the live demos of the class, offline, driven by one key; IN=es for Spanish
	$(RUN) slides/live.py --language $(IN)

pocket: $(STAMP) ## train the pocket model from nothing, or go on from the last checkpoint
	$(RUN) -m sdlesson.pocket.training
	$(RUN) -m sdlesson.pocket.training.controlnet

pocket-eval: $(STAMP) ## measure the pocket model and fill in its model card
	$(RUN) -m sdlesson.pocket.evaluation

clean: ## remove the environments and caches; notebooks, weights and checkpoints stay
	rm -rf $(VENV) $(COLAB_VENV) .pytest_cache .mypy_cache .ruff_cache .coverage* build dist

# Set-up: made once, and again when one of the files that describe it changes. With HASHED, a file
# of requirements with hashes, what is installed is in it, byte by byte; only the build backend comes
# by the versions of pyproject.toml, since pip takes no hashes for it.

$(STAMP): pyproject.toml constraints.txt
	$(call set_up,$(VENV),constraints.txt)

$(COLAB_STAMP): pyproject.toml constraints-colab.txt
	$(call set_up,$(COLAB_VENV),constraints-colab.txt)

define set_up
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo \
	  "This course needs Python 3.11 or newer as $(PYTHON). Name yours: make PYTHON=python3.12"; \
	  exit 1; }
	@echo "Setting up $(1) with the versions of $(2): once, a few minutes."
	@$(PYTHON) -m venv $(1) || { echo \
	  "$(PYTHON) could not make $(1); on Debian or Ubuntu: sudo apt install python3-venv"; exit 1; }
	@$(if $(HASHED),$(1)/bin/python -m pip install --disable-pip-version-check --require-hashes \
	  --requirement $(HASHED) && $(1)/bin/python -m pip install --disable-pip-version-check \
	  --no-deps --editable .,$(1)/bin/python -m pip install \
	  --disable-pip-version-check --constraint $(2) --editable '.[bot,dev,masks,service]')
	@touch $(1)/set-up-is-done
endef
