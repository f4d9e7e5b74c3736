#![no_main]
#![expect(missing_docs, reason = "the macro's function is libFuzzer's")]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::proxies::run(data));
