//! What can go wrong.

/// What is left after a restart of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything: only the process was killed. The write in the middle of which that happened may
    /// be done in part, sector by sector.
    Kept,
    /// Nothing: power was lost before anything reached the medium.
    Lost,
    /// Everything up to some point; of the write there, any of its sectors.
    Torn,
    /// Any sectors of any writes, and any changes of the directory.
    Reordered,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Kept, Self::Lost, Self::Torn, Self::Reordered];
}

/// How a step fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It does nothing and reports an I/O error. A sync that fails so drops what it should have
    /// written, and the next one reports success, as file systems do.
    Io,
    /// It does nothing and reports that there is no space; a write is done in part.
    Full,
    /// A write that reports success and never reaches the medium, whatever is synced later.
    LostWrite,
    /// A write that reports success and reaches the medium so many bytes behind its place, within
    /// the file.
    MisdirectedWrite(u64),
}
