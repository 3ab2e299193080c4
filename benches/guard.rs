//! Whether the code costs what it did: instructions an event as callgrind counts them, allocations
//! an event and bytes a user, against the figures in `guard.txt`. None depends on how busy the
//! machine is.
//!
//! `cargo guard` fails where a figure is more than [`MARGIN_PERCENT`] above the one that is kept;
//! `TIDEGATE_BLESS=1 cargo guard` keeps those of now. It needs valgrind.
//!
//! Counted is what the tests run: an optimised build takes minutes, and its counts move with what
//! the compiler chooses to inline. So instructions say how much work the code asks for, nearly the
//! same from run to run; what the optimiser makes of it, the other benches tell.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::panic,
    reason = "a bench that cannot go on should stop, and the figures are the output"
)]

mod events;

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::thread;

use events::{Events, Fold, Shape, five, shipped, ten_each};
use tidegate::engine::{Output, Plan};
use tidegate::event::{Decoder, Layouts};

/// How far a figure may be above the one that is kept. Of the same sources they differ by less than
/// one in a thousand; the standard library of another compiler is some percent.
const MARGIN_PERCENT: f64 = 3.0;

/// Events that are counted; as many go before them.
const EVENTS: usize = 4_000;
/// Users who act; most of the counted events are of those who have acted before.
const USERS: u32 = 500;
/// Events between two flushes.
const FLUSH_EVERY: usize = 1_000;

/// Users who act for the first time while memory is counted, and events of each.
const NEWCOMERS: u32 = 20_000;
const EACH: usize = 3;

/// Callgrind counts what it calls, by its name.
const COUNTED: &str = "guard::counted";

/// What is folded under which rules, in a process of its own.
const WORKS: [&str; 5] = ["decode", "five", "shipped", "10", "1000"];

/// Counts what is asked of the system's allocator.
struct Counting;

static ALLOCATIONS: AtomicI64 = AtomicI64::new(0);
static BYTES: AtomicI64 = AtomicI64::new(0);

fn note(allocations: i64, bytes: usize, gone: usize) {
    let size = |bytes: usize| i64::try_from(bytes).unwrap_or(i64::MAX);
    ALLOCATIONS.fetch_add(allocations, Ordering::Relaxed);
    BYTES.fetch_add(size(bytes) - size(gone), Ordering::Relaxed);
}

#[expect(unsafe_code, reason = "each call goes to the system's allocator as it came")]
// SAFETY: what holds of the system's allocator holds of this one, which only counts.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(1, layout.size(), 0);
        // SAFETY: by the caller's word.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(1, layout.size(), 0);
        // SAFETY: by the caller's word.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        note(0, 0, layout.size());
        // SAFETY: by the caller's word.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(1, size, layout.size());
        // SAFETY: by the caller's word.
        unsafe { System.realloc(place, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The name is what callgrind is told.
#[inline(never)]
fn counted(work: &mut dyn FnMut()) {
    work();
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["--work", "decode"] => decode(),
        ["--work", name] => fold(name),
        ["--memory", name] => remember(name),
        _ => return guard(),
    }
    ExitCode::SUCCESS
}

fn plan(name: &str) -> (Plan, u32) {
    match name {
        "five" => (five(), 0),
        "shipped" => (shipped(), 0),
        "10" => (ten_each(1), 1),
        "1000" => (ten_each(100), 100),
        _ => panic!("no rules of the name {name}"),
    }
}

/// Counts a work, and tells its allocations.
fn count(work: &mut dyn FnMut()) {
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    counted(work);
    println!("allocations {}", ALLOCATIONS.load(Ordering::Relaxed) - before);
}

fn decode() {
    let mut events = Events::new(Shape::Zipf, USERS);
    let lines = events.lines(EVENTS);
    let decoder = Decoder::default();
    let mut layouts = Layouts::default();
    count(&mut || {
        for line in lines.lines() {
            black_box(decoder.decode_alike(&mut layouts, line.as_bytes(), 65_536).unwrap());
        }
    });
}

/// Decoded, folded and written as partial aggregates, which are read back.
fn fold(name: &str) {
    let (plan, campaigns) = plan(name);
    let mut events = Events::new(Shape::Zipf, USERS).of_campaigns(campaigns);
    let mut fold = Fold::that_flushes(FLUSH_EVERY);
    fold.feed(&plan, &events.lines(EVENTS));
    let lines = events.lines(EVENTS);
    count(&mut || {
        black_box(fold.feed(&plan, &lines));
    });
}

/// What the states keep of users who have acted.
fn remember(name: &str) {
    let (plan, _) = plan(name);
    let mut events = Events::new(Shape::Uniform, NEWCOMERS);
    let mut fold = Fold::that_flushes(FLUSH_EVERY);
    fold.feed(&plan, &events.lines(FLUSH_EVERY));
    let before = BYTES.load(Ordering::Relaxed);
    for _ in 0..EACH * NEWCOMERS as usize / FLUSH_EVERY {
        fold.feed(&plan, &events.lines(FLUSH_EVERY));
    }
    // What waits to be written is no memory of users.
    (fold.out, fold.shared_out) = (Output::default(), Output::default());
    println!("bytes {}", BYTES.load(Ordering::Relaxed) - before);
    drop(fold);
}

/// The number behind `label`.
fn number(text: &str, label: &str) -> f64 {
    let rest = text.split_once(label).map(|(_, rest)| rest.trim_start());
    let rest = rest.unwrap_or_else(|| panic!("no {label} in {text}"));
    rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
}

/// Runs this program on a work, below another one if there is a `tool`; returns all it said.
fn run(tool: &[&str], work: &[&str]) -> String {
    let program = std::env::current_exe().unwrap();
    let mut command = match tool {
        [] => Command::new(program),
        [tool, options @ ..] => {
            let mut command = Command::new(tool);
            command.args(options).arg(program);
            command
        }
    };
    let output = command.args(work).output();
    let output = output.unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "{command:?}: {said}");
    said
}

/// Each figure of a work with its name.
fn work(name: &str) -> Vec<(String, f64)> {
    let toggle = format!("--toggle-collect={COUNTED}*");
    let tool = "--tool=callgrind";
    let options = ["valgrind", tool, "--collect-atstart=no", &toggle];
    let options = [options.as_slice(), &["--callgrind-out-file=/dev/null"]].concat();
    let said = run(&options, &["--work", name]);
    let instructions = number(&said, "Collected :");
    assert!(instructions > 0.0, "callgrind did not find {COUNTED}: {said}");
    #[expect(clippy::cast_precision_loss, reason = "thousands")]
    let events = EVENTS as f64;
    let mut figures = vec![
        (format!("{name} instructions"), instructions / events),
        (format!("{name} allocations"), number(&said, "allocations ") / events),
    ];
    if ["five", "shipped"].contains(&name) {
        let bytes = number(&run(&[], &["--memory", name]), "bytes ");
        figures.push((format!("{name} bytes"), bytes / f64::from(NEWCOMERS)));
    }
    figures
}

/// All figures by name; works side by side.
fn figures() -> BTreeMap<String, f64> {
    let next = AtomicUsize::new(0);
    let some = || {
        let mut found = Vec::new();
        while let Some(name) = WORKS.get(next.fetch_add(1, Ordering::Relaxed)) {
            found.extend(work(name));
        }
        found
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let mut found: BTreeMap<_, _> = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(some)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    // How much more an event costs where a hundred times as many rules are that it does not match.
    let many = found["1000 instructions"] / found["10 instructions"];
    found.insert("1000 to 10 instructions".to_owned(), many);
    found
}

fn kept_at() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/guard.txt")
}

fn kept() -> BTreeMap<String, f64> {
    let text = std::fs::read_to_string(kept_at()).unwrap_or_default();
    let line = |line: &str| {
        let (name, figure) = line.rsplit_once(' ')?;
        Some((name.trim_end().to_owned(), figure.parse().ok()?))
    };
    text.lines().filter_map(line).collect()
}

fn bless(figures: &BTreeMap<String, f64>) {
    let mut text = "Instructions and allocations an event, bytes a user: see guard.rs\n".to_owned();
    for (name, figure) in figures {
        writeln!(text, "{name:<24} {figure:.4}").unwrap();
    }
    std::fs::write(kept_at(), text).unwrap();
}

fn guard() -> ExitCode {
    let (figures, kept) = (figures(), kept());
    let (mut more, mut less) = (Vec::new(), Vec::new());
    for (name, now) in &figures {
        let before = kept.get(name).copied().unwrap_or(0.0);
        println!("{name:<24} {now:>12.3}, kept {before:>12.3}");
        let margin = before * MARGIN_PERCENT / 100.0;
        if *now > before + margin {
            more.push(name.as_str());
        } else if *now < before - margin {
            less.push(name.as_str());
        }
    }
    let again = "TIDEGATE_BLESS=1 cargo guard";
    if std::env::var_os("TIDEGATE_BLESS").is_some() {
        bless(&figures);
        return ExitCode::SUCCESS;
    }
    if !less.is_empty() {
        println!("Less than before: {}. `{again}` keeps what was won.", less.join(", "));
    }
    if more.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!(
        "More than {MARGIN_PERCENT} % above benches/guard.txt: {}.\nWhere it goes: see \
         docs/performance.md. If it has to be, or with another compiler, `{again}` keeps the new \
         figures.",
        more.join(", ")
    );
    ExitCode::FAILURE
}
