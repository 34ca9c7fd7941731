//! Asking the memory for what will be needed soon, without waiting for it.

/// Bytes that come from memory at a time.
const LINE_BYTES: usize = 64;

/// Asks for all bytes of a value.
#[inline]
pub(super) fn ask<T: ?Sized>(value: &T) {
    let start = std::ptr::from_ref(value).cast::<u8>();
    let bytes = size_of_val(value);
    for at in (0..bytes).step_by(LINE_BYTES) {
        ask_line(start.wrapping_add(at));
    }
    // What does not begin with a line ends in one more.
    ask_line(start.wrapping_add(bytes.saturating_sub(1)));
}

/// Asks for the first bytes of a value, and what stands right before them.
#[inline]
pub(super) fn ask_head<T: ?Sized>(value: &T) {
    ask_line(std::ptr::from_ref(value).cast::<u8>().wrapping_sub(1));
}

#[inline]
fn ask_line(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    {
        #![expect(unsafe_code, reason = "a hint, which any address will do for")]
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: nothing is read or written, and an address that there is nothing at is passed over.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}
