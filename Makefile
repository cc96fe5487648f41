# make help says what there is. Everything works without git, and is quick the second time.

PYTHON ?= python3
VENV ?= .venv
ARGS ?=
EXTRAS := test,png,onnx,caption
RUN := runs/dlip
CAMPAIGN_LIMIT := 45m
NEEDED_GB := 7

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.ONESHELL:
.SILENT:
.DEFAULT_GOAL := help
.PHONY: help setup search test campaign bench check

help:
	cat <<'END'
	make search       environment, then the main job: students of the embedded teacher; ends with the report's path
	make search NEW=1 one more search, in a new folder under runs/
	make test         environment, then the whole test suite (ARGS='tests/unit -k front' for a part)
	make setup        the environment alone
	make campaign     properties at 5,000 examples and the fault tests at full count, at most 45 minutes (full disks need root)
	make bench        what each part costs beside what it is for: a table of ratios, and a JSON file (ARGS=--quick; ARGS='--only 1,4')
	make check        ruff, mypy, import rules; installs the dev tools
	Settings:
	PYTHON=python3.12    which Python makes the environment (3.11 or newer)
	VENV=/big/disk/venv  where it lies (default .venv; it takes 6 GB)
	END

# A key of everything that decides what is installed; where the stamp file knows it, this target is instant.
setup:
	venv="$(VENV)"
	stamp="$$venv/.installed"
	export PIP_USER=0 # of pip's settings or the shell: would send packages elsewhere, or clash with --target
	unset PIP_TARGET PIP_PREFIX
	sound() { "$$venv/bin/python" -c 'import pip' > /dev/null 2>&1; } # not where its Python was removed, or is a newer one now
	key() { { cat pyproject.toml constraints.txt; echo "$$1 $(CURDIR) compiled"; } | sha256sum | cut -d' ' -f1; }
	if sound && grep -qsx "$$(key $(EXTRAS))" "$$stamp"; then exit 0; fi
	fail() { printf 'error: %s\n' "$$@" >&2; exit 1; }
	free_gb() { df -Pk "$$1" | awk 'NR == 2 { print int($$4 / 1048576) }'; }

	if ! sound; then
		version=$$("$(PYTHON)" -c 'import sys; print("%d.%d" % sys.version_info[:2], int(sys.version_info >= (3, 11)))' 2>&1) || \
			fail "$(PYTHON) does not run ($${version##*$$'\n'})." \
				"Install Python 3.11 or newer: sudo apt install python3 python3-venv; or name one: make setup PYTHON=python3.12"
		[ "$${version#* }" = 1 ] || \
			fail "$(PYTHON) is Python $${version% *}; 3.11 or newer is needed. Name one: make setup PYTHON=python3.12"
		"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || \
			fail "$(PYTHON) has no venv module. Install it: sudo apt install python$${version% *}-venv"
		mkdir -p "$$(dirname "$$venv")"
		free=$$(free_gb "$$(dirname "$$venv")")
		[ "$$free" -ge $(NEEDED_GB) ] || \
			fail "$$(dirname "$$(realpath -m "$$venv")") has $$free GB of free disk; the environment needs $(NEEDED_GB) (PyTorch alone takes 5)." \
				"Put it on another disk, in this and all later calls: export VENV=/big/disk/venv"
		rm -f "$$stamp" "$$venv"/bin/python "$$venv"/bin/python3* # what has gone is in the way of what comes
		hash -r # an active environment may be this one
		"$(PYTHON)" -m venv "$$venv"
	fi

	# A mirror in pip's own settings is somebody's wish, and uv does not read them: pip installs alone then.
	# Otherwise uv is tried, since it is 2.5 times faster. Its cache lies beside the packages, which are hard links into
	# it: it costs no disk of its own, and goes when they are in place.
	boot="$$venv/.bootstrap"
	trap 'rm -rf "$$boot"' EXIT
	pip=("$$venv/bin/python" -m pip --disable-pip-version-check)
	wanted=(-c constraints.txt -e ".[$(EXTRAS)]")
	echo "installing into $$venv: one to five minutes, 3 GB to fetch" >&2
	installed=
	settings=$$("$${pip[@]}" config list)
	if grep -q '\.\(index-url\|no-index\)=' <<< "$$settings"; then
		echo "pip's settings name an index, so pip is used" >&2
	elif "$${pip[@]}" install --quiet --target "$$boot/uv" uv; then
		if UV_CACHE_DIR="$${UV_CACHE_DIR:-$$boot/cache}" "$$boot/uv/bin/uv" pip install --quiet --python "$$venv/bin/python" "$${wanted[@]}"; then
			installed=1
		else
			echo "uv could not install it; pip is tried" >&2
		fi
	fi
	if [ -z "$$installed" ]; then
		rm -rf "$$boot"
		"$${pip[@]}" install --quiet "$${wanted[@]}" || {
			echo "error: the installation failed, see above." >&2
			echo "If a disk was full: pip unpacks in TMPDIR ($${TMPDIR:-the temporary folder}, $$(free_gb "$${TMPDIR:-/var/tmp}") GB free):" \
				"TMPDIR=/big/disk make setup; or move all of it: export VENV=/big/disk/venv" >&2
			exit 1
		}
	fi

	# uv leaves the bytecode to the first import, which may not be allowed to write it (PYTHONDONTWRITEBYTECODE, a read-only
	# disk): every process then compiles torch and timm anew. Some files are templates, or for another Python: no matter.
	echo "compiling it: half a minute, once" >&2
	packages=$$("$$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
	env -u PYTHONDONTWRITEBYTECODE "$$venv/bin/python" -m compileall -q -j 0 "$$packages" > /dev/null 2>&1 || true
	{ key test,png,onnx,caption; key $(EXTRAS); } > "$$stamp" # the dev tools come on top of the rest

# ended_by stands in run.json when a search came to its end; a run without it, or interrupted, goes on. Each session has one, too,
# further to the right.
search: setup
	python="$(VENV)/bin/python"
	if [ -n "$(NEW)" ]; then
		exec "$$python" search/run.py --space spaces/dlip.yaml $(ARGS)
	elif [ -e $(RUN)/report.html ] && grep -qs '^ "ended_by": "\(trials\|exhausted\)"' $(RUN)/run.json; then
		echo "this search is finished; to start another: make search NEW=1" >&2
		echo "or: $$python search/run.py --space spaces/dlip.yaml" >&2
		echo "report: $(abspath $(RUN)/report.html)"
	elif [ -e $(RUN)/run.json ]; then
		echo "the search in $(RUN) has not told its end: to be resumed, unless a process works in it" >&2
		exec "$$python" search/run.py --resume $(RUN) $(ARGS)
	else
		exec "$$python" search/run.py --space spaces/dlip.yaml --out $(RUN) $(ARGS)
	fi

# Three processes for two cores: the one that has the tests which start Ray waits for much of the time.
test: setup
	exec "$(VENV)/bin/python" -m pytest -n 3 $(ARGS)

# The faults in one process, which mostly waits; the properties at 5,000 examples, and what needs no Ray, in the other.
campaign: setup
	CAMPAIGN=1 exec timeout --foreground --signal=INT --kill-after=60s $(CAMPAIGN_LIMIT) "$(VENV)/bin/python" \
		-m pytest -n 2 -m "properties or campaign" tests/campaign tests/unit $(ARGS)

bench: setup
	exec "$(VENV)/bin/python" tests/benchmarks/bench.py $(ARGS)

check: EXTRAS := test,png,onnx,caption,dev
check: setup
	bin="$(VENV)/bin"
	"$$bin/ruff" check .
	"$$bin/ruff" format --check .
	"$$bin/mypy"
	"$$bin/lint-imports" --no-cache
