# The commands of the README in one go.
#
#   make lab     set up, run all five steps on whatever this machine has, write comparison_report.html
#   make sweep   set up, run step 04 with the default options of DDP and with each other one, in turn, then step 05
#   make test    set up, run the tests
#   make lint    check style
#
# make lab MODEL=resnet50 BATCH=64 EPOCHS=5 DEVICES=2 REPEATS=3 overrides what is chosen for this machine. BATCH is the
# batch per device. A whole round of 02, 03 and 04 is repeated, so that a machine that slows down slows all methods.
# make sweep takes the same variables, repeats whole rounds as well, and has smaller sizes of its own: three rounds take
# about five minutes on two idle cores.

PYTHON ?= python3
BIN := .venv/bin

# KIND (cuda or cpu) and FOUND (how many devices) come from `python -m common.command_line.commands`.
MODEL_cuda := resnet50
BATCH_cuda := 64
EPOCHS_cuda := 5
SAMPLES_cuda := 51200
PATIENCE_cuda := 600
MODEL_cpu := resnet18
BATCH_cpu := 16
EPOCHS_cpu := 3
SAMPLES_cpu = $(shell expr 64 '*' $(DEVICES))
PATIENCE_cpu := 100

MODEL ?= $(MODEL_$(KIND))
BATCH ?= $(BATCH_$(KIND))
EPOCHS ?= $(EPOCHS_$(KIND))
SAMPLES ?= $(SAMPLES_$(KIND))
DEVICES ?= $(FOUND)
# Three rounds give intervals between runs. Unless REPEATS is given, no new round starts after PATIENCE seconds.
REPEATS ?= 3
PATIENCE ?= $(if $(filter command environment,$(firstword $(origin REPEATS))),1000000,$(PATIENCE_$(KIND)))

GLOBAL_BATCH = $(shell expr $(BATCH) '*' $(DEVICES))
GPUS = $(shell seq -s , 0 $$(expr $(DEVICES) - 1))
SIZES = --model $(MODEL) --epochs $(EPOCHS) --samples-per-epoch $(SAMPLES)

# One launch of step 04 for each of these in every round; the first has the default options.
SWEEP_cuda := --sync-bn '--comm-hook bf16'
SWEEP = '' --no-gradient-as-bucket-view --static-graph --find-unused-parameters --broadcast-buffers \
  --one-bucket '--comm-hook fp16' '--comm-hook powersgd --one-bucket' $(SWEEP_$(KIND))

.PHONY: lab sweep runs sweep_runs test lint
.SILENT: runs sweep_runs
# Ten steps of a CPU core, a hundred of a GPU: other sizes than those of make lab, so that the two are not pooled.
sweep_runs: EPOCHS_cuda := 2
sweep_runs: EPOCHS_cpu := 2
sweep_runs: SAMPLES_cuda = $(shell expr 6400 '*' $(DEVICES))
sweep_runs: SAMPLES_cpu = $(shell expr 80 '*' $(DEVICES))

lab: .venv/lab
	$(BIN)/python 01_environment_check.py
	$(MAKE) --no-print-directory runs $$($(BIN)/python -m common.command_line.commands)
	$(BIN)/python 05_performance_comparison.py --results-dir ./results --generate-plots --output-report comparison_report.html

sweep: .venv/lab
	$(MAKE) --no-print-directory sweep_runs $$($(BIN)/python -m common.command_line.commands)
	$(BIN)/python 05_performance_comparison.py --results-dir ./results --generate-plots --output-report comparison_report.html

# Only the first round takes steps apart: once is enough, and it takes longer than the epochs.
runs:
	started=$$(date +%s); \
	for round in $$(seq $(REPEATS)); do \
	  [ $$round -eq 1 ] || [ $$(($$(date +%s) - started)) -lt $(PATIENCE) ] || break; \
	  [ $$round -eq 1 ] && more= || more='--anatomy-steps 0'; \
	  printf '\n--- round %s of at most %s\n' $$round $(REPEATS); \
	  (set -ex; \
	    $(BIN)/python 02_baseline_single_gpu.py $(SIZES) --batch-size $(BATCH) $$more; \
	    $(BIN)/python 03_dataparallel_training.py $(SIZES) --batch-size $(GLOBAL_BATCH) --gpus $(GPUS) $$more; \
	    $(BIN)/torchrun --standalone --nproc_per_node=$(DEVICES) 04_ddp_training.py $(SIZES) --batch-size $(BATCH) $$more) \
	  || exit; \
	done

sweep_runs:
	for round in $$(seq $(REPEATS)); do \
	  for options in $(SWEEP); do \
	    printf '\n--- round %s of %s\n' $$round $(REPEATS); \
	    (set -ex; \
	      $(BIN)/torchrun --standalone --nproc_per_node=$(DEVICES) 04_ddp_training.py $(SIZES) --batch-size $(BATCH) \
	        --anatomy-steps 0 $$options) \
	    || exit; \
	  done; \
	done

test: .venv/test
	$(BIN)/python -m pytest

lint: .venv/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

.venv/lab: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet -e .
	touch $@

.venv/test: .venv/lab
	$(BIN)/pip install --quiet -e '.[test]'
	touch $@
