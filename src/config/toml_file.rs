//! TOML with the line of every key, for messages that name the place.

use std::fmt;
use std::path::Path;

use anyhow::Result;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::values::{nearest, shown};
use crate::error::{Error, ErrorKind};
use crate::fail;

/// A TOML file that knows the line of every key, for messages.
pub struct TomlFile<'a> {
    file: String,
    text: &'a str,
    root: DeTable<'a>,
}

/// One table of a [`TomlFile`].
pub struct Section<'f, 'a> {
    file: &'f TomlFile<'a>,
    name: String,
    /// Where the table stands, in bytes.
    at: usize,
    table: &'f DeTable<'a>,
}

impl<'a> TomlFile<'a> {
    /// # Errors
    /// `Config` with the line of the mistake.
    pub fn parse(file: &Path, text: &'a str) -> Result<Self> {
        let file = file.display().to_string();
        match DeTable::parse(text) {
            Ok(root) => Ok(Self {
                file,
                text,
                root: root.into_inner(),
            }),
            Err(e) => {
                let line = line_of(text, e.span().map_or(0, |s| s.start));
                fail!(Config, "{file}: line {line}: {}", e.message().replace('\n', ", "))
            }
        }
    }

    pub fn root(&self) -> Section<'_, 'a> {
        Section {
            file: self,
            name: String::new(),
            at: 0,
            table: &self.root,
        }
    }

    fn error(&self, at: usize, message: impl fmt::Display) -> Error {
        let line = line_of(self.text, at);
        Error::new(
            ErrorKind::Config,
            format!("{}: line {line}: {message}", self.file),
        )
    }
}

impl<'f, 'a> Section<'f, 'a> {
    /// The keys of this table, in the file's order of names.
    pub fn keys(&self) -> Vec<String> {
        self.table.keys().map(|k| k.get_ref().to_string()).collect()
    }

    /// # Errors
    /// `Config` for a key outside `known`, with the nearest known one.
    pub fn only(&self, known: &[&str]) -> Result<()> {
        for key in self.table.keys() {
            let name: &str = key.get_ref();
            if known.contains(&name) {
                continue;
            }
            let hint = match nearest(name, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known keys are {}", known.join(", ")),
            };
            let message = format!("unknown key `{}`", self.path(&shown(name)));
            return Err(self.file.error(key.span().start, message).hint(hint).into());
        }
        Ok(())
    }

    /// # Errors
    /// `Config` when the value is no text.
    pub fn text(&self, key: &str) -> Result<Option<String>> {
        self.value(key, "text", |v| v.as_str().map(str::to_owned))
    }

    /// # Errors
    /// `Config` when the value is no list of texts.
    pub fn texts(&self, key: &str) -> Result<Option<Vec<String>>> {
        self.value(key, "a list of texts", |v| {
            let text = |item: &Spanned<DeValue<'a>>| item.get_ref().as_str().map(str::to_owned);
            v.as_array()?.iter().map(text).collect()
        })
    }

    /// # Errors
    /// `Config` when the value is neither `true` nor `false`.
    pub fn bool(&self, key: &str) -> Result<Option<bool>> {
        self.value(key, "true or false", DeValue::as_bool)
    }

    /// # Errors
    /// `Config` when the value is no whole number from 0 on.
    pub fn integer(&self, key: &str) -> Result<Option<u64>> {
        self.value(key, "a whole number", |v| {
            v.as_integer()
                .and_then(|i| u64::from_str_radix(i.as_str(), i.radix()).ok())
        })
    }

    /// A single value as it would stand in a variable.
    ///
    /// # Errors
    /// `Config` when the value is a list, a table or a date.
    pub fn scalar(&self, key: &str) -> Result<Option<String>> {
        self.value(key, "text, a whole number, true or false", |v| match v {
            DeValue::String(text) => Some(text.to_string()),
            DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_string()),
            DeValue::Boolean(switch) => Some(switch.to_string()),
            _ => None,
        })
    }

    /// # Errors
    /// `Config` when the value is no table.
    pub fn table(&self, key: &str) -> Result<Option<Section<'f, 'a>>> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        match value.get_ref() {
            DeValue::Table(table) => Ok(Some(Section {
                file: self.file,
                name: self.path(key),
                at: value.span().start,
                table,
            })),
            _ => Err(self.wrong(key, "must be a table").into()),
        }
    }

    /// True when the value is a table.
    pub fn is_table(&self, key: &str) -> bool {
        self.get(key).is_some_and(|v| v.get_ref().is_table())
    }

    /// Puts file, line and key before what a check of the value said.
    ///
    /// # Errors
    /// What the check said.
    pub fn checked<T>(&self, key: &str, result: Result<T>) -> Result<T> {
        result.map_err(|e| self.wrong(key, &e.to_string()).into())
    }

    /// The line of a key; `None` when it is not there.
    pub fn line(&self, key: &str) -> Option<usize> {
        Some(line_of(self.file.text, self.get(key)?.span().start))
    }

    /// The error that `key` is wrong, with file and line.
    pub fn wrong(&self, key: &str, message: &str) -> Error {
        let at = self.get(key).map_or(self.at, |v| v.span().start);
        self.file.error(at, format!("{}: {message}", self.path(key)))
    }

    fn value<T>(
        &self,
        key: &str,
        wanted: &str,
        read: impl Fn(&DeValue<'a>) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        match read(value.get_ref()) {
            Some(v) => Ok(Some(v)),
            None => Err(self.wrong(key, &format!("must be {wanted}")).into()),
        }
    }

    fn get(&self, key: &str) -> Option<&'f Spanned<DeValue<'a>>> {
        self.table
            .iter()
            .find(|(k, _)| &**k.get_ref() == key)
            .map(|(_, v)| v)
    }

    fn path(&self, key: &str) -> String {
        if self.name.is_empty() {
            key.into()
        } else {
            format!("{}.{key}", self.name)
        }
    }
}

fn line_of(text: &str, at: usize) -> usize {
    1 + text.as_bytes()[..at.min(text.len())]
        .iter()
        .filter(|b| **b == b'\n')
        .count()
}
