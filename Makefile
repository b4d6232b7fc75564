# Two commands do everything:  make picture   and   make test
# They install what is missing (Debian/Ubuntu packages need root or sudo), build, and run.

SHELL := /bin/bash
export CARGO_TARGET_DIR ?= $(HOME)/.cache/ourvidz-target
# A GPU build where an NVIDIA driver answers; CUDA=0 or CUDA=1 decides otherwise.
CUDA ?= $(shell nvidia-smi -L >/dev/null 2>&1 && echo 1 || echo 0)
FEATURES := $(if $(filter 1,$(CUDA)),--features cuda)
PROMPT ?= a red circle on a white background

.PHONY: picture build install test check completions packages

picture: build
	"$(CARGO_TARGET_DIR)/release/ourvidz" generate "$(PROMPT)" --seed 42 -o first-picture.png

build: packages
	@cargo build --release --quiet $(FEATURES)

install: packages
	cargo install --path . --locked $(FEATURES)

test: packages
	cargo test --locked

check: packages
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	cargo check --locked --no-default-features --all-targets
	cargo check --locked --features cuda --all-targets

completions: build
	for shell in bash zsh fish elvish powershell; do \
	  "$(CARGO_TARGET_DIR)/release/ourvidz" completions $$shell > completions/ourvidz.$$shell; done

# A C compiler for two small C libraries below the tokenizers, and FFmpeg's libraries for videos
# (a build with --no-default-features does without).
packages:
	@./.ci/packages
