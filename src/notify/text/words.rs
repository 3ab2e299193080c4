//! What things are called, in each language: severities, fields, measures, windows, instants,
//! actions.
//!
//! Ids, names of rules and texts that people wrote stand as they are in every language.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Map, Value};

use crate::event::EventTime;
use crate::notify::receivers::Language;
use crate::rule::{Severity, parse_duration};

/// The words of templates, `t` there: name, English, Chinese.
const WORDS: &[(&str, &str, &str)] = &[
    ("colon", ": ", "："),
    ("comma", ", ", "，"),
    ("semicolon", "; ", "；"),
    ("who", "Who", "对象"),
    ("rule", "Rule", "规则"),
    ("value", "Value", "数值"),
    ("window", "Window", "窗口"),
    ("resets", "resets", "重置于"),
    ("done", "Done", "处置"),
    ("would_have", "Would have", "本应执行"),
    ("nothing_done", "nothing but this notice", "仅通知"),
    ("at", "At", "时间"),
    ("decision", "Decision", "决策"),
    ("baseline", "Baseline", "基线"),
    ("forecast", "Forecast", "预测"),
    ("actor", "By", "操作人"),
    ("reason", "Reason", "原因"),
    ("why", "Why it fired", "触发原因"),
    ("ack", "Acknowledge", "确认"),
    ("also", "Also", "另有"),
    ("all", "All of them", "全部"),
    ("rest_behind", "all listed behind the link", "详见链接"),
    ("rest_at", "all in the decisions topic", "全部见决策主题"),
    ("glue", " ", "，"),
    ("resets_at", "Resets", "重置时间"),
    ("bound", "bound", "阈值"),
    ("daily_of", "Points account of", "积分日报"),
    ("incomplete", "Not complete, still to come", "尚不完整，仍未到达"),
    ("counted_since", "counted since", "统计起始于"),
    ("points", "Points", "积分"),
    ("events", "events", "笔"),
    ("month", "month", "本月"),
    ("quarter", "quarter", "本季"),
    ("year", "year", "本年"),
    ("issued", "Issued", "发放"),
    ("redeemed", "Redeemed", "兑换"),
    ("expired", "Expired", "过期"),
    ("adjusted", "Adjusted", "调整"),
    ("back_issued", "Issues reversed", "发放冲正"),
    ("back_redeemed", "Redemptions reversed", "兑换冲正"),
    ("back_expired", "Expiries reversed", "过期冲正"),
    ("back_adjusted", "Adjustments reversed", "调整冲正"),
    ("back_other", "Other reversals", "其他冲正"),
    ("net", "Net", "净变动"),
    ("corrections", "Corrections of earlier days", "此前日期的更正"),
    ("sources", "By source", "按来源"),
    ("no_source", "(no source)", "（无来源）"),
    ("other_sources", "(other sources)", "（其他来源）"),
    ("caps", "Caps", "限额"),
    ("reached", "reached", "预计达到于"),
    ("decisions", "Decisions", "决策"),
    ("level", "level", "级别"),
    ("records", "Records", "记录核对"),
    ("accepted", "accepted", "接受"),
    ("duplicate", "duplicate", "重复"),
    ("late", "late", "迟到"),
    ("quarantined", "quarantined", "隔离"),
    ("partition", "Partition", "分区"),
];

/// The words of one language.
pub(super) fn table(language: Language) -> Map<String, Value> {
    let word = |(name, en, zh): (&str, &str, &str)| {
        let word = match language {
            Language::En => en,
            Language::Zh => zh,
        };
        (name.to_owned(), Value::from(word))
    };
    WORDS.iter().copied().map(word).collect()
}

/// Phrases of one language, with the zone that instants are told in where nothing gives another.
#[derive(Debug, Clone)]
pub(super) struct Words {
    pub(super) language: Language,
    pub(super) zone: TimeZone,
}

impl Words {
    fn pick(&self, en: &'static str, zh: &'static str) -> &'static str {
        match self.language {
            Language::En => en,
            Language::Zh => zh,
        }
    }

    pub(super) fn severity(&self, severity: Severity) -> &'static str {
        match severity {
            Severity::Info => self.pick("info", "提示"),
            Severity::Warning => self.pick("warning", "警告"),
            Severity::Critical => self.pick("critical", "严重"),
        }
    }

    /// `user u-1***, device d-9***`.
    pub(super) fn who(&self, key: &Map<String, Value>) -> String {
        if key.contains_key("global") {
            return self.pick("everyone", "全体").to_owned();
        }
        let parts: Vec<String> = key
            .iter()
            .map(|(field, value)| match value {
                Value::String(text) => format!("{} {text}", self.field(field)),
                other => format!("{} {other}", self.field(field)),
            })
            .collect();
        parts.join(self.pick(", ", "，"))
    }

    fn field<'a>(&self, field: &'a str) -> &'a str {
        match (self.language, field) {
            (Language::Zh, "user") => "用户",
            (Language::Zh, "device") => "设备",
            (Language::Zh, "source") => "来源",
            (Language::Zh, "rule") => "规则",
            (Language::Zh, "list") => "名单",
            (Language::Zh, "instance") => "实例",
            (Language::Zh, "date") => "日期",
            _ => field.strip_prefix("attrs.").unwrap_or(field),
        }
    }

    /// Rules and decisions name measures in English.
    pub(super) fn measure(&self, measure: &str) -> String {
        if self.language == Language::En {
            return measure.to_owned();
        }
        if let Some((of, to)) = measure.split_once(" / ") {
            return format!("{} / {}", self.measure(of), self.measure(to));
        }
        match measure {
            "count" => "次数".to_owned(),
            "sum(points)" => "积分合计".to_owned(),
            "max(points)" => "单笔最高积分".to_owned(),
            _ => match measure.strip_prefix("distinct(").and_then(|rest| rest.strip_suffix(')')) {
                Some(field) => format!("不同{}数", self.field(field)),
                None => measure.to_owned(),
            },
        }
    }

    /// A window's label (D1). The second is true of a calendar period, which ends for all at once.
    pub(super) fn window(&self, label: &str) -> (String, bool) {
        let mut words = label.splitn(3, ' ');
        let (Some(period), Some(name)) = (words.next(), words.next()) else {
            return (self.duration(label), false);
        };
        if self.language == Language::En {
            return (label.to_owned(), true);
        }
        let text = match (period, name.split_once('-')) {
            ("day", _) => format!("{name} 当日"),
            ("week", Some((year, week))) => {
                format!("{year} 年第 {} 周", week.trim_start_matches(['W', '0']))
            }
            ("month", Some((year, month))) => {
                format!("{year} 年 {} 月", month.trim_start_matches('0'))
            }
            ("quarter", Some((year, quarter))) => {
                format!("{year} 年第 {} 季度", quarter.trim_start_matches('Q'))
            }
            ("year", _) => format!("{name} 年"),
            _ => label.to_owned(),
        };
        (text, true)
    }

    /// `10m`, or `10 分钟`.
    fn duration(&self, text: &str) -> String {
        if self.language == Language::En || parse_duration(text).is_none() {
            return text.to_owned();
        }
        let units = [("ms", " 毫秒"), ("s", " 秒"), ("m", " 分钟"), ("h", " 小时"), ("d", " 天")];
        let spelled = units.iter().find_map(|(unit, word)| {
            let number = text.strip_suffix(unit)?;
            number.bytes().all(|byte| byte.is_ascii_digit()).then(|| format!("{number}{word}"))
        });
        spelled.unwrap_or_else(|| text.to_owned())
    }

    /// The zone that a calendar window's label ends with, else that of the settings.
    pub(super) fn zone_of(&self, label: Option<&str>) -> TimeZone {
        label
            .and_then(|label| label.rsplit_once(' '))
            .and_then(|(_, name)| TimeZone::get(name).ok())
            .unwrap_or_else(|| self.zone.clone())
    }

    /// `7` more, in words.
    pub(super) fn more(&self, count: usize) -> String {
        match (self.language, count) {
            (_, 0) => String::new(),
            (Language::En, count) => format!("and {} more", grouped(count)),
            (Language::Zh, count) => format!("另有 {} 项", grouped(count)),
        }
    }

    /// What was done, of the lines of a decision: `freeze issue until …` with local instants.
    pub(super) fn action(&self, line: &str, zone: &TimeZone) -> String {
        let Some(told) = Told::read(line, zone) else { return line.to_owned() };
        let said = match self.language {
            Language::En => told.english(),
            Language::Zh => told.chinese(),
        };
        said.unwrap_or_else(|| line.to_owned())
    }
}

/// The parts of an action's line.
struct Told<'a> {
    command: &'a str,
    scope: Option<&'a str>,
    points: Option<&'a str>,
    end: Option<String>,
    forever: bool,
}

impl<'a> Told<'a> {
    /// `None` when there is a word in it that is not known.
    fn read(line: &'a str, zone: &TimeZone) -> Option<Told<'a>> {
        let mut words = line.split(' ');
        let command = words.next()?;
        let mut told = Told { command, scope: None, points: None, end: None, forever: false };
        while let Some(word) = words.next() {
            match word {
                "until" => {
                    let at = words.next()?.parse::<Timestamp>().ok()?;
                    told.end = Some(short(at.as_millisecond(), zone, true));
                }
                "forever" => told.forever = true,
                "account" | "issue" | "redeem" | "activity" => told.scope = Some(word),
                "all" => told.points = Some(word),
                _ if word.parse::<i64>().is_ok() => told.points = Some(word),
                _ => return None,
            }
        }
        Some(told)
    }

    fn english(&self) -> Option<String> {
        let end = match (&self.end, self.forever) {
            (Some(end), _) => format!(" until {end}"),
            (None, true) => " for ever".to_owned(),
            (None, false) => String::new(),
        };
        let scope = self.scope.map(|scope| format!(" {scope}")).unwrap_or_default();
        Some(match (self.command, self.points) {
            ("freeze", _) => format!("freeze{scope}{end}"),
            // A freeze that a budget held back.
            ("review", _) if !scope.is_empty() => format!("held for review: freeze{scope}{end}"),
            ("review", _) => "for review".to_owned(),
            ("unfreeze", _) => format!("unfreeze{scope}"),
            ("deduct", Some("all")) => "deduct all points".to_owned(),
            ("deduct", Some(points)) => format!("deduct {} points", digits(points)),
            _ => return None,
        })
    }

    fn chinese(&self) -> Option<String> {
        let end = match (&self.end, self.forever) {
            (Some(end), _) => format!("至 {end}"),
            (None, true) => "（永久）".to_owned(),
            (None, false) => String::new(),
        };
        let scope = match self.scope {
            Some("account") => "账户",
            Some("issue") => "发放",
            Some("redeem") => "兑换",
            Some("activity") => "活动资格",
            _ => "",
        };
        Some(match (self.command, self.points) {
            ("freeze", _) => format!("冻结{scope}{end}"),
            ("review", _) if !scope.is_empty() => format!("待复核：冻结{scope}{end}"),
            ("review", _) => "转人工复核".to_owned(),
            ("unfreeze", _) => format!("解冻{scope}"),
            ("deduct", Some("all")) => "扣除全部积分".to_owned(),
            ("deduct", Some(points)) => format!("扣除 {} 积分", digits(points)),
            _ => return None,
        })
    }
}

/// `2025-11-22 10:40:00 +08:00`; `text` alone where it is out of range.
pub(super) fn instant(at: EventTime, zone: &TimeZone) -> String {
    written(at.0, zone, "%Y-%m-%d %H:%M:%S %:z")
}

/// `10:40:00`, of the same day as others of a notice most often.
pub(super) fn time(at: EventTime, zone: &TimeZone) -> String {
    written(at.0, zone, "%H:%M:%S")
}

/// Without seconds if there are none; the zone where one is wanted.
pub(super) fn short(at_ms: i64, zone: &TimeZone, with_zone: bool) -> String {
    let seconds = if at_ms.rem_euclid(60_000) == 0 { "" } else { ":%S" };
    let zone_of = if with_zone { " %:z" } else { "" };
    written(at_ms, zone, &format!("%Y-%m-%d %H:%M{seconds}{zone_of}"))
}

/// For short messages: `11-23 00:00`.
pub(super) fn shortest(at_ms: i64, zone: &TimeZone) -> String {
    written(at_ms, zone, "%m-%d %H:%M")
}

fn written(at_ms: i64, zone: &TimeZone, form: &str) -> String {
    Timestamp::from_millisecond(at_ms).map_or_else(
        |_| at_ms.to_string(),
        |at| at.to_zoned_datetime(zone.clone()).strftime(form).to_string(),
    )
}

/// Digits in groups of three: `5,120`, `-1,000`, `0.35`.
pub(super) fn number(value: &Value) -> String {
    match value {
        Value::Number(number) if number.is_f64() => {
            let text = format!("{:.2}", number.as_f64().unwrap_or_default());
            match text.split_once('.') {
                Some((whole, part)) => {
                    let part = part.trim_end_matches('0');
                    let dot = if part.is_empty() { "" } else { "." };
                    format!("{}{dot}{part}", digits(whole))
                }
                None => text,
            }
        }
        Value::Number(number) => digits(&number.to_string()),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn grouped(count: usize) -> String {
    digits(&count.to_string())
}

fn digits(text: &str) -> String {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text),
    };
    let mut out = sign.to_owned();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests;
