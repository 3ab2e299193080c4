//! `baseline` of a z-score: what counts as usual (R11).

use super::node::Node;
use super::section::{Fields, Reader, as_f64};
use super::types::{Baseline, Field, KeySpec, Method, Number, Period, Season, Window};

const KEYS: [&str; 6] = ["method", "history", "min_windows", "min_sd", "season", "neighbours"];
const METHODS: [(&str, Named); 4] = [
    ("mean", Named::Plain(Method::Mean)),
    ("robust", Named::Plain(Method::Robust)),
    ("ewma", Named::Plain(Method::Ewma)),
    ("seasonal", Named::Seasonal),
];
const DAY_MS: i64 = 86_400_000;
/// Windows of a baseline.
const HISTORY_MAX: i64 = 10_000;
/// Seasons of a baseline.
const SEASONS_MAX: i64 = 100;
/// Windows that a seasonal baseline keeps for each key, 8 bytes each.
const KEPT_MAX: i64 = 100_000;
/// Slots on each side.
const NEIGHBOURS_MAX: i64 = 12;

/// A method by its name; what a season is stands beside it.
#[derive(Debug, Clone, Copy)]
enum Named {
    Plain(Method),
    Seasonal,
}

impl Reader<'_> {
    pub(super) fn baseline(
        &mut self,
        fields: Fields<'_>,
        default: Method,
        window: Option<Window>,
        per: Option<&KeySpec>,
    ) -> Option<Baseline> {
        let plain = Baseline { method: default, history: 60, min_windows: 30, min_sd: 1.0 };
        let Some(node) = fields.get("baseline") else { return Some(plain) };
        let fields = self.map(node, "`baseline`", &KEYS)?;
        let min_sd = self.optional(fields, "min_sd", |r, at| {
            let value = r.number(at, "`min_sd`")?;
            if as_f64(value) <= 0.0 {
                r.fault(at, "`min_sd` is more than 0");
            }
            Some(value)
        });
        let method = self.optional(fields, "method", |r, at| r.word(at, "method", &METHODS));
        let baseline = match method.map(|named| named.unwrap_or(Named::Plain(default))) {
            None => {
                self.recent(fields, plain);
                None
            }
            Some(Named::Plain(method)) => {
                for (key, _) in ["season", "neighbours"].iter().filter_map(|key| fields.entry(key))
                {
                    let hint = Some("write `method: seasonal`".into());
                    self.fault_hint(key, "only seasonal baselines have this key", hint);
                }
                self.recent(fields, Baseline { method, ..plain })
            }
            Some(Named::Seasonal) => self.seasonal(fields, window, per),
        };
        let min_sd = min_sd?.map_or(1.0, |value: Number| as_f64(value));
        Some(Baseline { min_sd, ..baseline? })
    }

    /// A baseline of the windows just before.
    fn recent(&mut self, fields: Fields<'_>, plain: Baseline) -> Option<Baseline> {
        let history =
            self.optional(fields, "history", |r, at| r.integer(at, "`history`", 2, HISTORY_MAX));
        let least = self.min_windows(fields);
        let history = u32::try_from(history?.unwrap_or(60)).ok()?;
        let bounded = plain.method != Method::Ewma;
        let default = if bounded { history.min(30) } else { plain.min_windows };
        let min_windows = least?.unwrap_or(default);
        if let Some(at) = fields.get("min_windows") {
            if bounded && min_windows > history {
                self.fault(at, format!("`min_windows` is more than `history`, {history}"));
            }
            if plain.method == Method::Mean && min_windows < 2 {
                self.fault(at, "a standard deviation needs 2 windows");
            }
        }
        Some(Baseline { history, min_windows, ..plain })
    }

    #[expect(clippy::option_option, reason = "at fault, left out and given are three cases")]
    fn min_windows(&mut self, fields: Fields<'_>) -> Option<Option<u32>> {
        self.optional(fields, "min_windows", |r, at| {
            let value = r.integer(at, "`min_windows`", 1, HISTORY_MAX)?;
            u32::try_from(value).ok()
        })
    }

    /// A baseline of the windows of the same slot in past seasons.
    fn seasonal(
        &mut self,
        fields: Fields<'_>,
        window: Option<Window>,
        per: Option<&KeySpec>,
    ) -> Option<Baseline> {
        let at = fields.get("method").unwrap_or(fields.node);
        let many = |field: &Field| matches!(field, Field::User | Field::Device | Field::Ip);
        if per.is_some_and(|per| per.fields.iter().any(many)) {
            let hint = "it keeps every window of all its seasons, too much for each user, device \
                or address; there `ewma` is the method";
            let message = "`seasonal` needs `per: global`, `source` or `attrs.NAME`";
            self.fault_hint(at, message, Some(hint.into()));
        }
        let history =
            self.optional(fields, "history", |r, at| r.integer(at, "`history`", 2, SEASONS_MAX));
        let neighbours = self.optional(fields, "neighbours", |r, at| {
            r.integer(at, "`neighbours`", 0, NEIGHBOURS_MAX)
        });
        let least = self.min_windows(fields);
        let season_ms = self.optional(fields, "season", |r, at| r.duration(at, "`season`"));
        let season_ms = season_ms?.unwrap_or(7 * DAY_MS);
        let (history, neighbours) = (history?.unwrap_or(8), neighbours?);
        let place = fields.get("season").unwrap_or(at);
        let window_ms = self.window_of_season(place, window?, season_ms)?;
        let windows = season_ms / window_ms;
        let default = i64::from(windows >= 3 && window_ms < DAY_MS);
        let slots = 1 + 2 * neighbours.unwrap_or(default);
        if slots > windows {
            let place = fields.get("neighbours").unwrap_or(place);
            let message =
                format!("a season has {windows} windows, the slot and its neighbours {slots}");
            self.fault(place, message);
        }
        if history.saturating_mul(windows) > KEPT_MAX {
            let message = format!(
                "{history} seasons have {} windows, and each key keeps at most {KEPT_MAX}",
                history.saturating_mul(windows)
            );
            let hint = Some("take a longer window, a shorter season or fewer seasons".into());
            self.fault_hint(fields.get("history").unwrap_or(place), message, hint);
            return None;
        }
        // Three seasons of values; of days, which have no neighbours, four.
        let default = (3 * slots).max(4).min(history * slots);
        let min_windows = least?.map_or(default, i64::from);
        if let Some(at) = fields.get("min_windows").filter(|_| min_windows > history * slots) {
            let message =
                format!("`min_windows` is more than {history} seasons have, {}", history * slots);
            self.fault_hint(at, message, Some("take more seasons or `neighbours`".into()));
        }
        let season = Season {
            length_ms: season_ms,
            windows: u32::try_from(windows).ok()?,
            neighbours: u32::try_from((slots - 1) / 2).ok()?,
        };
        Some(Baseline {
            method: Method::Seasonal(season),
            history: u32::try_from(history).ok()?,
            min_windows: u32::try_from(min_windows).ok()?,
            min_sd: 1.0,
        })
    }

    /// The length of a window that a season is made of.
    fn window_of_season(&mut self, at: &Node, window: Window, season_ms: i64) -> Option<i64> {
        let (window_ms, name) = match window {
            Window::Duration(window_ms) => (window_ms, "the window"),
            Window::Calendar(Period::Day) => (DAY_MS, "a day"),
            Window::Calendar(_) => {
                let hint = Some("such as `window: day` or `window: 1h`".into());
                self.fault_hint(at, "a season is made of days or of fixed windows", hint);
                return None;
            }
        };
        if season_ms % window_ms != 0 || season_ms < 2 * window_ms {
            let hint = Some("such as `season: 7d`: the same slot of the week".into());
            let message = format!("`season` is a multiple of {name}, twice as long at least");
            self.fault_hint(at, message, hint);
            return None;
        }
        Some(window_ms)
    }
}

#[cfg(test)]
mod tests;
