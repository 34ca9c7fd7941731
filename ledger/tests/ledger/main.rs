//! What holds of the ledger's words whatever their content is: their formats are pinned, their decoders take what they
//! gave and nothing else, certificates and roots cannot be bent, and no sequence of transactions breaks the state's laws.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests"
)]

mod arbitrary;
mod codec;
mod formats;
mod generated;
mod machine;
mod roots;
mod samples;
mod signed;
mod vectors;
