# The commands of the README in one go.
#
#   make lab         set up, run all five steps on whatever this machine has, write comparison_report.html
#   make sweep       set up, run step 04 with the default options of DDP and with each other one, in turn, then step 05
#   make exchanges   set up, run step 04 with torch's DDP and with three exchanges built by hand, in turn, then step 05
#   make my_exchange set up, run step 04 with the exchange that you wrote in lessons/build_your_own_ddp.py, then step 05
#   make crossover   set up, run 02, 03 and 04 over batches per device, then step 05; 6 minutes
#   make ladder      set up, run 02 with one switch after another, keep those that pay, then step 05; 20 minutes
#   make faults      set up, cause the faults that people meet most, one after another, and cure each of them
#   make exercise    set up, run the published commands with the published sizes
#   make submit      NAME="Ada Lovelace": pack what a student hands in (docs/teaching/)
#   make test        set up, run the tests
#   make lint        check style and types
#   make messages    enter new sentences into templates/zh-TW.po, for a translator
#
# make lab MODEL=resnet50 BATCH=64 EPOCHS=5 SAMPLES=2560 DEVICES=2 REPEATS=3 overrides what is chosen for this machine,
# and so for the others. BATCH is the batch per device, SAMPLES an epoch's, REPEATS the number of rounds. Without REPEATS,
# make lab adds rounds until each ratio is known to ± 3 percent, as long as 5 minutes allow: TOLERANCE=3 MINUTES=5.
# SEED=1 draws the same order of each round again. What is run, and with which sizes, stands in common/campaigns/.
# Who measures on this machine waits for those who came before (QUEUE=no: does not wait).
# make faults NAMES="rank_killed disk_full" causes these two.
#
# They run in .venv, else in an active environment whose torch works, else in a new .venv: common/setup/__main__.py.
# PYTHON (3.11 or later) is what makes that .venv. A .venv whose Python does not start is passed over.

PYTHON ?= $(shell .venv/bin/python -c '' 2>/dev/null && echo .venv/bin/python || echo python3)
LAB := $(PYTHON) -m common.setup

QUEUED = $(if $(QUEUE),--queue '$(QUEUE)')
FLAGS = $(strip $(if $(MODEL),--model '$(MODEL)') $(if $(BATCH),--batch '$(BATCH)') $(if $(EPOCHS),--epochs '$(EPOCHS)') \
  $(if $(SAMPLES),--samples '$(SAMPLES)') $(if $(DEVICES),--devices '$(DEVICES)') $(if $(REPEATS),--repeats '$(REPEATS)') \
  $(if $(TOLERANCE),--tolerance '$(TOLERANCE)') $(if $(MINUTES),--minutes '$(MINUTES)') $(if $(SEED),--seed '$(SEED)') $(QUEUED))

.PHONY: lab sweep exchanges my_exchange crossover ladder exercise faults submit test lint messages

lab sweep exchanges my_exchange crossover ladder exercise:
	$(LAB) -m common.campaigns $@ $(FLAGS)

faults:
	$(LAB) -m lessons.fault_lab $(NAMES) $(QUEUED)

submit:
	$(LAB) -m lessons.grading.hand_in --name "$(if $(findstring command,$(origin NAME)),$$NAME)" $(if $(ANSWERS),--answers '$(ANSWERS)')

test:
	$(LAB) --extra test -m pytest

lint:
	$(LAB) --extra test -m ruff check .
	$(LAB) --extra test -m ruff format --check .
	$(LAB) --extra test -m mypy

PYBABEL := $(LAB) --extra test -m babel.messages.frontend -q

messages:
	mkdir -p build
	$(PYBABEL) extract -F pyproject.toml -k message -k message_in:1c,2 -k translate -k counted:2,3 -k notes -k warns \
	  -k fails --add-location file -o build/messages.pot .
	$(PYBABEL) update -i build/messages.pot -o templates/zh-TW.po -l zh_TW -w 0 --ignore-obsolete \
	  --ignore-pot-creation-date
