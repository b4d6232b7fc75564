//! Python's pickle machine, cut down to dictionaries of tensors.
//!
//! A pickle is a program that could call anything. This reader knows only what tensors need: plain
//! values, containers, and three functions that it answers itself. Anything else is refused by
//! name. Values live in flat tables, so that no nesting can exhaust the stack.

use std::collections::{BTreeMap, HashMap, HashSet};

use anyhow::Result;
use safetensors::Dtype;

use crate::error::{Error, ErrorKind};

/// No tensor has a longer one.
const LONGEST_NAME: usize = 1024;

/// Who complains.
pub(super) struct Context<'a> {
    pub label: &'a str,
}

impl Context<'_> {
    pub fn broken(&self, reason: &str) -> Error {
        Error::new(
            ErrorKind::BadInput,
            format!("weights `{}`: not a whole PyTorch file: {reason}", self.label),
        )
        .hint("download or copy the file again")
    }

    fn refused(&self, what: &str) -> Error {
        Error::new(
            ErrorKind::Config,
            format!(
                "weights `{}`: the file holds more than tensors: {what}; refused, nothing was executed",
                self.label
            ),
        )
        .hint("do not trust this file; use the model's .safetensors release")
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Storage<'a> {
    pub key: &'a str,
    pub dtype: Dtype,
    pub elements: usize,
}

#[derive(Debug, Clone)]
pub(super) struct StoredTensor<'a> {
    pub storage: Storage<'a>,
    pub offset: usize,
    pub shape: Vec<usize>,
    /// In elements, one of each axis.
    pub stride: Vec<usize>,
}

impl StoredTensor<'_> {
    /// Elements from the first to behind the last; `None` where that overflows or an axis has no
    /// stride.
    pub fn reach(&self) -> Option<usize> {
        if self.shape.len() != self.stride.len() {
            return None;
        }
        let axes = self.shape.iter().zip(&self.stride);
        axes.map(|(&size, &stride)| size.checked_sub(1)?.checked_mul(stride))
            .try_fold(1_usize, |sum, steps| sum.checked_add(steps?))
    }

    /// Whether the numbers lie row by row.
    pub fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        self.shape.len() == self.stride.len()
            && self.shape.iter().zip(&self.stride).rev().all(|(&size, &stride)| {
                let fits = size == 1 || stride == expected;
                expected *= size;
                fits
            })
    }
}

/// The functions that a dictionary of tensors needs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Global {
    OrderedDict,
    RebuildTensor,
    /// What PyTorch writes for types without a storage of their own, with the type behind.
    RebuildTyped,
    RebuildParameter,
    StorageType(Dtype),
    Type(Dtype),
}

fn global(module: &str, name: &str) -> Option<Global> {
    Some(match (module, name) {
        ("collections", "OrderedDict") => Global::OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2") => Global::RebuildTensor,
        ("torch._utils", "_rebuild_tensor_v3") => Global::RebuildTyped,
        ("torch._utils", "_rebuild_parameter") => Global::RebuildParameter,
        ("torch", "FloatStorage") => Global::StorageType(Dtype::F32),
        ("torch", "HalfStorage") => Global::StorageType(Dtype::F16),
        ("torch", "BFloat16Storage") => Global::StorageType(Dtype::BF16),
        ("torch", "DoubleStorage") => Global::StorageType(Dtype::F64),
        ("torch", "LongStorage") => Global::StorageType(Dtype::I64),
        ("torch", "IntStorage") => Global::StorageType(Dtype::I32),
        ("torch", "ByteStorage") => Global::StorageType(Dtype::U8),
        ("torch", "BoolStorage") => Global::StorageType(Dtype::BOOL),
        ("torch", "ShortStorage") => Global::StorageType(Dtype::I16),
        ("torch", "CharStorage") => Global::StorageType(Dtype::I8),
        ("torch.storage", "UntypedStorage") => Global::StorageType(Dtype::U8),
        ("torch", "float8_e4m3fn") => Global::Type(Dtype::F8_E4M3),
        ("torch", "float8_e5m2") => Global::Type(Dtype::F8_E5M2),
        ("torch", "uint16") => Global::Type(Dtype::U16),
        ("torch", "uint32") => Global::Type(Dtype::U32),
        ("torch", "uint64") => Global::Type(Dtype::U64),
        // Settings of a training may name these.
        ("torch", "float16") => Global::Type(Dtype::F16),
        ("torch", "bfloat16") => Global::Type(Dtype::BF16),
        ("torch", "float32") => Global::Type(Dtype::F32),
        _ => return None,
    })
}

/// What lies on the machine's stack; containers are indices into its tables.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'a> {
    Plain,
    Bool(bool),
    Int(i64),
    Text(&'a str),
    Global(Global),
    Tuple(usize),
    Dict(usize),
    Storage(Storage<'a>),
    Tensor(usize),
}

impl Value<'_> {
    fn kind(&self) -> &'static str {
        match self {
            Self::Plain | Self::Bool(_) => "a plain value",
            Self::Int(_) => "a number",
            Self::Text(_) => "a text",
            Self::Global(_) => "a function",
            Self::Tuple(_) => "a tuple",
            Self::Dict(_) => "a dictionary",
            Self::Storage(_) => "a storage",
            Self::Tensor(_) => "a tensor",
        }
    }
}

/// Runs one pickle after the other of a byte row.
pub(super) struct Machine<'a> {
    program: &'a [u8],
    next: usize,
    at: &'a Context<'a>,
    stack: Vec<Value<'a>>,
    marks: Vec<usize>,
    memo: HashMap<usize, Value<'a>>,
    tuples: Vec<Vec<Value<'a>>>,
    dicts: Vec<Vec<(Value<'a>, Value<'a>)>>,
    tensors: Vec<StoredTensor<'a>>,
    /// Of every storage that was named.
    dtypes: BTreeMap<&'a str, Dtype>,
}

impl<'a> Machine<'a> {
    pub fn new(program: &'a [u8], at: &'a Context<'a>) -> Self {
        Self {
            program,
            next: 0,
            at,
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            tuples: Vec::new(),
            dicts: Vec::new(),
            tensors: Vec::new(),
            dtypes: BTreeMap::new(),
        }
    }

    /// Runs the next pickle.
    ///
    /// # Errors
    /// `Config` for what is not needed for tensors, `BadInput` when it is not whole.
    pub fn run(&mut self) -> Result<Value<'a>> {
        self.stack.clear();
        self.marks.clear();
        self.memo.clear();
        loop {
            match self.byte()? {
                b'.' => return self.pop(),
                opcode => self.step(opcode)?,
            }
        }
    }

    /// Leaves out bytes.
    pub fn skip(&mut self, bytes: usize) {
        self.next += bytes;
    }

    /// Where the next pickle would begin.
    pub fn position(&self) -> usize {
        self.next
    }

    /// Bytes of an element of a storage that was named.
    pub fn item_bytes(&self, key: &str) -> Option<usize> {
        self.dtypes.get(key).map(|dtype| dtype.bitsize() / 8)
    }

    /// Whether a dictionary says false to a key.
    pub fn is_false(&self, value: Value<'a>, key: &str) -> bool {
        let Value::Dict(dict) = value else { return false };
        let says_no = |(k, v): &(Value<'a>, Value<'a>)| matches!((k, v), (Value::Text(k), Value::Bool(false)) if *k == key);
        self.dicts[dict].iter().any(says_no)
    }

    /// A list of texts.
    ///
    /// # Errors
    /// `Config` when it holds anything else.
    pub fn texts(&self, value: Value<'a>) -> Result<Vec<&'a str>> {
        let text = |item: &Value<'a>| match item {
            Value::Text(text) => Ok(*text),
            other => Err(self
                .at
                .refused(&format!("{} in place of a text", other.kind()))
                .into()),
        };
        self.tuple(value)?.iter().map(text).collect()
    }

    fn step(&mut self, opcode: u8) -> Result<()> {
        match opcode {
            0x80 => match self.byte()? {
                2..=5 => {}
                other => return Err(self.at.refused(&format!("pickle protocol {other}")).into()),
            },
            // Frames only say how much to read ahead.
            0x95 => {
                self.take(8)?;
            }
            b'(' => self.marks.push(self.stack.len()),
            b'N' => self.stack.push(Value::Plain),
            0x88 | 0x89 => self.stack.push(Value::Bool(opcode == 0x88)),
            b'G' => {
                self.take(8)?;
                self.stack.push(Value::Plain);
            }
            b'K' => self.int(1)?,
            b'M' => self.int(2)?,
            b'J' => self.int(4)?,
            0x8a => {
                let length = self.byte()?.into();
                self.int(length)?;
            }
            b'X' => self.push_text(4)?,
            0x8c => self.push_text(1)?,
            0x8d => self.push_text(8)?,
            b'}' => self.new_dict(),
            b')' | b']' => self.new_tuple(Vec::new()),
            b'a' => {
                let item = self.pop_many(1)?;
                self.append(item)?;
            }
            b'e' => {
                let items = self.pop_mark()?;
                self.append(items)?;
            }
            b't' => {
                let items = self.pop_mark()?;
                self.new_tuple(items);
            }
            0x85..=0x87 => {
                let count = usize::from(opcode - 0x84);
                let items = self.pop_many(count)?;
                self.new_tuple(items);
            }
            b'q' => self.put(1)?,
            b'r' => self.put(4)?,
            0x94 => self.memoize(self.memo.len())?,
            b'h' => self.get(1)?,
            b'j' => self.get(4)?,
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.push_global(module, name)?;
            }
            0x93 => match self.pop_many(2)?[..] {
                [Value::Text(module), Value::Text(name)] => self.push_global(module, name)?,
                _ => return Err(self.at.refused("a function without a name").into()),
            },
            b'Q' => self.persistent_id()?,
            b'R' => self.reduce()?,
            b'b' => self.build()?,
            b's' => {
                let pair = self.pop_many(2)?;
                self.set_items(pair)?;
            }
            b'u' => {
                let items = self.pop_mark()?;
                self.set_items(items)?;
            }
            other => {
                let what = format!("pickle opcode {:?} (0x{other:02x})", char::from(other));
                return Err(self.at.refused(&what).into());
            }
        }
        Ok(())
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let rest = &self.program[self.next..];
        if rest.len() < count {
            return Err(self.at.broken("data.pkl ends in the middle").into());
        }
        self.next += count;
        Ok(&rest[..count])
    }

    fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    fn length(&mut self, bytes: usize) -> Result<usize> {
        let digits = self.take(bytes)?;
        let length = digits.iter().rev().fold(0, |n, &b| n << 8 | u64::from(b));
        usize::try_from(length).map_err(|_| self.at.broken("a length overflows").into())
    }

    /// A little-endian integer; four bytes and more carry a sign.
    fn int(&mut self, bytes: usize) -> Result<()> {
        if bytes > 8 {
            return Err(self.at.refused("an integer of more than 64 bits").into());
        }
        let digits = self.take(bytes)?;
        let negative = bytes >= 4 && digits[bytes - 1] & 0x80 != 0;
        let mut wide = if negative { [0xff; 8] } else { [0; 8] };
        wide[..bytes].copy_from_slice(digits);
        self.stack.push(Value::Int(i64::from_le_bytes(wide)));
        Ok(())
    }

    /// A text behind its length of that many bytes.
    fn push_text(&mut self, bytes: usize) -> Result<()> {
        let length = self.length(bytes)?;
        let text = self.text(length)?;
        self.stack.push(Value::Text(text));
        Ok(())
    }

    fn text(&mut self, bytes: usize) -> Result<&'a str> {
        let bytes = self.take(bytes)?;
        std::str::from_utf8(bytes).map_err(|_| self.at.broken("a text is not UTF-8").into())
    }

    fn line(&mut self) -> Result<&'a str> {
        let rest = &self.program[self.next..];
        let end = rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len());
        let line = self.text(end)?;
        self.take(1)?;
        Ok(line)
    }

    fn pop(&mut self) -> Result<Value<'a>> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= floor {
            return Err(self.at.broken("data.pkl takes more values than it puts").into());
        }
        Ok(self.stack.pop().expect("above the floor"))
    }

    fn pop_many(&mut self, count: usize) -> Result<Vec<Value<'a>>> {
        let mut items = (0..count).map(|_| self.pop()).collect::<Result<Vec<_>>>()?;
        items.reverse();
        Ok(items)
    }

    fn pop_mark(&mut self) -> Result<Vec<Value<'a>>> {
        match self.marks.pop() {
            Some(mark) => Ok(self.stack.split_off(mark)),
            None => Err(self.at.broken("data.pkl closes what it did not open").into()),
        }
    }

    fn new_tuple(&mut self, items: Vec<Value<'a>>) {
        self.tuples.push(items);
        self.stack.push(Value::Tuple(self.tuples.len() - 1));
    }

    fn new_dict(&mut self) {
        self.dicts.push(Vec::new());
        self.stack.push(Value::Dict(self.dicts.len() - 1));
    }

    fn put(&mut self, bytes: usize) -> Result<()> {
        let place = self.length(bytes)?;
        self.memoize(place)
    }

    fn memoize(&mut self, place: usize) -> Result<()> {
        let value = self.pop()?;
        self.stack.push(value);
        self.memo.insert(place, value);
        Ok(())
    }

    fn get(&mut self, bytes: usize) -> Result<()> {
        let place = self.length(bytes)?;
        let Some(value) = self.memo.get(&place) else {
            return Err(self.at.broken("data.pkl recalls what it did not store").into());
        };
        self.stack.push(*value);
        Ok(())
    }

    fn push_global(&mut self, module: &str, name: &str) -> Result<()> {
        match global(module, name) {
            Some(known) => self.stack.push(Value::Global(known)),
            None => return Err(self.at.refused(&format!("it calls for `{module}.{name}`")).into()),
        }
        Ok(())
    }

    /// `('storage', type, key, location, elements)`; PyTorch before 1.6 adds whether it is a view
    /// of another, which it never is.
    fn persistent_id(&mut self) -> Result<()> {
        let id = self.pop()?;
        let items = self.tuple(id)?;
        let [
            Value::Text("storage"),
            Value::Global(Global::StorageType(dtype)),
            Value::Text(key),
            _,
            Value::Int(elements),
            ref rest @ ..,
        ] = items[..]
        else {
            return Err(self
                .at
                .refused("a reference to something that is no storage")
                .into());
        };
        if !matches!(rest, [] | [Value::Plain]) {
            return Err(self.at.refused("a storage that is a view of another").into());
        }
        let elements = self.size(elements)?;
        self.dtypes.insert(key, dtype);
        self.stack.push(Value::Storage(Storage { key, dtype, elements }));
        Ok(())
    }

    fn reduce(&mut self) -> Result<()> {
        let (arguments, function) = (self.pop()?, self.pop()?);
        let Value::Global(function) = function else {
            return Err(self.at.refused(&format!("a call of {}", function.kind())).into());
        };
        let arguments = self.tuple(arguments)?.clone();
        match (function, &arguments[..]) {
            (Global::OrderedDict, []) => self.new_dict(),
            (Global::RebuildParameter, [tensor @ Value::Tensor(_), _, _]) => self.stack.push(*tensor),
            (Global::RebuildTensor, [Value::Storage(storage), Value::Int(offset), shape, stride, ..]) => {
                self.new_tensor(*storage, *offset, *shape, *stride)?;
            }
            (
                Global::RebuildTyped,
                [
                    Value::Storage(raw),
                    Value::Int(offset),
                    shape,
                    stride,
                    _,
                    _,
                    Value::Global(Global::Type(dtype)),
                    ..,
                ],
            ) => {
                let storage = Storage {
                    dtype: *dtype,
                    elements: raw.elements / (dtype.bitsize() / 8),
                    ..*raw
                };
                self.new_tensor(storage, *offset, *shape, *stride)?;
            }
            _ => {
                let what = format!("{function:?} with unusual arguments");
                return Err(self.at.refused(&what).into());
            }
        }
        Ok(())
    }

    fn new_tensor(
        &mut self,
        storage: Storage<'a>,
        offset: i64,
        shape: Value<'a>,
        stride: Value<'a>,
    ) -> Result<()> {
        let tensor = StoredTensor {
            storage,
            offset: self.size(offset)?,
            shape: self.sizes(shape)?,
            stride: self.sizes(stride)?,
        };
        self.tensors.push(tensor);
        self.stack.push(Value::Tensor(self.tensors.len() - 1));
        Ok(())
    }

    /// Attributes of a dictionary (PyTorch's `_metadata`) are of no use here.
    fn build(&mut self) -> Result<()> {
        let (state, target) = (self.pop()?, self.pop()?);
        match (target, state) {
            (Value::Dict(_), Value::Dict(_)) => self.stack.push(target),
            _ => {
                let what = format!("attributes for {}", target.kind());
                return Err(self.at.refused(&what).into());
            }
        }
        Ok(())
    }

    fn append(&mut self, items: Vec<Value<'a>>) -> Result<()> {
        let target = self.pop()?;
        let Value::Tuple(list) = target else {
            return Err(self.at.refused(&format!("items for {}", target.kind())).into());
        };
        self.stack.push(target);
        self.tuples[list].extend(items);
        Ok(())
    }

    fn set_items(&mut self, items: Vec<Value<'a>>) -> Result<()> {
        let target = self.pop()?;
        let Value::Dict(dict) = target else {
            return Err(self.at.refused(&format!("items for {}", target.kind())).into());
        };
        self.stack.push(target);
        let (pairs, rest) = items.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(self.at.broken("a dictionary key without its value").into());
        }
        self.dicts[dict].extend(pairs.iter().map(|[key, value]| (*key, *value)));
        Ok(())
    }

    fn tuple(&self, value: Value<'a>) -> Result<&Vec<Value<'a>>> {
        match value {
            Value::Tuple(index) => Ok(&self.tuples[index]),
            other => Err(self
                .at
                .refused(&format!("{} in place of a tuple", other.kind()))
                .into()),
        }
    }

    fn sizes(&self, value: Value<'a>) -> Result<Vec<usize>> {
        self.tuple(value)?
            .iter()
            .map(|item| match item {
                Value::Int(size) => self.size(*size),
                other => Err(self
                    .at
                    .refused(&format!("{} in place of a size", other.kind()))
                    .into()),
            })
            .collect()
    }

    fn size(&self, value: i64) -> Result<usize> {
        usize::try_from(value).map_err(|_| self.at.broken(&format!("a size of {value}")).into())
    }

    /// Every tensor of a dictionary by its name; in dictionaries of dictionaries the names are
    /// joined by dots, below the one that trainers put around the weights.
    ///
    /// # Errors
    /// `Config` when there is nothing but other values.
    pub fn named_tensors(&self, root: Value<'a>) -> Result<Vec<(String, StoredTensor<'a>)>> {
        let Value::Dict(root) = root else {
            let what = format!("{} in place of a dictionary of tensors", root.kind());
            return Err(self.at.refused(&what).into());
        };
        let mut open = vec![(String::new(), self.weights_within(root))];
        let mut seen = HashSet::new();
        let mut found = Vec::new();
        while let Some((prefix, dict)) = open.pop() {
            if !seen.insert(dict) {
                continue;
            }
            if prefix.len() > LONGEST_NAME {
                return Err(self.at.refused("dictionaries nested without end").into());
            }
            for (key, value) in &self.dicts[dict] {
                let name = match key {
                    Value::Text(key) => format!("{prefix}{key}"),
                    Value::Int(key) => format!("{prefix}{key}"),
                    other => {
                        let what = format!("{} in place of a name", other.kind());
                        return Err(self.at.refused(&what).into());
                    }
                };
                match value {
                    Value::Tensor(index) => found.push((name, self.tensors[*index].clone())),
                    Value::Dict(inner) => open.push((format!("{name}."), *inner)),
                    // Steps, epochs and settings of a training.
                    _ => {}
                }
            }
        }
        if found.is_empty() && !self.dicts[root].is_empty() {
            return Err(self.at.refused("a dictionary without a single tensor").into());
        }
        Ok(found)
    }

    /// The dictionary that holds the weights, where others stand beside it.
    fn weights_within(&self, root: usize) -> usize {
        const WRAPPERS: &[&str] = &[
            "state_dict",
            "model_state_dict",
            "model",
            "module",
            "params_ema",
            "params",
            "weights",
        ];
        let mut dict = root;
        // A wrapper within a wrapper, and no endless chain.
        for _ in 0..4 {
            let inner = WRAPPERS.iter().find_map(|wrapper| {
                self.dicts[dict]
                    .iter()
                    .find_map(|(key, value)| match (key, value) {
                        (Value::Text(key), Value::Dict(inner)) if key == wrapper => Some(*inner),
                        _ => None,
                    })
            });
            match inner {
                Some(inner) => dict = inner,
                None => break,
            }
        }
        dict
    }
}
