//! tidegate: a stream-processing risk and anomaly detector for loyalty-points programmes.
//!
//! # Bird's-eye view
//!
//! State is a fold over logs. The engine sees the events of one partition in log order and
//! nothing else, so its state at an offset is a pure function of the log up to it, and whatever
//! runs the engine over the same log with the same rules comes to the same decisions: the live
//! stream, a restart, a backtest, a simulation.
//!
//! ```text
//!  points.events ──▶ stream::Worker (one thread: poll ▸ decode ▸ step; a second: transactions)
//!   p0..pN            │  State per partition of the events: users        ┌▶ points.commands
//!                     │  partial aggregates of keys that cross them ───▶ ├▶ tidegate.decisions ─▶ notify
//!  <group>.partials ──┤  State per partition of the partials:            ├▶ points.quarantine
//!                     │  devices, addresses, sources, global             └▶ tidegate.accounts
//!                     └─ one Kafka transaction with the input offsets
//! ```
//!
//! Rule sets, list edits and interventions come through a log of their own, the control topic. A
//! worker takes them in between two records and notes in the journal where it did, so that a
//! replay takes each in at the same place. Under a set that counts otherwise the state goes on with
//! what it has in common with it, while another one is folded from the log, some records between
//! each two polls; it takes over where it is in step, and the journal notes that place, too. With
//! that each partition of the events tells the owners of keys what its log held for rules that are
//! new, and they judge these once all have told.
//!
//! A worker that starts takes the newest snapshot of each of its partitions, reads the log from
//! there, or from its beginning, without output, up to what the group has committed, and goes on.
//!
//! # Code map
//!
//! - [`event`]: the event, its wire format, the mapping of other shapes to it.
//! - [`rule`]: rule files and lists, from text to checked types; all faults of rules.
//! - [`engine`]: [`engine::step`] over a [`engine::State`]: watermark, duplicates, windows,
//!   baselines, firing, holds. A key that crosses partitions (device, address, source, global)
//!   leaves as a record of [`engine::PartialsOutbox`] and is judged where it comes in again.
//!   [`engine::explain`] says why a rule fired or did not, [`engine::impact`] whom other bounds
//!   would hit: both only look. [`engine::daily`] is the account of the points, day by day.
//! - [`snapshot`]: segments and manifests of snapshots on a folder or a bucket; what they hold is
//!   told and read back by [`engine::snapshot`].
//! - [`config`]: settings: file, environment and flags in, one checked value out.
//! - [`control`]: rule files and lists from disk; what people may lift or release, from records.
//! - [`stream`]: [`stream::Worker`] over the narrow [`stream::Log`]; Kafka behind it in
//!   [`stream::kafka`]; the simulation's log is in `tests/it/sim`. Questions about a state reach its worker through [`stream::Asks`].
//! - [`notify`]: a consumer of its own from decisions to receivers.
//! - [`http`]: health, metrics, the status page.
//! - [`watch`]: whether the instance itself works: canaries, and what it says of itself.
//! - [`service`]: a running instance, wired from these rooms.
//! - [`backtest`]: the fold over events of the past, in threads; differences between rule sets;
//!   reports; the tests that stand beside rules.
//! - [`generate`]: seeded streams of events with labelled abuse, and their score.
//! - [`demo`]: the whole with stand-ins for Kafka and the receivers' far ends.
//! - [`cli`]: arguments to one call per command.
//!
//! All `unsafe` there is stands in three files: `stream::kafka`'s `native`, which borrows records
//! from librdkafka, `near`, which asks the processor for memory that will soon be read, and
//! `memory`, which chooses the program's allocator. Tests of the first two run under valgrind's
//! memcheck in CI.
//!
//! # Invariants
//!
//! - `event`, `rule` and `engine` have no clock, no randomness, no files, no environment, no
//!   sockets and no hash map whose order could reach an output.
//! - `event` knows no other room, and `rule` does not know `engine`.
//! - No error leaves [`engine::step`]: bad input is counted and named by [`engine::Outcome`].
//! - Outside the engine nothing chooses an id, a threshold or a text of a decision; those that an
//!   instance makes about itself ([`watch`]) aside.
//! - Nothing that depends on when a flush happened enters a state.
//! - A snapshot is the state at one offset, and a state made from it equals one that was not.
//! - No state outlives the loss of its partition, and nothing it rests on leaves a worker outside a
//!   transaction. Decisions and commands may leave before it where a replay comes to the same ones.
//! - No notice is waited for by detection.
//! - No rule set is loaded in part.
//!
//! # Time
//!
//! Time is event time, in milliseconds. A partition's watermark is the greatest `ts` it has
//! accepted; how late an event may be, which windows are closed and which ids and keys are
//! forgotten all follow from it.
//!
//! # Speed
//!
//! An event costs a dozen reads of memory that no cache holds, so they are few and under way
//! together. A key is interned once; in its row ([`engine`]'s `rows`) stand its text, its small
//! counters and what its member has shown, in as many bytes as they need. Larger counters (`cell`)
//! are a line of the cache each, in pages that never move. A worker decodes up to
//! [`engine::LOOK_AHEAD`] records, each by the layout of those before it ([`event::Layouts`]), and
//! lets the state look ahead before it steps over them. What stays far from its bounds is counted
//! by the shortest way ([`engine`]'s `direct` and `quiet`). The quiet path allocates nothing: texts are borrowed
//! from the record, and the state keeps hashes and interned keys.
//!
//! A backtest needs no records in between: of an event the owner of shared keys is told once what all
//! rules count (`posting`, `posts`), its keys are read where it was decoded, and what events in a row
//! bring to the whole system or to a source is added in one go where none of them comes near a bound
//! (`together`). Duplicates are found before events come to the state (`gate`).
//!
//! # Errors and limits
//!
//! All faults of a rule set are told at once, each with its place, the text in question and a
//! hint. What memory has to leave out is counted ([`engine::Counts`]): nothing is dropped in
//! silence, and consumed = accepted + duplicate + late + quarantined. A state holds so many keys;
//! when it is full, those counted once make room in the order they came ([`engine`]'s `young`),
//! which is a function of the log like everything else.
//!
//! # Delivery
//!
//! Outputs wait in an outbox and are produced at a flush, in one transaction with the offsets. The
//! transaction goes on in a thread of its own, while the worker counts events for the next one;
//! where it takes more than half a second, no more comes in. The worker waits for its end only
//! before partitions are given back. Whoever needs the state of an offset (a snapshot, a state made
//! for new rules that takes over) takes the one that a transaction was just prepared at, and what
//! rests on its end, a snapshot alone, waits for that by itself.
//!
//! A transaction that a command hastens leaves out what owners of keys are told, one record for each
//! partition: that goes with the next of the regular ones. The committed offset notes up to which
//! record they were told ([`stream::Progress`]), and a replay makes what is missing again.
//!
//! After an abort state and outputs stay as they are and the same transaction is tried again; a worker that
//! cannot go on is dropped whole and built anew from snapshots and the log. An instance that
//! stops keeps its place in the group, by a fixed name, unless it is told to leave.
//!
//! With `engine.delivery: at_least_once` decisions and commands leave through an idempotent
//! producer as soon as they are made ([`stream::Delivery`]), and a transaction waits until they are
//! acknowledged. Whatever a crash would undo (changes by people, how a state began) holds them
//! back until it is committed, and after a restart changes are taken in only behind the records of which somebody
//! may have told: so a replay makes what was told, byte for byte.
//!
//! The ids of decisions and commands depend on the rule, the key, the level and the event (for
//! keys that cross partitions: on the place in the log of partial aggregates), so that whoever
//! receives one twice can tell.

mod near;

pub mod event;
pub mod rule;

pub mod engine;

pub mod config;
pub mod control;

pub mod backtest;
pub mod cli;
pub mod demo;
pub mod generate;
pub mod http;
pub mod metrics;
pub mod notify;
pub mod service;
pub mod snapshot;
pub mod stream;
pub mod watch;
