# The commands of the README in one go.
#
#   make lab         set up, run all five steps on whatever this machine has, write comparison_report.html
#   make sweep       set up, run step 04 with the default options of DDP and with each other one, in turn, then step 05
#   make exchanges   set up, run step 04 with torch's DDP and with three exchanges built by hand, in turn, then step 05
#   make crossover   set up, run 02, 03 and 04 over batches per device, then step 05; 6 minutes
#   make ladder      set up, run 02 with one switch after another, keep those that pay, then step 05; 20 minutes
#   make faults      set up, cause the faults that people meet most, one after another, and cure each of them
#   make exercise    set up, run the published commands with the published sizes
#   make test        set up, run the tests
#   make lint        check style and types
#   make messages    enter new sentences into templates/zh-TW.po, for a translator
#
# make lab MODEL=resnet50 BATCH=64 EPOCHS=5 SAMPLES=2560 DEVICES=2 REPEATS=3 overrides what is chosen for this machine,
# and so for the others. BATCH is the batch per device, SAMPLES an epoch's, REPEATS the number of rounds. Without REPEATS,
# make lab adds rounds until each ratio is known to ± 3 percent, as long as 5 minutes allow: TOLERANCE=3 MINUTES=5.
# SEED=1 draws the same order of each round again. What is run, and with which sizes, stands in common/campaigns/.
# make faults NAMES="rank_killed disk_full" causes these two.

PYTHON ?= python3
BIN := .venv/bin

FLAGS = $(strip $(if $(MODEL),--model '$(MODEL)') $(if $(BATCH),--batch '$(BATCH)') $(if $(EPOCHS),--epochs '$(EPOCHS)') \
  $(if $(SAMPLES),--samples '$(SAMPLES)') $(if $(DEVICES),--devices '$(DEVICES)') $(if $(REPEATS),--repeats '$(REPEATS)') \
  $(if $(TOLERANCE),--tolerance '$(TOLERANCE)') $(if $(MINUTES),--minutes '$(MINUTES)') $(if $(SEED),--seed '$(SEED)'))

.PHONY: lab sweep exchanges crossover ladder exercise faults test lint messages

lab sweep exchanges crossover ladder exercise: .venv/lab
	$(BIN)/python -m common.campaigns $@ $(FLAGS)

faults: .venv/lab
	$(BIN)/python -m common.faults $(NAMES)

test: .venv/test
	$(BIN)/python -m pytest

lint: .venv/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

messages: .venv/test
	$(BIN)/pybabel -q extract -F pyproject.toml -k message -k message_in:1c,2 -k translate -k counted:2,3 \
	  --add-location file -o .venv/messages.pot .
	$(BIN)/pybabel -q update -i .venv/messages.pot -o templates/zh-TW.po -l zh_TW -w 0 --ignore-obsolete \
	  --ignore-pot-creation-date

.venv/lab: pyproject.toml
	$(PYTHON) -m venv $(if $(wildcard $@),,--clear) .venv
	$(BIN)/pip install --quiet -e .
	touch $@

.venv/test: .venv/lab
	$(BIN)/pip install --quiet -e '.[test]'
	touch $@
