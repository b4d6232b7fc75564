//! What a store's error means: try again, give up, or somebody must mend the settings.

use std::error::Error as StdError;

use object_store::Error as S3Error;
use object_store::client::{HttpError, HttpErrorKind};
use reqwest::StatusCode;

use crate::config::shown;
use crate::error::{Error, ErrorKind};

/// An error of an object store, in as many kinds as we act upon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// May work a moment later: time-outs, broken connections, 408, 429 and 5xx.
    Passing(String),
    /// The server knows no conditional put.
    NotSupported,
    /// Something has the key.
    Exists,
    /// No such object or bucket.
    NotFound,
    /// The server will not have us, whenever we ask.
    Refused(String),
}

/// Sorts an error. Its text is ours: the library's holds whole answers and addresses. Status and
/// code stand in that text alone, for the type that has them is private to the library.
pub(super) fn of(error: &S3Error) -> Fault {
    let text = error.to_string();
    let code = code(&text);
    let told = |status: StatusCode| match &code {
        Some(code) => format!("answered {status} ({})", shown(code)),
        None => format!("answered {status}"),
    };
    match error {
        S3Error::AlreadyExists { .. } | S3Error::Precondition { .. } | S3Error::NotModified { .. } => {
            return Fault::Exists;
        }
        S3Error::NotFound { .. } => return Fault::NotFound,
        S3Error::NotSupported { .. } | S3Error::NotImplemented { .. } => return Fault::NotSupported,
        S3Error::PermissionDenied { .. } => return Fault::Refused(told(StatusCode::FORBIDDEN)),
        S3Error::Unauthenticated { .. } => return Fault::Refused(told(StatusCode::UNAUTHORIZED)),
        _ => {}
    }
    match status(&text) {
        Some(StatusCode::NOT_FOUND) => Fault::NotFound,
        Some(StatusCode::NOT_IMPLEMENTED) => Fault::NotSupported,
        Some(status) if passes(status) => Fault::Passing(told(status)),
        Some(status) => Fault::Refused(told(status)),
        None if text.contains("incorrectly configured region") => {
            Fault::Refused("sends us to another region; set storage.region or AWS_REGION".into())
        }
        None => Fault::Passing(connection(error, code.as_deref())),
    }
}

fn passes(status: StatusCode) -> bool {
    let by_code = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS];
    status.is_server_error() || by_code.contains(&status)
}

fn connection(error: &S3Error, code: Option<&str>) -> String {
    match (find::<HttpError>(error).map(HttpError::kind), code) {
        (Some(HttpErrorKind::Timeout), _) => "no answer in time".into(),
        (Some(HttpErrorKind::Connect), _) => "cannot be reached".into(),
        (Some(_), _) => "the connection broke".into(),
        // S3 may say 200 first and fail then.
        (None, Some(code)) => format!("failed half-way ({})", shown(code)),
        (None, None) => "no credentials could be had".into(),
    }
}

/// The first error of this type in the chain.
fn find<T: StdError + 'static>(error: &S3Error) -> Option<&T> {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(here) = cause {
        if let Some(found) = here.downcast_ref() {
            return Some(found);
        }
        cause = here.source();
    }
    None
}

/// The status in the library's text of an error answer.
fn status(text: &str) -> Option<StatusCode> {
    let (_, rest) = text.split_once("non-2xx status code: ")?;
    StatusCode::from_bytes(rest.get(..3)?.as_bytes()).ok()
}

/// The `<Code>` of an answer in XML.
fn code(body: &str) -> Option<String> {
    let (_, rest) = body.split_once("<Code>")?;
    let (code, _) = rest.split_once("</Code>")?;
    Some(code.trim().to_string())
}

/// A fault as our error.
pub(super) fn raise(store: &str, fault: Fault) -> anyhow::Error {
    let error =
        |kind, why: String, hint: &str| Error::new(kind, format!("storage {store}: {why}")).hint(hint);
    match fault {
        Fault::Passing(why) => error(
            ErrorKind::Unavailable,
            why,
            "it may work later; check storage.endpoint and the network",
        ),
        Fault::NotSupported => error(
            ErrorKind::Config,
            "the server does not know what is asked of it".into(),
            "use a store that speaks S3",
        ),
        Fault::NotFound => error(
            ErrorKind::Config,
            "there is no such bucket".into(),
            "make it, or name another with --storage",
        ),
        Fault::Refused(why) => error(
            ErrorKind::Config,
            why,
            "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; they need s3:GetObject, s3:PutObject and s3:ListBucket",
        ),
        Fault::Exists => error(ErrorKind::Conflict, "an object is in the way".into(), "remove it"),
    }
    .into()
}
