# Every routine task of this repository, by name. `make` alone lists them.
#
# The demo and the tests share one set of artefacts: the dev profile, in which every dependency and the engine are
# optimised. A release build would be no faster where it counts, and would compile all crates a second time.

CARGO ?= cargo
# Not `cargo run`, which would omit the tests' features and compile candle, the engine and nine more crates again.
JURY = $${CARGO_TARGET_DIR:-target}/debug/jury
# Every package, with the features that tests need: cargo enables those as soon as one target may use them, here an
# example. Lint and tests enable them anyway, so each crate is compiled once, and checked once for lints and docs.
TARGETS = --workspace --lib --bins --example queue_memory --example reward_texts
BUILD = $(CARGO) build $(TARGETS)
DEMO_MODEL ?= qwen2.5-coder-1.5b
TEST_MODEL = smollm2-135m
# One more of each family that the engine supports, too large to fetch for every test.
REFERENCE_MODELS = qwen2.5-coder-0.5b
# The model whose memory is measured.
MEMORY_MODEL = qwen2.5-coder-1.5b
# The version of PEFT whose adapters are merged.
PEFT = 0.21.2
FUZZ_SECONDS ?= 600
# The items that `make bench-verdicts` judges.
ITEMS ?= examples/items.jsonl
# Tests of kernels and engine only, for another target: dependencies are optimised for compile time, not for speed.
KERNELS_TEST = $(CARGO) test -p jury-kernels --config 'profile.dev.package."*".opt-level=0'
ENGINE_TEST = $(CARGO) test -p jury-engine --config 'profile.dev.package."*".opt-level=0'
ASAN = RUSTC_BOOTSTRAP=1 RUSTFLAGS='-Zsanitizer=address --cfg asan'
ASAN_CONFIG = --config 'profile.dev.package.jury-engine.opt-level=1' \
	--config 'profile.dev.package.jury-kernels.opt-level=1' \
	--target "$$(rustc -vV | sed -n 's/^host: //p')"
# A release build is where cargo puts it.
RELEASE = $${CARGO_TARGET_DIR:-target}/release/jury

.DEFAULT_GOAL := help
.PHONY: help requirements setup build demo test test-models upstream-tests merge-tests test-aarch64 asan lint fmt doc fuzz bench bench-engine bench-verdicts bench-scaling bench-cluster proto python-tests trainer-tests console-test wheel deploy-test image cuda cuda-test

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

requirements: # Rust, a C compiler, Python 3 with pip
	@scripts/requirements

setup: requirements build ## Install what the tests need: etcd and their model
	@scripts/etcd
	$(JURY) models fetch $(TEST_MODEL)

build: requirements ## Build the jury binary
	$(BUILD)

demo: build ## Fetch a small model and judge examples/capital.json with it
	$(JURY) models fetch $(DEMO_MODEL)
	$(JURY) score examples/capital.json --model $(DEMO_MODEL)

test: setup lint doc cuda-test ## Run everything: format, lints, docs, all tests
	JURY_ETCD="$$(scripts/etcd)" $(CARGO) test --workspace

test-models: build ## Compare more models with a reference, measure memory, train: 1.6 GB on disk, 13 GiB of memory
	for model in $(REFERENCE_MODELS) $(MEMORY_MODEL); do $(JURY) models fetch "$$model" || exit 1; done
	$(CARGO) test --workspace --test engine -- --ignored --nocapture reference::
	$(CARGO) test --workspace --test engine -- --ignored --nocapture memory::
	JURY_TEST_MODEL="$$($(JURY) models fetch $(MEMORY_MODEL))" $(CARGO) test --workspace --test engine -- --nocapture invariance::
	for tuned in an_adapter all_weights; do \
		JURY_TRAINING_MODEL="$$($(JURY) models fetch qwen2.5-coder-0.5b)" \
			$(CARGO) test --workspace --test memory -- --ignored --nocapture "$$tuned" || exit 1; \
	done

upstream-tests: build ## Test workers in front of real servers: llama-server, compiled once, vLLM (7 GB of packages), smg
	model="$$($(JURY) models fetch $(TEST_MODEL))" && peer="$$(scripts/llama-cpp)" && vllm="$$(scripts/vllm)" && \
	smg="$$(scripts/smg)" && scripts/vllm-models "$$vllm" && folder="$$(dirname "$$model")" && \
	JURY_LLAMA_SERVER="$$peer/llama-server" LD_LIBRARY_PATH="$$peer" JURY_VLLM="$$vllm/bin/vllm" JURY_SMG="$$smg/bin/smg" \
	JURY_VLLM_MODEL="$$folder/SmolLM2-135M-Instruct" JURY_VLLM_REWARD_MODEL="$$folder/SmolLM2-135M-Reward" \
	JURY_TEST_MODEL="$$model" JURY_ETCD="$$(scripts/etcd)" \
		$(CARGO) test --workspace --test upstream --test cluster -- --ignored --nocapture --test-threads 1

merge-tests: build ## Compare merged models with PEFT, transformers and llama.cpp: 6 GB of packages
	$(JURY) models fetch $(TEST_MODEL)
	trainers="$$(scripts/trainer-env)" && "$$trainers/bin/python" -m pip install --quiet --no-deps peft==$(PEFT) && \
		"$$trainers/bin/python" engine/tests/peers/merge.py $(JURY)
	peer="$$(scripts/llama-cpp)" && JURY_LLAMA_SERVER="$$peer/llama-server" LD_LIBRARY_PATH="$$peer" \
		$(CARGO) test --workspace --test engine -- --ignored --nocapture merge::

test-aarch64: requirements ## Test the ARM kernels in an emulator
	@command -v qemu-aarch64-static >/dev/null && command -v aarch64-linux-gnu-gcc >/dev/null || { \
		echo 'needs the packages qemu-user-static, gcc-aarch64-linux-gnu, libc6-dev-arm64-cross'; exit 1; }
	rustup target add aarch64-unknown-linux-gnu
	CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
	CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER='qemu-aarch64-static -L /usr/aarch64-linux-gnu' \
	$(KERNELS_TEST) --lib --target aarch64-unknown-linux-gnu

# The PTX is committed, so only those who change a kernel need this.
cuda: ## Compile kernels/cuda to PTX with nvcc from Python packages; no GPU needed
	scripts/cuda

cuda-test: requirements ## Test the CUDA kernels in emulation, on this machine's CPU
	scripts/cuda --test

# Excluded are the tests of candle's code with a real model, which is unoptimised here and slow, and those of the
# tokenizer: the `unsafe` code that they reach is covered by the other tests.
asan: build ## Run the tests of kernels and engine under the address sanitizer
	$(JURY) models fetch $(TEST_MODEL)
	$(ASAN) $(KERNELS_TEST) $(ASAN_CONFIG) --lib
	$(ASAN) $(ENGINE_TEST) $(ASAN_CONFIG) --lib
	$(ASAN) $(ENGINE_TEST) $(ASAN_CONFIG) --test engine -- --skip reference:: --skip device:: --skip break_out::

lint: requirements ## Check format and lints
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	scripts/rust-version

fmt: ## Format the code
	$(CARGO) fmt --all

doc: requirements ## Build the documentation; a broken link is an error
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc $(TARGETS) --no-deps

console-test: requirements ## Check the console in a real browser: Chromium, and playwright-core from npm
	@scripts/console-test

python-tests: build ## Test the Python client: types, and calls to a real judge (PYTEST= for more options)
	$(JURY) models fetch $(TEST_MODEL)
	env="$$(scripts/python-env)" && . "$$env/bin/activate" && cd client/python && \
		maturin develop --quiet && mypy && pytest $(PYTEST)

trainer-tests: build ## Test the trainers' adapters inside the real trainers: 8 GB of packages (PYTEST= as above)
	$(JURY) models fetch $(TEST_MODEL)
	env="$$(scripts/python-env)" && trainers="$$(scripts/trainer-env)" && cd client/python && \
		VIRTUAL_ENV="$$trainers" "$$env/bin/maturin" develop --quiet && \
		"$$trainers/bin/python" -m pytest tests/trainers $(PYTEST)
	gym="$$(scripts/gym-env)" && { [ -z "$$gym" ] || \
		{ cd client/python && "$$gym/bin/python" -m pytest tests/trainers/test_nemo_gym.py; }; }

wheel: requirements ## Build the Python client as a wheel, for every Python from 3.9 on, into client/python/dist
	env="$$(scripts/python-env)" && . "$$env/bin/activate" && cd client/python && \
		maturin build --release --out dist

image: ## Build an image with docker, podman or buildah (IMAGE=, CUDA=1, BINARY=; see scripts/image)
	scripts/image

# Helm and validators come from Python packages, promtool from Debian's prometheus.
deploy-test: build ## Check everything under deploy/ (PARTS= selects some; scripts/deploy-test lists them)
	scripts/deploy-test $(PARTS)

fuzz: requirements ## Fuzz parser and guide for FUZZ_SECONDS each
	@command -v cargo-fuzz >/dev/null || $(CARGO) install cargo-fuzz --locked
	cd grm && for target in fuzz/fuzz_targets/*.rs; do \
		RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run "$$(basename "$$target" .rs)" -- \
			-max_total_time=$(FUZZ_SECONDS) || exit 1; \
	done

bench: bench-engine ## Same as bench-engine

bench-engine: requirements ## Measure the engine against llama.cpp (BENCH= for more options, such as --quick)
	$(CARGO) build --release --bin jury
	$(RELEASE) models fetch $(TEST_MODEL)
	peer="$$(scripts/llama-cpp)" && $(RELEASE) bench engine --peer "$$peer/llama-batched-bench" $(BENCH)

bench-verdicts: requirements ## Measure verdicts per minute against llama-server (ITEMS=file.jsonl, BENCH= as above)
	$(CARGO) build --release --bin jury
	$(RELEASE) models fetch $(TEST_MODEL)
	peer="$$(scripts/llama-cpp)" && \
		$(RELEASE) bench verdicts --items $(ITEMS) --peer "$$peer/llama-server" $(BENCH)

bench-cluster: requirements ## Measure the coordinator over simulated GPU workers (BENCH= as above)
	$(CARGO) build --release --bin jury
	$(RELEASE) bench cluster $(BENCH)

bench-scaling: requirements ## Measure time by number of samples, prompt length and requests (BENCH= as above, or --svg FILE)
	$(CARGO) build --release --bin jury
	$(RELEASE) models fetch $(TEST_MODEL)
	$(RELEASE) bench scaling $(BENCH)

proto: requirements ## Regenerate the code of the contracts, and lint them if npx is available
	JURY_UPDATE_PROTO=1 $(CARGO) test -p jury-proto --test generated
	@if command -v npx >/dev/null; then npx --yes @bufbuild/buf lint proto; \
	else echo 'buf lint was left out: it needs npx'; fi
