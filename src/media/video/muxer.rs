//! A container that FFmpeg writes into memory. The one place with calls into its C interface.

use std::ffi::CString;
use std::ptr;

use ffmpeg_next::codec::encoder::video;
use ffmpeg_next::packet::Mut;
use ffmpeg_next::{Error, Packet, Rational, ffi};

use super::format::{VideoFormat, VideoSettings};
use super::fps::Fps;

/// An MP4 or WebM file with one video stream, growing in memory.
pub struct Muxer {
    /// Valid, with an open memory writer in `pb`, until [`Muxer::finish`] or drop.
    context: *mut ffi::AVFormatContext,
    /// What packets from the encoder are counted in: one frame.
    frame_time: Rational,
}

impl Muxer {
    /// Writes the header for one stream of the encoder's making, with `tags`.
    ///
    /// # Errors
    /// FFmpeg's.
    pub fn new(
        encoder: &video::Encoder,
        settings: &VideoSettings,
        tags: &[(&str, String)],
    ) -> Result<Self, Error> {
        let name = match settings.format {
            VideoFormat::Webm => c"webm",
            _ => c"mp4",
        };
        let mut context = ptr::null_mut();
        // SAFETY: `context` receives a new context or stays null with an error; the name is a C string.
        check(unsafe {
            ffi::avformat_alloc_output_context2(&mut context, ptr::null(), name.as_ptr(), ptr::null())
        })?;
        let frame_rate = rational(settings.fps);
        let muxer = Self {
            context,
            frame_time: frame_rate.invert(),
        };
        // SAFETY: the context is valid and not shared; the stream belongs to it; the encoder is open.
        unsafe {
            check(ffi::avio_open_dyn_buf(&mut (*context).pb))?;
            // No time of writing, no version of the library, no random identifiers.
            (*context).flags |= ffi::AVFMT_FLAG_BITEXACT;
            let stream = ffi::avformat_new_stream(context, ptr::null());
            if stream.is_null() {
                return Err(Error::Other {
                    errno: ffmpeg_next::error::ENOMEM,
                });
            }
            check(ffi::avcodec_parameters_from_context(
                (*stream).codecpar,
                encoder.as_ptr(),
            ))?;
            (*stream).time_base = muxer.frame_time.into();
            (*stream).avg_frame_rate = frame_rate.into();
        }
        for (key, value) in tags {
            muxer.tag(key, value)?;
        }
        muxer.write_header()?;
        Ok(muxer)
    }

    fn tag(&self, key: &str, value: &str) -> Result<(), Error> {
        // A NUL would end the text in C.
        let c_string = |text: &str| CString::new(text.replace('\0', "\u{fffd}")).expect("no NUL is left");
        let (key, value) = (c_string(key), c_string(value));
        // SAFETY: the context is valid; both strings are copied.
        check(unsafe { ffi::av_dict_set(&mut (*self.context).metadata, key.as_ptr(), value.as_ptr(), 0) })
    }

    fn write_header(&self) -> Result<(), Error> {
        let mut options = ptr::null_mut();
        // SAFETY: the dictionary is made, changed and freed here; the context is complete. An option
        // of another container is left in the dictionary.
        unsafe {
            // Free names for tags, where MP4 otherwise knows only a fixed list.
            check(ffi::av_dict_set(
                &mut options,
                c"movflags".as_ptr(),
                c"use_metadata_tags".as_ptr(),
                0,
            ))?;
            let written = ffi::avformat_write_header(self.context, &mut options);
            ffi::av_dict_free(&mut options);
            check(written)
        }
    }

    /// Appends one packet of the encoder: one frame.
    ///
    /// # Errors
    /// FFmpeg's.
    pub fn write(&mut self, packet: &mut Packet) -> Result<(), Error> {
        // SAFETY: the header is written, so that stream 0 exists and has its final time base; the
        // packet is valid, and its content is taken over.
        unsafe {
            let stream = *(*self.context).streams;
            packet.set_stream(0);
            packet.set_duration(1);
            packet.rescale_ts(self.frame_time, (*stream).time_base);
            check(ffi::av_interleaved_write_frame(self.context, packet.as_mut_ptr()))
        }
    }

    /// Completes the file and returns its bytes.
    ///
    /// # Errors
    /// FFmpeg's.
    pub fn finish(mut self) -> Result<Vec<u8>, Error> {
        // SAFETY: the header is written; the writer is open and reports what went wrong before.
        unsafe {
            check(ffi::av_write_trailer(self.context))?;
            check((*(*self.context).pb).error)?;
        }
        Ok(self.close())
    }

    /// Takes the bytes out of the memory writer and closes it; empty when it was never opened.
    fn close(&mut self) -> Vec<u8> {
        let mut buffer = ptr::null_mut();
        // SAFETY: `pb` is null or the writer of `avio_open_dyn_buf`, closed once; the buffer then
        // holds `size` bytes and is ours to free.
        unsafe {
            let writer = std::mem::replace(&mut (*self.context).pb, ptr::null_mut());
            if writer.is_null() {
                return Vec::new();
            }
            let size = usize::try_from(ffi::avio_close_dyn_buf(writer, &mut buffer)).unwrap_or(0);
            let bytes = match buffer.is_null() {
                true => Vec::new(),
                false => std::slice::from_raw_parts(buffer, size).to_vec(),
            };
            ffi::av_free(buffer.cast());
            bytes
        }
    }
}

impl Drop for Muxer {
    fn drop(&mut self) {
        self.close();
        // SAFETY: the context is ours, and its writer is closed.
        unsafe { ffi::avformat_free_context(self.context) };
    }
}

fn check(code: i32) -> Result<(), Error> {
    match code {
        e if e < 0 => Err(Error::from(e)),
        _ => Ok(()),
    }
}

/// A rate in FFmpeg's form.
pub fn rational(fps: Fps) -> Rational {
    // At most 120000 and 1001.
    Rational::new(fps.frames() as i32, fps.seconds() as i32)
}
