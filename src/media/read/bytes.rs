//! Bounded reading: every count in a file is checked against what is really there.

use std::io::{Read, Seek, SeekFrom};

/// A view of bytes that are taken from the front.
#[derive(Debug, Clone, Copy)]
pub struct Bytes<'a>(pub &'a [u8]);

impl<'a> Bytes<'a> {
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or("it is truncated")?;
        self.0 = rest;
        Ok(taken)
    }

    pub fn u8(&mut self) -> Result<u8, String> {
        Ok(self.take(1)?[0])
    }

    /// A big-endian number of 1 to 8 bytes.
    pub fn number(&mut self, bytes: usize) -> Result<u64, String> {
        Ok(self.take(bytes)?.iter().fold(0, |n, &b| (n << 8) | u64::from(b)))
    }

    pub fn u32(&mut self) -> Result<u32, String> {
        Ok(self.number(4)? as u32)
    }

    pub fn u16_le(&mut self) -> Result<u16, String> {
        let pair = self.take(2)?;
        Ok(u16::from_le_bytes([pair[0], pair[1]]))
    }
}

/// A file that is read piece by piece, never more than asked for and never past its end.
pub struct Source<R> {
    reader: R,
    position: u64,
    length: u64,
}

impl<R: Read + Seek> Source<R> {
    pub fn new(mut reader: R) -> Result<Self, String> {
        let length = reader.seek(SeekFrom::End(0)).map_err(|e| e.to_string())?;
        reader.seek(SeekFrom::Start(0)).map_err(|e| e.to_string())?;
        Ok(Self {
            reader,
            position: 0,
            length,
        })
    }

    pub fn position(&self) -> u64 {
        self.position
    }

    /// Bytes from here to the end.
    pub fn left(&self) -> u64 {
        self.length - self.position
    }

    /// The next `count` bytes, where `count` is at most `limit`.
    pub fn take(&mut self, count: u64, limit: u64) -> Result<Vec<u8>, String> {
        if count > self.left() {
            return Err("it is truncated".into());
        }
        if count > limit {
            return Err(format!("a part of {count} bytes is over the limit of {limit}"));
        }
        let mut bytes = vec![0; count as usize];
        self.reader.read_exact(&mut bytes).map_err(|e| e.to_string())?;
        self.position += count;
        Ok(bytes)
    }

    pub fn u8(&mut self) -> Result<u8, String> {
        Ok(self.take(1, 1)?[0])
    }

    pub fn skip(&mut self, count: u64) -> Result<(), String> {
        if count > self.left() {
            return Err("it is truncated".into());
        }
        self.position += count;
        // A seek inside the buffer keeps it: small parts cost no system call.
        self.reader
            .seek_relative(i64::try_from(count).map_err(|e| e.to_string())?)
            .map_err(|e| e.to_string())
    }
}
