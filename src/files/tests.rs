use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::moves::rename_if_free;
use super::parts::{PART_END, PART_START, Part};
use super::*;
use crate::error::{ErrorKind, kind_of};

fn names(folder: &Path) -> Vec<String> {
    fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
        .collect()
}

#[test]
fn a_written_file_is_whole_and_leaves_no_part() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/er/a.png");
    write_whole(&path, b"one", Existing::Keep).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"one");
    assert_eq!(names(path.parent().unwrap()), ["a.png"]);
}

#[test]
fn keeping_accepts_the_same_bytes_and_refuses_others() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.png");
    write_whole(&path, b"one", Existing::Keep).unwrap();
    write_whole(&path, b"one", Existing::Keep).unwrap();
    for other in [&b"two"[..], b"on", b"ones"] {
        let refused = write_whole(&path, other, Existing::Keep).unwrap_err();
        assert_eq!(kind_of(&refused), ErrorKind::CannotWrite);
    }
    assert_eq!(fs::read(&path).unwrap(), b"one");
    write_whole(&path, b"two", Existing::Replace).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"two");
    assert_eq!(names(folder.path()), ["a.png"]);
}

#[test]
fn a_file_where_a_folder_is_needed_cannot_be_written() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a"), b"").unwrap();
    let error = write_whole(&folder.path().join("a/b.png"), b"x", Existing::Keep).unwrap_err();
    assert_eq!(kind_of(&error), ErrorKind::CannotWrite);
}

#[test]
fn a_full_disk_is_cannot_write() {
    let error = write_error(Path::new("a.png"), io::Error::from(io::ErrorKind::StorageFull));
    assert_eq!(error.kind.exit_code(), 73);
    let error = write_error(Path::new("a.png"), io::Error::from_raw_os_error(5));
    assert_eq!(error.kind.exit_code(), 74);
}

#[test]
fn a_suffix_goes_before_the_extension() {
    assert_eq!(with_suffix(Path::new("x/a.png"), "-1"), Path::new("x/a-1.png"));
    assert_eq!(with_suffix(Path::new("x/a"), "-1"), Path::new("x/a-1"));
}

#[test]
fn reading_stops_at_the_limit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    fs::write(&path, b"12345").unwrap();
    assert_eq!(read_bounded(&path, 5).unwrap(), b"12345");
    assert_eq!(kind_of(&read_bounded(&path, 4).unwrap_err()), ErrorKind::BadInput);
}

#[cfg(unix)]
#[test]
fn devices_folders_and_fifos_are_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    for path in [fifo.as_path(), Path::new("/dev/zero"), folder.path()] {
        let error = read_bounded(path, 10).unwrap_err();
        assert_eq!(kind_of(&error), ErrorKind::InputMissing, "{error:#}");
        let error = write_whole(path, b"x", Existing::Replace).unwrap_err();
        assert_eq!(kind_of(&error), ErrorKind::CannotWrite, "{error:#}");
    }
    assert_eq!(names(folder.path()), ["fifo"]);
}

#[cfg(unix)]
#[test]
fn a_replaced_file_keeps_its_permissions() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    fs::write(&path, b"secret").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    write_whole(&path, b"other", Existing::Replace).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_sweep_takes_the_parts_of_the_dead_and_leaves_those_of_the_living() {
    let folder = tempfile::tempdir().unwrap();
    let living = Part::create(folder.path()).unwrap();
    let dead = folder.path().join(format!("{PART_START}x{PART_END}"));
    fs::write(&dead, b"half").unwrap();
    fs::write(folder.path().join("a.part"), b"not ours").unwrap();
    sweep(folder.path());
    assert!(!dead.exists() && living.path.exists());
    assert!(folder.path().join("a.part").exists());
}

#[test]
fn what_is_cached_is_whole_and_follows_no_link() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/entry");
    write_cached(&path, b"one").unwrap();
    write_cached(&path, b"two").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"two");
    assert_eq!(names(path.parent().unwrap()), ["entry"]);
    #[cfg(unix)]
    {
        let other = folder.path().join("other");
        fs::write(&other, b"theirs").unwrap();
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(&other, &path).unwrap();
        write_cached(&path, b"three").unwrap();
        assert_eq!(fs::read(&other).unwrap(), b"theirs");
    }
}

#[test]
fn a_lock_is_waited_for_but_not_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lock");
    let held = Lock::try_take(&path).unwrap().expect("free");
    let refused = Lock::take(&path, Duration::from_millis(30)).unwrap_err();
    assert_eq!(kind_of(&refused), ErrorKind::Locked);
    drop(held);
    Lock::take(&path, Duration::from_millis(30)).unwrap();
}

#[test]
fn a_lock_is_one_holders() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lock");
    let held = Lock::try_take(&path).unwrap().expect("free");
    assert!(Lock::try_take(&path).unwrap().is_none());
    drop(held);
    assert!(Lock::try_take(&path).unwrap().is_some());
}

#[test]
fn staged_files_are_placed_once_and_their_folder_goes_away() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("out/a.png");
    for (text, existing, placed) in [
        ("one", Existing::Keep, true),
        ("two", Existing::Keep, false),
        ("three", Existing::Replace, true),
    ] {
        let staging = Staging::create(folder.path()).unwrap();
        let from = staging.path().join("0.png");
        fs::write(&from, text).unwrap();
        assert_eq!(place(&from, &to, existing).unwrap(), placed, "{text}");
    }
    assert_eq!(fs::read(&to).unwrap(), b"three");
    assert_eq!(names(folder.path()), ["out"]);
}

#[cfg(unix)]
#[test]
fn a_sweep_takes_staging_folders_of_the_dead_only() {
    let folder = tempfile::tempdir().unwrap();
    let living = Staging::create(folder.path()).unwrap();
    let dead = folder.path().join(format!("{PART_START}x{PART_END}"));
    fs::create_dir(&dead).unwrap();
    fs::write(dead.join("0.png"), b"half").unwrap();
    sweep(folder.path());
    assert!(!dead.exists() && living.path().exists());
}

#[cfg(unix)]
#[test]
fn a_folder_has_one_holder_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let patience = Duration::from_millis(30);
    let held = FolderLock::take(folder.path(), patience).unwrap();
    let refused = FolderLock::take(folder.path(), patience).unwrap_err();
    assert_eq!(kind_of(&refused), ErrorKind::Locked);
    drop(held);
    FolderLock::take(folder.path(), patience).unwrap();
}

#[test]
fn a_move_to_a_new_name_takes_nobody_elses() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (folder.path().join("a"), folder.path().join("b"));
    fs::write(&a, b"a").unwrap();
    fs::write(&b, b"b").unwrap();
    let refused = move_new(&a, &b).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(
        rename_if_free(&a, &b).unwrap_err().kind(),
        io::ErrorKind::AlreadyExists
    );
    fs::remove_file(&b).unwrap();
    move_new(&a, &b).unwrap();
    assert_eq!(fs::read(&b).unwrap(), b"a");
    assert!(!a.exists());
}
