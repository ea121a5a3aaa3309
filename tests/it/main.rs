//! All integration tests in one binary: it links once, and one list of modules shows the areas.

mod tidy;
