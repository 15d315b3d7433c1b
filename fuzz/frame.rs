//! Any frames whatever, one after another, through the pipeline on the host: nothing panics, what is not sent is as it was, and what is
//! sent can be read by another parser and has no checksum wrong that was right.
//!
//! ```sh
//! FOREBAY_CORPUS=$PWD/fuzz/corpus/frame cargo test -p forebay-kernel --test fuzz   # the frames of the cases, to begin with
//! cargo +nightly fuzz run frame -- -max_len=4096 -max_total_time=600
//! ```
//!
//! Where there is no nightly Rust and no cargo-fuzz, stable Rust builds it without the address sanitizer, which code without `unsafe`
//! can do without:
//!
//! ```sh
//! cd fuzz && RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
//!   -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table" \\
//!   cargo run --release --target x86_64-unknown-linux-gnu -- -max_len=4096 -max_total_time=600 corpus/frame
//! ```

#![no_main]

#[path = "../crates/kernel/tests/common/oracle.rs"]
mod oracle;
#[path = "../crates/kernel/tests/common/ordeal.rs"]
mod ordeal;
#[path = "../crates/kernel/tests/fixtures/scene.rs"]
mod scene;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    if let Err(why) = ordeal::undergo(input) {
        panic!("{why}");
    }
});
