//! PyTorch checkpoints (`.pth`, `.pt`, `.ckpt`, `.bin`) without running any of them.
//!
//! Since PyTorch 1.6 such a file is a zip archive of raw storages and `data.pkl`; before, it was a
//! row of pickles with the storages behind them. Both kinds are read in place ([`pickle`] says how
//! safely); only tensors that are not stored row by row are copied.

use std::collections::BTreeMap;
use std::ops::Range;

use anyhow::Result;

use super::pickle::{Context, Machine, StoredTensor};
use super::source::{Content, Place};
use super::zip_archive;

/// A state dictionary of ten thousand tensors takes about 2 MB; each byte may cost 24 of memory.
const MAX_PROGRAM_BYTES: usize = 16 << 20;

/// How files of PyTorch before 1.6 begin: a pickle of the number 0x1950a86a20f9469cfc6c.
const BEFORE_1_6: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";

/// Where the storages are, by their keys.
type Storages = BTreeMap<String, Range<usize>>;

/// Every tensor of a PyTorch file, by name, with the place of its bytes.
///
/// # Errors
/// `Config` when the file asks for anything but tensors, `BadInput` when it is not whole.
pub(super) fn tensors(file: &[u8], label: &str) -> Result<Vec<Place>> {
    let at = Context { label };
    let (named, storages) = match file.starts_with(BEFORE_1_6) {
        true => before_1_6(file, &at)?,
        false => from_archive(file, &at)?,
    };
    named
        .into_iter()
        .map(|(name, tensor)| {
            let storage = storages
                .get(tensor.storage.key)
                .ok_or_else(|| at.broken(&format!("storage `{}` is missing", tensor.storage.key)))?;
            let content =
                content(&tensor, file, storage).map_err(|e| at.broken(&format!("tensor `{name}`: {e}")))?;
            Ok(Place {
                name,
                dtype: tensor.storage.dtype,
                shape: tensor.shape,
                content,
            })
        })
        .collect()
}

type Named<'a> = Vec<(String, StoredTensor<'a>)>;

fn from_archive<'a>(file: &'a [u8], at: &'a Context<'a>) -> Result<(Named<'a>, Storages)> {
    let members = zip_archive::members(file).map_err(|reason| at.broken(&reason))?;
    let (root, program) = members
        .iter()
        .find_map(|(name, range)| Some((name.strip_suffix("data.pkl")?, range.clone())))
        .ok_or_else(|| at.broken("no data.pkl inside"))?;
    if program.len() > MAX_PROGRAM_BYTES {
        return Err(at.broken("data.pkl is over 16 MiB").into());
    }
    if let Some(order) = members.get(&format!("{root}byteorder"))
        && &file[order.clone()] != b"little"
    {
        return Err(at.broken("numbers are not little-endian").into());
    }
    let folder = format!("{root}data/");
    let storages = members
        .iter()
        .filter_map(|(name, range)| Some((name.strip_prefix(&folder)?.to_string(), range.clone())))
        .collect();
    let mut machine = Machine::new(&file[program], at);
    let dictionary = machine.run()?;
    Ok((machine.named_tensors(dictionary)?, storages))
}

/// Pickles of a magic number, a version, facts about the writer's machine, the dictionary and the
/// storages' keys; then each storage as its number of elements and its bytes
/// (`torch/serialization.py`, `_legacy_save`).
fn before_1_6<'a>(file: &'a [u8], at: &'a Context<'a>) -> Result<(Named<'a>, Storages)> {
    let program = &file[..file.len().min(MAX_PROGRAM_BYTES)];
    let mut machine = Machine::new(program, at);
    machine.skip(BEFORE_1_6.len());
    machine.run()?;
    let writer = machine.run()?;
    if machine.is_false(writer, "little_endian") {
        return Err(at.broken("numbers are not little-endian").into());
    }
    let dictionary = machine.run()?;
    let named = machine.named_tensors(dictionary)?;
    let keys = machine.run()?;
    let keys = machine.texts(keys)?;
    let mut storages = Storages::new();
    let mut place = machine.position();
    for key in keys {
        let cut_off = || at.broken(&format!("storage `{key}` is cut off"));
        let count = file.get(place..place + 8).ok_or_else(cut_off)?;
        let count = count.iter().rev().fold(0_u64, |n, &b| n << 8 | u64::from(b));
        let item = machine
            .item_bytes(key)
            .ok_or_else(|| at.broken(&format!("storage `{key}` belongs to no tensor")))?;
        let start = place + 8;
        let end = usize::try_from(count)
            .ok()
            .and_then(|count| count.checked_mul(item)?.checked_add(start))
            .filter(|end| *end <= file.len())
            .ok_or_else(cut_off)?;
        storages.insert(key.to_string(), start..end);
        place = end;
    }
    Ok((named, storages))
}

/// Where a tensor's numbers are in its storage, or a copy where they do not lie row by row.
fn content(tensor: &StoredTensor<'_>, file: &[u8], storage: &Range<usize>) -> Result<Content, String> {
    let overflow = || "sizes overflow".to_string();
    let product = |a: usize, b: &usize| a.checked_mul(*b).ok_or_else(overflow);
    let item = tensor.storage.dtype.bitsize() / 8;
    let elements = tensor.shape.iter().try_fold(1, product)?;
    let stored = product(tensor.storage.elements, &item)?.min(storage.len());
    let start = product(tensor.offset, &item)?;
    // The last element's place decides how far a tensor of any strides reaches.
    let reach = match elements {
        0 => 0,
        _ => tensor.reach().ok_or_else(overflow)?,
    };
    let end = product(reach, &item)?.checked_add(start).ok_or_else(overflow)?;
    if end > stored {
        return Err(format!("needs {end} bytes of a storage of {stored}"));
    }
    if elements == 0 || tensor.is_contiguous() {
        return Ok(Content::InFile(storage.start + start..storage.start + end));
    }
    if elements > tensor.storage.elements {
        return Err(format!("repeats its numbers (stride {:?})", tensor.stride));
    }
    let bytes = &file[storage.start + start..storage.start + end];
    Ok(Content::Copied(gathered(
        bytes,
        item,
        &tensor.shape,
        &tensor.stride,
    )))
}

/// The elements of a strided view, row by row.
fn gathered(bytes: &[u8], item: usize, shape: &[usize], stride: &[usize]) -> Vec<u8> {
    let elements: usize = shape.iter().product();
    let mut out = Vec::with_capacity(elements * item);
    let mut index = vec![0; shape.len()];
    let mut place = 0;
    for _ in 0..elements {
        out.extend_from_slice(&bytes[place * item..(place + 1) * item]);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            place += stride[axis];
            if index[axis] < shape[axis] {
                break;
            }
            place -= stride[axis] * shape[axis];
            index[axis] = 0;
        }
    }
    out
}
