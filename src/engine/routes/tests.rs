//! A route says what asking the rule's filter would.

use super::*;
use crate::rule::{Source as File, load};

const RULES: &str = "
version: 1
rules:
  - { name: games, on: issue, where: { source: [quiz, lottery] }, measure: count, window: day, above: 1 }
  - { name: earned, on: issue, where: { source: { ne: purchase } }, measure: count, window: day, above: 1 }
  - { name: big, where: { source: quiz, points: { gte: 9 } } }
  - { name: bare, on: [issue, expire], where: { source: { exists: false } }, measure: count, window: day, above: 1 }
  - { name: either, where: { any: [{ source: quiz }, { source: shop }] } }
  - { name: off, mode: off, on: issue, measure: count, window: day, above: 1 }
  - name: ratio
    per: global
    ratio: { of: { on: redeem, measure: count }, to: { on: issue, where: { source: quiz }, measure: count } }
    window: day
    above: 2
";

fn seen(kind: Kind, source: Option<&str>) -> Vec<(String, Sees, Sees)> {
    let set = load(&[File { path: "r.yaml".into(), text: RULES.into() }]).unwrap();
    let named = source.map_or(String::new(), |source| format!(r#","source":"{source}""#));
    let text =
        format!(r#"{{"id":"e","ts":1763779200123,"user":"u","kind":"{kind}","points":1{named}}}"#);
    let event = crate::event::Decoder::default().decode(text.as_bytes(), 1000).unwrap();
    let routes = Routes::new(&set, |rule| (Looks::Nothing, Seat { rule, column: rule }));
    let named = |route: &Route| (set.rules[route.rule].name.clone(), route.of, route.to);
    routes.of(&event, source.map(hash_of)).routes.iter().map(named).collect()
}

fn expect(kind: Kind, source: Option<&str>, expected: &[(&str, Sees, Sees)]) {
    let expected: Vec<_> =
        expected.iter().map(|(name, of, to)| ((*name).to_owned(), *of, *to)).collect();
    assert_eq!(seen(kind, source), expected, "{kind} {source:?}");
}

#[test]
fn kind_and_source_choose_rules() {
    use Sees::{Ask, No, Yes};
    let either = ("either", Ask, No);
    expect(
        Kind::Issue,
        Some("quiz"),
        &[("games", Yes, No), ("earned", Yes, No), ("big", Ask, No), either, ("ratio", No, Yes)],
    );
    expect(Kind::Issue, Some("purchase"), &[either]);
    expect(Kind::Issue, Some("signin"), &[("earned", Yes, No), either]);
    expect(Kind::Issue, None, &[("earned", Yes, No), ("bare", Yes, No), either]);
    expect(Kind::Redeem, Some("shop"), &[either, ("ratio", Yes, No)]);
    expect(Kind::Expire, None, &[("bare", Yes, No), either]);
}
