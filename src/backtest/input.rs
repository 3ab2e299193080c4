//! Where events come from: plain, gzip or zstd files, or standard input.

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

/// Packed bytes that are read at once.
const BUFFER_BYTES: usize = 256 << 10;

/// What a file holds, unpacked.
pub struct Opened {
    reader: Box<dyn Read + Send>,
    /// It is a pipe or the like, where more may be long in coming.
    pub(crate) may_wait: bool,
}

impl Read for Opened {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.reader.read(room)
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened").field("may_wait", &self.may_wait).finish_non_exhaustive()
    }
}

/// A reader of the file, unpacked by its ending (`.gz`, `.zst`); `-` is standard input.
///
/// # Errors
/// When the file cannot be opened, or a `.zst` file has no frame.
pub fn open(path: &Path) -> io::Result<Opened> {
    if path == Path::new("-") {
        return Ok(Opened { reader: Box::new(io::stdin()), may_wait: true });
    }
    let file = File::open(path)?;
    let may_wait = !file.metadata()?.is_file();
    let packed = |file| BufReader::with_capacity(BUFFER_BYTES, file);
    let reader: Box<dyn Read + Send> = match path.extension().and_then(|ending| ending.to_str()) {
        Some("gz") => Box::new(MultiGzDecoder::new(packed(file))),
        Some("zst") => Box::new(zstd::Decoder::with_buffer(packed(file))?),
        _ => Box::new(file),
    };
    Ok(Opened { reader, may_wait })
}
