//! Rows against a plain map of what was put into them.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// Counters that differ by a number: whole or small in a column of numbers, whole or a habit
/// in one of habits.
fn held(column: Column, n: u64) -> Held {
    let word = n.to_le_bytes();
    let byte = |at: usize| word[at % 8];
    match column {
        _ if n.is_multiple_of(3) => Held::Whole(u32::from_le_bytes(std::array::from_fn(byte))),
        Column::Number => {
            Held::Small(Small::of_bytes(&std::array::from_fn(byte), n.is_multiple_of(2)))
        }
        Column::Habit => Held::Habit(Habit::of_bytes(&std::array::from_fn(byte))),
        Column::Shown => Held::Value((n.wrapping_mul(7), n.cast_signed() >> 17)),
    }
}

fn same(one: Option<Held>, other: Option<Held>) -> bool {
    format!("{one:?}") == format!("{other:?}")
}

fn columns(bits: u32, len: usize) -> Vec<Column> {
    let column = |at: usize| if bits >> at & 1 == 1 { Column::Habit } else { Column::Number };
    let mut columns: Vec<Column> = (0..len).map(column).collect();
    columns.iter_mut().take(bits as usize % 3).for_each(|column| *column = Column::Shown);
    columns
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    let few = prop::collection::vec(any::<u8>(), 0..30);
    let many = prop::collection::vec(any::<u8>(), TEXT_MAX - 2..TEXT_MAX + 60);
    prop_oneof![5 => few, 1 => many]
}

#[derive(Debug, Clone, Default)]
struct Known {
    text: Vec<u8>,
    notes: Notes,
    held: BTreeMap<usize, Held>,
}

proptest! {
    #[test]
    fn what_is_put_into_a_row_stays_until_it_is_taken(
        (len, bits) in (0..=COLUMNS_MAX, any::<u32>()),
        steps in prop::collection::vec((0..10_u8, 0..40_usize, any::<u64>(), text()), 1..200),
    ) {
        let mut columns = columns(bits, len);
        let (mut rows, mut free) = (Rows::default(), Vec::new());
        rows.set_columns(&columns);
        let mut known: BTreeMap<u32, Known> = BTreeMap::new();
        for (what, at, n, text) in steps {
            let id = known.keys().nth(at % known.len().max(1)).copied();
            let column = (n % 31) as usize % columns.len().max(1);
            match (what, id) {
                (0..=1, _) => {
                    let id = rows.put(&mut free, &text);
                    let before = known.insert(id, Known { text, ..Known::default() });
                    prop_assert!(before.is_none());
                }
                (2, Some(id)) => {
                    rows.clear(id);
                    free.push(id);
                    known.remove(&id);
                }
                (3, Some(id)) => {
                    let notes = Notes { apart: u16::from(n.to_le_bytes()[0]), is_young: n.is_multiple_of(2) };
                    rows.set_notes(id, notes);
                    known.get_mut(&id).unwrap().notes = notes;
                }
                (4, Some(id)) => {
                    let own = known.get_mut(&id).unwrap().held.remove(&column);
                    prop_assert!(same(rows.take(id, column), own));
                }
                (5, _) if n.is_multiple_of(8) => {
                    columns = columns_with_one_more(&columns);
                    rows.set_columns(&columns);
                }
                (6, Some(id)) => {
                    // Other content of a counter that stands in its row.
                    let own = &mut known.get_mut(&id).unwrap().held;
                    match (rows.at(id, column), own.get_mut(&column)) {
                        (At::Small(spot), Some(own)) => {
                            let Stands::Row { at, is_odd } = spot.stands() else { unreachable!() };
                            let small = Small::of_bytes(&[n.to_le_bytes()[0]; 12], is_odd);
                            rows.set_small(at, small);
                            *own = Held::Small(small);
                        }
                        (At::Habit(spot), Some(own)) => {
                            let Stands::Row { at, .. } = spot.stands() else { unreachable!() };
                            let habit = Habit::of_bytes(&[n.to_le_bytes()[0]; 28]);
                            assert!(rows.change_habit(at, |own| {
                                *own = habit;
                                true
                            }));
                            *own = Held::Habit(habit);
                        }
                        _ => {}
                    }
                }
                (_, Some(id)) if !columns.is_empty() => {
                    let held = held(columns[column], n);
                    prop_assert!(rows.set(id, column, held));
                    known.get_mut(&id).unwrap().held.insert(column, held);
                }
                _ => {}
            }
            for (id, Known { text, notes, held }) in &known {
                prop_assert_eq!(rows.text(*id), text);
                prop_assert_eq!(rows.notes(*id), *notes);
                let apart = u16::try_from(held.keys().filter(|at| columns[**at] != Column::Shown).count());
                prop_assert_eq!(rows.cells(*id), notes.apart + apart.unwrap());
                for column in 0..columns.len() {
                    let own = held.get(&column).copied();
                    prop_assert_eq!(rows.at(*id, column) == At::Nowhere, own.is_none());
                    if (n >> (*id % 32)) & 1 == 1 {
                        // From now on its row is the one that was looked for last.
                        prop_assert_eq!(rows.seek(*id, column), rows.at(*id, column));
                    }
                    prop_assert!(same(rows.held(*id, column), own));
                }
                rows.near(*id);
                rows.near_row(*id);
            }
        }
        for id in free {
            prop_assert_eq!((rows.text(id), rows.notes(id)), (&[][..], Notes::default()));
            prop_assert_eq!(rows.at(id, 0), At::Nowhere);
        }
    }
}

fn columns_with_one_more(columns: &[Column]) -> Vec<Column> {
    let more = (columns.len() < COLUMNS_MAX).then_some(Column::Number);
    columns.iter().copied().chain(more).collect()
}

#[test]
fn a_column_has_no_room_for_another_kind() {
    let (mut rows, mut free) = (Rows::default(), Vec::new());
    rows.set_columns(&[Column::Number, Column::Habit]);
    let id = rows.put(&mut free, b"u-1");
    assert!(!rows.set(id, 1, held(Column::Number, 1)) && !rows.set(id, 0, held(Column::Habit, 1)));
    assert!(!rows.set(id, 2, Held::Whole(7)));
    assert_eq!([0, 1, 2].map(|column| rows.at(id, column)), [At::Nowhere; 3]);
}

#[test]
fn a_row_takes_no_more_than_it_needs() {
    let (mut rows, mut free) = (Rows::default(), Vec::new());
    rows.set_columns(&columns(2, 11));
    for n in 0..1_000_u32 {
        let id = rows.put(&mut free, format!("u-{n:07}").as_bytes());
        for (at, column) in columns(2, 2).into_iter().enumerate() {
            assert!(rows.set(id, at, held(column, 1)));
        }
    }
    // Size, length, notes, forms; text; a small counter and a habit.
    let row = (4 + 3_usize + 9 + 12 + 28).next_multiple_of(4);
    let bytes = rows.bytes() / 1_000;
    assert!(bytes >= row + 4 && bytes < row + 4 + 40, "{bytes} bytes a row, needed {row}");
}

/// What is left of a row may end where its page does.
#[test]
fn a_row_may_end_where_its_page_ends() {
    let (mut rows, mut free) = (Rows::default(), Vec::new());
    rows.set_columns(&[Column::Habit]);
    // Without its counter a row has 4 + 1 + 11 bytes: a page is a multiple of that.
    for n in 0..30_000_u64 {
        let id = rows.put(&mut free, format!("u-{n:09}").as_bytes());
        assert!(rows.set(id, 0, held(Column::Habit, 3 * n + 1)));
        if let Some(last) = id.checked_sub(1) {
            assert!(same(rows.take(last, 0), Some(held(Column::Habit, 3 * n - 2))));
            assert_eq!((rows.at(last, 0), rows.text(last).len()), (At::Nowhere, 11));
        }
    }
}
