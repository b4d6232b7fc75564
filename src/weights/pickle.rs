//! PyTorch checkpoints (`.pth`, `.pt`, `.ckpt`, `.bin`) without running any of them.
//!
//! Such a file is a zip archive of raw storages and `data.pkl`, a program for Python's pickle
//! machine that could call anything. This reader knows only what a dictionary of tensors needs:
//! plain values, containers, and three functions that it answers itself. Anything else is refused
//! by name. Values live in flat tables, so that no nesting can exhaust the stack.

use std::collections::HashMap;
use std::ops::Range;

use anyhow::Result;
use safetensors::Dtype;

use super::checkpoint::Place;
use super::zip_archive;
use crate::error::{Error, ErrorKind};

/// A state dictionary of ten thousand tensors takes about 2 MB; each byte may cost 24 of memory.
const MAX_PROGRAM_BYTES: usize = 16 << 20;

/// Every tensor of a PyTorch file, by name, with the place of its bytes.
///
/// # Errors
/// `Config` when the file asks for anything but tensors, `BadInput` when it is not whole or its
/// tensors are not stored plainly.
pub(super) fn tensors(file: &[u8], label: &str) -> Result<Vec<Place>> {
    let at = Context { label };
    let members = zip_archive::members(file).map_err(|reason| at.broken(&reason))?;
    let (root, program) = members
        .iter()
        .find_map(|(name, range)| Some((name.strip_suffix("data.pkl")?, range.clone())))
        .ok_or_else(|| at.broken("no data.pkl inside; PyTorch before 1.6 wrote another format"))?;
    if program.len() > MAX_PROGRAM_BYTES {
        return Err(at.broken("data.pkl is over 16 MiB").into());
    }
    if let Some(order) = members.get(&format!("{root}byteorder"))
        && &file[order.clone()] != b"little"
    {
        return Err(at.broken("numbers are not little-endian").into());
    }
    let machine = Machine::new(&file[program], &at);
    machine
        .run()?
        .into_iter()
        .map(|(name, tensor)| {
            let storage = members
                .get(&format!("{root}data/{}", tensor.storage.key))
                .ok_or_else(|| at.broken(&format!("storage `{}` is missing", tensor.storage.key)))?;
            Ok(Place {
                bytes: tensor
                    .bytes_in(storage)
                    .map_err(|e| at.broken(&format!("tensor `{name}`: {e}")))?,
                name,
                dtype: tensor.storage.dtype,
                shape: tensor.shape,
            })
        })
        .collect()
}

/// Who complains.
struct Context<'a> {
    label: &'a str,
}

impl Context<'_> {
    fn broken(&self, reason: &str) -> Error {
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
struct Storage<'a> {
    key: &'a str,
    dtype: Dtype,
    elements: usize,
}

#[derive(Debug, Clone)]
struct StoredTensor<'a> {
    storage: Storage<'a>,
    offset: usize,
    shape: Vec<usize>,
    stride: Vec<usize>,
}

impl StoredTensor<'_> {
    /// Where in the file its numbers are, given where its storage is.
    fn bytes_in(&self, storage: &Range<usize>) -> Result<Range<usize>, String> {
        let overflow = || "sizes overflow".to_string();
        let product = |a: usize, b: &usize| a.checked_mul(*b).ok_or_else(overflow);
        let item = self.storage.dtype.bitsize() / 8;
        let elements = self.shape.iter().try_fold(1, product)?;
        if elements > 0 && !self.is_contiguous() {
            return Err(format!("not stored row by row (stride {:?})", self.stride));
        }
        let start = product(self.offset, &item)?;
        let end = product(elements, &item)?
            .checked_add(start)
            .ok_or_else(overflow)?;
        let stored = product(self.storage.elements, &item)?.min(storage.len());
        if end > stored {
            return Err(format!("needs {end} bytes of a storage of {stored}"));
        }
        Ok(storage.start + start..storage.start + end)
    }

    fn is_contiguous(&self) -> bool {
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
enum Global {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    StorageType(Dtype),
}

fn global(module: &str, name: &str) -> Option<Global> {
    Some(match (module, name) {
        ("collections", "OrderedDict") => Global::OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2") => Global::RebuildTensor,
        ("torch._utils", "_rebuild_parameter") => Global::RebuildParameter,
        ("torch", "FloatStorage") => Global::StorageType(Dtype::F32),
        ("torch", "HalfStorage") => Global::StorageType(Dtype::F16),
        ("torch", "BFloat16Storage") => Global::StorageType(Dtype::BF16),
        ("torch", "DoubleStorage") => Global::StorageType(Dtype::F64),
        ("torch", "LongStorage") => Global::StorageType(Dtype::I64),
        ("torch", "IntStorage") => Global::StorageType(Dtype::I32),
        ("torch", "ByteStorage") => Global::StorageType(Dtype::U8),
        ("torch", "BoolStorage") => Global::StorageType(Dtype::BOOL),
        _ => return None,
    })
}

/// What lies on the machine's stack; containers are indices into its tables.
#[derive(Debug, Clone, Copy)]
enum Value<'a> {
    Plain,
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
            Self::Plain => "a plain value",
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

/// Python's pickle machine, cut down to tensors.
struct Machine<'a> {
    program: &'a [u8],
    next: usize,
    at: &'a Context<'a>,
    stack: Vec<Value<'a>>,
    marks: Vec<usize>,
    memo: HashMap<u32, Value<'a>>,
    tuples: Vec<Vec<Value<'a>>>,
    dicts: Vec<Vec<(Value<'a>, Value<'a>)>>,
    tensors: Vec<StoredTensor<'a>>,
}

impl<'a> Machine<'a> {
    fn new(program: &'a [u8], at: &'a Context<'a>) -> Self {
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
        }
    }

    fn run(mut self) -> Result<Vec<(String, StoredTensor<'a>)>> {
        loop {
            match self.byte()? {
                b'.' => return self.finish(),
                opcode => self.step(opcode)?,
            }
        }
    }

    fn step(&mut self, opcode: u8) -> Result<()> {
        match opcode {
            0x80 => match self.byte()? {
                2 | 3 => {}
                other => return Err(self.at.refused(&format!("pickle protocol {other}")).into()),
            },
            b'(' => self.marks.push(self.stack.len()),
            b'N' | 0x88 | 0x89 => self.stack.push(Value::Plain),
            b'K' => self.int(1)?,
            b'M' => self.int(2)?,
            b'J' => self.int(4)?,
            0x8a => {
                let length = self.byte()?.into();
                self.int(length)?;
            }
            b'X' => {
                let length = self.length(4)?;
                let text = self.text(length)?;
                self.stack.push(Value::Text(text));
            }
            b'}' => self.new_dict(),
            b')' => self.new_tuple(Vec::new()),
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
            b'h' => self.get(1)?,
            b'j' => self.get(4)?,
            b'c' => self.push_global()?,
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
        Ok(digits.iter().rev().fold(0, |n, &b| n << 8 | usize::from(b)))
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
        let place = self.length(bytes)? as u32;
        let value = self.pop()?;
        self.stack.push(value);
        self.memo.insert(place, value);
        Ok(())
    }

    fn get(&mut self, bytes: usize) -> Result<()> {
        let place = self.length(bytes)? as u32;
        let Some(value) = self.memo.get(&place) else {
            return Err(self.at.broken("data.pkl recalls what it did not store").into());
        };
        self.stack.push(*value);
        Ok(())
    }

    fn push_global(&mut self) -> Result<()> {
        let (module, name) = (self.line()?, self.line()?);
        match global(module, name) {
            Some(known) => self.stack.push(Value::Global(known)),
            None => return Err(self.at.refused(&format!("it calls for `{module}.{name}`")).into()),
        }
        Ok(())
    }

    /// `('storage', type, key, location, elements)`
    fn persistent_id(&mut self) -> Result<()> {
        let id = self.pop()?;
        let items = self.tuple(id)?;
        let [
            Value::Text("storage"),
            Value::Global(Global::StorageType(dtype)),
            Value::Text(key),
            _,
            Value::Int(elements),
        ] = items[..]
        else {
            return Err(self
                .at
                .refused("a reference to something that is no storage")
                .into());
        };
        self.stack.push(Value::Storage(Storage {
            key,
            dtype,
            elements: self.size(elements)?,
        }));
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
                let tensor = StoredTensor {
                    storage: *storage,
                    offset: self.size(*offset)?,
                    shape: self.sizes(*shape)?,
                    stride: self.sizes(*stride)?,
                };
                self.tensors.push(tensor);
                self.stack.push(Value::Tensor(self.tensors.len() - 1));
            }
            _ => {
                let what = format!("{function:?} with unusual arguments");
                return Err(self.at.refused(&what).into());
            }
        }
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

    fn finish(mut self) -> Result<Vec<(String, StoredTensor<'a>)>> {
        let root = self.pop()?;
        let Value::Dict(dict) = root else {
            let what = format!("{} in place of a dictionary of tensors", root.kind());
            return Err(self.at.refused(&what).into());
        };
        self.dicts[dict]
            .iter()
            .map(|item| match item {
                (Value::Text(name), Value::Tensor(index)) => {
                    Ok((name.to_string(), self.tensors[*index].clone()))
                }
                (Value::Text(name), other) => {
                    Err(self.at.refused(&format!("`{name}` is {}", other.kind())).into())
                }
                (other, _) => Err(self
                    .at
                    .refused(&format!("{} in place of a name", other.kind()))
                    .into()),
            })
            .collect()
    }
}
