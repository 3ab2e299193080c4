//! Quiet hours through midnight, weekends and the days on which clocks change.

use crate::notify::routes::QuietSettings;
use crate::rule::Severity;

fn ends(settings: &str, severity: Severity, at: &str) -> Option<String> {
    let settings: QuietSettings = serde_saphyr::from_str(settings).unwrap();
    let quiet = settings.checked().unwrap();
    let at: jiff::Timestamp = at.parse().unwrap();
    let end = quiet.ends_at(severity, at.as_millisecond())?;
    Some(jiff::Timestamp::from_millisecond(end).unwrap().to_string())
}

#[test]
fn nights_weekends_and_days_on_which_clocks_change() {
    let night = r#"{ from: "22:00", to: "07:00", zone: Europe/Berlin }"#;
    let noon = r#"{ from: "12:00", to: "13:30" }"#;
    let weekend = r#"{ from: "18:00", to: "08:00", days: [sat, sun], zone: Asia/Shanghai, except: [critical] }"#;
    let rows = [
        (night, "2025-11-22T20:59:59Z", None),
        (night, "2025-11-22T21:00:00Z", Some("2025-11-23T06:00:00Z")),
        (night, "2025-11-23T05:59:59Z", Some("2025-11-23T06:00:00Z")),
        (night, "2025-11-23T06:00:00Z", None),
        // Clocks go forward on 2025-03-30 and back on 2025-10-26.
        (night, "2025-03-29T22:00:00Z", Some("2025-03-30T05:00:00Z")),
        (night, "2025-10-25T21:00:00Z", Some("2025-10-26T06:00:00Z")),
        (noon, "2025-11-22T11:59:59.999Z", None),
        (noon, "2025-11-22T12:30:00Z", Some("2025-11-22T13:30:00Z")),
        // Friday evening, local time, to Monday morning.
        (weekend, "2025-11-21T10:00:00Z", Some("2025-11-24T00:00:00Z")),
        (weekend, "2025-11-21T09:59:00Z", None),
        (weekend, "2025-11-23T03:00:00Z", Some("2025-11-24T00:00:00Z")),
    ];
    for (settings, at, expected) in rows {
        let ended = ends(settings, Severity::Warning, at);
        assert_eq!(ended.as_deref(), expected, "{settings} {at}");
    }
    assert_eq!(ends(weekend, Severity::Critical, "2025-11-23T03:00:00Z"), None);
}

#[test]
fn what_makes_no_sense_is_told() {
    let rows = [
        ("{}", "says no time"),
        (r#"{ from: "22:00" }"#, "go together"),
        (r#"{ from: "22:00", to: "22:00" }"#, "are the same"),
        (r#"{ from: "22", to: "7:00" }"#, "`22` is no time of day"),
        (r#"{ from: "22:00", to: "24:30" }"#, "`24:30` is no time of day"),
        ("{ days: [caturday] }", "`caturday` is no day"),
        ("{ days: [mon, tue, wed, thu, fri, sat, sun] }", "all seven"),
        ("{ days: [sat], zone: Mars/Base }", "`Mars/Base` is no IANA time zone"),
    ];
    for (settings, expected) in rows {
        let settings: QuietSettings = serde_saphyr::from_str(settings).unwrap();
        let told = settings.checked().unwrap_err();
        assert!(told.contains(expected), "{told}");
    }
}
