//! Named variables of a model while it is built: asks the checkpoint for each, keeps the account.
//!
//! A model's constructor asks for every tensor by the diffusers name and the shape that its
//! configuration implies. The same constructor serves three ends: loading, `models verify`
//! (names and shapes only, no data read) and the list of what is missing, unused or mis-shaped.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use anyhow::Result;
use burn::tensor::{DType, Device, Tensor, TensorData};
use safetensors::Dtype;

use super::Checkpoint;
use super::checkpoint::{Entry, Source};
use super::names::{NameTable, Origin};
use super::param::{Param, Parameters};
use super::stored::{Stored, widen};
use crate::error::{Error, ErrorKind};

/// What does not fit between a model and its checkpoint.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    pub component: String,
    /// Tensors found and of the right shape.
    pub matched: usize,
    pub bytes: u64,
    pub dtypes: BTreeSet<String>,
    /// Names that the model needs and the checkpoint lacks.
    pub missing: Vec<String>,
    /// Names in the checkpoint that nothing asked for.
    pub unused: Vec<String>,
    /// `name: expected [..], found [..]`.
    pub mis_shaped: Vec<String>,
}

impl Report {
    /// True when every name is accounted for.
    pub fn is_clean(&self) -> bool {
        self.missing.is_empty() && self.unused.is_empty() && self.mis_shaped.is_empty()
    }

    /// # Errors
    /// `BadInput` naming the first few tensors of each kind, unless the account is clean.
    pub fn into_result(self) -> Result<()> {
        if self.is_clean() {
            return Ok(());
        }
        let mut parts = Vec::new();
        for (what, names) in [
            ("missing", &self.missing),
            ("unused", &self.unused),
            ("of the wrong shape", &self.mis_shaped),
        ] {
            if !names.is_empty() {
                let shown: Vec<&str> = names.iter().take(3).map(String::as_str).collect();
                let more = if names.len() > 3 { ", …" } else { "" };
                parts.push(format!("{} {what} ({}{more})", names.len(), shown.join(", ")));
            }
        }
        Err(Error::new(
            ErrorKind::BadInput,
            format!(
                "weights of `{}` do not fit the model: tensors {}",
                self.component,
                parts.join("; ")
            ),
        )
        .hint(
            "`ourvidz models verify NAME` lists them all; a single file of unusual width needs --config-from",
        )
        .into())
    }
}

/// Whether tensors are read, only counted, or only asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Load,
    Verify,
    /// Notes every name and shape, whatever the checkpoint holds; see [`Vars::listed`].
    List,
}

struct Shared<'a> {
    checkpoint: &'a Checkpoint,
    table: NameTable,
    device: Device,
    mode: Mode,
    account: RefCell<Report>,
    used: RefCell<BTreeSet<String>>,
    parameters: RefCell<Parameters>,
    listed: RefCell<Vec<(String, Vec<usize>)>>,
}

/// A view into the variables below one prefix, such as `down_blocks.0.resnets.1`.
#[derive(Clone)]
pub struct Vars<'a> {
    shared: Rc<Shared<'a>>,
    prefix: String,
    /// What tensors become when loaded; `None` keeps the stored type.
    dtype: Option<DType>,
}

impl<'a> Vars<'a> {
    /// `dtype`: what tensors become when loaded; `None` keeps the stored type.
    pub fn new(
        component: &str,
        checkpoint: &'a Checkpoint,
        table: NameTable,
        device: &Device,
        dtype: Option<DType>,
        mode: Mode,
    ) -> Self {
        let account = Report {
            component: component.to_string(),
            ..Report::default()
        };
        Self {
            shared: Rc::new(Shared {
                checkpoint,
                table,
                device: device.clone(),
                mode,
                account: RefCell::new(account),
                used: RefCell::default(),
                parameters: RefCell::default(),
                listed: RefCell::default(),
            }),
            prefix: String::new(),
            dtype,
        }
    }

    /// The same variables, loaded as f32: for the parts of a network that need its precision.
    pub fn in_f32(&self) -> Self {
        Self {
            dtype: Some(DType::F32),
            ..self.clone()
        }
    }

    /// The variables below `name`.
    pub fn at(&self, name: impl std::fmt::Display) -> Self {
        let prefix = if self.prefix.is_empty() {
            name.to_string()
        } else {
            format!("{}.{name}", self.prefix)
        };
        Self {
            shared: self.shared.clone(),
            prefix,
            dtype: self.dtype,
        }
    }

    /// The variable `name`, which must have this shape.
    ///
    /// A variable that is missing or mis-shaped goes into the account and is replaced by a
    /// placeholder; [`Vars::finish`] then refuses the model, so the placeholder is never computed with.
    ///
    /// # Shapes
    /// `shape`, row-major as in PyTorch (`[out, in]` for linear, `[out, in, kh, kw]` for convolutions).
    pub fn get<const D: usize>(&self, name: &str, shape: [usize; D]) -> Tensor<D> {
        let full = self.at(name).prefix;
        let placeholder = || Tensor::zeros([1; D], &self.shared.device);
        let Some((origin, entry)) = self.find(&full, &shape) else {
            return placeholder();
        };
        match self.shared.mode {
            Mode::Verify | Mode::List => placeholder(),
            Mode::Load => self.stored(origin, entry).read(shape),
        }
    }

    /// As [`Vars::get`], for a weight that adapters may change later.
    pub fn param<const D: usize>(&self, name: &str, shape: [usize; D]) -> Param<D> {
        self.param_as(name, shape, shape)
    }

    /// As [`Vars::param`], for a layer that sees the stored numbers in another shape.
    ///
    /// # Panics
    /// If the two shapes differ in their first axis or their number of elements.
    pub fn param_as<const S: usize, const D: usize>(
        &self,
        name: &str,
        stored: [usize; S],
        seen: [usize; D],
    ) -> Param<D> {
        let elements = |shape: &[usize]| shape.iter().product::<usize>();
        assert!(
            stored[0] == seen[0] && elements(&stored) == elements(&seen),
            "{name}: stored {stored:?}, seen {seen:?}"
        );
        let full = self.at(name).prefix;
        let placeholder = || Param::from(Tensor::zeros([1; D], &self.shared.device));
        let Some((origin, entry)) = self.find(&full, &stored) else {
            return placeholder();
        };
        let source = self.stored(origin, entry);
        let param = match self.shared.mode {
            Mode::Verify | Mode::List => placeholder(),
            Mode::Load => Param::from(source.read(stored).reshape(seen)),
        };
        let mut parameters = self.shared.parameters.borrow_mut();
        parameters.add(full, param.clone(), source, stored);
        param
    }

    /// The weights asked for with [`Vars::param`] so far, by name.
    pub fn parameters(&self) -> Parameters {
        self.shared.parameters.borrow().clone()
    }

    fn stored(&self, origin: Origin, entry: Entry) -> Stored {
        Stored {
            source: self.shared.checkpoint.source(&entry),
            entry,
            origin,
            dtype: self.dtype,
            device: self.shared.device.clone(),
        }
    }

    /// The table `name`, left where it is: its rows are read when they are asked for.
    ///
    /// # Shapes
    /// `[rows, channels]`
    pub fn rows(&self, name: &str, shape: [usize; 2]) -> RowTable {
        let full = self.at(name).prefix;
        let stored = self
            .find(&full, &shape)
            .map(|(_, entry)| (self.shared.checkpoint.source(&entry), entry));
        RowTable { stored, shape }
    }

    /// True when the checkpoint has `name` here; for parts that only some checkpoints have.
    pub fn has(&self, name: &str) -> bool {
        let full = self.at(name).prefix;
        self.shared
            .table
            .origin(&full)
            .is_some_and(|origin| self.shared.checkpoint.get(&origin.name).is_some())
    }

    fn find(&self, full: &str, shape: &[usize]) -> Option<(Origin, Entry)> {
        if self.shared.mode == Mode::List {
            let mut listed = self.shared.listed.borrow_mut();
            listed.push((full.to_string(), shape.to_vec()));
            return None;
        }
        let mut account = self.shared.account.borrow_mut();
        let Some(origin) = self.shared.table.origin(full) else {
            account.missing.push(full.to_string());
            return None;
        };
        let Some(entry) = self.shared.checkpoint.get(&origin.name) else {
            account.missing.push(origin.name);
            return None;
        };
        self.shared.used.borrow_mut().insert(origin.name.clone());
        let expected = origin.stored_shape(shape);
        if entry.shape != expected && !origin.accepts(&entry.shape, shape) {
            account.mis_shaped.push(format!(
                "{}: expected {expected:?}, found {:?}",
                origin.name, entry.shape
            ));
            return None;
        }
        if !matches!(entry.dtype, Dtype::F16 | Dtype::BF16 | Dtype::F32) {
            account.mis_shaped.push(format!(
                "{}: expected F16, BF16 or F32, found {:?}",
                origin.name, entry.dtype
            ));
            return None;
        }
        account.matched += 1;
        account.bytes += self.shared.checkpoint.bytes(entry).len() as u64 / origin.parts() as u64;
        account.dtypes.insert(format!("{:?}", entry.dtype));
        Some((origin, entry.clone()))
    }

    /// Every tensor that was asked for, with its shape, in [`Mode::List`].
    pub fn listed(self) -> Vec<(String, Vec<usize>)> {
        self.shared.listed.borrow().clone()
    }

    /// Closes the account: adds what nobody asked for.
    pub fn finish(self) -> Report {
        let mut account = self.shared.account.borrow().clone();
        let used = self.shared.used.borrow();
        account.unused = self
            .shared
            .checkpoint
            .entries()
            .map(|(name, _)| name)
            .filter(|name| self.shared.table.owns(name) && !used.contains(*name))
            .map(str::to_string)
            .collect();
        account
    }
}

/// A matrix that stays in its file; see [`Vars::rows`].
#[derive(Debug, Clone)]
pub struct RowTable {
    stored: Option<(Arc<Source>, Entry)>,
    shape: [usize; 2],
}

impl RowTable {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.shape[0]
    }

    /// True without rows.
    pub fn is_empty(&self) -> bool {
        self.shape[0] == 0
    }

    /// The rows of that order, in f32.
    ///
    /// # Shapes
    /// → `[indices, channels]`
    ///
    /// # Panics
    /// If an index is out of range, or the table was missing and its model refused.
    pub fn select(&self, indices: &[u32], device: &Device) -> Tensor<2> {
        let (source, entry) = self
            .stored
            .as_ref()
            .expect("a model with a missing table is refused");
        let [rows, channels] = self.shape;
        let bytes = &source.bytes()[entry.range()];
        let row_bytes = bytes.len() / rows;
        let mut values = Vec::with_capacity(indices.len() * channels);
        for &index in indices {
            assert!((index as usize) < rows, "row {index} of a table of {rows}");
            let row = &bytes[index as usize * row_bytes..][..row_bytes];
            values.extend(widen(entry.dtype, row));
        }
        let data = TensorData::new(values, [indices.len(), channels]);
        Tensor::from_data(data, (device, DType::F32))
    }
}
