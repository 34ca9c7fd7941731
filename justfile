# What every contributor does: `just` lists it. (https://just.systems)

# Lists what there is.
default:
    @just --list --unsorted

# The gate: formatting, build, tests, lints, documentation.
ci:
    .ci/run

# Formats everything.
fmt:
    cargo fmt --all

# Every lint, as the gate has it.
lint:
    cargo clippy --release --workspace --all-targets --locked -- -D warnings

# Every test; `just test -p tintype-ledger` runs those of one crate.
test *ARGS="--workspace":
    cargo test --release --locked {{ARGS}}

# Snapshots in an object store, against a real S3 server.
objects:
    cargo test --release --locked --manifest-path tests/objects/Cargo.toml --target-dir target

# The benchmarks of the state tree. (Of a whole network: `tintype bench`, with a testnet running.)
bench:
    cargo bench --locked -p tintype-ledger

# The state tree beside the crate `jmt`, with the same batches in one run.
peers:
    cargo run --release --manifest-path tests/peers/Cargo.toml

# Fuzzes one decoder until Ctrl-C or a failure; needs nightly and cargo-fuzz. Without a target, lists them.
fuzz TARGET="" *ARGS="":
    cargo +nightly fuzz {{ if TARGET == "" { "list" } else { "run" } }} --fuzz-dir tests/fuzz {{TARGET}} {{ARGS}}

# A network of four replicas in one thread, from one seed.
sim SEED *ARGS="":
    cargo run --release --locked -p tintype-tests --bin simulate -- --seed {{SEED}} {{ARGS}}

# Licences, sources, advisories and what is banned; needs cargo-deny and the network.
deny *CHECKS="":
    cargo deny check {{CHECKS}}

# The documentation of all crates.
docs:
    RUSTDOCFLAGS="-D warnings" cargo doc --release --workspace --no-deps --locked
