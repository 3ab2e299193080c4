//! The one room with `unsafe`: batches of records borrowed from librdkafka, and five calls
//! that the safe client does not offer.
//!
//! Why: a record read through the safe client costs an event, an `Arc` and a copy; read in
//! batches from a queue of our own it costs a pointer (0.26 against 0.42 CPU-seconds a million).
//!
//! Argument: a [`PrivateQueue`] is made from a client and must not outlive it; [`super::KafkaLog`]
//! owns both and drops the queue first. Every message taken is destroyed exactly once, by
//! [`Taken`], and what is borrowed from it cannot outlive the call of `visit`, by its lifetime.
//! The queue is used by the one thread that owns the log.
#![expect(unsafe_code, reason = "see the argument above")]

use std::ffi::{CStr, CString, c_void};
use std::ptr;

use rdkafka::bindings as sys;
use rdkafka::types::RDKafkaRespErr;

use crate::engine::LOOK_AHEAD;
use crate::stream::{Header, Headers};

/// Messages taken at once.
const BATCH: usize = 2_000;

/// A message as librdkafka holds it.
pub(super) struct Message<'a> {
    pub(super) topic: &'a [u8],
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) timestamp_ms: Option<i64>,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    pub(super) headers: NativeHeaders<'a>,
}

/// What the queue brings.
pub(super) enum Item<'a> {
    Message(Message<'a>),
    /// An error of a partition, `PARTITION_EOF` among them: code, topic, partition, offset.
    Error(RDKafkaRespErr, &'a [u8], i32, i64),
}

/// Headers of a message, read on demand.
#[derive(Debug, Clone, Copy)]
pub(super) struct NativeHeaders<'a> {
    message: &'a sys::rd_kafka_message_t,
}

impl Headers for NativeHeaders<'_> {
    fn read(&self) -> Vec<Header> {
        let mut headers: *mut sys::rd_kafka_headers_t = ptr::null_mut();
        // SAFETY: the message lives as long as `self`; the headers belong to it.
        let code = unsafe { sys::rd_kafka_message_headers(self.message, &raw mut headers) };
        if code != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR || headers.is_null() {
            return Vec::new();
        }
        let mut found = Vec::new();
        loop {
            let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
            // SAFETY: `headers` was just given out by the message; the three places are ours.
            let code = unsafe {
                sys::rd_kafka_header_get_all(
                    headers,
                    found.len(),
                    &raw mut name,
                    &raw mut value,
                    &raw mut size,
                )
            };
            if code != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
                return found;
            }
            // SAFETY: on success the name is a C string and the value null or `size` bytes, both
            // owned by the headers.
            let (name, value) =
                unsafe { (CStr::from_ptr(name), slice(value.cast::<c_void>(), size)) };
            found.push((name.to_string_lossy().into_owned(), value.map(<[u8]>::to_vec)));
        }
    }
}

/// Messages that must be destroyed, whatever happens.
struct Taken {
    messages: Vec<*mut sys::rd_kafka_message_t>,
}

impl Taken {
    /// Gives all messages back; returns how many there were.
    fn destroy(&mut self) -> usize {
        let count = self.messages.len();
        for message in self.messages.drain(..) {
            // SAFETY: each pointer came from a consume call and is destroyed only here.
            unsafe { sys::rd_kafka_message_destroy(message) };
        }
        count
    }
}

/// A queue of our own that partitions are forwarded to.
pub(super) struct PrivateQueue {
    client: *mut sys::rd_kafka_t,
    queue: *mut sys::rd_kafka_queue_t,
    taken: Taken,
}

// SAFETY: librdkafka's handles may be used from any thread; ours is used by one at a time.
unsafe impl Send for PrivateQueue {}

impl std::fmt::Debug for PrivateQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PrivateQueue").finish_non_exhaustive()
    }
}

impl PrivateQueue {
    /// `client` must outlive the queue.
    pub(super) fn new(client: *mut sys::rd_kafka_t) -> PrivateQueue {
        // SAFETY: `client` is a live handle.
        let queue = unsafe { sys::rd_kafka_queue_new(client) };
        PrivateQueue { client, queue, taken: Taken { messages: Vec::with_capacity(BATCH) } }
    }

    /// Sends the records of a partition here. Must precede its assignment.
    pub(super) fn forward(&self, topic: &str, partition: i32) {
        let Ok(topic) = CString::new(topic) else { return };
        // SAFETY: both queues are live; the reference to the partition's is given back.
        unsafe {
            let source = sys::rd_kafka_queue_get_partition(self.client, topic.as_ptr(), partition);
            if !source.is_null() {
                sys::rd_kafka_queue_forward(source, self.queue);
                sys::rd_kafka_queue_destroy(source);
            }
        }
    }

    /// Hands out what has arrived, some at a time; waits at most `wait_ms` for a first one.
    /// Returns how many.
    pub(super) fn take(&mut self, wait_ms: u64, visit: &mut dyn FnMut(&[Item<'_>])) -> usize {
        let buffer = &mut self.taken.messages;
        // A batch call with a time-out waits until the batch is full, so wait for one message.
        // SAFETY: the buffer has room for BATCH pointers, of which the call says how many it set.
        unsafe {
            let got = sys::rd_kafka_consume_batch_queue(self.queue, 0, buffer.as_mut_ptr(), BATCH);
            buffer.set_len(usize::try_from(got).unwrap_or(0));
            if buffer.is_empty() && wait_ms > 0 {
                let wait_ms = i32::try_from(wait_ms).unwrap_or(i32::MAX);
                let message = sys::rd_kafka_consume_queue(self.queue, wait_ms);
                if !message.is_null() {
                    buffer.push(message);
                }
            }
        }
        for some in self.taken.messages.chunks(LOOK_AHEAD) {
            let items: Vec<Item<'_>> = some
                .iter()
                // SAFETY: the message stays until `taken` is emptied below, after the last visit.
                .map(|message| item(unsafe { &**message }))
                .collect();
            visit(&items);
        }
        self.taken.destroy()
    }
}

impl Drop for PrivateQueue {
    fn drop(&mut self) {
        // Not empty only when a visit panicked.
        self.taken.destroy();
        // SAFETY: the queue was made by us and the client is still alive (see `new`).
        unsafe { sys::rd_kafka_queue_destroy(self.queue) };
    }
}

fn item(message: &sys::rd_kafka_message_t) -> Item<'_> {
    // SAFETY: a message of a consumer has a topic handle, whose name lives as long as it does.
    let topic = unsafe {
        if message.rkt.is_null() {
            &[]
        } else {
            CStr::from_ptr(sys::rd_kafka_topic_name(message.rkt)).to_bytes()
        }
    };
    if message.err != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
        return Item::Error(message.err, topic, message.partition, message.offset);
    }
    let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
    // SAFETY: key and value are null or `len` bytes owned by the message.
    let (timestamp, key, value) = unsafe {
        (
            sys::rd_kafka_message_timestamp(message, &raw mut kind),
            slice(message.key, message.key_len),
            slice(message.payload, message.len),
        )
    };
    let none = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
    Item::Message(Message {
        topic,
        partition: message.partition,
        offset: message.offset,
        timestamp_ms: (kind != none && timestamp >= 0).then_some(timestamp),
        key,
        value,
        headers: NativeHeaders { message },
    })
}

/// # Safety
/// `start` is null or points to `len` bytes that live for `'a`.
unsafe fn slice<'a>(start: *const c_void, len: usize) -> Option<&'a [u8]> {
    // SAFETY: by the caller's word.
    (!start.is_null()).then(|| unsafe { std::slice::from_raw_parts(start.cast::<u8>(), len) })
}

/// Waits until all messages are sent or failed, without the 100 ms steps of the safe client.
pub(super) fn flush(client: *mut sys::rd_kafka_t, wait_ms: i32) -> bool {
    // SAFETY: `client` is a live producer.
    let code = unsafe { sys::rd_kafka_flush(client, wait_ms) };
    code == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR
}

/// Whether a consumer is a member of its group: it has a number there, and has not left.
pub(super) fn is_member(client: *mut sys::rd_kafka_t) -> bool {
    // SAFETY: `client` is a live consumer; the text is ours to free, by librdkafka.
    unsafe {
        let id = sys::rd_kafka_memberid(client);
        let is_member = !id.is_null() && *id != 0;
        sys::rd_kafka_mem_free(client, id.cast());
        is_member
    }
}

/// The end of a partition as the last fetch told it; asks nobody.
pub(super) fn known_end(client: *mut sys::rd_kafka_t, topic: &str, partition: i32) -> Option<i64> {
    let topic = CString::new(topic).ok()?;
    let (mut low, mut high) = (-1, -1);
    // SAFETY: `client` is a live consumer; the two places are ours.
    let code = unsafe {
        sys::rd_kafka_get_watermark_offsets(
            client,
            topic.as_ptr(),
            partition,
            &raw mut low,
            &raw mut high,
        )
    };
    (code == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0).then_some(high)
}

/// What the offset of a partition in a list is noted with.
pub(super) fn metadata(
    list: *mut sys::rd_kafka_topic_partition_list_t,
    topic: &str,
    partition: i32,
) -> Vec<u8> {
    let Ok(topic) = CString::new(topic) else { return Vec::new() };
    // SAFETY: `list` is a live list, and what is found in it lives as long; the bytes are copied
    // before anything else can change it.
    unsafe {
        let at = sys::rd_kafka_topic_partition_list_find(list, topic.as_ptr(), partition);
        match at.as_ref() {
            Some(at) if !at.metadata.is_null() => {
                std::slice::from_raw_parts(at.metadata.cast::<u8>(), at.metadata_size).to_vec()
            }
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests;
