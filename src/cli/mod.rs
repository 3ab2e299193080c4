//! Arguments to one call per command; no logic of its own.

mod backtest;
mod daily;
mod demo;
mod diff;
mod generate;
mod held;
mod history;
mod impact;
mod intervene;
mod junit;
mod notify;
mod paint;
mod preview;
mod report;
mod rule_case;
mod rule_fmt;
mod rule_tests;
pub mod rules;
mod run;
mod silence;
mod snippet;
mod why;
mod words;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

/// Finds abuse in a stream of loyalty-points events.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run rules over a file of events and write the decisions they come to.
    Backtest(backtest::Arguments),
    /// Show the account of a day: points by source, caps, decisions, and whether all records are in it.
    Daily(daily::Arguments),
    /// See it work, with nothing else installed: generated abuse in, freezes and notices out.
    Demo(demo::Arguments),
    /// Freeze a target by hand.
    Freeze(intervene::FreezeArguments),
    /// Write a seeded stream of events with labelled abuse.
    Generate(generate::Arguments),
    /// Decide about freezes that budgets held back.
    #[command(subcommand)]
    Held(held::HeldCommand),
    /// Edit a list by hand.
    #[command(subcommand)]
    List(intervene::ListCommand),
    /// Work with notices: who is told, and in which words.
    #[command(subcommand)]
    Notify(notify::NotifyCommand),
    /// Read events from Kafka, write decisions and commands, tell people.
    Run(run::RunArguments),
    /// Mute notices for a time.
    #[command(subcommand)]
    Silence(silence::SilenceCommand),
    /// Work with the topics.
    #[command(subcommand)]
    Topics(run::TopicsCommand),
    /// Lift holds by hand.
    Unfreeze(intervene::UnfreezeArguments),
    /// Work with rule files.
    #[command(subcommand)]
    Rules(RulesCommand),
    /// Say why a rule fired for somebody, or did not.
    Why(why::Arguments),
}

#[derive(Debug, Subcommand)]
enum RulesCommand {
    /// Make a test of recorded events, such as of a freeze that was a mistake.
    Case(rule_case::Arguments),
    /// Read rule files and their lists; name every fault, and what a reviewer would ask about.
    Check(rules::CheckArguments),
    /// Show whom a change of rules would hit: run both over the same events and compare.
    Diff(diff::Arguments),
    /// Say whom changed rules would hit at once, by the counters of a running instance.
    Impact(impact::Arguments),
    /// Lay out rule and test files in one way; comments stay.
    Fmt(rule_fmt::Arguments),
    /// Put a rule set in force on every instance, checked and with its lists.
    Publish(intervene::PublishArguments),
    /// Run the tests beside the rules.
    Test(rule_tests::Arguments),
    /// Print the JSON Schema of rule files, for editors.
    Schema,
}

/// How results are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    #[default]
    Text,
    Json,
}

/// Runs the command line of this process; the exit status is that of contract C1.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut out = io::stdout().lock();
    let status = match arguments.command {
        Command::Backtest(arguments) => backtest::run(&arguments, &mut out),
        Command::Daily(arguments) => daily::run(&arguments, &mut out),
        Command::Demo(arguments) => demo::run(&arguments, &mut out),
        Command::Freeze(arguments) => intervene::freeze(&arguments, &mut out),
        Command::Held(command) => held::run(&command, &mut out),
        Command::List(command) => intervene::list(command, &mut out),
        Command::Unfreeze(arguments) => intervene::unfreeze(&arguments, &mut out),
        Command::Generate(arguments) => generate::run(&arguments, &mut out),
        Command::Notify(command) => notify::run(&command, &mut out),
        Command::Silence(command) => silence::run(command, &mut out),
        Command::Run(arguments) => run::run(&arguments, &mut out),
        Command::Topics(command) => run::topics(&command, &mut out),
        Command::Why(arguments) => why::run(&arguments, &mut out),
        Command::Rules(RulesCommand::Case(arguments)) => {
            rule_case::run(&arguments, paint::Paint::of_stdout(), &mut out)
        }
        Command::Rules(RulesCommand::Check(arguments)) => {
            rules::check_in(&arguments, paint::Paint::of_stdout(), &mut out)
        }
        Command::Rules(RulesCommand::Impact(arguments)) => impact::run(&arguments, &mut out),
        Command::Rules(RulesCommand::Fmt(arguments)) => rule_fmt::run(&arguments, &mut out),
        Command::Rules(RulesCommand::Diff(arguments)) => diff::run(&arguments, &mut out),
        Command::Rules(RulesCommand::Publish(arguments)) => {
            intervene::publish_rules(&arguments, &mut out)
        }
        Command::Rules(RulesCommand::Test(arguments)) => {
            rule_tests::run(&arguments, paint::Paint::of_stdout(), &mut out)
        }
        Command::Rules(RulesCommand::Schema) => rules::schema(&mut out),
    };
    let status = status.and_then(|status| Ok(out.flush().map(|()| status)?));
    match status {
        Ok(status) => ExitCode::from(status),
        // A reader that has seen enough, such as `head`, is no fault of ours.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            drop(writeln!(io::stderr(), "error: {error:#}"));
            ExitCode::from(2)
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let cause = error.downcast_ref::<io::Error>();
    cause.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
