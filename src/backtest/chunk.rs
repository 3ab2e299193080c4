//! Pieces of the input on their way to the fold: read, then decoded, in order.

use std::io::{self, Read};

use memchr::memchr;

use crate::engine::{Hashes, PostedEvent};
use crate::event::{Canary, Decoder, Event, EventTime, Layouts, Reason};
use crate::near::near_lines;

/// Bytes of a piece: what comes of it stays in the cache of a core.
pub(crate) const CHUNK_BYTES: usize = 128 << 10;

/// A piece of the input.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    pub(crate) text: Vec<u8>,
    pub(crate) form: Form,
}

/// How the records stand in a piece.
#[derive(Debug, Default)]
pub(crate) enum Form {
    /// One a line.
    #[default]
    Lines,
    /// One after the other.
    Records(Vec<RecordAt>),
}

/// One record of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordAt {
    /// Where its value ends in the text of the piece; it begins where the one before ends.
    pub(crate) end: usize,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) timestamp_ms: Option<i64>,
}

/// Where pieces come from, the first first.
pub(crate) trait Source: Send {
    /// `None` at the end of the input.
    ///
    /// # Errors
    /// When the input cannot be read.
    fn next(&mut self) -> io::Result<Option<Chunk>>;

    /// Whether the next piece may be long in coming.
    fn may_wait(&self) -> bool {
        true
    }
}

/// Lines of a file or a pipe.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    reader: R,
    /// A line that has begun.
    rest: Vec<u8>,
    has_ended: bool,
    may_wait: bool,
}

impl<R: Read> Lines<R> {
    pub(crate) fn new(reader: R, may_wait: bool) -> Lines<R> {
        Lines { reader, rest: Vec::new(), has_ended: false, may_wait }
    }
}

impl<R: Read + Send> Source for Lines<R> {
    fn next(&mut self) -> io::Result<Option<Chunk>> {
        let mut text = std::mem::take(&mut self.rest);
        while !self.has_ended {
            let begun = text.len();
            text.resize(begun + CHUNK_BYTES, 0);
            let read = read_some(&mut self.reader, text.get_mut(begun..).unwrap_or_default())?;
            text.truncate(begun + read);
            self.has_ended = read == 0;
            let last = memchr::memrchr(b'\n', text.get(begun..).unwrap_or_default());
            if let Some(last) = last {
                self.rest = text.split_off(begun + last + 1);
                break;
            }
        }
        let chunk = Chunk { text, form: Form::Lines };
        Ok((!chunk.text.is_empty()).then_some(chunk))
    }

    fn may_wait(&self) -> bool {
        self.may_wait
    }
}

/// What one call of the reader brings: a pipe is not waited for longer than for something.
fn read_some(reader: &mut impl Read, room: &mut [u8]) -> io::Result<usize> {
    loop {
        match reader.read(room) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

/// One record, decoded.
#[derive(Debug)]
pub(crate) struct Row<'a> {
    /// Its number within the piece: of the line, blank ones counted, or of the record.
    pub(crate) number: u32,
    pub(crate) event: Result<Hashed<'a>, Reason>,
    pub(crate) record_ts: Option<EventTime>,
}

/// An event and its hashes.
#[derive(Debug)]
pub(crate) struct Hashed<'a> {
    pub(crate) event: Event<'a>,
    pub(crate) hashes: Hashes,
}

/// The records of a piece.
#[derive(Debug)]
pub(crate) struct Rows<'a> {
    pub(crate) rows: Vec<Row<'a>>,
    /// How many numbers they take up, blank lines with them.
    pub(crate) numbers: u32,
}

impl<'e> Row<'e> {
    /// Brings what a step reads of it near.
    #[inline]
    pub(crate) fn near(&self) {
        near_lines(self);
    }

    /// Its event, `first` being the number of the first record of the piece.
    #[inline]
    pub(crate) fn posted(&self, first: i64) -> Option<PostedEvent<'_, 'e>> {
        let Hashed { event, hashes } = self.event.as_ref().ok()?;
        Some(PostedEvent { event, hashes, offset: first + i64::from(self.number) })
    }
}

impl<'e> Rows<'e> {
    /// The row of a number, which most likely stands at its place.
    #[inline]
    pub(crate) fn of_number(&self, number: u32) -> Option<&Row<'e>> {
        let is_it = |row: &&Row<'e>| row.number == number;
        self.rows.get(number as usize).filter(is_it).or_else(|| {
            let at = self.rows.binary_search_by_key(&number, |row| row.number).ok()?;
            self.rows.get(at)
        })
    }
}

pub(crate) use cell::Decoded;

mod cell {
    #![expect(clippy::mem_forget, reason = "in what the macro makes, to free nothing twice")]

    use self_cell::self_cell;

    use super::{Chunk, Rows};

    self_cell!(
        /// A piece with its records, which borrow from it.
        pub(crate) struct Decoded {
            owner: Chunk,
            #[not_covariant]
            dependent: Rows,
        }
    );
}

/// How records are decoded.
#[derive(Debug, Clone)]
pub(crate) struct Decoding {
    pub(crate) decoder: Decoder,
    /// Of the records so far.
    pub(crate) layouts: Layouts,
    pub(crate) max_bytes: usize,
}

impl Decoding {
    /// The event of a record.
    pub(crate) fn event<'a>(&mut self, value: &'a [u8]) -> Result<Event<'a>, Reason> {
        self.decoder.decode_alike(&mut self.layouts, value, self.max_bytes)
    }

    pub(crate) fn decode(&mut self, chunk: Chunk) -> Decoded {
        Decoded::new(chunk, |chunk| match &chunk.form {
            Form::Lines => self.lines(&chunk.text),
            Form::Records(records) => self.records(&chunk.text, records),
        })
    }

    fn lines<'a>(&mut self, mut text: &'a [u8]) -> Rows<'a> {
        let mut rows = Vec::with_capacity(text.len() / 128);
        let mut number = 0;
        while !text.is_empty() {
            let end = memchr(b'\n', text).unwrap_or(text.len());
            let (line, rest) = text.split_at(end);
            text = rest.get(1..).unwrap_or_default();
            let line = line.trim_ascii();
            if !line.is_empty() {
                self.row((number, line), None, &mut rows);
            }
            number += 1;
        }
        Rows { rows, numbers: number }
    }

    fn records<'a>(&mut self, text: &'a [u8], records: &[RecordAt]) -> Rows<'a> {
        let (mut begin, mut rows) = (0, Vec::with_capacity(records.len()));
        for (number, record) in (0..).zip(records) {
            let value = text.get(begin..record.end).unwrap_or_default();
            begin = record.end;
            self.row((number, value), record.timestamp_ms.map(EventTime), &mut rows);
        }
        Rows { rows, numbers: u32::try_from(records.len()).unwrap_or(u32::MAX) }
    }

    /// Adds the row of a record; none for a canary, which is no event: as if it were not there.
    fn row<'a>(
        &mut self,
        (number, value): (u32, &'a [u8]),
        record_ts: Option<EventTime>,
        rows: &mut Vec<Row<'a>>,
    ) {
        match self.event(value) {
            Ok(event) => {
                let hashes = Hashes::of(&event);
                rows.push(Row { number, event: Ok(Hashed { event, hashes }), record_ts });
            }
            Err(_) if Canary::read(value).is_some() => {}
            Err(reason) => rows.push(Row { number, event: Err(reason), record_ts }),
        }
    }
}
