//! What is said of a video file.

/// What a video file really holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Probe {
    pub frames: u64,
    pub fps: f64,
    pub duration_s: f64,
    pub width: u32,
    pub height: u32,
    /// FFmpeg's name: `h264`, `vp9`, `gif`; the four letters of the file for others.
    pub codec: String,
}

/// A video file read back.
#[derive(Debug, Clone, PartialEq)]
pub struct Video {
    pub probe: Probe,
    /// The text of the manifest, where there is one.
    pub manifest: Option<String>,
}

/// A rate and a duration that a file may claim: both finite and above zero.
///
/// # Errors
/// What it claims instead.
pub fn checked(probe: Probe) -> Result<Probe, String> {
    let sane = |value: f64| value.is_finite() && value > 0.0;
    match probe {
        Probe { frames: 0, .. } => Err("it has no frames".into()),
        Probe { width: 0, .. } | Probe { height: 0, .. } => Err("it has no size".into()),
        p if !sane(p.fps) || !sane(p.duration_s) => Err("it has no duration".into()),
        p => Ok(p),
    }
}
