//! Deliberate mistakes that the tests must find, in builds that never ship.
//!
//! `mutant!(Name)` is the constant `false`. With `--cfg warlock_mutants` it says whether the
//! environment variable `WARLOCK_MUTANT` was `Name` when the process began to ask. The simulator
//! has the list of all names, with what each breaks and what finds it.
//!
//! The same file lies in `warlock-paxos` and in `warlock-resp`, because neither may see the other;
//! the tidy test compares them.

#[cfg(all(warlock_mutants, not(debug_assertions)))]
compile_error!("warlock_mutants: a build without debug assertions might ship, mutants must not");

/// The constant `false`: this is not a build for mutants.
#[cfg(not(warlock_mutants))]
#[macro_export]
macro_rules! mutant {
    ($($name:ident),+) => {
        $crate::mutants::NONE
    };
}

/// What every site is in a build that is not for mutants.
#[cfg(not(warlock_mutants))]
pub const NONE: bool = false;

/// How often this process came to a site of the mutant that it runs with: there is none.
#[cfg(not(warlock_mutants))]
#[must_use]
pub const fn reached() -> u64 {
    0
}

/// Whether the process runs with this mistake, or with one of these.
#[cfg(warlock_mutants)]
#[macro_export]
macro_rules! mutant {
    ($($name:ident),+) => {{
        false $(|| {
            static SITE: $crate::mutants::Site = $crate::mutants::Site::new(stringify!($name));
            SITE.is_wrong()
        })+
    }};
}

#[cfg(warlock_mutants)]
mod selection {
    extern crate std;

    use core::sync::atomic::{AtomicU64, Ordering};
    use std::sync::OnceLock;

    static REACHED: AtomicU64 = AtomicU64::new(0);

    /// How often this process came to a site of the mutant that it runs with.
    #[must_use]
    pub fn reached() -> u64 {
        REACHED.load(Ordering::Relaxed)
    }

    /// A place that knows how to do it wrong.
    #[derive(Debug)]
    pub struct Site {
        name: &'static str,
        is_selected: OnceLock<bool>,
    }

    impl Site {
        /// A place of the mutant `name`.
        #[must_use]
        pub const fn new(name: &'static str) -> Self {
            Self { name, is_selected: OnceLock::new() }
        }

        /// Whether to do it wrong.
        #[must_use]
        pub fn is_wrong(&self) -> bool {
            let asked = || std::env::var("WARLOCK_MUTANT").is_ok_and(|name| name == self.name);
            let wrong = *self.is_selected.get_or_init(asked);
            REACHED.fetch_add(u64::from(wrong), Ordering::Relaxed);
            wrong
        }
    }
}

#[cfg(warlock_mutants)]
pub use selection::{Site, reached};
