//! Weights that may be changed after loading, and put back without loading the model again.
//!
//! A layer keeps a [`Param`] and reads it in every call. The network's [`Parameters`] hold the
//! same weights by name, with the place of each in its file, so that adapters can be merged into
//! them and taken out again bit for bit.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use burn::tensor::{DType, Tensor};

use super::stored::Stored;

/// The same numbers in another order in memory.
type Layout<const D: usize> = fn(Tensor<D>) -> Tensor<D>;

/// A weight of a layer. Clones share it: what is put into one is seen by all.
#[derive(Debug, Clone)]
pub struct Param<const D: usize> {
    value: Arc<RwLock<Tensor<D>>>,
    /// How the layer wants it to lie in memory.
    layout: Arc<OnceLock<Layout<D>>>,
}

impl<const D: usize> Param<D> {
    /// The weight as it is now.
    pub fn value(&self) -> Tensor<D> {
        self.value.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Its shape.
    pub fn dims(&self) -> [usize; D] {
        self.value.read().unwrap_or_else(PoisonError::into_inner).dims()
    }

    fn put(&self, value: Tensor<D>) {
        let value = match self.layout.get() {
            Some(layout) => layout(value),
            None => value,
        };
        *self.value.write().unwrap_or_else(PoisonError::into_inner) = value;
    }

    /// The same weight, laid out in memory by `layout` now and whenever it is changed.
    pub fn laid_out(self, layout: Layout<D>) -> Self {
        // A layer says so once, when it is built.
        if self.layout.set(layout).is_ok() {
            self.put(self.value());
        }
        self
    }
}

impl<const D: usize> From<Tensor<D>> for Param<D> {
    fn from(value: Tensor<D>) -> Self {
        Self {
            value: Arc::new(RwLock::new(value)),
            layout: Arc::default(),
        }
    }
}

/// A network's weights by name, as its layers and its file have them.
#[derive(Debug, Clone, Default)]
pub struct Parameters(BTreeMap<String, Arc<dyn Parameter>>);

impl Parameters {
    pub(super) fn add<const S: usize, const D: usize>(
        &mut self,
        name: String,
        param: Param<D>,
        stored: Stored,
        shape: [usize; S],
    ) {
        let kept = Kept { param, stored, shape };
        self.0.insert(name, Arc::new(kept));
    }

    /// The weight of that name, such as `mid_block.resnets.0.conv1.weight`.
    pub fn get(&self, name: &str) -> Option<&dyn Parameter> {
        self.0.get(name).map(Arc::as_ref)
    }

    /// Every name.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// One weight, seen as a matrix: its outputs by everything else.
pub trait Parameter: Debug + Send + Sync {
    /// Its shape in PyTorch's order: `[out, in]`, or `[out, in, ..kernel]` for convolutions.
    fn shape(&self) -> &[usize];

    /// The weight as it is now, in the type that it has in memory.
    ///
    /// # Shapes
    /// → `[out, in · kernel]`
    fn matrix(&self) -> Tensor<2>;

    /// Changes the weight, which keeps its type.
    ///
    /// # Shapes
    /// `value: [out, in · kernel]`
    fn put(&self, value: Tensor<2>);

    /// Reads the weight from its file again, so that it is bit for bit what it was when loaded.
    fn restore(&self);

    /// Its type in memory.
    fn dtype(&self) -> DType {
        self.matrix().dtype()
    }
}

#[derive(Debug)]
struct Kept<const S: usize, const D: usize> {
    param: Param<D>,
    stored: Stored,
    shape: [usize; S],
}

impl<const S: usize, const D: usize> Parameter for Kept<S, D> {
    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn matrix(&self) -> Tensor<2> {
        let out = self.shape[0];
        let rest = self.shape[1..].iter().product::<usize>();
        self.param.value().reshape([out, rest])
    }

    fn put(&self, value: Tensor<2>) {
        let value = value.cast(self.dtype());
        self.param.put(value.reshape(self.param.dims()));
    }

    fn restore(&self) {
        let value = self.stored.read(self.shape);
        self.param.put(value.reshape(self.param.dims()));
    }
}
