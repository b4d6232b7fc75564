# Two commands do everything:  make picture   and   make test
# They install what is missing (Debian/Ubuntu packages need root or sudo), build, and run.

SHELL := /bin/bash
export CARGO_TARGET_DIR ?= $(HOME)/.cache/ourvidz-target
# A GPU build where an NVIDIA driver answers; CUDA=0 or CUDA=1 decides otherwise.
CUDA ?= $(shell nvidia-smi -L >/dev/null 2>&1 && echo 1 || echo 0)
FEATURES := $(if $(filter 1,$(CUDA)),--features cuda)
PROMPT ?= a red circle on a white background

.PHONY: picture build install test check completions packages release sbom gpu-build gpu-dry gpu-dry-full

picture: build
	"$(CARGO_TARGET_DIR)/release/ourvidz" generate "$(PROMPT)" --seed 42 -o first-picture.png

build: packages
	@cargo build --release --quiet $(FEATURES)

install: packages
	cargo install --path . --locked $(FEATURES)

test: packages
	cargo test --locked

# The CUDA build without a GPU: whole jobs on a stand-in driver that checks and counts every call
# (tests/gpu_dry.rs). The second runs full-size models too, from files without data.
DRY := $(CARGO_TARGET_DIR)/gpu-dry
gpu-build: packages
	cargo build --locked --profile gpu-dry --no-default-features --features cuda,wgpu
	tests/gpu/build.sh "$(DRY)/standin"

gpu-dry: gpu-build
	$(DRY_ENV) cargo test --locked --test main gpu_dry::a_ -- --ignored --nocapture --test-threads 1

gpu-dry-full: gpu-build
	$(DRY_ENV) cargo test --locked --test main gpu_dry:: -- --ignored --nocapture --test-threads 1
DRY_ENV = GPU_DRY_PROGRAM="$(DRY)/ourvidz" GPU_DRY_LIBRARIES="$(DRY)/standin" GPU_DRY_WORK="$(DRY)/work"

check: packages
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	cargo check --locked --no-default-features --all-targets
	cargo check --locked --features cuda,wgpu --all-targets

# What a release holds: the binary, what it was made of (a CycloneDX bill of materials), digests.
release: build sbom
	@mkdir -p dist
	@cp "$(CARGO_TARGET_DIR)/release/ourvidz" LICENSE-MIT dist/
	@cd dist && sha256sum ourvidz ourvidz.cdx.json LICENSE-MIT > SHA256SUMS && cat SHA256SUMS

# cargo-cyclonedx writes into the package's folder, with a serial number, the time and the folder's name;
# all three are left out, so that the same tree gives the same file.
sbom: packages
	@mkdir -p dist
	@PATH="$$(./.ci/tool cargo-cyclonedx 0.5.9):$$PATH" SOURCE_DATE_EPOCH=0 \
	  cargo cyclonedx --quiet --format json --spec-version 1.5 $(FEATURES) --override-filename ourvidz.cdx
	@sed "s|path+file://$(CURDIR)|path+file:///ourvidz|g" ourvidz.cdx.json > dist/ourvidz.cdx.json
	@rm ourvidz.cdx.json

completions: build
	for shell in bash zsh fish elvish powershell; do \
	  "$(CARGO_TARGET_DIR)/release/ourvidz" completions $$shell > completions/ourvidz.$$shell; done

# A C compiler for two small C libraries below the tokenizers, and FFmpeg's libraries for videos
# (a build with --no-default-features does without).
packages:
	@./.ci/packages
