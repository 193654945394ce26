# minirunc: `make run` shows a container, `make test` runs all tests, `make help` lists the rest.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-print-directory --no-builtin-rules

PREFIX ?= /usr/local
DESTDIR ?=
lib := $(PREFIX)/lib/minirunc
T ?=

sudo = $(shell test "$$(id -u)" = 0 || echo sudo)
say = printf 'minirunc: %s\n'
python := .venv/bin/python
# Tests and benchmark run as root; they leave nothing of root's in the checkout.
as_root = $(sudo) env PYTHONDONTWRITEBYTECODE=1 PYTHONHASHSEED=0
sources := $(shell find minirunc -name '*.py')

.PHONY: all
all: .venv/bin/minirunc .venv/compiled  ## prepare .venv with .venv/bin/minirunc

.PHONY: run
run: all bundles/hello/rootfs/hello  ## run bundles/hello: a container that says who and where it is
	@$(sudo) .venv/bin/minirunc run --bundle bundles/hello hello-$$$$ </dev/null

.PHONY: test
test: all .venv/dev bundles/hello/rootfs/hello  ## all tests: on this kernel, and in User-Mode Linux; T="-k name" or T=tests/x.py chooses
	@.ci/need $(python) tests
	@status=0; \
	$(as_root) $(python) -m pytest -p no:cacheprovider -m 'not alone' -n 2 --dist loadgroup $(T) </dev/null || status=$$?; \
	$(as_root) $(python) -m pytest -p no:cacheprovider -m alone $(T) </dev/null || test $$? = 5 || status=1; \
	exit $$status

.PHONY: fuzz
fuzz: all .venv/dev  ## fuzz what reads hostile input, for T seconds (60); what it finds goes to .cache/fuzz
	@$(python) -m tests.fuzz --seconds $(or $(T),60) </dev/null

.PHONY: check
check: all .venv/dev  ## ruff, mypy --strict and the architecture tests
	@.venv/bin/ruff check --no-cache
	@.venv/bin/ruff format --check --no-cache
	@.venv/bin/mypy --strict --cache-dir .cache/mypy minirunc
	@$(python) -m pytest -q -p no:cacheprovider $(wildcard tests/test_architecture*.py) </dev/null

.PHONY: bench
bench: all .venv/dev  ## time minirunc against Debian's runc and crun, and find the least memory limit; T=times, T=memory: one of both
	@.ci/need $(python) bench
	@$(as_root) $(python) -m tests.bench $(T) </dev/null

.PHONY: install
install: all  ## copy minirunc to PREFIX (/usr/local), below DESTDIR
	@install -d "$(DESTDIR)$(lib)" "$(DESTDIR)$(PREFIX)/bin"
	@rm -rf "$(DESTDIR)$(lib)"/*
	@site=$$($(python) -c 'import sysconfig; print(sysconfig.get_path("platlib"))'); \
	cp -rL minirunc "$$site"/{click,jeepney,pyroute2,prctl.py,_prctl*.so} "$(DESTDIR)$(lib)"
	@find "$(DESTDIR)$(lib)" -name __pycache__ -prune -exec rm -r {} +
	@$(python) -m compileall -q --invalidation-mode unchecked-hash -s "$(DESTDIR)/" -p / "$(DESTDIR)$(lib)"
	@$(python) -IS -X no_debug_ranges minirunc/base/packing.py "$(DESTDIR)$(lib)" "$(DESTDIR)$(lib)/minirunc.pack" "$(lib)"
	@$(call launcher,$(lib),"$(DESTDIR)$(PREFIX)/bin/minirunc")
	@$(say) 'installed $(DESTDIR)$(PREFIX)/bin/minirunc'

.PHONY: uninstall
uninstall:  ## remove what `make install` put there
	@rm -rf "$(DESTDIR)$(lib)" "$(DESTDIR)$(PREFIX)/bin/minirunc"

.PHONY: clean
clean:  ## remove all that make made
	@find minirunc tests -name __pycache__ -prune -exec rm -rf {} +
	@rm -rf .venv .cache build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache bundles/*/rootfs bundles/*/hooks.log

.PHONY: help
help:  ## this list
	@sed -nE 's/^([a-z]+):.*## (.*)/\1\t\2/p' Makefile | expand -t 11

# --- what the targets above stand on ---

# The start of every command, so as small as can be: one directory on sys.path, no site, no PYTHON* variables, and the
# modules from a pack. The interpreter is the real one: a link of the venv or a version manager's shim costs milliseconds.
# $(call launcher,DIRECTORY,FILE)
define launcher
exe=$$($(python) -c 'import os, sys; print(os.path.realpath(sys._base_executable))'); \
sed -e "s|@PYTHON@|$$exe|" -e "s|@DIRECTORY@|$(1)|" .ci/launcher.in > $(2); \
chmod 755 $(2)
endef

# minirunc stands beside its dependencies by a link, so that one directory holds all that it imports.
.venv/bin/minirunc: .venv/runtime Makefile .ci/launcher.in
	@site=$$($(python) -c 'import sysconfig; print(sysconfig.get_path("platlib"))'); \
	ln -sfn "$(CURDIR)/minirunc" "$$site/minirunc"; \
	$(call launcher,$$site,$@)

# Not left to the first start: that may be root's, and PYTHONDONTWRITEBYTECODE may be set.
.venv/compiled: .venv/bin/minirunc $(sources)
	@$(python) -m compileall -q --invalidation-mode timestamp minirunc
	@site=$$($(python) -c 'import sysconfig; print(sysconfig.get_path("platlib"))'); \
	$(python) -IS -X no_debug_ranges minirunc/base/packing.py "$$site" "$$site/minirunc.pack"
	@touch $@

# $(call pip,EXPRESSION of the project table in pyproject.toml)
define pip
$(python) -c 'import tomllib; p = tomllib.load(open("pyproject.toml", "rb"))["project"]; print(*$(1), sep="\n")' \
	> .venv/wanted; \
.venv/bin/pip install -qq --disable-pip-version-check --no-input -r .venv/wanted </dev/null || \
	{ $(say) "cannot get the Python packages $$(paste -sd' ' .venv/wanted): the reason is above" >&2; exit 1; }
endef

.venv/runtime: .venv/made pyproject.toml
	@$(say) 'installing click, jeepney, pyroute2 and python-prctl in .venv'
	@$(call pip,p["dependencies"])
	@touch $@

.venv/dev: .venv/runtime pyproject.toml
	@$(say) 'installing pytest, hypothesis, grpcio, ruff, mypy and atheris in .venv'
	@$(call pip,p["optional-dependencies"]["dev"])
	@touch $@

.venv/made:
	@.ci/need '' python
	@python=$$(.ci/need '' which-python); .ci/need "$$python" build; \
	$(say) "making .venv with $$python"; \
	rm -rf .venv; "$$python" -m venv .venv
	@touch $@

bundles/hello/rootfs/hello: bundles/hello/hello.sh bundles/busybox-rootfs
	@.ci/need '' bundles
	@bundles/busybox-rootfs bundles/hello/rootfs
	@install -m 755 bundles/hello/hello.sh $@
