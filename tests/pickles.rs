//! PyTorch files, good and bad, written byte by byte.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use ourvidz::error::{ErrorKind, kind_of};
use ourvidz::weights::Checkpoint;

/// A member of a zip archive: bytes, or a hole of that length.
pub enum Content {
    Bytes(Vec<u8>),
    Hole(u64),
}

impl Content {
    fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Hole(length) => *length,
        }
    }
}

fn put(bytes: &mut Vec<u8>, value: u64, count: usize) {
    bytes.extend(&value.to_le_bytes()[..count]);
}

/// Writes an uncompressed archive with 64-bit sizes and offsets, as PyTorch does for large files.
pub fn write_zip(path: &Path, members: &[(String, Content)]) {
    const LARGE: u64 = 0xffff_ffff;
    let mut file = File::create(path).unwrap();
    let mut directory = Vec::new();
    for (name, content) in members {
        let start = file.stream_position().unwrap();
        let mut local = Vec::new();
        put(&mut local, 0x0403_4b50, 4);
        // Version, flags, method, time, date, checksum and sizes, which the directory repeats.
        local.resize(26, 0);
        put(&mut local, name.len() as u64, 2);
        put(&mut local, 5, 2);
        local.extend(name.as_bytes());
        local.extend(b"FB\x01\x00Z");
        file.write_all(&local).unwrap();
        match content {
            Content::Bytes(bytes) => file.write_all(bytes).unwrap(),
            Content::Hole(length) => {
                let end = file.stream_position().unwrap() + length;
                file.set_len(end).unwrap();
                file.seek(SeekFrom::Start(end)).unwrap();
            }
        }
        let entry = directory.len();
        put(&mut directory, 0x0201_4b50, 4);
        directory.resize(entry + 20, 0);
        put(&mut directory, LARGE, 4);
        put(&mut directory, LARGE, 4);
        put(&mut directory, name.len() as u64, 2);
        put(&mut directory, 28, 2);
        directory.resize(entry + 42, 0);
        put(&mut directory, LARGE, 4);
        directory.extend(name.as_bytes());
        put(&mut directory, 1, 2);
        put(&mut directory, 24, 2);
        for value in [content.length(), content.length(), start] {
            put(&mut directory, value, 8);
        }
    }
    let start = file.stream_position().unwrap();
    let mut end = Vec::new();
    put(&mut end, 0x0606_4b50, 4);
    put(&mut end, 44, 8);
    end.resize(24, 0);
    for value in [
        members.len() as u64,
        members.len() as u64,
        directory.len() as u64,
        start,
    ] {
        put(&mut end, value, 8);
    }
    put(&mut end, 0x0706_4b50, 4);
    put(&mut end, 0, 4);
    put(&mut end, start + directory.len() as u64, 8);
    put(&mut end, 1, 4);
    put(&mut end, 0x0605_4b50, 4);
    put(&mut end, 0xffff_0000_0000, 6);
    put(&mut end, 0xffff, 2);
    put(&mut end, LARGE, 4);
    put(&mut end, LARGE, 4);
    put(&mut end, 0, 2);
    file.write_all(&directory).unwrap();
    file.write_all(&end).unwrap();
}

fn text(text: &str) -> Vec<u8> {
    let mut bytes = vec![b'X'];
    put(&mut bytes, text.len() as u64, 4);
    bytes.extend(text.as_bytes());
    bytes
}

fn int(value: usize) -> Vec<u8> {
    let mut bytes = vec![0x8a, 8];
    put(&mut bytes, value as u64, 8);
    bytes
}

fn tuple(items: &[Vec<u8>]) -> Vec<u8> {
    [b"(".to_vec(), items.concat(), b"t".to_vec()].concat()
}

const ORDERED_DICT: &[u8] = b"ccollections\nOrderedDict\n)R";

/// The call that makes one tensor.
fn tensor(storage: &str, key: usize, elements: usize, shape: &[usize], stride: &[usize]) -> Vec<u8> {
    let id = tuple(&[
        text("storage"),
        format!("ctorch\n{storage}\n").into_bytes(),
        text(&key.to_string()),
        text("cpu"),
        int(elements),
    ]);
    let sizes = |values: &[usize]| tuple(&values.iter().map(|&v| int(v)).collect::<Vec<_>>());
    let arguments = tuple(&[
        [id, b"Q".to_vec()].concat(),
        int(0),
        sizes(shape),
        sizes(stride),
        vec![0x89],
        ORDERED_DICT.to_vec(),
    ]);
    [
        b"ctorch._utils\n_rebuild_tensor_v2\n".to_vec(),
        arguments,
        b"R".to_vec(),
    ]
    .concat()
}

fn strides(shape: &[usize]) -> Vec<usize> {
    (0..shape.len())
        .map(|i| shape[i + 1..].iter().product())
        .collect()
}

/// A dictionary of tensors as `torch.save(module.state_dict())` writes it, metadata included.
pub fn state_dict(tensors: &[(String, String, Vec<usize>)]) -> Vec<u8> {
    let mut program = [b"\x80\x02", ORDERED_DICT, b"("].concat();
    for (key, (name, storage, shape)) in tensors.iter().enumerate() {
        program.extend(text(name));
        let elements = shape.iter().product();
        program.extend(tensor(storage, key, elements, shape, &strides(shape)));
    }
    program.extend(b"u}");
    program.extend(text("_metadata"));
    program.extend(ORDERED_DICT);
    program.extend(b"sb.");
    program
}

fn archive(program: Vec<u8>, storage: Vec<u8>) -> Vec<(String, Content)> {
    vec![
        ("model/data.pkl".into(), Content::Bytes(program)),
        ("model/byteorder".into(), Content::Bytes(b"little".to_vec())),
        ("model/data/0".into(), Content::Bytes(storage)),
    ]
}

fn open(members: &[(String, Content)]) -> anyhow::Result<Checkpoint> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.pth");
    write_zip(&path, members);
    Checkpoint::open(&path)
}

fn refusal(program: Vec<u8>) -> String {
    let error = open(&archive(program, vec![0; 24])).unwrap_err();
    assert_eq!(kind_of(&error), ErrorKind::Config, "{error}");
    assert_eq!(kind_of(&error).exit_code(), 78);
    error.to_string()
}

#[test]
fn a_state_dict_with_metadata_is_read() {
    let program = state_dict(&[("a.weight".into(), "FloatStorage".into(), vec![2, 3])]);
    let values: Vec<u8> = (0..6).flat_map(|v| (v as f32).to_le_bytes()).collect();
    let checkpoint = open(&archive(program, values.clone())).unwrap();
    let entry = checkpoint.get("a.weight").unwrap();
    assert_eq!(entry.shape, [2, 3]);
    assert_eq!(checkpoint.bytes(entry), values);
}

#[test]
fn a_pickle_that_calls_the_system_is_refused_and_not_run() {
    let folder = tempfile::tempdir().unwrap();
    let witness = folder.path().join("witness");
    let command = format!("touch {}", witness.display());
    for module in ["os", "posix", "builtins", "subprocess"] {
        let program = [
            format!("c{module}\nsystem\n").into_bytes(),
            tuple(&[text(&command)]),
            b"R.".to_vec(),
        ]
        .concat();
        let message = refusal(program);
        assert!(message.contains(&format!("`{module}.system`")), "{message}");
    }
    assert!(!witness.exists());
}

#[test]
fn a_call_hidden_behind_good_tensors_is_refused() {
    let mut program = b"\x80\x02}(".to_vec();
    program.extend(text("a"));
    program.extend(tensor("FloatStorage", 0, 6, &[2, 3], &[3, 1]));
    program.extend(text("b"));
    program.extend(b"cbuiltins\neval\n");
    program.extend(tuple(&[text("1")]));
    program.extend(b"Ru.");
    assert!(refusal(program).contains("`builtins.eval`"));
}

#[test]
fn opcodes_outside_tensor_data_are_refused_by_name() {
    // INST, OBJ, NEWOBJ, EXT1, NEWOBJ_EX, PERSID and what only texts of protocol 0 have.
    for opcode in [b'i', b'o', 0x81, 0x82, 0x92, b'P', b'I', b'S', b'0'] {
        let message = refusal(vec![0x80, 2, b'}', opcode, b'.']);
        assert!(message.contains(&format!("(0x{opcode:02x})")), "{message}");
    }
    assert!(refusal(vec![0x80, 6, b'}', b'.']).contains("protocol 6"));
}

#[test]
fn dictionaries_of_other_things_are_refused() {
    let mut program = b"\x80\x02}(".to_vec();
    program.extend(text("epoch"));
    program.extend(b"K\x07u.");
    assert!(refusal(program).contains("without a single tensor"));
    assert!(refusal(b"\x80\x02N.".to_vec()).contains("a plain value"));
    let attributes = [b"\x80\x02ccollections\nOrderedDict\n}b.".to_vec()].concat();
    assert!(refusal(attributes).contains("attributes for a function"));
}

#[test]
fn nesting_of_any_depth_does_not_exhaust_the_stack() {
    let mut program = b"\x80\x02}".to_vec();
    program.extend(vec![0x85; 2_000_000]);
    program.push(b'.');
    assert!(refusal(program).contains("a tuple"));
}

#[test]
fn tensors_that_leave_their_storage_are_refused() {
    let program = |tensor: Vec<u8>| [b"\x80\x02}".to_vec(), text("a"), tensor, b"s.".to_vec()].concat();
    for (tensor, reason) in [
        (
            tensor("FloatStorage", 0, 7, &[7], &[1]),
            "needs 28 bytes of a storage of 24",
        ),
        (
            tensor("FloatStorage", 0, 6, &[3, 3], &[1, 2]),
            "needs 28 bytes of a storage of 24",
        ),
        (
            tensor("FloatStorage", 0, 6, &[4, 4], &[0, 1]),
            "repeats its numbers",
        ),
        (
            tensor("FloatStorage", 0, 6, &[usize::MAX / 4, 16], &[16, 1]),
            "overflow",
        ),
        (tensor("FloatStorage", 1, 6, &[6], &[1]), "storage `1` is missing"),
        (tensor("FloatStorage", 0, 6, &[1 << 63], &[1]), "a size of"),
    ] {
        let error = open(&archive(program(tensor), vec![0; 24])).unwrap_err();
        assert_eq!(kind_of(&error), ErrorKind::BadInput);
        assert!(error.to_string().contains(reason), "{error}");
    }
}

#[test]
fn a_file_cut_anywhere_is_named_and_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.pth");
    let program = state_dict(&[("a.weight".into(), "FloatStorage".into(), vec![2, 3])]);
    write_zip(&path, &archive(program.clone(), vec![0; 24]));
    let whole = std::fs::read(&path).unwrap();
    for length in 1..whole.len() {
        std::fs::write(&path, &whole[..length]).unwrap();
        let error = Checkpoint::open(&path).unwrap_err();
        assert_eq!(kind_of(&error), ErrorKind::BadInput, "{length}: {error}");
    }
    for length in 0..program.len() {
        let error = open(&archive(program[..length].to_vec(), vec![0; 24])).unwrap_err();
        assert_eq!(kind_of(&error), ErrorKind::BadInput, "{length}: {error}");
    }
}

/// The numbers of a tensor as f32.
fn numbers(checkpoint: &Checkpoint, name: &str) -> Vec<f32> {
    let entry = checkpoint.get(name).unwrap_or_else(|| panic!("no `{name}`"));
    checkpoint.floats(entry).unwrap()
}

fn count(range: std::ops::Range<usize>) -> Vec<u8> {
    range.flat_map(|v| (v as f32).to_le_bytes()).collect()
}

#[test]
fn permuted_tensors_are_read_row_by_row() {
    let named = |name: &str, tensor: Vec<u8>| [text(name), tensor, b"s".to_vec()].concat();
    let program = [
        b"\x80\x02}".to_vec(),
        named("turned", tensor("FloatStorage", 0, 6, &[3, 2], &[1, 3])),
        named("plain", tensor("FloatStorage", 0, 6, &[2, 3], &[3, 1])),
        named("column", tensor("FloatStorage", 0, 6, &[2], &[3])),
        b".".to_vec(),
    ]
    .concat();
    let checkpoint = open(&archive(program, count(0..6))).unwrap();
    assert_eq!(numbers(&checkpoint, "turned"), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
    assert_eq!(numbers(&checkpoint, "plain"), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    assert_eq!(numbers(&checkpoint, "column"), [0.0, 3.0]);
}

#[test]
fn dictionaries_around_the_weights_and_within_them_are_opened() {
    let weights = [
        b"}".to_vec(),
        text("a"),
        tensor("FloatStorage", 0, 6, &[6], &[1]),
        b"s".to_vec(),
    ]
    .concat();
    // {"epoch": 7, "lr": 1.0, "steps": [1, 2], "state_dict": {"a": …, "inner": {"b": …}}}
    let inner = [text("inner"), weights.clone(), b"s".to_vec()].concat();
    let program = [
        b"\x80\x02}(".to_vec(),
        text("epoch"),
        b"K\x07".to_vec(),
        text("lr"),
        b"G\x3f\xf0\0\0\0\0\0\0".to_vec(),
        text("steps"),
        b"](K\x01K\x02e".to_vec(),
        text("state_dict"),
        weights.clone(),
        inner,
        b"u.".to_vec(),
    ]
    .concat();
    let checkpoint = open(&archive(program, count(0..6))).unwrap();
    let names: Vec<&str> = checkpoint.entries().map(|(name, _)| name).collect();
    assert_eq!(names, ["a", "inner.a"]);
}

#[test]
fn protocol_4_is_read() {
    let short = |text: &str| [vec![0x8c, text.len() as u8], text.as_bytes().to_vec(), vec![0x94]].concat();
    let global = |module: &str, name: &str| [short(module), short(name), vec![0x93, 0x94]].concat();
    let storage = [
        b"(".to_vec(),
        short("storage"),
        global("torch", "FloatStorage"),
        short("0"),
        short("cpu"),
        b"K\x06tQ".to_vec(),
    ]
    .concat();
    let body = [
        b"}\x94".to_vec(),
        short("a"),
        global("torch._utils", "_rebuild_tensor_v2"),
        b"(".to_vec(),
        storage,
        b"K\0K\x06\x85K\x01\x85\x89".to_vec(),
        global("collections", "OrderedDict"),
        b")RtRs.".to_vec(),
    ]
    .concat();
    let mut program = vec![0x80, 4, 0x95];
    program.extend((body.len() as u64).to_le_bytes());
    program.extend(body);
    let checkpoint = open(&archive(program, count(0..6))).unwrap();
    assert_eq!(numbers(&checkpoint, "a"), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    let stranger = [vec![0x80, 4], global("os", "system"), b".".to_vec()].concat();
    assert!(refusal(stranger).contains("`os.system`"));
}

/// A file as PyTorch before 1.6 wrote it.
fn before_1_6(elements: u64) -> Vec<u8> {
    let storage = [
        b"(".to_vec(),
        text("storage"),
        b"ctorch\nFloatStorage\n".to_vec(),
        text("94"),
        text("cpu"),
        b"K\x06NtQ".to_vec(),
    ]
    .concat();
    let tensor = [
        b"ctorch._utils\n_rebuild_tensor_v2\n(".to_vec(),
        storage,
        b"K\0K\x02K\x03\x86K\x03K\x01\x86\x89ccollections\nOrderedDict\n)RtR".to_vec(),
    ]
    .concat();
    let system = [
        b"\x80\x02}(".to_vec(),
        text("protocol_version"),
        b"M\xe9\x03".to_vec(),
        text("little_endian"),
        b"\x88u.".to_vec(),
    ]
    .concat();
    [
        b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.".to_vec(),
        b"\x80\x02M\xe9\x03.".to_vec(),
        system,
        [b"\x80\x02}".to_vec(), text("a"), tensor, b"s.".to_vec()].concat(),
        [b"\x80\x02]".to_vec(), text("94"), b"a.".to_vec()].concat(),
        elements.to_le_bytes().to_vec(),
        count(0..6),
    ]
    .concat()
}

#[test]
fn files_of_pytorch_before_1_6_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("OLD.PTH");
    let whole = before_1_6(6);
    std::fs::write(&path, &whole).unwrap();
    let checkpoint = Checkpoint::open(&path).unwrap();
    assert_eq!(checkpoint.get("a").unwrap().shape, [2, 3]);
    assert_eq!(numbers(&checkpoint, "a"), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    for length in 1..whole.len() {
        std::fs::write(&path, &whole[..length]).unwrap();
        let error = Checkpoint::open(&path).unwrap_err();
        assert_eq!(kind_of(&error), ErrorKind::BadInput, "{length}: {error}");
    }
    std::fs::write(&path, before_1_6(u64::MAX)).unwrap();
    let error = Checkpoint::open(&path).unwrap_err();
    assert!(error.to_string().contains("cut off"), "{error}");
}
