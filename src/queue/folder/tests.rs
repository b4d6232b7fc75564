use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::SystemTime;

use super::*;
use crate::error::{ErrorKind, kind_of};
use crate::files::{Existing, sha256_hex, write_whole};
use crate::outbox::envelope::Which;
use crate::outcome::Status;
use crate::queue::contract::{Peek, State, Trouble};
use crate::queue::testing::*;

struct Place {
    _folder: tempfile::TempDir,
    root: PathBuf,
}

impl Place {
    fn new() -> Self {
        let folder = quick_folder();
        let root = folder.path().join("q");
        fs::create_dir_all(root.join("new")).unwrap();
        Self {
            _folder: folder,
            root,
        }
    }

    /// A file that was written some seconds ago, the first of them longest.
    fn put(&self, file: &str, content: impl AsRef<[u8]>, age_s: u64) {
        let path = self.root.join("new").join(file);
        fs::write(&path, content).unwrap();
        let time = SystemTime::now() - Duration::from_secs(age_s);
        fs::File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(time)
            .unwrap();
    }

    async fn open(&self, access: Access) -> FolderQueue {
        FolderQueue::open(&self.root, access, options("d0"))
            .await
            .unwrap()
    }

    fn files(&self, folder: &str) -> BTreeSet<String> {
        let entries = fs::read_dir(self.root.join(folder)).unwrap();
        entries
            .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
            .collect()
    }

    fn record(&self, path: &str) -> Record {
        serde_json::from_slice(&fs::read(self.root.join(path)).unwrap()).unwrap()
    }
}

fn set<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.map(String::from).into()
}

#[tokio::test]
async fn a_job_goes_from_new_over_work_to_done_with_its_callback() {
    let place = Place::new();
    place.put("some.yaml", "id: a\ntype: image\n", 10);
    let queue = place.open(Access::Drain).await;
    let mut claim = next(&queue).await.unwrap();
    assert_eq!(claim.spec, b"id: a\ntype: image\n");
    assert_eq!(
        (place.files("new"), place.files("work")),
        (set([]), set(["a.json", "a.yaml"]))
    );
    claim.record.seeds = vec![u64::MAX];
    assert_eq!(queue.save(&claim).await.unwrap(), Lease::Held);
    assert_eq!(place.record("work/a.json").seeds, [u64::MAX]);
    let beat = queue.heartbeat(&claim, &running(&claim, 1)).await.unwrap();
    assert_eq!(beat, Lease::Held);
    let seen = place.open(Access::Look).await.snapshot().await.unwrap();
    assert_eq!((seen.running[0].id.as_str(), seen.running[0].step), ("a", 1));

    let envelope = end(&mut claim, Status::Completed);
    assert_eq!(queue.settle(&claim, Some(&envelope)).await.unwrap(), Settled::Yes);
    assert_eq!(place.files("work"), set([]));
    assert_eq!(place.files("done"), set(["a.json", "a.yaml"]));
    assert_eq!(place.record("done/a.json"), claim.record);
    let told = queue.outbox().claim(Which::All(u64::MAX), 9).await.unwrap();
    assert_eq!(told, std::slice::from_ref(&envelope));
    // Its claim has ended: nothing more is taken from it.
    assert_eq!(
        queue.settle(&claim, Some(&envelope)).await.unwrap(),
        Settled::Lost
    );
    assert_eq!(queue.save(&claim).await.unwrap(), Lease::Lost);
    assert_eq!(queue.release(&claim, "x").await.unwrap(), Lease::Lost);
}

#[tokio::test]
async fn the_source_and_the_record_of_a_dead_json_job_have_names_of_their_own() {
    let place = Place::new();
    place.put("a.json", spec("a", "image"), 10);
    let queue = place.open(Access::Drain).await;
    let mut claim = next(&queue).await.unwrap();
    end(&mut claim, Status::Failed);
    queue.settle(&claim, None).await.unwrap();
    assert_eq!(place.files("dead"), set(["a.json", "a.spec.json"]));
    assert_eq!(
        fs::read(place.root.join("dead/a.spec.json")).unwrap(),
        spec("a", "image")
    );
    let text = fs::read_to_string(place.root.join("dead/a.json")).unwrap();
    for key in [
        "id",
        "type",
        "spec_sha256",
        "outcome",
        "error",
        "seeds",
        "attempts",
        "history",
    ] {
        assert!(text.contains(&format!("\"{key}\":")), "{key} in {text}");
    }
    assert!(text.contains("\"outcome\": \"failed\""), "{text}");
}

#[tokio::test]
async fn ids_come_from_the_spec_or_the_name_or_are_made() {
    let place = Place::new();
    place.put("named.yml", "type: image\n", 30);
    place.put("no id.yaml", "type: image\n", 20);
    place.put("x.yaml", "type: image\nid: inside\n", 10);
    let queue = place.open(Access::Drain).await;
    let mut ids = Vec::new();
    while let Some(claim) = next(&queue).await {
        ids.push(claim.id().to_string());
    }
    assert_eq!((ids[0].as_str(), ids[2].as_str()), ("named", "inside"));
    assert!(
        TestPeek.is_id(&ids[1]) && ids[1].starts_with("job-"),
        "{}",
        ids[1]
    );
}

#[tokio::test]
async fn the_same_job_again_is_dropped_and_another_one_under_its_id_is_a_conflict() {
    let place = Place::new();
    place.put("a.json", spec("a", "image"), 50);
    place.put("again.json", spec("a", "image"), 40);
    place.put("b.json", spec("a", "video"), 30);
    place.put("c.json", spec("A", "image"), 20);
    let queue = place.open(Access::Drain).await;
    let mut first = next(&queue).await.unwrap();
    end(&mut first, Status::Completed);
    queue.settle(&first, None).await.unwrap();
    let done = fs::read(place.root.join("done/a.json")).unwrap();

    let mut seen = Vec::new();
    while let Some(mut claim) = next(&queue).await {
        seen.push((claim.id().to_string(), claim.trouble.clone()));
        end(&mut claim, Status::Failed);
        queue.settle(&claim, None).await.unwrap();
    }
    seen.sort_by(|a, b| b.0.cmp(&a.0));
    let conflict = |same_id| {
        Some(Trouble::Conflict {
            with: "a".into(),
            same_id,
        })
    };
    assert_eq!(
        seen,
        [("a".into(), conflict(true)), ("A".into(), conflict(false))]
    );
    assert_eq!(
        place.files("dead"),
        set([
            "A.conflict-1.json",
            "A.conflict-1.spec.json",
            "a.conflict-1.json",
            "a.conflict-1.spec.json"
        ])
    );
    assert_eq!(fs::read(place.root.join("done/a.json")).unwrap(), done);
    assert_eq!(place.files("new"), set([]));
    assert!(queue.dead_ids().await.unwrap().is_empty());
}

#[tokio::test]
async fn links_fifos_and_folders_end_in_dead_under_names_that_nothing_opens() {
    let place = Place::new();
    let new = place.root.join("new");
    let secret = place.root.join("secret.yaml");
    fs::write(&secret, "id: stolen\ntype: image\n").unwrap();
    std::os::unix::fs::symlink(&secret, new.join("link.yaml")).unwrap();
    fs::create_dir(new.join("folder.yaml")).unwrap();
    fs::create_dir(new.join("not-ours")).unwrap();
    fs::write(new.join("notes.txt"), "not ours").unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(
        rustix::fs::CWD,
        new.join("fifo.json"),
        rustix::fs::FileType::Fifo,
        mode,
        0,
    )
    .unwrap();
    let queue = place.open(Access::Drain).await;
    while let Some(mut claim) = next(&queue).await {
        assert!(matches!(claim.trouble, Some(Trouble::NoFile(_))), "{claim:?}");
        end(&mut claim, Status::Failed);
        queue.settle(&claim, None).await.unwrap();
    }
    assert_eq!(
        place.files("dead"),
        set([
            "fifo.json",
            "fifo.not-a-file",
            "folder.json",
            "folder.not-a-file",
            "link.json",
            "link.not-a-file"
        ])
    );
    assert_eq!(place.files("new"), set(["not-ours", "notes.txt"]));
    assert_eq!(queue.retry("fifo").await.unwrap(), Retry::Never);
}

#[tokio::test]
async fn a_file_in_the_making_is_left_until_it_stands_still() {
    let place = Place::new();
    let queue = place.open(Access::Drain).await;
    fs::write(place.root.join("new/a.yaml"), "id: a\n").unwrap();
    let Next::Soon(after) = queue.claim(&wish()).await.unwrap() else {
        panic!("it was written just now");
    };
    assert!(!after.is_zero());
    // Renamed in: whole at once.
    let written = place.root.join("tmp/b.yaml");
    fs::write(&written, "id: b\ntype: image\n").unwrap();
    let time = SystemTime::now() - Duration::from_millis(20);
    fs::File::options()
        .write(true)
        .open(&written)
        .unwrap()
        .set_modified(time)
        .unwrap();
    fs::rename(&written, place.root.join("new/b.yaml")).unwrap();
    let Next::Job(claim) = queue.claim(&wish()).await.unwrap() else {
        panic!("it was renamed in");
    };
    assert_eq!(claim.id(), "b");
    assert_eq!(queue.snapshot().await.unwrap().waiting[0].id, "a");
}

#[tokio::test]
async fn a_released_job_keeps_id_seeds_and_place_in_the_queue() {
    let place = Place::new();
    place.put("a.yaml", "type: image\n", 20);
    place.put("b.yaml", "type: image\n", 10);
    let queue = place.open(Access::Drain).await;
    let mut claim = next(&queue).await.unwrap();
    claim.record.seeds = vec![7];
    claim.record.attempts = 2;
    // Somebody puts another file in its place meanwhile.
    place.put("a.yaml", "type: video\n", 5);
    queue.release(&claim, "SIGTERM").await.unwrap();
    assert_eq!(place.files("work"), set([]));
    assert_eq!(place.files("new"), set(["a.1.yaml", "a.yaml", "b.yaml"]));
    drop(queue);

    let queue = place.open(Access::Drain).await;
    let again = next(&queue).await.unwrap();
    assert_eq!((again.id(), &again.record.seeds[..]), ("a", &[7][..]));
    assert_eq!((again.record.attempts, again.record.count("released")), (2, 1));
    assert_eq!(again.record.queued_at, claim.record.queued_at);
    assert_eq!(place.files("records"), set([]));
    assert_eq!(next(&queue).await.unwrap().id(), "b");
    let other = next(&queue).await.unwrap();
    assert!(matches!(
        other.trouble,
        Some(Trouble::Conflict { same_id: true, .. })
    ));
}

#[tokio::test]
async fn what_a_dead_drain_held_goes_back_without_an_attempt() {
    let place = Place::new();
    place.put("a.yaml", "type: image\n", 10);
    let queue = place.open(Access::Drain).await;
    let mut claim = next(&queue).await.unwrap();
    claim.record.seeds = vec![7];
    queue.save(&claim).await.unwrap();
    drop(queue);
    let looking = place.open(Access::Look).await.snapshot().await.unwrap();
    assert_eq!((looking.waiting.len(), looking.running.len()), (1, 0));
    let queue = place.open(Access::Drain).await;
    let again = next(&queue).await.unwrap();
    assert_eq!((again.id(), again.record.attempts), ("a", 0));
    assert_eq!(
        (&again.record.seeds[..], again.record.count("recovered")),
        (&[7][..], 1)
    );
}

#[tokio::test]
async fn one_drain_works_on_a_folder_and_the_others_are_told() {
    let place = Place::new();
    let queue = place.open(Access::Drain).await;
    let refused = FolderQueue::open(&place.root, Access::Drain, options("d1")).await;
    assert_eq!(kind_of(&refused.err().unwrap()).exit_code(), 75);
    // Producers need no lock.
    let producer = place.open(Access::Add).await;
    assert_eq!(producer.add(&new_job("a")).await.unwrap(), Added::New);
    assert_eq!(next(&queue).await.unwrap().id(), "a");
    queue.close().await.unwrap();
    assert!(
        FolderQueue::open(&place.root, Access::Drain, options("d1"))
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_missing_folder_is_made_by_producers_only() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("none");
    for access in [Access::Drain, Access::Look] {
        let refused = FolderQueue::open(&root, access, options("d")).await;
        assert_eq!(kind_of(&refused.err().unwrap()), ErrorKind::InputMissing);
    }
    FolderQueue::open(&root, Access::Add, options("d")).await.unwrap();
    assert!(root.join("new").is_dir());
}

#[tokio::test]
async fn adding_again_is_nothing_and_adding_something_else_is_refused() {
    let place = Place::new();
    let queue = place.open(Access::Drain).await;
    assert_eq!(queue.add(&new_job("a")).await.unwrap(), Added::New);
    let again = |state| Added::Same(state);
    assert_eq!(queue.add(&new_job("a")).await.unwrap(), again(State::Waiting));
    let mut claim = next(&queue).await.unwrap();
    assert_eq!(queue.add(&new_job("a")).await.unwrap(), again(State::Running));
    end(&mut claim, Status::Completed);
    queue.settle(&claim, None).await.unwrap();
    assert_eq!(queue.add(&new_job("a")).await.unwrap(), again(State::Done));
    for id in ["a", "A"] {
        let mut other = new_job(id);
        other.spec = spec(id, "video");
        let refused = queue.add(&other).await.unwrap_err();
        assert_eq!(kind_of(&refused).exit_code(), 65, "{refused:#}");
    }
    // A stranger's file may have the name.
    place.put("b.json", spec("other", "image"), 10);
    assert_eq!(queue.add(&new_job("b")).await.unwrap(), Added::New);
    assert_eq!(next(&queue).await.unwrap().id(), "other");
    assert_eq!(next(&queue).await.unwrap().id(), "b");
}

#[tokio::test]
async fn a_dead_job_is_tried_again_with_its_seeds_and_another_callback() {
    let place = Place::new();
    place.put("a.yaml", "type: image\n", 10);
    let queue = place.open(Access::Drain).await;
    let mut claim = next(&queue).await.unwrap();
    claim.record.seeds = vec![5];
    claim.record.attempts = 3;
    let first = end(&mut claim, Status::Failed);
    queue.settle(&claim, Some(&first)).await.unwrap();
    let beside = place.open(Access::Look).await;
    assert_eq!(beside.dead_ids().await.unwrap(), ["a"]);
    assert_eq!(beside.retry("a").await.unwrap(), Retry::Waiting);
    assert_eq!(beside.retry("a").await.unwrap(), Retry::Waiting);
    assert_eq!(beside.retry("b").await.unwrap(), Retry::NotDead(None));
    let mut again = next(&queue).await.unwrap();
    assert_eq!((again.record.attempts, &again.record.seeds[..]), (0, &[5][..]));
    assert_eq!(again.trouble, None);
    let second = end(&mut again, Status::Failed);
    assert_ne!(first.webhook_id, second.webhook_id);
    queue.settle(&again, Some(&second)).await.unwrap();
    assert_eq!(place.files("dead"), set(["a.json", "a.yaml"]));
    assert_eq!(queue.outbox().counts().await.unwrap().waiting, 2);
}

#[tokio::test]
async fn cancelling_takes_a_waiting_job_and_asks_for_a_running_one() {
    let place = Place::new();
    place.put("a.yaml", "type: image\n", 20);
    place.put("b.yaml", "type: image\n", 10);
    // No drain: the command ends it.
    let command = place.open(Access::Look).await;
    let Cancel::Taken(mut claim) = command.cancel("a").await.unwrap() else {
        panic!("it waits");
    };
    assert_eq!(claim.trouble, Some(Trouble::Cancelled));
    end(&mut claim, Status::Cancelled);
    command.settle(&claim, None).await.unwrap();
    assert!(matches!(command.cancel("a").await.unwrap(), Cancel::Ended(_)));
    assert!(matches!(command.cancel("x").await.unwrap(), Cancel::Unknown));
    command.close().await.unwrap();
    assert_eq!(place.record("dead/a.json").outcome, Some(Status::Cancelled));
    // A drain has it: the drain ends it.
    let queue = place.open(Access::Drain).await;
    let mut claim = next(&queue).await.unwrap();
    place.put("c.yaml", "type: image\n", 10);
    for id in ["b", "c"] {
        assert!(matches!(command.cancel(id).await.unwrap(), Cancel::Asked));
    }
    let beat = queue.heartbeat(&claim, &running(&claim, 1)).await.unwrap();
    assert_eq!(beat, Lease::CancelAsked);
    end(&mut claim, Status::Cancelled);
    queue.settle(&claim, None).await.unwrap();
    let claim = next(&queue).await.unwrap();
    assert_eq!(claim.id(), "c");
    assert_eq!(claim.trouble, Some(Trouble::Cancelled));
}

#[tokio::test]
async fn old_jobs_are_forgotten_and_young_ones_are_not() {
    let place = Place::new();
    let queue = place.open(Access::Drain).await;
    for id in ["a", "b"] {
        queue.add(&new_job(id)).await.unwrap();
        let mut claim = next(&queue).await.unwrap();
        end(&mut claim, Status::Completed);
        if id == "a" {
            claim.record.finished_at = Some("2020-01-01T00:00:00Z".parse().unwrap());
        }
        queue.settle(&claim, None).await.unwrap();
    }
    assert_eq!(queue.recent(9).await.unwrap().len(), 2);
    let day = Duration::from_secs(86_400);
    assert_eq!(queue.purge_done(day).await.unwrap(), 1);
    assert_eq!(place.files("done"), set(["b.json", "b.spec.json"]));
    assert_eq!(queue.purge_done(Duration::ZERO).await.unwrap(), 1);
}

#[tokio::test]
async fn several_workers_of_one_drain_get_different_jobs() {
    let place = Place::new();
    for n in 0..30 {
        place.put(&format!("j{n}.yaml"), "type: image\n", 100 - n);
    }
    let queue = Arc::new(place.open(Access::Drain).await);
    let worker = |queue: Arc<FolderQueue>| async move {
        let mut ids = Vec::new();
        while let Some(mut claim) = next(queue.as_ref()).await {
            end(&mut claim, Status::Completed);
            queue.settle(&claim, None).await.unwrap();
            ids.push(claim.id().to_string());
        }
        ids
    };
    let all = futures::future::join_all((0..4).map(|_| worker(queue.clone()))).await;
    let mut ids: Vec<_> = all.into_iter().flatten().collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 30);
    assert_eq!(place.files("done").len(), 60);
}

#[tokio::test]
async fn a_sign_of_life_that_comes_with_the_end_leaves_nothing_behind() {
    let place = Place::new();
    for i in 0..10 {
        place.put(&format!("j{i}.yaml"), "type: image\n", 20 - i);
    }
    let queue = place.open(Access::Drain).await;
    for released in [false, true].into_iter().cycle().take(10) {
        let mut claim = next(&queue).await.unwrap();
        let other = claim.clone();
        let beat = running(&other, 1);
        let end = async {
            if released {
                assert_eq!(queue.release(&claim, "test").await.unwrap(), Lease::Held);
            } else {
                claim.record.outcome = Some(Status::Completed);
                assert_eq!(queue.settle(&claim, None).await.unwrap(), Settled::Yes);
            }
        };
        let late = futures::future::join_all([(); 4].map(|()| queue.heartbeat(&other, &beat)));
        let saved = futures::future::join_all([(); 4].map(|()| queue.save(&other)));
        tokio::join!(end, late, saved);
        assert_eq!(place.files("work"), set([]));
    }
}

#[tokio::test]
async fn a_plan_lists_the_order_and_moves_nothing() {
    let place = Place::new();
    for (n, (id, kind)) in [("w", "video"), ("c", "chat"), ("i", "image"), ("x", "?")]
        .into_iter()
        .enumerate()
    {
        place.put(&format!("{id}.yaml"), spec(id, kind), 50 - n as u64);
    }
    let queue = place.open(Access::Look).await;
    let plan = queue.plan(&wish(), 3).await.unwrap();
    let ids: Vec<_> = plan.iter().map(|job| job.id.as_str()).collect();
    assert_eq!(ids, ["x", "i", "c"]);
    assert_eq!(place.files("new").len(), 4);
}

/// The drain that the tests below kill; nothing on its own.
#[test]
fn a_drain_to_be_killed() {
    if let Ok(root) = std::env::var("OURVIDZ_TEST_FOLDER_DRAIN") {
        let root = PathBuf::from(root);
        block_on(async {
            let queue = FolderQueue::open(&root, Access::Drain, options("d0"))
                .await
                .unwrap();
            drain(&queue, &root.join("assets"), &root.join("log")).await;
        });
    }
}

const DRAIN: &str = "queue::folder::tests::a_drain_to_be_killed";

/// Twenty jobs, one of them twice, and another one under an id that is taken.
fn twenty_jobs(place: &Place) {
    for n in 0..20 {
        let id = format!("j{n:02}");
        place.put(&format!("{id}.json"), spec(&id, "image"), 100 - n);
    }
    place.put("again.json", spec("j01", "image"), 50);
    place.put("other.json", spec("j02", "video"), 50);
}

/// Everything that must be true whatever was killed.
fn check(place: &Place, crashes: usize) {
    for folder in ["new", "work", "outbox", "records", "tmp"] {
        assert_eq!(place.files(folder), set([]), "{folder}");
    }
    assert_eq!(
        place.files("dead"),
        set(["j02.conflict-1.json", "j02.conflict-1.spec.json"])
    );
    let mut expected = BTreeSet::new();
    for n in 0..20 {
        let id = format!("j{n:02}");
        let record = place.record(&format!("done/{id}.json"));
        let asset = fs::read_to_string(place.root.join(format!("assets/{id}.txt"))).unwrap();
        assert_eq!(record.seeds[0].to_string(), asset, "{id}: drawn once");
        assert_eq!((record.outcome, record.attempts), (Some(Status::Completed), 0));
        assert_eq!(record.spec_sha256, Some(sha256_hex(&spec(&id, "image"))));
        expected.extend([format!("{id}.json"), format!("{id}.spec.json")]);
    }
    assert_eq!(place.files("done"), expected);
    assert_eq!(place.files("assets").len(), 20);
    // Two fail first, and are told so.
    check_log(&place.root.join("log"), 22, crashes);
}

fn names() -> BTreeSet<&'static str> {
    [
        include_str!("claim.rs"),
        include_str!("settle.rs"),
        include_str!("recover.rs"),
        include_str!("admin.rs"),
        include_str!("../../outbox/folder.rs"),
        include_str!("../../files/moves.rs"),
        include_str!("../../files/write.rs"),
    ]
    .into_iter()
    .flat_map(points)
    .collect()
}

#[test]
fn a_kill_between_any_two_steps_loses_nothing_and_tells_nothing_twice_over() {
    let mut killed = BTreeSet::new();
    for (turn, name) in names().into_iter().enumerate() {
        let place = Place::new();
        twenty_jobs(&place);
        let root = place.root.to_str().unwrap();
        // Another passage for every point, and twice: the second crash meets what the first left.
        let at = format!("{name}:{}", [1, 7, 20][turn % 3]);
        let folder = ("OURVIDZ_TEST_FOLDER_DRAIN", root);
        let mut crashes = 0;
        while crashes < 2 && !ended(&mut process(DRAIN, &[folder, ("OURVIDZ_KILL_AT", &at)])) {
            crashes += 1;
            killed.insert(name);
        }
        assert!(ended(&mut process(DRAIN, &[folder])));
        check(&place, crashes);
    }
    assert!(killed.len() >= 17, "{killed:?}");
}

#[test]
fn kills_at_any_moment_lose_nothing() {
    let mut left = kills(40);
    while left > 0 {
        let place = Place::new();
        twenty_jobs(&place);
        let root = place.root.to_str().unwrap();
        let crashes = kill_at_random(left, || process(DRAIN, &[("OURVIDZ_TEST_FOLDER_DRAIN", root)]));
        check(&place, crashes);
        left -= crashes;
    }
}

#[test]
fn a_full_disk_keeps_the_job_and_claims_no_success() {
    // Nothing to write to: a file lies where the folder of the records of ended jobs should be.
    let place = Place::new();
    place.put("a.yaml", "type: image\n", 10);
    block_on(async {
        let queue = place.open(Access::Drain).await;
        let mut claim = next(&queue).await.unwrap();
        fs::remove_dir(place.root.join("done")).unwrap();
        write_whole(&place.root.join("done"), b"in the way", Existing::Keep).unwrap();
        let envelope = end(&mut claim, Status::Completed);
        let failed = queue.settle(&claim, Some(&envelope)).await.unwrap_err();
        assert_eq!(kind_of(&failed).exit_code(), 73, "{failed:#}");
        assert!(place.files("work").contains("a.yaml"));
        // There is room again: the same outcome, told once.
        fs::remove_file(place.root.join("done")).unwrap();
        fs::create_dir(place.root.join("done")).unwrap();
        assert_eq!(queue.settle(&claim, Some(&envelope)).await.unwrap(), Settled::Yes);
        assert_eq!(queue.outbox().counts().await.unwrap().waiting, 1);
    });
}
