//! Results of rule tests as `JUnit` XML.

use std::path::PathBuf;

use super::rule_tests::Ran;

/// One suite with a case each.
pub(super) fn junit(results: &[(PathBuf, Ran)]) -> String {
    let failed = results.iter().filter(|(_, ran)| !ran.result.passed()).count();
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let total = results.len();
    let mut line = |text: String| {
        xml.push_str(&text);
        xml.push('\n');
    };
    line(format!("<testsuite name=\"tidegate rules\" tests=\"{total}\" failures=\"{failed}\">"));
    for (file, ran) in results {
        let (file, name) = (escaped(&file.display().to_string()), escaped(&ran.result.name));
        let place = format!("file=\"{file}\" line=\"{}\"", ran.result.line);
        let case = format!("<testcase classname=\"{file}\" name=\"{name}\" {place}");
        if ran.result.passed() {
            line(format!("  {case}/>"));
        } else {
            let told = escaped(&ran.told().join("\n"));
            let message = "message=\"other decisions than expected\"";
            line(format!("  {case}><failure {message}>{told}</failure></testcase>"));
        }
    }
    line("</testsuite>".to_owned());
    xml
}

/// Text of an element or attribute. Characters that XML 1.0 does not have become `�`.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("&#10;"),
            '\t' => out.push_str("&#9;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use quick_xml::events::Event;
    use quick_xml::{Reader, XmlVersion};

    use super::junit;
    use crate::backtest::cases::{Case, CaseResult, Step};
    use crate::cli::rule_tests::Ran;

    fn ran(name: &str, problems: Vec<String>) -> Ran {
        let case = Case { name: name.into(), events: vec![], expect: vec![], line: 7 };
        let result = CaseResult {
            name: name.into(),
            line: 7,
            problems,
            got: vec![],
            steps: Vec::<Step>::new(),
            left_out: 0,
            fired: std::collections::BTreeSet::new(),
        };
        Ran { case, result }
    }

    #[test]
    fn whatever_a_case_is_called_the_file_is_xml() {
        let name = "a <b> & \"c\"\n\t\u{1}\u{0}\u{ffff} ]]> 名单";
        let results = [
            ("r/ü&.test.yaml".into(), ran("fine", vec![])),
            ("r/ü&.test.yaml".into(), ran(name, vec![name.to_owned()])),
        ];
        let xml = junit(&results);
        let mut reader = Reader::from_str(&xml);
        reader.config_mut().check_end_names = true;
        let (mut names, mut open) = (Vec::new(), 0);
        loop {
            let event = reader.read_event().unwrap();
            if let Event::Start(tag) | Event::Empty(tag) = &event {
                let mut attributes = tag.attributes().map(Result::unwrap);
                let name = attributes.find(|attribute| attribute.key.as_ref() == b"name");
                names.extend(name.map(|name| {
                    name.normalized_value(XmlVersion::Implicit1_0).unwrap().into_owned()
                }));
            }
            match event {
                Event::Start(_) => open += 1,
                Event::End(_) => open -= 1,
                Event::Text(text) => assert!(text.decode().is_ok()),
                Event::Eof => break,
                _ => {}
            }
        }
        assert_eq!(open, 0);
        let clean = "a <b> & \"c\"\n\t\u{fffd}\u{fffd}\u{fffd} ]]> 名单";
        assert_eq!(names, ["tidegate rules", "fine", clean]);
        assert!(!xml.contains(|c: char| c.is_control() && c != '\n'), "{xml:?}");
    }
}
