//! Where events come from: plain, gzip or zstd files, or standard input.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

/// Packed bytes that are read at once.
const BUFFER_BYTES: usize = 256 << 10;

/// A reader of the file, unpacked by its ending (`.gz`, `.zst`); `-` is standard input.
///
/// # Errors
/// When the file cannot be opened, or a `.zst` file has no frame.
pub fn open(path: &Path) -> io::Result<Box<dyn Read + Send>> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdin()));
    }
    let file = File::open(path)?;
    let packed = |file| BufReader::with_capacity(BUFFER_BYTES, file);
    Ok(match path.extension().and_then(|ending| ending.to_str()) {
        Some("gz") => Box::new(MultiGzDecoder::new(packed(file))),
        Some("zst") => Box::new(zstd::Decoder::with_buffer(packed(file))?),
        _ => Box::new(file),
    })
}
