# One command for each job; `make help` lists them. All set-up happens in .venv and build/.

PYTHON ?= python3
TORCH ?= torch==2.13.0
PIP_ARGS ?=
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
# OFF without a GPU; AUTO with one: CUDA is then built wherever nvcc is found.
POSTLUDE_CUDA ?= $(if $(wildcard /dev/nvidia0)$(shell command -v nvidia-smi),AUTO,OFF)
CUTLASS := nvidia-cutlass==4.2.0.0
CUOBJDUMP := nvidia-cuda-cuobjdump==13.2.51

VENV := .venv
BUILD := build/release
PY := $(VENV)/bin/python
CMAKE := $(PY) -m cmake
CTEST := $(VENV)/bin/ctest
PIP := $(PY) -m pip install --disable-pip-version-check $(PIP_ARGS)
# A stamp is made once its job is done; its name and its prerequisites hold all that the job depends on.
STAMPS := $(VENV)/stamps
TORCH_STAMP := $(STAMPS)/$(subst /,_,$(subst $() ,_,$(TORCH)))
CMAKE_COMMON := -DCMAKE_PREFIX_PATH="$(CURDIR)/$(VENV)" \
    -DCMAKE_MAKE_PROGRAM="$(CURDIR)/$(VENV)/bin/ninja"
CPP_FILES = $(shell find benchmarks bindings cpp_tests examples fuzz include src \
    -name '*.[ch]pp' -o -name '*.[ch]' -o -name '*.cu' -o -name '*.cuh')
export HF_HUB_OFFLINE := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo test lint format bench docs doxygen build wheel asan cuda clean distclean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  PYTHON=python3.12          the interpreter to start from (3.10 or newer)"
	@echo "  TORCH=torch==X.Y.Z         the torch to install (now $(TORCH))"
	@echo "  PIP_ARGS='...'             more arguments for every pip install: an extra index that holds"
	@echo "                             CPU-only builds of torch, say, which are a tenth of the size"
	@echo "  POSTLUDE_CUDA=OFF|AUTO|ON  whether to build the CUDA backend (now $(POSTLUDE_CUDA))"
	@echo "  JOBS=N                     compile N files at a time (now $(JOBS))"

demo: build $(STAMPS)/demo ## embed and search real sentences, original and optimised model side by side
	$(PY) examples/demo/demo.py

# Threads that spin while they wait take the cores from those that work.
test asan: export OMP_WAIT_POLICY := PASSIVE
test: build $(STAMPS)/test ## every test: GoogleTest, then pytest
	$(CMAKE) --build $(BUILD) --parallel $(JOBS)
	@failed=0; set -x; \
	$(CTEST) --test-dir $(BUILD) --output-on-failure --no-tests=error --parallel $(JOBS) || failed=1; \
	$(PY) -m pytest || failed=1; \
	exit $$failed

lint: $(STAMPS)/lint $(STAMPS)/test ## ruff, mypy, clang-format and the house rules
	@failed=0; set -x; \
	$(PY) -m ruff check || failed=1; \
	$(PY) -m ruff format --check || failed=1; \
	$(PY) -m mypy || failed=1; \
	$(VENV)/bin/clang-format --dry-run -Werror $(CPP_FILES) || failed=1; \
	$(PY) tools/check_files.py || failed=1; \
	exit $$failed

format: $(STAMPS)/lint ## lay out every file as `make lint` wants it
	$(PY) -m ruff check --fix-only
	$(PY) -m ruff format
	$(VENV)/bin/clang-format -i $(CPP_FILES)

bench: build $(STAMPS)/demo ## the benchmarks; results go to benchmarks/results
	$(CMAKE) --build $(BUILD) --parallel $(JOBS) --target kernel_time postlude_engine
	$(PY) benchmarks/import_time.py
	$(PY) benchmarks/overhead.py
	$(PY) benchmarks/encoder.py
	$(PY) benchmarks/blocks.py

# The banner that is turned off is an advertisement of the theme's.
docs: $(STAMPS)/docs ## the documentation site, in build/site; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict

doxygen: ## the C++ and C reference by Doxygen: HTML, XML and a tag file in build/doxygen
	@command -v doxygen >/dev/null || { echo "make doxygen: expected the program doxygen, 1.9.4 or newer, got none:" \
	    "install it by 'apt-get install doxygen', 'dnf install doxygen' or 'brew install doxygen'" >&2; exit 1; }
	rm -rf build/doxygen && mkdir -p build/doxygen
	doxygen docs/Doxyfile
	$(PYTHON) tools/doxygen.py check build/doxygen/xml

build: $(STAMPS)/path $(STAMPS)/googletest $(if $(filter OFF,$(POSTLUDE_CUDA)),,$(STAMPS)/cutlass) ## the core and the Python extension
	$(CMAKE) --preset release --log-level=NOTICE $(CMAKE_COMMON) -DPOSTLUDE_CUDA=$(POSTLUDE_CUDA) \
	    -DPython_EXECUTABLE="$(CURDIR)/$(PY)"
	$(CMAKE) --build $(BUILD) --parallel $(JOBS) --target _C

# oneDNN and OpenMP's threads stay outside: a second pool beside torch's is a bug.
wheel: $(STAMPS)/wheel $(if $(filter OFF,$(POSTLUDE_CUDA)),,$(STAMPS)/cutlass) ## source distribution and manylinux wheel in dist/
	rm -rf dist
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" POSTLUDE_CUDA=$(POSTLUDE_CUDA) CMAKE_BUILD_PARALLEL_LEVEL=$(JOBS) \
	    $(PY) -m build --no-isolation --outdir dist/linux
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(PY) -m auditwheel repair --exclude libdnnl.so.3 --exclude libgomp.so.1 \
	    --wheel-dir dist dist/linux/*.whl
	mv dist/linux/*.tar.gz dist && rm -r dist/linux

asan: $(STAMPS)/googletest ## GoogleTest under AddressSanitizer and UndefinedBehaviorSanitizer
	$(CMAKE) --preset asan $(CMAKE_COMMON)
	$(CMAKE) --build --preset asan --parallel $(JOBS)
	$(CTEST) --preset asan --parallel $(JOBS)

cuda: $(STAMPS)/googletest $(STAMPS)/cutlass $(STAMPS)/cuobjdump ## cross-build the CUDA code and check its kernels (needs nvcc, no GPU)
	$(CMAKE) --preset cuda $(CMAKE_COMMON) -DPython_EXECUTABLE="$(CURDIR)/$(PY)"
	$(CMAKE) --build --preset cuda --parallel $(JOBS) --clean-first >build/cuda/build.log 2>&1 || \
	    { cat build/cuda/build.log; exit 1; }
	$(PY) tools/check_ptxas.py --complete build/cuda/build.log
	build/cuda/cpp_tests/postlude_tests --gtest_filter='ShowConfig.*' | \
	    $(PY) tools/check_architectures.py build/cuda/libpostlude.a

clean: ## remove what was built
	rm -rf build dist python/postlude/_C*.so .pytest_cache .hypothesis .mypy_cache .ruff_cache
	find python tests benchmarks tools examples -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## the same, and .venv with all that was installed
	rm -rf $(VENV)

$(STAMPS)/venv: tools/check_machine.sh
	@tools/check_machine.sh $(PYTHON)
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade "pip>=25.1"
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/build: $(STAMPS)/venv pyproject.toml
	$(PIP) --group build
	@touch $@

# Importable from where it stands: an edited Python file needs no install.
$(STAMPS)/path: $(STAMPS)/build
	$(PY) -c 'import sysconfig; print("$(CURDIR)/python", file=open(sysconfig.get_path("purelib") + "/postlude.pth", "w"))'
	@touch $@

$(STAMPS)/googletest: $(STAMPS)/build tools/get_googletest.py
	$(PY) tools/get_googletest.py $(VENV) $(PIP_ARGS)
	@touch $@

# Only CUTLASS's headers are wanted: its Python dependencies stay out.
$(STAMPS)/cutlass: $(STAMPS)/venv Makefile
	$(PIP) --no-deps $(CUTLASS)
	@touch $@

# Reads what a library holds; any version reads what older toolkits wrote.
$(STAMPS)/cuobjdump: $(STAMPS)/venv Makefile
	$(PIP) --no-deps $(CUOBJDUMP)
	@touch $@

$(TORCH_STAMP): $(STAMPS)/venv
	$(PIP) "$(TORCH)"
	@touch "$@"

$(STAMPS)/demo $(STAMPS)/test: $(STAMPS)/%: $(STAMPS)/build $(TORCH_STAMP) pyproject.toml
	$(PIP) --group $*
	@touch $@

$(STAMPS)/wheel: $(STAMPS)/build
	$(PIP) --group wheel
	@touch $@

$(STAMPS)/docs: $(STAMPS)/venv pyproject.toml
	$(PIP) --group docs
	@touch $@

$(STAMPS)/lint: $(STAMPS)/venv pyproject.toml
	$(PIP) --group lint
	@touch $@
