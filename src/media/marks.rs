//! The machine-readable mark of synthetic media, the same in every kind of file.

/// What IPTC calls media made by a trained model; <https://cv.iptc.org/newscodes/digitalsourcetype/>.
pub const DIGITAL_SOURCE_TYPE: &str =
    "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia";

/// A minimal XMP packet whose one statement is that a model made the file.
pub fn xmp_packet() -> String {
    format!(
        concat!(
            "<?xpacket begin=\"\u{feff}\" id=\"W5M0MpCehiHzreSzNTczkc9d\"?>\n",
            "<x:xmpmeta xmlns:x=\"adobe:ns:meta/\">\n",
            " <rdf:RDF xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\">\n",
            "  <rdf:Description rdf:about=\"\"\n",
            "    xmlns:xmp=\"http://ns.adobe.com/xap/1.0/\"\n",
            "    xmlns:Iptc4xmpExt=\"http://iptc.org/std/Iptc4xmpExt/2008-02-29/\"\n",
            "    xmp:CreatorTool=\"ourvidz {version}\"\n",
            "    Iptc4xmpExt:DigitalSourceType=\"{source}\"/>\n",
            " </rdf:RDF>\n",
            "</x:xmpmeta>\n",
            "<?xpacket end=\"r\"?>"
        ),
        version = env!("CARGO_PKG_VERSION"),
        source = DIGITAL_SOURCE_TYPE,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_packet_says_trained_algorithmic_media_and_is_closed() {
        let packet = xmp_packet();
        assert!(packet.contains("digitalsourcetype/trainedAlgorithmicMedia\""));
        assert!(packet.ends_with("<?xpacket end=\"r\"?>"));
    }
}
