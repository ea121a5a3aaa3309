//! The tests of the simulator that need no more than its public interface.

mod links;
