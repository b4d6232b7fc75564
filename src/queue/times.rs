//! Times in records: RFC 3339 in UTC.

use std::time::Duration;

use jiff::Timestamp;
use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::Serializer;

pub fn serialize<S: Serializer>(time: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(time)
}

pub fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Timestamp, D::Error> {
    String::deserialize(from)?.parse().map_err(D::Error::custom)
}

/// Whether a time lies at least so long back.
pub fn is_older(time: Timestamp, age: Duration) -> bool {
    let passed_ms = Timestamp::now().as_millisecond() - time.as_millisecond();
    i64::try_from(age.as_millis()).is_ok_and(|age_ms| passed_ms >= age_ms)
}

/// The same where there may be none.
pub mod optional {
    use super::*;

    pub fn serialize<S: Serializer>(time: &Option<Timestamp>, to: S) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => to.collect_str(time),
            None => to.serialize_none(),
        }
    }

    pub fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Option<Timestamp>, D::Error> {
        Option::<String>::deserialize(from)?
            .map(|text| text.parse().map_err(D::Error::custom))
            .transpose()
    }
}
