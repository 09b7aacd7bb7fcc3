//! Words that keep account of what is touched, for the budget of a packet's way.

use core::cell::RefCell;
use core::sync::atomic::{self, Ordering};
use std::thread_local;
use std::vec::Vec;

thread_local! {
    /// Addresses of the words that this thread has touched, in order.
    static TOUCHED: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

thread_local! {
    /// Maps that this thread has looked something up in, in order.
    static LOOK_UPS: RefCell<Vec<&'static str>> = const { RefCell::new(Vec::new()) };
}

/// Notes that this thread looks something up in a map.
pub fn look_up(map: &'static str) {
    LOOK_UPS.with_borrow_mut(|all| all.push(map));
}

/// The maps that this thread has looked something up in since it was asked last.
pub fn take_look_ups() -> Vec<&'static str> {
    LOOK_UPS.take()
}

/// Notes that this thread touches what is at this place.
pub fn touch<T>(place: &T) {
    TOUCHED.with_borrow_mut(|touched| touched.push(core::ptr::from_ref(place).addr()));
}

/// The addresses that this thread has touched since it was asked last.
pub fn take_touched() -> Vec<usize> {
    TOUCHED.take()
}

macro_rules! cell {
    ($name:ident, $value:ty) => {
        /// A word that several CPUs read and write.
        #[derive(Debug, Default)]
        #[repr(transparent)]
        pub struct $name(atomic::$name);

        impl $name {
            /// As the standard library's, each of these.
            pub const fn new(value: $value) -> $name {
                $name(atomic::$name::new(value))
            }

            /// Reads the word.
            pub fn load(&self, order: Ordering) -> $value {
                self.touched().load(order)
            }

            /// Writes the word.
            pub fn store(&self, value: $value, order: Ordering) {
                self.touched().store(value, order);
            }

            /// Adds, wrapping; what was there before.
            pub fn fetch_add(&self, value: $value, order: Ordering) -> $value {
                self.touched().fetch_add(value, order)
            }

            /// Sets bits; what was there before.
            pub fn fetch_or(&self, value: $value, order: Ordering) -> $value {
                self.touched().fetch_or(value, order)
            }

            /// Lowers the word to this value; what was there before.
            pub fn fetch_min(&self, value: $value, order: Ordering) -> $value {
                self.touched().fetch_min(value, order)
            }

            /// Replaces one value by another.
            ///
            /// # Errors
            ///
            /// What is there, if it is another one.
            pub fn compare_exchange(
                &self,
                old: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                self.touched().compare_exchange(old, new, success, failure)
            }

            /// Changes the word; what was there before.
            ///
            /// # Errors
            ///
            /// What is there, if `change` gives nothing.
            pub fn fetch_update(
                &self,
                store: Ordering,
                load: Ordering,
                change: impl FnMut($value) -> Option<$value>,
            ) -> Result<$value, $value> {
                self.touched().fetch_update(store, load, change)
            }

            fn touched(&self) -> &atomic::$name {
                touch(self);
                &self.0
            }
        }
    };
}

cell!(AtomicU32, u32);
cell!(AtomicU64, u64);
