# Two commands do all the set-up: `make demo` and `make test`. tools/setup installs what is missing, CMake builds.
BUILD ?= build
CMAKE_FLAGS ?=
MODEL ?= models/pretrained/ioi
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
MAKEFLAGS += --no-print-directory
export BUILD CMAKE_FLAGS
export LUASIGHT_BUILD = $(abspath $(BUILD))

all: ; @tools/setup && $(compile)
compile = cmake --build $(BUILD) --parallel $(JOBS)

help:
	@echo 'make          builds what is not built'
	@echo 'make demo     the main job: looks into a language model, MODEL=folder for one of yours'
	@echo 'make test     all tests; SPEC=spec/trace/trace_spec.lua for one file'
	@echo 'make shell    the shell'
	@echo 'make bench    measures, MODEL=folder of a GPT-2'
	@echo 'make docs     the manual as web pages, in build/docs'
	@echo 'make check    the tests under sanitizers, and the linters'
	@echo 'make fuzz     looks for inputs that break the readers of files, SECONDS=60 for each of them'
	@echo 'make install  into PREFIX (/usr/local)'
	@echo 'make uninstall  removes it again'
	@echo 'make clean    removes what was built; a fetched libtorch stays'
	@echo 'What is missing on the machine is installed first. BUILD=folder, CMAKE_FLAGS="-D CMAKE_PREFIX_PATH=/path/to/libtorch"'

demo: ; @tools/setup pictures && $(compile) && bin/luasight examples/logit_lens.lua $(MODEL)

test: ; @tools/setup test && $(compile) && tools/test $(SPEC)

shell: all ; @bin/luasight

bench: all ; @bin/luasight spec/bench/product.lua $(MODEL)

fuzz: ; @tools/setup fuzz && tools/fuzz $(or $(SECONDS),60)

docs: ; @tools/setup docs && $(compile) && luajit tools/manual/main.lua site $(BUILD)/docs && echo "$(BUILD)/docs/index.html"

check: ; @tools/setup test check && tools/check

PREFIX ?= /usr/local
install: all ; cmake --install $(BUILD) --prefix $(PREFIX)

uninstall: # what the last install from this folder put somewhere, and the folders that are empty then
	@[ -f $(BUILD)/install_manifest.txt ] || { echo "nothing was installed from $(BUILD)"; exit 1; }
	@while read -r file || [ -n "$$file" ]; do rm -f "$$file"; done <$(BUILD)/install_manifest.txt
	@while read -r file || [ -n "$$file" ]; do dirname "$$file"; done <$(BUILD)/install_manifest.txt | sort -ru | \
	  while read -r folder; do [ ! -d "$$folder" ] || rmdir -p --ignore-fail-on-non-empty "$$folder"; done
	@rm $(BUILD)/install_manifest.txt

clean:
	@[ ! -d $(BUILD) ] || find $(BUILD) -mindepth 1 -maxdepth 1 ! -name torch -exec rm -rf {} +
	@rm -rf build-asan

.PHONY: all help demo test shell bench fuzz docs check install uninstall clean
