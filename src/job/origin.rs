//! Where a spec comes from, and what it may therefore name.

/// Who wrote a spec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The command line alone.
    Flags,
    /// A file of the user's: unknown fields are mistakes.
    File,
    Stdin,
    /// The manifest in a picture or video, which anybody may have written.
    Replay,
    /// A producer: unknown fields are its own business, and the queue knows an id where it names none.
    Queue,
}

/// What a spec may name or ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trust {
    /// Files of this machine, as references.
    pub paths: bool,
    /// Models by their path, and not only by their name in models.toml.
    pub models: bool,
    /// An address that is told what became of the job.
    pub callback: bool,
    /// Any number of images, and not only those that producers agreed on.
    pub any_quantity: bool,
    /// What the user can do about a refusal.
    pub cure: &'static str,
}

impl Trust {
    /// For the user's own words.
    pub const FULL: Self = Self {
        paths: true,
        models: true,
        callback: true,
        any_quantity: true,
        cure: "",
    };
}

impl Origin {
    /// What a spec from here may name unless the operator says more.
    pub fn trust(self) -> Trust {
        match self {
            Self::Flags | Self::File | Self::Stdin => Trust::FULL,
            Self::Replay => Trust {
                paths: false,
                models: false,
                callback: false,
                any_quantity: true,
                cure: "--trust-paths allows it, if you know who made the file",
            },
            // Whether its callback address is used is for the list of allowed hosts to say.
            Self::Queue => Trust {
                paths: false,
                models: false,
                callback: true,
                any_quantity: false,
                cure: "the operator may allow local references with --allow-local-references, and name models in models.toml",
            },
        }
    }

    /// Whether a producer wrote it, who may send fields of its own and numbers as text.
    pub fn is_queue(self) -> bool {
        self == Self::Queue
    }
}
