//! Starting takes no time: no library that only some commands need is loaded with the program.

/// What the dynamic linker loads before `main`; the variable makes it print that and start nothing.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[test]
fn no_library_of_ffmpeg_is_loaded_at_start() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_ourvidz"))
        .env("LD_TRACE_LOADED_OBJECTS", "1")
        .output()
        .expect("the dynamic linker answers");
    let loaded = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(loaded.contains("libc.so"), "the linker's list: {loaded}");
    let videos: Vec<&str> = loaded.lines().filter(|line| line.contains("libav")).collect();
    assert!(
        videos.is_empty(),
        "a function of FFmpeg that src/media/video/ffmpeg.rs does not define links its libraries: {videos:?}"
    );
}
