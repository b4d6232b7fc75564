//! Text with a weight.

/// Text with the weight that all its tokens get.
#[derive(Debug, Clone, PartialEq)]
pub struct Piece {
    pub text: String,
    pub weight: f64,
}

impl Piece {
    pub(super) fn new(text: impl Into<String>, weight: f64) -> Self {
        Self {
            text: text.into(),
            weight,
        }
    }
}
