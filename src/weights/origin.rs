//! Where a variable lies in a file, and under which name.

/// Where a variable comes from.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Origin {
    /// The name on disk.
    pub name: String,
    /// The `i`-th of `n` equal blocks of rows, for fused projections.
    pub part: Option<(usize, usize)>,
    /// Stored `[in, out]` instead of `[out, in]`.
    pub transposed: bool,
    /// Stored as a 1×1 convolution `[out, in, 1, 1]` instead of `[out, in]`.
    pub pointwise: bool,
}

impl Origin {
    pub(super) fn same(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }

    /// The shape on disk of a variable that the model sees as `shape`.
    pub fn stored_shape(&self, shape: &[usize]) -> Vec<usize> {
        let mut stored = shape.to_vec();
        if let Some((_, n)) = self.part {
            stored[0] *= n;
        }
        if self.transposed {
            stored.reverse();
        }
        if self.pointwise && shape.len() == 2 {
            stored.extend([1, 1]);
        }
        stored
    }

    /// True when `found` holds the same numbers in the same order as `shape` would: a linear
    /// layer may be stored as a 1×1 convolution and the other way round.
    pub fn accepts(&self, found: &[usize], shape: &[usize]) -> bool {
        let expected = self.stored_shape(shape);
        let trimmed = |s: &[usize]| match s {
            [out, input, 1, 1] => vec![*out, *input],
            other => other.to_vec(),
        };
        self.pointwise && trimmed(found) == trimmed(&expected)
    }

    /// The share of the stored bytes that belongs to this variable.
    pub fn byte_range(&self, len: usize) -> std::ops::Range<usize> {
        match self.part {
            None => 0..len,
            Some((i, n)) => len / n * i..len / n * (i + 1),
        }
    }

    /// How many variables share the stored tensor.
    pub fn parts(&self) -> usize {
        self.part.map_or(1, |(_, n)| n)
    }

    /// True for the variable after which the stored tensor is no longer needed.
    pub fn is_last_part(&self) -> bool {
        self.part.is_none_or(|(i, n)| i + 1 == n)
    }
}

/// The right side of a table's row.
pub(super) fn lookup<'a>(table: &[(&str, &'a str)], key: &str) -> Option<&'a str> {
    table.iter().find(|(from, _)| *from == key).map(|(_, to)| *to)
}
