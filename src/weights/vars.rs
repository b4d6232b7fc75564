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

use super::checkpoint::Checkpoint;
use super::names::NameTable;
use super::origin::Origin;
use super::param::{Param, Parameters};
use super::source::{Entry, Source};
use super::stored::{Scale, Stored, is_read, widen};
use crate::error::{Error, ErrorKind};
use crate::text::escaped;

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
    /// Names in the checkpoint that nothing asked for, though the network is full of their kind: it
    /// has more layers than its configuration says.
    pub unused: Vec<String>,
    /// Names of tensors that the network has no place for; they change nothing.
    pub extra: Vec<String>,
    /// `name: expected [..], found [..]`.
    pub mis_shaped: Vec<String>,
}

impl Report {
    /// True when every name is accounted for.
    pub fn is_clean(&self) -> bool {
        self.missing.is_empty() && self.unused.is_empty() && self.mis_shaped.is_empty()
    }

    /// What to say of tensors that were left out.
    pub fn note(&self) -> Option<String> {
        let first = self.extra.first()?;
        let more = if self.extra.len() > 1 { ", …" } else { "" };
        Some(format!(
            "weights of `{}`: {} tensors that this model has no place for were left out ({}{more})",
            self.component,
            self.extra.len(),
            escaped(first)
        ))
    }

    /// What to say of tensors that were left out, as [`Report::note`].
    ///
    /// # Errors
    /// `BadInput` naming the first few tensors of each kind, unless the account is clean.
    pub fn into_result(self) -> Result<Option<String>> {
        if self.is_clean() {
            return Ok(self.note());
        }
        let mut parts = Vec::new();
        for (what, names) in [
            ("missing", &self.missing),
            ("unused", &self.unused),
            ("of the wrong shape", &self.mis_shaped),
        ] {
            if !names.is_empty() {
                let shown: Vec<String> = names.iter().take(3).map(|name| escaped(name)).collect();
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

/// A variable in its file, and what its numbers are multiplied by.
type Found = (Origin, Entry, Option<Scale>);

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
        let Some(found) = self.find(&full, &shape) else {
            return placeholder();
        };
        match self.shared.mode {
            Mode::Verify | Mode::List => placeholder(),
            Mode::Load => self.stored(found).read(shape),
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
        let Some(found) = self.find(&full, &stored) else {
            return placeholder();
        };
        let source = self.stored(found);
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

    fn stored(&self, (origin, entry, scale): Found) -> Stored {
        Stored {
            source: self.shared.checkpoint.source(&entry),
            entry,
            origin,
            scale,
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
            .map(|(_, entry, scale)| (self.shared.checkpoint.source(&entry), entry, scale));
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

    fn find(&self, full: &str, shape: &[usize]) -> Option<Found> {
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
        if !is_read(entry.dtype) {
            account.mis_shaped.push(format!(
                "{}: expected F16, BF16, F32, F64, F8_E4M3 or F8_E5M2, found {:?}",
                origin.name, entry.dtype
            ));
            return None;
        }
        let scale = match self.scale(&origin, entry) {
            Ok(scale) => scale,
            Err(wrong) => {
                account.mis_shaped.push(wrong);
                return None;
            }
        };
        account.matched += 1;
        account.bytes += self.shared.checkpoint.bytes(entry).len() as u64 / origin.parts() as u64;
        account.dtypes.insert(format!("{:?}", entry.dtype));
        Some((origin, entry.clone(), scale))
    }

    /// What the numbers of an 8-bit weight are to be multiplied by, where its file says so: the name
    /// that ComfyUI writes, or the later one.
    fn scale(&self, origin: &Origin, entry: &Entry) -> Result<Option<Scale>, String> {
        let checkpoint = self.shared.checkpoint;
        let Some(stem) = origin.name.strip_suffix("weight") else {
            return Ok(None);
        };
        if !matches!(entry.dtype, Dtype::F8_E4M3 | Dtype::F8_E5M2) {
            return Ok(None);
        }
        let names = [format!("{stem}scale_weight"), format!("{stem}weight_scale")];
        let Some((name, found)) = names.iter().find_map(|n| Some((n, checkpoint.get(n)?))) else {
            return Ok(None);
        };
        self.shared.used.borrow_mut().insert(name.clone());
        let values = checkpoint.floats(found).unwrap_or_default();
        match values.len() {
            1 => Ok(Some(Scale::Whole(values[0]))),
            n if Some(&n) == entry.shape.first() => Ok(Some(Scale::Rows(values.into()))),
            _ => Err(format!(
                "{name}: expected one float or one a row of {:?}, found {:?} {:?}",
                entry.shape, found.dtype, found.shape
            )),
        }
    }

    /// Every tensor that was asked for, with its shape, in [`Mode::List`].
    pub fn listed(self) -> Vec<(String, Vec<usize>)> {
        self.shared.listed.borrow().clone()
    }

    /// Closes the account: adds what nobody asked for.
    pub fn finish(self) -> Report {
        let mut account = self.shared.account.borrow().clone();
        let used = self.shared.used.borrow();
        let kinds: BTreeSet<String> = used.iter().map(|name| kind_of_name(name)).collect();
        let left = self
            .shared
            .checkpoint
            .entries()
            .map(|(name, _)| name)
            .filter(|name| self.shared.table.owns(name) && !used.contains(*name))
            .map(str::to_string);
        (account.unused, account.extra) = left.partition(|name| kinds.contains(&kind_of_name(name)));
        account
    }
}

/// A name without the numbers of its layers: `layers.3.mlp.up_proj.weight` and the same of layer 40
/// are of one kind.
fn kind_of_name(name: &str) -> String {
    let field = |field: &str| match field.bytes().all(|b| b.is_ascii_digit()) {
        true => "#".to_string(),
        false => field.to_string(),
    };
    name.split('.').map(field).collect::<Vec<_>>().join(".")
}

/// A matrix that stays in its file; see [`Vars::rows`].
#[derive(Debug, Clone)]
pub struct RowTable {
    stored: Option<(Arc<Source>, Entry, Option<Scale>)>,
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
        let (source, entry, scale) = self
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
            let mut row = widen(entry.dtype, row);
            if let Some(scale) = scale {
                scale.apply(&mut row, index as usize, channels);
            }
            values.extend(row);
        }
        let data = TensorData::new(values, [indices.len(), channels]);
        Tensor::from_data(data, (device, DType::F32))
    }
}
