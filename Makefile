.PHONY: help build lint test bench

help:            ## these five words
	@grep -E '^[a-z]+: ' Makefile | sed 's/:.*## /\t/'
build:           ## install both packages into the active environment, kernels in release mode
	pip install '.[test,lint]'
lint:            ## formats, lints and types of both languages
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	ruff check python tests benches
	ruff format --check python tests benches
	mypy python/reid python/reid_cluster
test:            ## everything: Python, the Rust crate, the README's own blocks
	pytest
bench:           ## time the kernels
	cargo bench
