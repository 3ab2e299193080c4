//! The checked rule: everything that can be wrong has been refused before one of these exists.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use jiff::tz::TimeZone;
use serde::Serialize;

use crate::event::{EventTime, Kind};

/// A whole rule set, merged from its files and checked.
#[derive(Debug, Clone)]
pub struct RuleSet {
    /// First 8 hex digits of a hash over the normal form of all files: the `ruleset` of decisions.
    pub version: String,
    /// IANA name of the zone of every calendar window.
    pub timezone_name: String,
    pub timezone: TimeZone,
    /// In file order, names unique.
    pub lists: Vec<ListDecl>,
    /// In file order (files by name), names unique.
    pub rules: Vec<Rule>,
    /// The shared budget on top of the file (R15).
    pub budget: Option<Budget>,
}

/// `lists: { NAME: { file, field } }`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListDecl {
    pub name: String,
    /// Path as written, relative to the rule file in `origin`.
    pub file: Option<String>,
    /// Path of the rule file that declares the list, as handed to the parser.
    pub origin: String,
    pub field: Field,
}

/// One entry of a list (R4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListEntry {
    pub value: String,
    pub reason: Option<String>,
    /// No longer matches from this instant on (event time).
    pub expires: Option<EventTime>,
    pub author: Option<String>,
}

#[derive(Debug, Clone)]
pub struct Rule {
    pub name: String,
    pub description: Option<String>,
    /// For routes and silences: told in every decision, and no part of what is counted.
    pub labels: BTreeMap<String, String>,
    pub mode: Mode,
    pub per: KeySpec,
    pub check: Check,
    /// R9; milliseconds of event time.
    pub cooldown_ms: Option<i64>,
    pub budget: Option<Budget>,
    /// Place of the rule's name, for messages.
    pub place: Place,
}

/// A place in a rule file; line and column count from 1.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Place {
    pub file: String,
    pub line: usize,
    pub column: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    Live,
    Shadow,
    Off,
}

impl Mode {
    pub const fn as_str(self) -> &'static str {
        match self {
            Mode::Live => "live",
            Mode::Shadow => "shadow",
            Mode::Off => "off",
        }
    }
}

/// A set of event kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Kinds(pub u8);

impl Kinds {
    pub const ALL: Kinds = Kinds(0b1_1111);

    pub fn contains(self, kind: Kind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }

    #[must_use]
    pub fn with(self, kind: Kind) -> Kinds {
        Kinds(self.0 | (1 << kind as u8))
    }
}

/// A field of the event that a rule may name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    Id,
    User,
    Kind,
    Points,
    Source,
    Device,
    Ip,
    Attr(String),
    /// 0–23 in the zone.
    Hour,
    /// `mon` … `sun` in the zone.
    Weekday,
}

/// As rules write it: `device`, `attrs.tier`.
impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Field::Id => "id",
            Field::User => "user",
            Field::Kind => "kind",
            Field::Points => "points",
            Field::Source => "source",
            Field::Device => "device",
            Field::Ip => "ip",
            Field::Attr(name) => return write!(f, "attrs.{name}"),
            Field::Hour => "hour",
            Field::Weekday => "weekday",
        })
    }
}

/// What a rule counts by. Parts stand in the order written; `Global` is the empty list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySpec {
    /// Of `User`, `Device`, `Ip`, `Source`, `Attr` only; empty means `global`.
    pub fields: Vec<Field>,
}

impl KeySpec {
    /// True when the key lives in the partition of its user (R8).
    pub fn has_user(&self) -> bool {
        self.fields.contains(&Field::User)
    }
}

#[derive(Debug, Clone)]
pub enum Check {
    /// R3: every matching event fires. `levels` has exactly one entry without a bound.
    Match { on: Kinds, filter: Filter, severity: Severity, then: Vec<Action> },
    /// Measure against bounds (R1).
    Threshold { input: Input, window: Window, levels: Levels },
    /// R12.
    Ratio { of: Input, to: Input, min_to: f64, window: Window, levels: Levels },
    /// R11.
    ZScore(ZScore),
}

/// What a measure sees: which events, and what it makes of them.
#[derive(Debug, Clone)]
pub struct Input {
    pub on: Kinds,
    pub filter: Filter,
    pub measure: Measure,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Measure {
    Count,
    SumPoints,
    MaxPoints,
    Distinct(Field),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    Calendar(Period),
    /// Rolling for thresholds and ratios, fixed (epoch-aligned) for z-scores; milliseconds > 0.
    Duration(i64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Period {
    Day,
    Week,
    Month,
    Quarter,
    Year,
}

#[derive(Debug, Clone)]
pub struct Levels {
    pub side: Side,
    /// Re-arm bound of levels that name none (R9); a level's own bound when `None`.
    pub clear: Option<Number>,
    /// 1 to 32 entries; bounds strictly rising (`Above`) or falling (`Below`), but for forecasts,
    /// which stand before a level of the same bound.
    pub levels: Vec<Level>,
}

impl Levels {
    /// Whether some level looks ahead.
    pub fn has_forecast(&self) -> bool {
        self.levels.iter().any(|level| level.forecast_ms.is_some())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Above,
    Below,
}

#[derive(Clone)]
pub struct Level {
    pub bound: Number,
    /// It fires when the bound will be exceeded within so long at the present rate.
    pub forecast_ms: Option<i64>,
    pub severity: Severity,
    pub then: Vec<Action>,
}

impl fmt::Debug for Level {
    /// The version of a rule set is made of this: a level without a forecast is told as ever.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Level { bound, forecast_ms, severity, then } = self;
        let mut level = f.debug_struct("Level");
        level.field("bound", bound).field("severity", severity).field("then", then);
        if let Some(forecast_ms) = forecast_ms {
            level.field("forecast_ms", forecast_ms);
        }
        level.finish()
    }
}

/// A number as written: integers stay exact.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    Integer(i64),
    Float(f64),
}

impl Number {
    /// Exact: no rounding of large integers. `None` where one is not a number.
    pub fn compare(self, other: Number) -> Option<Ordering> {
        match (self, other) {
            (Number::Integer(value), Number::Integer(other)) => Some(value.cmp(&other)),
            (Number::Integer(value), Number::Float(other)) => integer_to_float(value, other),
            (Number::Float(value), Number::Float(other)) => value.partial_cmp(&other),
            (Number::Float(value), Number::Integer(other)) => {
                integer_to_float(other, value).map(Ordering::reverse)
            }
        }
    }
}

fn integer_to_float(value: i64, other: f64) -> Option<Ordering> {
    // 2^63 and beyond lie outside every i64; below it the floor converts without loss.
    const LIMIT: f64 = 9_223_372_036_854_776_000.0;
    if other.is_nan() {
        return None;
    }
    if other >= LIMIT {
        return Some(Ordering::Less);
    }
    if other < -LIMIT {
        return Some(Ordering::Greater);
    }
    #[expect(clippy::cast_possible_truncation, reason = "in range by the tests above")]
    let floor = other.floor() as i64;
    let has_fraction = other.fract() != 0.0;
    Some(value.cmp(&floor).then(if has_fraction { Ordering::Less } else { Ordering::Equal }))
}

#[derive(Debug, Clone)]
pub struct ZScore {
    pub input: Input,
    pub window: Window,
    /// At least one of the two is given.
    pub above: Option<f64>,
    pub below: Option<f64>,
    pub baseline: Baseline,
    /// R11 `close_after`; `None` = allowed lateness. Milliseconds.
    pub close_after_ms: Option<i64>,
    pub severity: Severity,
    pub then: Vec<Action>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Baseline {
    pub method: Method,
    /// Windows, of [`Method::Seasonal`] seasons; at least 2.
    pub history: u32,
    pub min_windows: u32,
    pub min_sd: f64,
}

impl Baseline {
    /// A key is forgotten after so many consecutive windows without an event (R11).
    pub fn empties_max(&self) -> u32 {
        match self.method {
            Method::Seasonal(season) => self.history.saturating_mul(season.windows),
            Method::Mean | Method::Robust | Method::Ewma => self.history,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Mean,
    Robust,
    Ewma,
    /// `robust` over the windows of the same slot in the seasons before.
    Seasonal(Season),
}

/// Which windows of the seasons before a window is held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Season {
    /// A whole multiple of the window, of the calendar day for `window: day`. Whole days are
    /// days of the zone: the same time of the day, whatever its clock has done since.
    pub length_ms: i64,
    /// Windows of one season; at least 2.
    pub windows: u32,
    /// So many on each side of the slot are taken too; all together at most `windows`.
    pub neighbours: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Info,
    Warning,
    Critical,
}

impl Severity {
    pub const fn as_str(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        }
    }
}

/// R15: more freezes than `freezes` in any rolling `per_ms` become reviews.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    pub freezes: u32,
    pub per_ms: i64,
}

/// R16.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    Alert {
        to: Option<String>,
    },
    Review,
    Freeze {
        scope: Scope,
        hold_for: HoldFor,
    },
    /// All automatic holds of the target, or those of one rule.
    Unfreeze {
        rule: Option<String>,
    },
    Deduct {
        points: Deduct,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    Account,
    Issue,
    Redeem,
    Activity,
}

impl Scope {
    pub const fn as_str(self) -> &'static str {
        match self {
            Scope::Account => "account",
            Scope::Issue => "issue",
            Scope::Redeem => "redeem",
            Scope::Activity => "activity",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldFor {
    Forever,
    /// Milliseconds after the trigger's event time.
    Duration(i64),
    /// Until the calendar period ends.
    Window,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deduct {
    All,
    Excess,
    Points(i64),
}

/// R2: a conjunction; the empty one holds for every event.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Filter {
    pub all: Vec<Condition>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    Field {
        field: Field,
        test: Test,
    },
    Any(Vec<Filter>),
    Not(Filter),
    /// R5.
    New {
        field: Field,
        within_ms: i64,
    },
}

/// One test of one field. A field that is missing satisfies only
/// `Exists(false)`, `Ne` and `NotIn` (R2).
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    /// Equal to any of these (`eq`, a scalar, a list).
    AnyOf(Vec<Value>),
    Ne(Value),
    Gt(Number),
    Gte(Number),
    Lt(Number),
    Lte(Number),
    /// Index into [`RuleSet::lists`].
    In(usize),
    NotIn(usize),
    Prefix(String),
    Cidr(Vec<Cidr>),
    Exists(bool),
}

/// A scalar of a matcher; compared by type (`"3"` is not 3).
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Text(String),
    Number(Number),
    Bool(bool),
}

/// An address block; an IPv4-mapped IPv6 address counts as IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    pub network: IpAddr,
    pub prefix_len: u8,
}

impl Cidr {
    /// Whether the address, IPv4-mapped or not, lies in the block.
    pub fn contains(self, address: IpAddr) -> bool {
        let shift = |bits: u32| bits - u32::from(self.prefix_len).min(bits);
        match (self.network, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let (network, address) = (network.to_bits(), address.to_bits());
                network.checked_shr(shift(32)) == address.checked_shr(shift(32))
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let (network, address) = (network.to_bits(), address.to_bits());
                network.checked_shr(shift(128)) == address.checked_shr(shift(128))
            }
            _ => false,
        }
    }
}
