//! Where the members of an uncompressed zip archive lie (PKWARE's APPNOTE 6.3.10), without
//! copying any: PyTorch stores checkpoints so.

use std::collections::BTreeMap;
use std::ops::Range;

const END: u32 = 0x0605_4b50;
const END_64: u32 = 0x0606_4b50;
const LOCATOR_64: u32 = 0x0706_4b50;
const CENTRAL: u32 = 0x0201_4b50;
const LOCAL: u32 = 0x0403_4b50;
/// The end record with the longest comment.
const LONGEST_END: usize = 22 + 0xffff;

/// Every member's name and the range of its bytes.
///
/// # Errors
/// What is wrong with the archive, in words: not an archive, cut off, compressed, encrypted, or
/// a name that occurs twice.
pub(super) fn members(file: &[u8]) -> Result<BTreeMap<String, Range<usize>>, String> {
    let bytes = Bytes(file);
    let (count, mut place) = directory(&bytes)?;
    let mut members = BTreeMap::new();
    for _ in 0..count {
        let entry = Entry::read(&bytes, place)?;
        place = entry.next;
        let range = entry.data(&bytes)?;
        if members.insert(entry.name.clone(), range).is_some() {
            return Err(format!("member `{}` occurs twice", entry.name));
        }
    }
    Ok(members)
}

/// Little-endian numbers at places that may lie outside.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn slice(&self, start: usize, count: usize) -> Result<&[u8], String> {
        start
            .checked_add(count)
            .and_then(|end| self.0.get(start..end))
            .ok_or_else(|| "the archive is cut off".to_string())
    }

    fn number(&self, start: usize, bytes: usize) -> Result<u64, String> {
        let digits = self.slice(start, bytes)?;
        Ok(digits.iter().rev().fold(0, |n, &b| n << 8 | u64::from(b)))
    }

    fn index(&self, start: usize, bytes: usize) -> Result<usize, String> {
        usize::try_from(self.number(start, bytes)?).map_err(|_| "an offset overflows".to_string())
    }

    fn is(&self, start: usize, signature: u32) -> bool {
        self.number(start, 4) == Ok(signature.into())
    }
}

/// How many entries the central directory has, and where it begins.
fn directory(bytes: &Bytes) -> Result<(u64, usize), String> {
    let length = bytes.0.len();
    let first = length.saturating_sub(LONGEST_END);
    let end = (first..length.saturating_sub(21))
        .rev()
        .find(|&place| bytes.is(place, END))
        .ok_or("it is no zip archive, or cut off")?;
    let locator = end.checked_sub(20).filter(|&place| bytes.is(place, LOCATOR_64));
    let (count, start) = match locator {
        Some(locator) => {
            let end_64 = bytes.index(locator + 8, 8)?;
            if !bytes.is(end_64, END_64) {
                return Err("its directory is not where it should be".into());
            }
            (bytes.number(end_64 + 32, 8)?, bytes.index(end_64 + 48, 8)?)
        }
        None => (bytes.number(end + 10, 2)?, bytes.index(end + 16, 4)?),
    };
    // An entry takes 46 bytes at least: no count can make the loop longer than the file.
    if count > (length / 46) as u64 {
        return Err(format!("its directory claims {count} members"));
    }
    Ok((count, start))
}

/// One entry of the central directory.
struct Entry {
    name: String,
    local: usize,
    size: usize,
    next: usize,
}

impl Entry {
    fn read(bytes: &Bytes, place: usize) -> Result<Self, String> {
        if !bytes.is(place, CENTRAL) {
            return Err("its directory is cut off".into());
        }
        let name_bytes = bytes.index(place + 28, 2)?;
        let extra_bytes = bytes.index(place + 30, 2)?;
        let comment_bytes = bytes.index(place + 32, 2)?;
        let name = std::str::from_utf8(bytes.slice(place + 46, name_bytes)?)
            .map_err(|_| "a member's name is not UTF-8")?
            .to_string();
        if bytes.number(place + 8, 2)? & 1 != 0 || bytes.number(place + 10, 2)? != 0 {
            return Err(format!("member `{name}` is compressed or encrypted"));
        }
        let extra = place + 46 + name_bytes;
        let mut large = Large::find(bytes, extra, extra_bytes)?;
        let size = large.or(bytes, place + 24)?;
        // The compressed size has its place between the two in the large form.
        large.or(bytes, place + 20)?;
        let local = large.or(bytes, place + 42)?;
        Ok(Self {
            name,
            local,
            size,
            next: extra + extra_bytes + comment_bytes,
        })
    }

    fn data(&self, bytes: &Bytes) -> Result<Range<usize>, String> {
        if !bytes.is(self.local, LOCAL) {
            return Err(format!("member `{}` is not where it should be", self.name));
        }
        let start = self.local + 30 + bytes.index(self.local + 26, 2)? + bytes.index(self.local + 28, 2)?;
        bytes.slice(start, self.size)?;
        Ok(start..start + self.size)
    }
}

/// The zip64 field: 64-bit values for those numbers that are all ones in the entry, in order.
struct Large {
    next: usize,
}

impl Large {
    fn find(bytes: &Bytes, start: usize, length: usize) -> Result<Self, String> {
        let mut place = start;
        while place + 4 <= start + length {
            if bytes.number(place, 2)? == 1 {
                return Ok(Self { next: place + 4 });
            }
            place += 4 + bytes.index(place + 2, 2)?;
        }
        // Without the field a number of all ones leads behind the file's end, which is noticed.
        Ok(Self { next: usize::MAX - 8 })
    }

    /// The 32-bit number at `place`, or the next large one.
    fn or(&mut self, bytes: &Bytes, place: usize) -> Result<usize, String> {
        let short = bytes.index(place, 4)?;
        if short != 0xffff_ffff {
            return Ok(short);
        }
        let value = bytes.index(self.next, 8)?;
        self.next += 8;
        Ok(value)
    }
}
