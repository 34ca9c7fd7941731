//! How much memory is allocated, now and at the most: for tests of what something may take.
//!
//! A test program that measures makes [`Meter`] its allocator, and has one test: another beside it would be measured too. What
//! libraries in C allocate is not seen.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, counting.
#[derive(Debug)]
pub struct Meter;

/// Bytes that are allocated now.
pub fn allocated() -> usize {
    NOW.load(Relaxed)
}

/// Does something, and gives with its result how many more bytes than before were allocated meanwhile, at the most.
pub fn peak_of<T>(what: impl FnOnce() -> T) -> (T, usize) {
    let before = allocated();
    PEAK.store(before, Relaxed);
    let result = what();
    (result, PEAK.load(Relaxed).saturating_sub(before))
}

fn took(bytes: usize) {
    let now = NOW.fetch_add(bytes, Relaxed) + bytes;
    PEAK.fetch_max(now, Relaxed);
}

#[allow(unsafe_code, reason = "an allocator can be measured only from within")]
// SAFETY: every call is the system allocator's own; numbers are kept beside it.
unsafe impl GlobalAlloc for Meter {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        took(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        took(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        took(size);
        NOW.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.realloc(at, layout, size) }
    }
}
