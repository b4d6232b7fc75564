//! Jobs that never started: what is wrong is printed, told where somebody listens, and decides the exit code.

use super::layout::Layout;
use super::post::{Ended, Post};
use super::prepare::{Invalid, Prepared};
use crate::config::CallbackFormat;
use crate::error::ErrorKind;
use crate::outbox::body::{self as callback, Report, Status};
use crate::progress::Reporter;
use crate::runner::{exit_code, metadata};

/// Prints what is wrong with a job that never started, and tells it where somebody listens: in a
/// callback file under an id of its own or at a place that the command names, and at an address.
pub fn report_invalid(
    reporter: &mut Reporter,
    invalid: &Invalid,
    layout: &Layout,
    format: CallbackFormat,
    post: Option<&mut Post>,
) {
    reporter.error(&invalid.error);
    let Some(job) = &invalid.job else {
        return;
    };
    let report = Report {
        job_id: job.id.clone(),
        user_id: job.spec.user_id.clone(),
        status: Status::Failed,
        assets: Vec::new(),
        error_message: Some(format!("{:#}", invalid.error)),
        metadata: metadata::refused(&job.spec, &invalid.error),
    };
    reporter.result(&callback::body(format, &report));
    // A result of this id stands, and is told by nobody else's refusal.
    let (Some(post), Some(path)) = (post, layout.callback_of_refused(&job.id, &job.spec)) else {
        return;
    };
    let is_named = job.id_given || layout.output.is_some() || layout.callback.is_some();
    let written = match is_named {
        true => callback::write(&path, format, &report),
        false => Ok(()),
    };
    let posted = post.tell(Ended {
        job_id: &job.id,
        spec_sha256: &job.spec.digest(),
        completed: false,
        own_url: job.spec.callback_url.as_deref(),
        body: callback::text(format, &report),
    });
    for second in [written, posted].into_iter().filter_map(Result::err) {
        reporter.detail(&format!("callback: {second:#}"));
    }
}

/// The one code that all invalid jobs share; otherwise the worst, 65 when they concern the jobs alone.
pub fn code_of_invalid(prepared: &Prepared) -> u8 {
    let mut kinds = prepared.invalid.iter().map(Invalid::kind);
    let first = kinds.next().map_or(0, |kind| kind.exit_code());
    if kinds.all(|kind| kind.exit_code() == first) {
        return first;
    }
    let all: Vec<ErrorKind> = prepared.invalid.iter().map(Invalid::kind).collect();
    match exit_code(all.len(), &all) {
        1 => ErrorKind::InvalidSpec.exit_code(),
        worst => worst,
    }
}
