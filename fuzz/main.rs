//! libFuzzer around one target: the one that `MULTI_HYPERBEE_FUZZ` names.
#![no_main]

mod targets;

use std::sync::LazyLock;

static TARGET: LazyLock<&targets::Target> = LazyLock::new(|| {
    let name = std::env::var("MULTI_HYPERBEE_FUZZ").unwrap_or_default();
    let known = targets::ALL.iter().map(|target| target.name).collect::<Vec<_>>().join(", ");
    targets::ALL
        .iter()
        .find(|target| target.name == name)
        .unwrap_or_else(|| panic!("MULTI_HYPERBEE_FUZZ={name:?} is none of: {known}"))
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| TARGET.run(bytes));
