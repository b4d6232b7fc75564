//! The table of job types: which model family, which defaults, which output limit.

/// Which model family a job type runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    Sdxl,
    Wan,
    Qwen,
    /// No model at all.
    None,
}

/// One job type of the product specification, section 2.
#[derive(Debug, PartialEq)]
pub struct JobKind {
    pub name: &'static str,
    pub family: Family,
    pub steps: u32,
    pub guidance_scale: f64,
    pub width: u32,
    pub height: u32,
    /// Largest allowed output file.
    pub limit_bytes: u64,
    /// False until this build can run it: such a job is answered plainly, with exit 69.
    pub built: bool,
}

const MB: u64 = 1_000_000;

const SDXL: JobKind = JobKind {
    name: "sdxl_image_fast",
    family: Family::Sdxl,
    steps: 15,
    guidance_scale: 6.0,
    width: 1024,
    height: 1024,
    limit_bytes: 5 * MB,
    built: true,
};

/// Every type, in the order of the specification.
pub static KINDS: &[JobKind] = &[
    SDXL,
    JobKind {
        name: "sdxl_image_high",
        steps: 25,
        guidance_scale: 7.5,
        limit_bytes: 10 * MB,
        ..SDXL
    },
];
