//! What one partition tells at a flush, as records that a topic takes.
//!
//! Mostly that is one. What does not fit goes in pieces, of which each adds up by itself: its totals
//! are those behind what it tells. Only the last has the watermark, so that no day is over before
//! all of them have come.

use crate::engine::daily::report::{Cap, CommandCount, RuleCount};
use crate::engine::daily::sheet::Sheet;
use crate::engine::daily::sums::{
    Amount, COLUMNS, Intake, Row, Stretch, Sums, add_outcomes, add_row,
};

/// Of one record, about: brokers take a megabyte unless told otherwise.
pub(super) const PIECE_BYTES: usize = 256 << 10;
/// The most that a number takes.
const NUMBER_BYTES: usize = 10;
/// The most that a row takes.
const ROW_BYTES: usize = 1 + COLUMNS * (1 + 2 * NUMBER_BYTES);
const STRETCH_BYTES: usize = 9 * NUMBER_BYTES;
/// Names of fields, and what else stands in JSON.
const FIELDS_BYTES: usize = 160;

/// What stands in a sheet beside what it says of its partition.
enum Entry {
    Stretch(Option<i32>, Stretch),
    /// Of a source; of all others without a name.
    Row(i32, Option<String>, Box<Row>),
    Decisions(i32, RuleCount),
    Commands(i32, CommandCount),
    Closed(i32, Vec<Cap>),
}

/// As it was told last.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Before {
    pub(super) totals: Intake,
    pub(super) watermark: Option<i64>,
}

/// The records of a sheet, whose `closings` are the days that it closes with their caps.
pub(super) fn pieces(whole: Sheet, closings: Vec<(i32, Vec<Cap>)>, before: Before) -> Vec<Vec<u8>> {
    let mut packer = Packer::new(before, &whole);
    let (stretches, days, more) = (whole.stretches, whole.days, whole.more);
    for (day, stretch) in stretches {
        packer.put(Entry::Stretch(day, stretch));
    }
    for (day, sums) in days {
        let rows = sums.named.into_iter().map(|(source, row)| (Some(source), row));
        for (source, row) in rows.chain([(None, sums.other)]) {
            if !row.iter().all(Amount::is_nothing) {
                packer.put(Entry::Row(day, source, Box::new(row)));
            }
        }
    }
    for (day, row) in more.decisions {
        packer.put(Entry::Decisions(day, row));
    }
    for (day, row) in more.commands {
        packer.put(Entry::Commands(day, row));
    }
    for (day, caps) in closings {
        packer.put(Entry::Closed(day, caps));
    }
    packer.end(whole.totals, whole.watermark, whole.idle)
}

struct Packer {
    /// What every piece says of its partition, as of those before it.
    head: Sheet,
    open: Sheet,
    bytes: usize,
    packed: Vec<Vec<u8>>,
}

impl Packer {
    fn new(before: Before, whole: &Sheet) -> Packer {
        let Intake { since, by, .. } = whole.totals;
        let head = Sheet {
            partition: whole.partition,
            is_owner: whole.is_owner,
            partitions: whole.partitions,
            watermark: before.watermark,
            totals: Intake { since, by, ..before.totals },
            ..Sheet::default()
        };
        Packer { open: head.clone(), head, bytes: 0, packed: Vec::new() }
    }

    fn put(&mut self, entry: Entry) {
        let bytes = entry.bytes();
        // A sheet closes one day.
        let closes_another = matches!(entry, Entry::Closed(..)) && self.open.more.closed.is_some();
        if closes_another || self.bytes > 0 && self.bytes + bytes > PIECE_BYTES {
            self.seal();
        }
        self.bytes += bytes;
        match entry {
            Entry::Stretch(day, stretch) => {
                let totals = &mut self.head.totals;
                totals.next = totals.next.max(stretch.next);
                totals.consumed += stretch.consumed;
                add_outcomes(&mut totals.outcomes, stretch.outcomes);
                self.open.stretches.push((day, stretch));
            }
            Entry::Row(day, source, row) => {
                add_row(&mut self.head.totals.columns, &row);
                if self.open.days.last().is_none_or(|(last, _)| *last != day) {
                    self.open.days.push((day, Sums::default()));
                }
                if let Some((_, sums)) = self.open.days.last_mut() {
                    sums.add(source.as_deref(), &row);
                }
            }
            Entry::Decisions(day, row) => self.open.more.decisions.push((day, row)),
            Entry::Commands(day, row) => self.open.more.commands.push((day, row)),
            Entry::Closed(day, caps) => {
                (self.open.more.closed, self.open.more.caps) = (Some(day), caps);
            }
        }
    }

    fn seal(&mut self) {
        let sealed = std::mem::replace(&mut self.open, self.head.clone());
        self.packed.push(Sheet { totals: self.head.totals, ..sealed }.encode());
        self.bytes = 0;
    }

    fn end(mut self, totals: Intake, watermark: Option<i64>, idle: bool) -> Vec<Vec<u8>> {
        self.packed.push(Sheet { watermark, idle, totals, ..self.open }.encode());
        self.packed
    }
}

impl Entry {
    /// At most, and not much less.
    fn bytes(&self) -> usize {
        match self {
            Entry::Stretch(..) => STRETCH_BYTES,
            Entry::Row(_, source, _) => {
                NUMBER_BYTES + ROW_BYTES + source.as_ref().map_or(0, |source| source.len() + 3)
            }
            Entry::Decisions(_, row) => FIELDS_BYTES + row.rule.len(),
            Entry::Commands(_, row) => FIELDS_BYTES + row.rule.len(),
            Entry::Closed(_, caps) => {
                let cap = |cap: &Cap| serde_json::to_string(cap).map_or(0, |text| text.len() + 1);
                FIELDS_BYTES + caps.iter().map(cap).sum::<usize>()
            }
        }
    }
}
