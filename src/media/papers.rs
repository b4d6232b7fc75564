//! What stands in a PNG as text, whoever wrote it.

use std::io::Cursor;

use png::{Decoder, Limits};

/// All that is read beside the pixels.
const LARGEST_PAPERS_BYTES: usize = 16 << 20;

/// Every text chunk before the pixels: key and text. A chunk that cannot be read is left out.
///
/// # Errors
/// Why it is no readable PNG.
pub fn texts(bytes: &[u8]) -> Result<Vec<(String, String)>, String> {
    let limits = Limits {
        bytes: LARGEST_PAPERS_BYTES,
    };
    let reader = Decoder::new_with_limits(Cursor::new(bytes), limits)
        .read_info()
        .map_err(|e| e.to_string())?;
    let info = reader.info();
    let mut found = Vec::new();
    for chunk in &info.uncompressed_latin1_text {
        found.push((chunk.keyword.clone(), chunk.text.clone()));
    }
    for chunk in &info.compressed_latin1_text {
        let mut chunk = chunk.clone();
        let read = chunk.decompress_text_with_limit(LARGEST_PAPERS_BYTES);
        if let (Ok(()), Ok(text)) = (read, chunk.get_text()) {
            found.push((chunk.keyword.clone(), text));
        }
    }
    for chunk in &info.utf8_text {
        let mut chunk = chunk.clone();
        let read = chunk.decompress_text_with_limit(LARGEST_PAPERS_BYTES);
        if let (Ok(()), Ok(text)) = (read, chunk.get_text()) {
            found.push((chunk.keyword.clone(), text));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_all_three_kinds_are_read_and_what_is_no_png_is_refused() {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, 1, 1);
        encoder.set_color(png::ColorType::Grayscale);
        encoder
            .add_text_chunk("parameters".into(), "caf\u{e9}".into())
            .unwrap();
        encoder.add_ztxt_chunk("prompt".into(), "{}".into()).unwrap();
        encoder.add_itxt_chunk("workflow".into(), "灯".into()).unwrap();
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(&[0]).unwrap();
        writer.finish().unwrap();
        let found = texts(&bytes).unwrap();
        let get = |key: &str| {
            found
                .iter()
                .find(|(k, _)| k == key)
                .map(|(_, text)| text.as_str())
        };
        assert_eq!(
            (get("parameters"), get("prompt"), get("workflow")),
            (Some("caf\u{e9}"), Some("{}"), Some("灯"))
        );
        assert!(texts(b"\x89PNG\r\n\x1a\n").is_err());
        assert!(texts(b"").is_err());
    }
}
