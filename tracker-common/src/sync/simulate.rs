//! Where a simulation takes over: before each operation on a shared word, and while a lock is held by
//! somebody else.

use std::cell::Cell;

/// What a simulation does at these points.
#[derive(Clone, Copy)]
pub struct Hooks {
    /// Before an operation on the word at an address, or on a lock (0): lets others run, or not.
    pub step: fn(usize),
    /// Nothing can be done before others have run.
    pub wait: fn(),
}

thread_local! {
    static HOOKS: Cell<Option<Hooks>> = const { Cell::new(None) };
}

/// Has the operations of this thread call these from now on, or nothing.
pub fn install(hooks: Option<Hooks>) {
    HOOKS.set(hooks);
}

pub(crate) fn step(address: usize) {
    if let Some(hooks) = HOOKS.get() {
        (hooks.step)(address);
    }
}

pub(crate) fn wait() {
    match HOOKS.get() {
        Some(hooks) => (hooks.wait)(),
        None => std::thread::yield_now(),
    }
}
