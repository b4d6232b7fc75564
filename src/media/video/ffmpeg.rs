//! FFmpeg's libraries, opened when the first video is written and not when the program starts.
//!
//! Together with what they need they are about a hundred shared libraries: linked in the usual way,
//! every command would wait for them, and no command would start where they are missing. So the
//! functions of FFmpeg that this program calls (through `ffmpeg-next` too) are defined here, each
//! handing its call on to the library's own. The linker finds nothing left that it would need the
//! libraries for and leaves them out of the program (`tests/start.rs` checks that). Elsewhere than
//! on Linux, where this is not tried, the libraries are linked as usual.
//!
//! The types stay those of FFmpeg's headers: the library opened is the one of the same major version.

#[cfg(target_os = "linux")]
pub use later::open;

/// The libraries are there, or the program would not have started.
#[cfg(not(target_os = "linux"))]
pub fn open() -> anyhow::Result<()> {
    Ok(())
}

#[cfg(target_os = "linux")]
mod later {
    use std::ffi::{c_char, c_int, c_uint, c_void};
    use std::fmt::Display;
    use std::sync::OnceLock;

    use anyhow::Result;
    use ffmpeg_next::ffi::*;
    use libloading::Library;

    use crate::error::{Error, ErrorKind};

    struct Libraries {
        util: Library,
        codec: Library,
        format: Library,
    }

    /// What opening came to; a library that was missing stays missing while the program runs.
    static LIBRARIES: OnceLock<Result<Libraries, String>> = OnceLock::new();

    /// Opens the libraries; to be called before anything of FFmpeg.
    ///
    /// # Errors
    /// `Unavailable` when one is missing or lacks a function.
    pub fn open() -> Result<()> {
        match LIBRARIES.get_or_init(libraries) {
            Ok(_) => Ok(()),
            Err(why) => {
                let message = format!("FFmpeg's libraries, which write videos, cannot be opened: {why}");
                Err(Error::new(ErrorKind::Unavailable, message)
                    .hint(format!(
                        "install FFmpeg with libavcodec {LIBAVCODEC_VERSION_MAJOR}, for which this program was built, or take --format gif or png-frames"
                    ))
                    .into())
            }
        }
    }

    fn libraries() -> Result<Libraries, String> {
        let libraries = Libraries {
            util: library("avutil", LIBAVUTIL_VERSION_MAJOR)?,
            codec: library("avcodec", LIBAVCODEC_VERSION_MAJOR)?,
            format: library("avformat", LIBAVFORMAT_VERSION_MAJOR)?,
        };
        check(&libraries)?;
        Ok(libraries)
    }

    fn library(name: &str, major_version: impl Display) -> Result<Library, String> {
        // SAFETY: FFmpeg's libraries run no code of ours or of a thread when they are opened.
        unsafe { Library::new(format!("lib{name}.so.{major_version}")) }.map_err(|e| e.to_string())
    }

    /// Defines functions of FFmpeg, each with the library that holds the real one.
    macro_rules! functions {
        ($([$library:ident] $(fn $name:ident($($argument:ident: $of:ty),*) $(-> $result:ty)?;)+)+) => {
            $($(
                /// FFmpeg's function of this name.
                #[unsafe(no_mangle)]
                unsafe extern "C" fn $name($($argument: $of),*) $(-> $result)? {
                    type Function = unsafe extern "C" fn($($of),*) $(-> $result)?;
                    static REAL: OnceLock<Function> = OnceLock::new();
                    let real = REAL.get_or_init(|| {
                        let libraries = LIBRARIES.get().and_then(|l| l.as_ref().ok());
                        let libraries = libraries.expect("`open` came first and succeeded");
                        let name = concat!(stringify!($name), "\0");
                        // SAFETY: the type is that of the headers of this major version.
                        *unsafe { libraries.$library.get::<Function>(name) }.expect("`open` found it")
                    });
                    // SAFETY: as the caller promises FFmpeg.
                    unsafe { real($($argument),*) }
                }
            )+)+

            /// Looks every function up once.
            fn check(libraries: &Libraries) -> Result<(), String> {
                $($(
                    // SAFETY: only the address is looked at.
                    unsafe { libraries.$library.get::<*const c_void>(concat!(stringify!($name), "\0")) }
                        .map_err(|e| e.to_string())?;
                )+)+
                Ok(())
            }
        };
    }

    functions! {
        [util]
        fn av_dict_free(dictionary: *mut *mut AVDictionary);
        fn av_dict_set(dictionary: *mut *mut AVDictionary, key: *const c_char, value: *const c_char, flags: c_int) -> c_int;
        fn av_frame_alloc() -> *mut AVFrame;
        fn av_frame_free(frame: *mut *mut AVFrame);
        fn av_frame_get_buffer(frame: *mut AVFrame, align: c_int) -> c_int;
        fn av_free(memory: *mut c_void);
        fn av_log_set_level(level: c_int);
        fn av_pix_fmt_desc_get(format: AVPixelFormat) -> *const AVPixFmtDescriptor;
        fn av_strerror(code: c_int, text: *mut c_char, size: usize) -> c_int;

        [codec]
        fn av_init_packet(packet: *mut AVPacket);
        fn av_packet_rescale_ts(packet: *mut AVPacket, from: AVRational, to: AVRational);
        fn av_packet_unref(packet: *mut AVPacket);
        fn avcodec_alloc_context3(codec: *const AVCodec) -> *mut AVCodecContext;
        fn avcodec_find_encoder_by_name(name: *const c_char) -> *const AVCodec;
        fn avcodec_free_context(context: *mut *mut AVCodecContext);
        fn avcodec_open2(context: *mut AVCodecContext, codec: *const AVCodec, options: *mut *mut AVDictionary) -> c_int;
        fn avcodec_parameters_from_context(parameters: *mut AVCodecParameters, context: *const AVCodecContext) -> c_int;
        fn avcodec_receive_packet(context: *mut AVCodecContext, packet: *mut AVPacket) -> c_int;
        fn avcodec_send_frame(context: *mut AVCodecContext, frame: *const AVFrame) -> c_int;
        fn avcodec_version() -> c_uint;

        [format]
        fn av_interleaved_write_frame(context: *mut AVFormatContext, packet: *mut AVPacket) -> c_int;
        fn av_write_trailer(context: *mut AVFormatContext) -> c_int;
        fn avformat_alloc_output_context2(context: *mut *mut AVFormatContext, format: *const AVOutputFormat, name: *const c_char, file: *const c_char) -> c_int;
        fn avformat_free_context(context: *mut AVFormatContext);
        fn avformat_new_stream(context: *mut AVFormatContext, codec: *const AVCodec) -> *mut AVStream;
        fn avformat_write_header(context: *mut AVFormatContext, options: *mut *mut AVDictionary) -> c_int;
        fn avio_close_dyn_buf(writer: *mut AVIOContext, buffer: *mut *mut u8) -> c_int;
        fn avio_open_dyn_buf(writer: *mut *mut AVIOContext) -> c_int;
    }
}
