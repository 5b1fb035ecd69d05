# The one runner of this project: `make` lists the commands.
#
# All that is built lives in .venv and build/. The first command sets up; a later one starts at once, unless the
# native code, the manifests of the models or the project's metadata changed. Python edits are live.

PYTHON ?= python3
BIN := .venv/bin
PY := $(BIN)/python
QUIETLY := sh .ci/quietly
WITH_TOOLS := PATH="$(CURDIR)/$(BIN):$$PATH"

# Folders are listed too: removing a file changes the time of its folder.
NATIVE := CMakeLists.txt pyproject.toml $(shell find cpp models -not -name '.*' -not -name '*~')
CXX_FILES = $(shell find cpp tests -name '*.[ch]pp')

# A warning stops CI, never a user whose compiler is newer than ours.
ifeq ($(CI),true)
  STRICT := -DFACEGREP_WERROR=ON
  STRICT_PIP := -Ccmake.define.FACEGREP_WERROR=ON
endif

.PHONY: help setup demo test native-test native-test-arm64 lint asan fuzz bench bench-check clean

help:  ## list the commands
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 19

setup: .venv/.installed  ## make .venv, build the native core, install facegrep editable

demo: .venv/.installed  ## the main job on the portraits: add, search, print, write a page
	@$(PY) -m facegrep demo

test: native-test  ## all tests: ctest, then pytest
	@$(PY) -m pytest

native-test: .venv/.installed
	@$(WITH_TOOLS) $(QUIETLY) build/log/debug-configure cmake --preset debug $(STRICT)
	@$(WITH_TOOLS) $(QUIETLY) build/log/debug-build cmake --build --preset debug
	@$(WITH_TOOLS) ctest --preset debug

native-test-arm64: .venv/.installed  ## the native tests for arm64, on an emulated CPU
	@command -v aarch64-linux-gnu-g++ >/dev/null && command -v qemu-aarch64-static >/dev/null || \
	  { echo 'This needs g++-aarch64-linux-gnu and qemu-user-static (names of Debian packages).' >&2; exit 1; }
	@$(WITH_TOOLS) $(QUIETLY) build/log/arm64-configure cmake --preset arm64 $(STRICT)
	@$(WITH_TOOLS) $(QUIETLY) build/log/arm64-build cmake --build --preset arm64
	@$(WITH_TOOLS) ctest --preset arm64

# Read by clang-tidy: what the tidy preset would compile here (without libsimde-dev, not the emulation of AVX-512) and,
# as arm64's, two files that include nothing of a C library: it needs no cross-compiler.
TIDY_FILES = import json; print(*{unit["file"] for unit in json.load(open("build/tidy/compile_commands.json"))}, sep="\n")
ARM64_FILES = $(filter %/neon.cpp %/neon_dotprod.cpp,$(CXX_FILES))

lint: .venv/.lint-tools  ## ruff, mypy, stubtest, codespell, clang-format, clang-tidy
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy src $(wildcard benches) tests
	$(PY) -m mypy.stubtest --mypy-config-file pyproject.toml --allowlist tests/stubtest_allowlist.txt facegrep._core
	$(BIN)/codespell
	@echo clang-format
	@$(BIN)/clang-format --dry-run -Werror $(CXX_FILES)
	@$(WITH_TOOLS) $(QUIETLY) build/log/tidy-configure cmake --preset tidy \
	  -DPython_EXECUTABLE="$(CURDIR)/$(PY)" -Dpybind11_DIR="$$($(PY) -m pybind11 --cmakedir)"
	@echo clang-tidy
	@$(PY) -c '$(TIDY_FILES)' | \
	  xargs -P "$$(nproc)" -n 1 $(BIN)/clang-tidy -p build/tidy --quiet
	@$(BIN)/clang-tidy --quiet $(ARM64_FILES) -- --target=aarch64-linux-gnu -ffreestanding -std=c++17 -Icpp/src

# A second environment that shares the packages of .venv but has its own, instrumented facegrep. The interpreter is not
# instrumented, hence the preload (libstdc++ too: ASan must find __cxa_throw before the first extension is loaded) and
# no leak check (CPython keeps much until it exits). Not optimised: pybind11 with both sanitizers compiles 4 times as long
# at -O2, and the tests are short.
ASAN := build/asan
ASAN_TESTS = $(or $(wildcard tests/test_index*.py),$(error no tests of FaceIndex: tests/test_index*.py))
asan: .venv/.installed  ## the native tests and those of FaceIndex under ASan and UBSan
	@$(PY) -m venv --without-pip $(ASAN)/venv
	@$(PY) -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > \
	  "$$($(ASAN)/venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/shared.pth"
	@$(QUIETLY) build/log/asan-build $(PY) -m pip --python $(ASAN)/venv/bin/python install --no-deps \
	  --no-build-isolation -e . -Cbuild-dir=$(ASAN)/cmake -Ccmake.build-type=Debug \
	  -Ccmake.define.FACEGREP_TESTS=ON -Ccmake.define.FACEGREP_SANITIZE=address,undefined $(STRICT_PIP)
	@$(WITH_TOOLS) ctest --test-dir $(ASAN)/cmake --output-on-failure
	@LD_PRELOAD="$$($(CXX) -print-file-name=libasan.so) $$($(CXX) -print-file-name=libstdc++.so)" \
	  ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
	  $(ASAN)/venv/bin/python -m pytest --capture=sys -p no:cacheprovider $(ASAN_TESTS)

# SEED=N repeats the choices of an earlier run, TARGETS="picture store" leaves out the others. Of a find the reproducer is
# printed, and the exit status is 1.
SECONDS := 20
JOBS := 2
HAS_LIBFUZZER = echo 'extern "C" int LLVMFuzzerTestOneInput(const char*, unsigned long) { return 0; }' | \
  clang++ -x c++ -fsanitize=fuzzer,address -o /dev/null - 2>/dev/null
fuzz: .venv/.fuzz-tools  ## fuzz what reads bytes from outside (SECONDS=20 a target, JOBS=2 at a time)
	@if $(HAS_LIBFUZZER); then \
	  $(WITH_TOOLS) $(QUIETLY) build/log/fuzz-configure cmake --preset fuzz && \
	  $(WITH_TOOLS) $(QUIETLY) build/log/fuzz-build cmake --build --preset fuzz; \
	else echo 'clang with libFuzzer is absent: nothing native is fuzzed (Debian: clang libclang-rt-dev)'; fi
	@$(PY) -m tests.fuzz --seconds $(SECONDS) --jobs $(JOBS) $(if $(SEED),--seed $(SEED)) $(TARGETS)

# PART="128-1m 512-1m" measures these anew; without it, what was not measured yet. ISA=avx2 forces a tier.
bench: .venv/.bench-tools  ## measure against other engines, write benches/report.md (about an hour; PART=..., ISA=...)
	@$(PY) -m benches.run $(PART) $(if $(ISA),--isa $(ISA))

bench-check: .venv/.bench-check-tools  ## run each bench once, tiny
	@$(QUIETLY) build/log/bench-check $(PY) -m benches.run --check
	@tail -n 1 build/log/bench-check
	@$(PY) -m benches.bulk 5000
	@$(PY) -m benches.serve --faces 5000 --seconds 2 --clients 2 --alone 10
	@$(PY) -m benches.overload --faces 5000 --seconds 1

clean:  ## remove .venv and build
	rm -rf .venv build

.venv/.created:
	@sh .ci/preflight '$(PYTHON)' '$(CXX)'
	@echo 'setting up .venv (once; about a minute)'
	@$(QUIETLY) build/log/venv $(PYTHON) -m venv --upgrade-deps .venv
	@touch $@

# Without build isolation: the build folder stays valid, so that a change in one C++ file compiles one file.
.venv/.installed: .venv/.created $(NATIVE)
	@echo 'building the native core and installing facegrep'
	@$(QUIETLY) build/log/build-tools $(PY) -m pip install --group build
	@$(QUIETLY) build/log/install $(PY) -m pip install --no-build-isolation -e '.[cpu,server,video]' --group test $(STRICT_PIP)
	@touch $@

.venv/.bench-tools: .venv/.installed pyproject.toml
	@echo 'installing what facegrep is compared with'
	@$(QUIETLY) build/log/bench-tools $(PY) -m pip install --group bench
	@touch $@

.venv/.bench-check-tools: .venv/.installed pyproject.toml
	@$(QUIETLY) build/log/bench-check-tools $(PY) -m pip install --group bench-check
	@touch $@

.venv/.fuzz-tools: .venv/.installed pyproject.toml
	@$(QUIETLY) build/log/fuzz-tools $(PY) -m pip install --only-binary atheris --group fuzz || \
	  { echo 'atheris is absent: it has no wheel for this Python, and only what is native is fuzzed'; \
	    $(QUIETLY) build/log/coverage-tool $(PY) -m pip install 'coverage>=7.6'; }
	@touch $@

.venv/.lint-tools: .venv/.installed pyproject.toml
	@$(QUIETLY) build/log/lint-tools $(PY) -m pip install --group lint
	@touch $@
