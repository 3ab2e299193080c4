//! Pieces of a stretch of a topic.

use std::io;

use crate::backtest::chunk::{CHUNK_BYTES, Chunk, Form, RecordAt, Source};
use crate::stream::kafka::History;

/// Records of a piece: small ones fill a buffer with their places before their text does.
const RECORDS: usize = 1_000;

/// A stretch of a topic as input of folds.
pub(crate) struct Topic(pub(crate) History);

impl Source for Topic {
    fn next(&mut self) -> io::Result<Option<Chunk>> {
        let (mut text, mut records) = (Vec::with_capacity(CHUNK_BYTES), Vec::new());
        while text.len() < CHUNK_BYTES && records.len() < RECORDS {
            let more = self.0.next(&mut |record| {
                text.extend_from_slice(record.value);
                records.push(RecordAt {
                    end: text.len(),
                    partition: record.partition,
                    offset: record.offset,
                    timestamp_ms: record.timestamp_ms,
                });
            });
            if !more.map_err(io::Error::other)? {
                break;
            }
        }
        let chunk = Chunk { text, form: Form::Records(records) };
        let is_some = matches!(&chunk.form, Form::Records(records) if !records.is_empty());
        Ok(is_some.then_some(chunk))
    }
}
