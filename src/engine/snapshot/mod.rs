//! Snapshots: a state as it was at one instant, told piece by piece while it goes on.
//!
//! [`State::begin_snapshot`] fixes the instant, and costs no more than a look at small things.
//! From then on [`State::sweep`] tells the state in pieces of whatever size suits the caller,
//! and steps may come between two pieces: what one is about to change and has not been told is
//! put aside first, as it was. So a snapshot is that of one offset, a pure function of the log up
//! to it, and no step waits for more than its own keys. (The idea is that of copy-on-update
//! checkpoints: Cao et al. 2011, "Fast checkpoint recovery algorithms for frequently consistent
//! applications", there "Naive Snapshot" against "Zigzag"; ours is at the grain of a key.)
//!
//! What is told are keys with their counters, not places in memory: a [`Loader`] makes the state
//! anew, also under a rule set that has changed meanwhile, as far as its rules count as before.
//! Timers, expiry and indexes follow from the rest and are not in it.

mod cells;
mod keys;
mod load;
mod marks;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::engine::bytes::{put, put_signed, put_text};
use crate::engine::daily::{Book, Intake};
use crate::engine::edits::{By, Edit};
use crate::engine::gather::Heard;
use crate::engine::inputs::Inputs;
use crate::engine::ledger::Spent;
use crate::engine::partial::Mark;
use crate::engine::plan::{Form, Plan};
use crate::engine::seen::{Seen, Value};
use crate::engine::state::{Output, State};
use crate::event::EventTime;
use crate::rule::Mode;

pub(crate) use keys::Capture;
pub use load::{Damaged, Loaded, Loader};
pub(crate) use marks::Marks;

/// Version of the format. A reader takes all before as well: 1 has no numbers of young keys, in 2
/// the values of a series are all floats and there are no flows, 3 knows of no firing whether it is
/// over, and 4 has neither heard any past nor an account of the points.
pub const SNAPSHOT_VERSION: u32 = 5;

const HEAD: u8 = 1;
const KEY: u8 = 2;
const SHOWN: u8 = 3;
const ACCOUNT: u8 = 4;
const IDS: u8 = 5;
const TAIL: u8 = 6;

/// How far a sweep has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Swept {
    More,
    /// All is told; the snapshot is over.
    All,
    /// There is none, or the rule set has changed so that it must be begun anew.
    Void,
}

/// A snapshot under way.
#[derive(Debug, Clone)]
pub(crate) struct Point {
    base: i64,
    stage: Stage,
    totals: Totals,
}

#[derive(Debug, Clone)]
enum Stage {
    Head(Box<Head>),
    Keys,
    /// The field whose users are next.
    Shown(usize),
    Accounts,
    Ids,
}

/// What was told, so that a reader can tell whether it has read all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Totals {
    keys: u64,
    shown: u64,
    accounts: u64,
    ids: u64,
}

/// What is small, and what the rest must be read by.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Head {
    version: u32,
    topic: String,
    partition: i32,
    watermark: Option<i64>,
    zone: String,
    /// Fields of each key form.
    spaces: Vec<Vec<String>>,
    rules: Vec<RuleLayout>,
    /// Fields of `new` conditions, with how long their values are kept.
    fields: Vec<(String, i64)>,
    inputs: Inputs,
    #[serde(default)]
    heard: Heard,
    /// Of the partials topic: the event that moved the watermark last.
    mover: Option<(String, i32, Mark)>,
    /// Of the events topic.
    own_mover: Option<Mark>,
    budgets: BTreeMap<String, Spent>,
    /// (list, value, what was done)
    edits: Vec<(String, String, Edited)>,
    /// Who did that and why, in the same order.
    #[serde(default)]
    edited_by: Vec<Option<By>>,
    /// Windows that close though no event has come (R13): rule, end, keys.
    due: Vec<(usize, i64, Vec<String>)>,
    /// Keys of each key form, users of each field, ids: about so many will follow.
    sizes: (Vec<usize>, Vec<usize>, usize),
    /// Number of the last key that came.
    #[serde(default)]
    arrivals: u32,
    #[serde(default)]
    intake: Intake,
    #[serde(default)]
    book: Option<Box<Book>>,
}

impl Head {
    /// All times of events and records that stand in it.
    fn times(&self) -> impl Iterator<Item = i64> {
        let mover = self.mover.iter().map(|(.., mark)| mark.ts);
        let movers = mover.chain(self.own_mover.as_ref().map(|mark| mark.ts));
        let due = self.due.iter().map(|(_, end, _)| *end);
        let book = self.book.iter().flat_map(|book| book.times());
        self.watermark.into_iter().chain(self.inputs.times()).chain(movers).chain(due).chain(book)
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct RuleLayout {
    name: String,
    fingerprint: u64,
    form: Form,
    space: usize,
    close_after_ms: i64,
    off: bool,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum Edited {
    Added(Option<EventTime>),
    Removed,
}

impl State {
    /// Fixes the snapshot that [`State::sweep`] will tell: the state as it is now. One that is
    /// under way is given up. `out` is where its steps put out, emptied by a commit.
    pub fn begin_snapshot(&mut self, plan: &Plan, out: &Output) {
        self.prepare(plan);
        let base = self.watermark.unwrap_or(0);
        let head = Box::new(self.head(plan, out));
        self.keyed.begin(plan, base);
        self.keyed.ledger.begin();
        self.dedup.begin();
        for (at, seen) in self.keyed.cells.seen.iter_mut().enumerate() {
            seen.begin(plan.shown_since(at, base));
        }
        self.snapshot = Some(Point { base, stage: Stage::Head(head), totals: Totals::default() });
    }

    /// Gives up the snapshot under way, if there is one.
    pub fn abandon_snapshot(&mut self) {
        if self.snapshot.take().is_some() {
            self.keyed.cells.capture = None;
            self.keyed.ledger.abandon();
            self.dedup.abandon();
            self.keyed.cells.seen.iter_mut().for_each(Seen::abandon);
        }
    }

    /// Appends what comes next to `to`, whole records of about `bytes` together.
    pub fn sweep(&mut self, plan: &Plan, bytes: usize, to: &mut Vec<u8>) -> Swept {
        self.prepare(plan);
        let Some(mut point) = self.snapshot.take() else { return Swept::Void };
        let full = to.len().saturating_add(bytes);
        while to.len() < full {
            if !self.say(&mut point, full, to) {
                self.snapshot = Some(point);
                self.abandon_snapshot();
                return Swept::All;
            }
        }
        self.snapshot = Some(point);
        Swept::More
    }

    /// The whole state as a snapshot tells it, its records in an order of their own: equal for
    /// equal states, however they came about. For tests.
    pub fn canonical(&self, plan: &Plan, out: &Output) -> Vec<Vec<u8>> {
        let mut copy = self.clone();
        copy.prepare(plan);
        let base = self.watermark.unwrap_or(0);
        copy.keyed.cells.all_apart(plan, base);
        copy.keyed.close_all_unheard(plan, base, false);
        copy.begin_snapshot(plan, out);
        if let Some(Point { stage: Stage::Head(head), .. }) = &mut copy.snapshot {
            // What matters no more is in the sizes, and in nothing else.
            head.sizes = Default::default();
        }
        let mut records = Vec::new();
        loop {
            let mut some = Vec::new();
            let swept = copy.sweep(plan, 1, &mut some);
            records.push(some);
            if swept != Swept::More {
                break;
            }
        }
        records.retain(|record| !record.is_empty());
        // Ids come in chunks of runs, in order; everything else one by one.
        let (mut all, mut others): (Vec<_>, Vec<_>) =
            records.into_iter().partition(|record| record.first() == Some(&IDS));
        others.sort_unstable();
        all.append(&mut others);
        all
    }

    /// Says the next thing; false when that was the last.
    fn say(&mut self, point: &mut Point, full: usize, to: &mut Vec<u8>) -> bool {
        let Point { stage, totals, base } = point;
        match stage {
            Stage::Head(head) => {
                to.push(HEAD);
                put_json(to, head);
                *stage = Stage::Keys;
            }
            Stage::Keys => {
                if !self.keyed.say(full, to, (&mut totals.keys, &mut totals.shown)) {
                    if !self.keyed.cells.seen.is_empty() {
                        // Of nobody: what follows is of no key.
                        totals.shown += 1;
                        put_shown(to, (0, 0), &[], *base);
                    }
                    *stage = Stage::Shown(0);
                }
            }
            Stage::Shown(field) => {
                let at = *field;
                let Some(seen) = self.keyed.cells.seen.get_mut(at) else {
                    *stage = Stage::Accounts;
                    return true;
                };
                let more = seen.say(&mut |user, values| {
                    totals.shown += 1;
                    put_shown(to, (at, user), values, *base);
                });
                if !more {
                    *field += 1;
                }
            }
            Stage::Accounts => match self.keyed.ledger.say() {
                Some(account) => {
                    totals.accounts += 1;
                    to.push(ACCOUNT);
                    put_json(to, &account);
                }
                None => *stage = Stage::Ids,
            },
            Stage::Ids => {
                let more = self.dedup.say(&mut |expiry, ids| {
                    totals.ids += ids.len() as u64;
                    to.push(IDS);
                    put_signed(to, expiry.wrapping_sub(*base));
                    put(to, ids.len() as u64);
                    for id in ids {
                        to.extend_from_slice(&id.to_le_bytes());
                    }
                });
                if !more {
                    to.push(TAIL);
                    put_json(to, totals);
                    return false;
                }
            }
        }
        true
    }

    fn head(&self, plan: &Plan, out: &Output) -> Head {
        let edits = self.edits.iter().map(|(list, value, edit)| {
            let edit = match edit.edit {
                Edit::Added(until) => Edited::Added(until),
                Edit::Removed => Edited::Removed,
            };
            (list.to_owned(), value.to_owned(), edit)
        });
        let cells = &self.keyed.cells;
        Head {
            version: SNAPSHOT_VERSION,
            topic: self.origin.topic.to_string(),
            partition: self.origin.partition,
            watermark: self.watermark,
            zone: plan.rules.timezone_name.clone(),
            spaces: plan
                .spaces
                .iter()
                .map(|spec| spec.fields.iter().map(ToString::to_string).collect())
                .collect(),
            rules: layout(plan),
            fields: fields(plan),
            inputs: self.inputs.clone(),
            heard: self.heard.clone(),
            mover: self
                .mover
                .as_ref()
                .map(|(from, mark)| (from.topic.to_string(), from.partition, mark.clone())),
            own_mover: out.partials.mover().cloned(),
            budgets: self.keyed.ledger.budgets().clone(),
            edits: edits.collect(),
            edited_by: self.edits.iter().map(|(.., edit)| edit.by.as_deref().cloned()).collect(),
            due: self.keyed.silent(plan),
            sizes: (
                cells.spaces.iter().map(crate::engine::space::Space::len).collect(),
                cells.seen.iter().map(Seen::apart).collect(),
                self.dedup.len(),
            ),
            arrivals: cells.young.arrivals,
            intake: self.intake,
            book: self.book.clone(),
        }
    }
}

/// What a user has shown of a field. Of one who has a key it follows what is told of that.
fn put_shown(to: &mut Vec<u8>, (field, user): (usize, u128), values: &[Value], base: i64) {
    to.push(SHOWN);
    put(to, field as u64);
    to.extend_from_slice(&user.to_le_bytes());
    put(to, values.len() as u64);
    for (hash, ts) in values {
        to.extend_from_slice(&hash.to_le_bytes());
        put_signed(to, ts.wrapping_sub(base));
    }
}

fn layout(plan: &Plan) -> Vec<RuleLayout> {
    let rules = plan.info.iter().zip(&plan.rules.rules);
    let rules = rules.map(|(info, rule)| RuleLayout {
        name: rule.name.clone(),
        fingerprint: info.fingerprint,
        form: info.form,
        space: info.space,
        close_after_ms: info.close_after_ms,
        off: rule.mode == Mode::Off,
    });
    rules.collect()
}

fn fields(plan: &Plan) -> Vec<(String, i64)> {
    plan.new_fields.iter().map(|(field, within_ms)| (field.to_string(), *within_ms)).collect()
}

fn put_json(to: &mut Vec<u8>, what: &impl Serialize) {
    // Maps have texts for keys and floats are finite or null: there is nothing to refuse.
    let json = serde_json::to_string(what).unwrap_or_default();
    put_text(to, &json);
}
