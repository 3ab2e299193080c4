//! Values as YAML in one line, as test files write them: `{ event: 1, rule: cap }`.

use serde_json::Value;

/// One line that reads back to the same value.
pub(super) fn flow(value: &Value) -> String {
    match value {
        Value::String(text) if is_word(text) => text.clone(),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", "))
        }
        Value::Object(fields) if !fields.is_empty() => {
            let field = |(name, value): (&String, &Value)| {
                format!("{}: {}", flow(&Value::String(name.clone())), flow(value))
            };
            format!("{{ {} }}", fields.iter().map(field).collect::<Vec<_>>().join(", "))
        }
        // JSON is YAML, and so are its quoted texts.
        _ => value.to_string(),
    }
}

/// Text that needs no quotes and cannot be taken for anything else.
fn is_word(text: &str) -> bool {
    let begins = text.starts_with(|c: char| c.is_alphabetic());
    let word = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | '@');
    let taken = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    begins && text.chars().all(word) && !taken.contains(&text.to_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::flow;

    #[test]
    fn a_line_reads_back_to_its_value() {
        let rows = [
            (json!({ "event": 0, "rule": "user-daily-cap" }), "{ event: 0, rule: user-daily-cap }"),
            (json!([{}, [], null, true, 1.5, -3]), "[{}, [], null, true, 1.5, -3]"),
            (
                json!(["Yes", "12", "a b", "", "名单", "1e5", "#x"]),
                r##"["Yes", "12", "a b", "", 名单, "1e5", "#x"]"##,
            ),
            (json!({ "global": true, "a: b": "c\n\"d" }), r#"{ global: true, "a: b": "c\n\"d" }"#),
        ];
        for (value, text) in rows {
            assert_eq!(flow(&value), text);
            let read: Value = serde_saphyr::from_str(text).unwrap();
            assert_eq!(read, value);
        }
    }
}
