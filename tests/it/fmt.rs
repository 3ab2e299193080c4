//! `tidegate rules fmt`: one layout, the same rules, and every comment.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use proptest::prelude::*;
use tidegate::rule::{FormatError, Source, format, load};

use crate::rules::{FORMS, file};

const UNTIDY: &str = "# head
version:   1
timezone: 'Asia/Shanghai'


rules:
- name:  a   # trailing
  on:    [issue,redeem]
  where: {source: {ne:   purchase}, any: [ {device: x},
     {device: \"it's\"} ]}
  # before then
  then:
  -   freeze:
          for:   1d
- {name: b, on: issue   # inside
   }
- name: 名单
  description: >
    folded
      text # no comment
# tail
";

const TIDY: &str = "# head
version: 1
timezone: \"Asia/Shanghai\"

rules:
  - name: a # trailing
    on: [issue, redeem]
    where: { source: { ne: purchase }, any: [{ device: x }, { device: \"it's\" }] }
    # before then
    then:
      - freeze:
          for: 1d
  - {
      name: b,
      on: issue # inside
    }
  - name: 名单
    description: >
      folded
        text # no comment
  # tail
";

fn tidegate(arguments: &[&str], folder: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.args(["rules", "fmt"]).args(arguments).current_dir(folder).output().unwrap()
}

/// The meaning of a text, by the version of its rule set, or that it has none.
fn meaning(text: &str) -> Result<String, usize> {
    let loaded = load(&[Source { path: "r.yaml".into(), text: text.into() }]);
    loaded.map(|set| set.version).map_err(|faults| faults.len())
}

#[test]
fn an_untidy_file_becomes_tidy_once() {
    let formatted = format("r.yaml", UNTIDY).unwrap();
    assert_eq!(formatted, TIDY);
    assert_eq!(format("r.yaml", TIDY).unwrap(), TIDY);
    assert!(meaning(UNTIDY).is_ok());
    assert_eq!(meaning(UNTIDY), meaning(TIDY));
}

#[test]
fn the_shipped_rules_are_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let out = tidegate(&["rules", "--check"], root);
    assert_eq!((out.status.code(), out.stdout.as_slice()), (Some(0), &b""[..]));
}

#[test]
fn files_of_a_folder_are_written_or_only_named() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("a.yaml"), UNTIDY).unwrap();
    fs::write(at("a.test.yaml"), "tests:   []\n").unwrap();
    fs::write(at("b.yaml"), TIDY).unwrap();
    fs::write(at("c.yaml"), "version: 1\nversion:  1\n").unwrap();
    fs::write(at(".d.yaml"), "x:   1\n").unwrap();
    let check = tidegate(&[".", "--check"], folder.path());
    assert_eq!(check.status.code(), Some(1));
    assert_eq!(String::from_utf8(check.stdout).unwrap(), "./a.test.yaml\n./a.yaml\n");
    assert_eq!(fs::read_to_string(at("a.yaml")).unwrap(), UNTIDY);
    let written = tidegate(&["."], folder.path());
    assert_eq!(written.status.code(), Some(1), "c.yaml cannot be formatted");
    let said = String::from_utf8(written.stderr).unwrap();
    assert!(said.starts_with("./c.yaml:2:1: error: the key stands twice"), "{said}");
    assert_eq!(fs::read_to_string(at("a.yaml")).unwrap(), TIDY);
    assert_eq!(fs::read_to_string(at("a.test.yaml")).unwrap(), "tests: []\n");
    fs::remove_file(at("c.yaml")).unwrap();
    let again = tidegate(&[".", "--check"], folder.path());
    assert_eq!(again.status.code(), Some(0));
    assert_eq!(tidegate(&["no-such.yaml"], folder.path()).status.code(), Some(2));
}

#[test]
fn an_editor_formats_through_pipes() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.args(["rules", "fmt", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(UNTIDY.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    assert_eq!((out.status.code(), String::from_utf8(out.stdout).unwrap()), (Some(0), TIDY.into()));
}

#[test]
fn what_is_no_yaml_is_a_fault_with_its_place() {
    let Err(FormatError::Faults(faults)) = format("r.yaml", "a: [1\nb: 2\n") else {
        unreachable!("it is no YAML")
    };
    assert!(faults[0].to_string().starts_with("r.yaml:2:"), "{faults:?}");
}

#[test]
fn the_examples_of_the_tests_come_out_the_same() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/examples");
    let files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    assert!(!files.is_empty());
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let formatted = format("x", &text).unwrap();
        assert_eq!(format("x", &formatted).unwrap(), formatted, "{}", path.display());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Forms of rules, broken and commented anywhere that YAML lets one: formatted they are the
    /// same rules, and formatted again the same text.
    #[test]
    fn any_layout_of_a_form_settles(
        form in 0..FORMS.len(),
        breaks in prop::collection::vec((0usize..40, prop::sample::select(&["\n", " ", "\n\n\n", " # c\n", "  #d \n  # e\n"][..])), 0..6),
    ) {
        let parts: Vec<String> = file(FORMS[form]).split(", ").map(str::to_owned).collect();
        let mut text = String::new();
        for (at, part) in parts.iter().enumerate() {
            let gap = breaks.iter().find(|(place, _)| *place == at).map_or("", |(_, gap)| gap);
            if at > 0 {
                text.push(',');
                text.push_str(gap);
                text.push_str("       ");
            }
            text.push_str(part);
        }
        let formatted = format("r.yaml", &text);
        prop_assert!(formatted.is_ok(), "{text}\n{formatted:?}");
        let formatted = formatted.unwrap();
        prop_assert_eq!(meaning(&text), meaning(&formatted), "{}\n{}", text, formatted);
        prop_assert!(meaning(&text).is_ok());
        prop_assert_eq!(format("r.yaml", &formatted), Ok(formatted.clone()));
        prop_assert_eq!(text.matches('#').count(), formatted.matches('#').count());
    }
}
