//! The daemon's locks. Who panicked with one of them has left nothing half done that matters.

#[cfg(not(feature = "simulate"))]
use std::sync::PoisonError;
use std::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
#[cfg(feature = "simulate")]
use std::sync::{TryLockError, TryLockResult};

#[cfg(not(feature = "simulate"))]
macro_rules! taken {
    ($lock:ident . $method:ident or $attempt:ident) => {
        $lock.$method().unwrap_or_else(PoisonError::into_inner)
    };
}

#[cfg(feature = "simulate")]
macro_rules! taken {
    ($lock:ident . $method:ident or $attempt:ident) => {
        waited(|| $lock.$attempt())
    };
}

pub(crate) fn lock<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    taken!(lock.lock or try_lock)
}

pub(crate) fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    taken!(lock.read or try_read)
}

pub(crate) fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    taken!(lock.write or try_write)
}

/// In a simulation all run in one thread, which must not stop.
#[cfg(feature = "simulate")]
fn waited<G>(attempt: impl Fn() -> TryLockResult<G>) -> G {
    loop {
        super::simulate::step(0);
        match attempt() {
            Ok(guard) => return guard,
            Err(TryLockError::Poisoned(error)) => return error.into_inner(),
            Err(TryLockError::WouldBlock) => super::simulate::wait(),
        }
    }
}
