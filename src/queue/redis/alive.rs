//! Whether the drain behind a consumer's name still lives, where that can be known: on this machine.
//!
//! A name ends in `@MACHINE.PID.START`. MACHINE stands for this start of the system and this space of
//! process numbers, so that nobody judges a drain of another machine or container.

use std::fs;

use crate::files::sha256_hex;

/// `name` with what tells whether its process lives; `name` alone where nothing does.
pub fn named(name: &str) -> String {
    let pid = std::process::id();
    match (machine(), started(pid)) {
        (Some(machine), Some(start)) => format!("{name}@{machine}.{pid}.{start}"),
        _ => format!("{name}@{}", uuid::Uuid::new_v4().simple()),
    }
}

/// Whether the process behind a consumer has surely ended.
pub fn is_gone(consumer: &str) -> bool {
    let Some((_, tail)) = consumer.rsplit_once('@') else {
        return false;
    };
    let parts: Vec<_> = tail.split('.').collect();
    let [there, pid, start] = parts[..] else {
        return false;
    };
    let Ok(pid) = pid.parse() else {
        return false;
    };
    machine().is_some_and(|here| here == there) && started(pid).is_none_or(|now| now != start)
}

/// This start of this system and its process numbers. `None` where `/proc` does not tell.
fn machine() -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let space = fs::read_link("/proc/self/ns/pid").ok()?;
    let digest = sha256_hex(format!("{} {}", boot.trim(), space.display()).as_bytes());
    Some(digest[..12].into())
}

/// When a process began, in the kernel's ticks; `None` if there is none or it is only waited for.
fn started(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold anything.
    let fields: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let state = *fields.first()?;
    (state != "Z" && state != "X").then(|| fields.get(19).map(|start| start.to_string()))?
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_gone_when_it_has_ended_and_strangers_never_are() {
        let mine = named("drain@1");
        assert!(!is_gone(&mine), "{mine}");
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let (machine, pid) = (machine().unwrap(), child.id());
        let theirs = format!("x@{machine}.{pid}.{}", started(pid).unwrap());
        assert!(!is_gone(&theirs));
        child.kill().unwrap();
        // Not waited for yet: a zombie works no more.
        while started(pid).is_some() {
            std::thread::yield_now();
        }
        assert!(is_gone(&theirs));
        child.wait().unwrap();
        assert!(is_gone(&theirs));
        assert!(is_gone(&format!("x@{machine}.{}.1", std::process::id())));
        for stranger in ["x", "x@", "x@other.1.1", "x@a.b.c", "a.b.c"] {
            assert!(!is_gone(stranger), "{stranger}");
        }
    }
}
